//! Writes: a request is split by shard, each part goes to its shard as a numbered batch, and the answer is
//! given when every part is durable or refused.

use std::sync::Arc;
use std::time::Duration;

use gyre_ring::{BatchId, BootId, HashSeed, TenantId};

use crate::actor::Gone;
use crate::api::push::decode::WriteBatch;
use crate::shard::actor::Append;
use crate::shard::append::{Admission, Entry, ReplicaBatch};
use crate::shard::lane::LaneError;
use crate::shard::supervisor::{ShardHandle, Shards, TenantShards};
use crate::tenant::canonical::canonicalize;

/// A part of a request that takes longer has failed for its sender.
const DEADLINE: Duration = Duration::from_secs(25);

/// What became of a request.
#[derive(Debug, Default)]
pub struct WriteOutcome {
    /// Samples that are durable, whether they were stored now or before.
    pub accepted_samples: u64,
    /// How many of them are native histograms.
    pub accepted_histograms: u64,
    /// Histograms that were stored at a lower resolution.
    pub reduced_histograms: u64,
    /// Samples refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Metadata entries refused, by reason.
    pub refused_metadata: Vec<(&'static str, u64)>,
    /// The first refusal in request order, for the sender.
    pub first_error: Option<String>,
}

/// Why a request, or a part of it, was not taken. The sender should send it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A shard's log does not take it.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// A shard is being rebuilt.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// More bytes are on their way to a shard than it may hold.
    #[error("too many bytes in flight for one shard of this tenant")]
    Overloaded,
    /// The disk took too long. The samples may or may not be stored.
    #[error("the write was not durable after {} s", DEADLINE.as_secs())]
    Deadline,
}

impl WriteError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        // Also a poisoned lane's: a restart mends it, and the sender must keep the samples until then.
        true
    }
}

/// Splits and numbers writes.
pub struct Coordinator {
    shards: Arc<Shards>,
    boot: BootId,
    seed: HashSeed,
}

impl Coordinator {
    /// A coordinator for this run of the process.
    pub fn new(shards: Arc<Shards>, boot: BootId, seed: HashSeed) -> Self {
        Coordinator { shards, boot, seed }
    }

    /// Writes a request; the answer comes when all that was stored of it is durable. After an error parts of it
    /// may be stored; sending it again is safe.
    pub async fn write(&self, tenant: &TenantId, request: WriteBatch) -> Result<WriteOutcome, WriteError> {
        let tenant = self.shards.get_or_create(tenant);
        let request = Arc::new(request);
        let parts = self.split(&tenant, &request);
        let mut admission = self.send(&tenant, &request, None, parts).await?;
        if !admission.not_canonical.is_empty() {
            let series = std::mem::take(&mut admission.not_canonical);
            let (rewritten, parts) = self.canonicalize(&tenant, &request, &series);
            admission.merge(self.send(&tenant, &request, Some(rewritten), parts).await?);
        }
        Ok(WriteOutcome {
            accepted_samples: admission.stored + admission.repeated,
            accepted_histograms: admission.histograms,
            reduced_histograms: admission.reduced_histograms,
            refused: admission.refused,
            refused_metadata: Vec::new(),
            first_error: admission.first.map(|(_, text)| text),
        })
    }

    fn split(&self, tenant: &TenantShards, request: &WriteBatch) -> Vec<Vec<Entry>> {
        let shards = tenant.shards.len();
        let expected = request.series.len() / shards + request.series.len() / 16 + 1;
        let mut parts: Vec<Vec<Entry>> = (0..shards).map(|_| Vec::with_capacity(expected)).collect();
        for (number, series) in request.series.iter().enumerate() {
            let key = self.seed.key(request.label_fields(series));
            let part = tenant.count.index_of(key) as usize;
            parts[part].push(Entry { key: key.0, labels: series.labels.clone(), series: number as u32 });
        }
        parts
    }

    /// Brings the labels of some series into canonical form, which also says where they belong. Labels that are
    /// not allowed have been refused before.
    fn canonicalize(
        &self,
        tenant: &TenantShards,
        request: &WriteBatch,
        series: &[u32],
    ) -> (Vec<u8>, Vec<Vec<Entry>>) {
        let mut rewritten = Vec::new();
        let mut labels = Vec::new();
        let mut parts: Vec<Vec<Entry>> = tenant.shards.iter().map(|_| Vec::new()).collect();
        let mut series = series.to_vec();
        // In request order, so that of two refusals the first is reported.
        series.sort_unstable();
        for number in series {
            let raw = request.label_fields(&request.series[number as usize]);
            if canonicalize(raw, &tenant.state.limits.labels, &mut labels).is_err() {
                continue;
            }
            let key = self.seed.key(&labels);
            let begin = rewritten.len() as u32;
            rewritten.extend_from_slice(&labels);
            let entry = Entry { key: key.0, labels: begin..rewritten.len() as u32, series: number };
            parts[tenant.count.index_of(key) as usize].push(entry);
        }
        (rewritten, parts)
    }

    async fn send(
        &self,
        tenant: &TenantShards,
        request: &Arc<WriteBatch>,
        rewritten: Option<Vec<u8>>,
        parts: Vec<Vec<Entry>>,
    ) -> Result<Admission, WriteError> {
        let rewritten = rewritten.map(Arc::new);
        let mut pending = Vec::with_capacity(parts.len());
        for (shard, entries) in tenant.shards.iter().zip(parts) {
            if entries.is_empty() {
                continue;
            }
            let bytes = request.body.len() * entries.len() / request.series.len().max(1);
            let permit = shard.budget.try_take(bytes).ok_or(WriteError::Overloaded)?;
            let id = BatchId { boot: self.boot, number: shard.next_batch() };
            let batch = ReplicaBatch { request: request.clone(), rewritten: rewritten.clone(), entries, id };
            pending.push((shard, shard.actor.ask(Append { batch, permit })));
        }
        let mut admission = Admission::default();
        let mut failure = None;
        // All parts are on their way by now; this only collects the answers.
        for (shard, answer) in pending {
            match self.answer(shard, answer).await {
                Ok(part) => admission.merge(part),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(admission), Err)
    }

    async fn answer(
        &self,
        shard: &Arc<ShardHandle>,
        answer: impl Future<Output = Result<Result<Admission, LaneError>, Gone>>,
    ) -> Result<Admission, WriteError> {
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(Gone)) => Err(self.shards.rebuild(shard).into()),
            Err(_) => Err(WriteError::Deadline),
        }
    }
}
