//! Writes: a request is split by shard, each part goes to a replica of its shard, and the answer is given when every
//! part is durable on a quorum, or refused.
//!
//! A part goes to this node if it is a replica, else to one that seems to be alive; if that one cannot even begin, to
//! the next. When a shard has moved on to another epoch meanwhile, the whole request begins anew: samples that are stored
//! by then are repeated, which changes nothing.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use gyre_ring::{HashSeed, Replica, ShardCount, Span, TenantId};
use tokio::time::Instant;

use super::first::{FirstError, nothing_stripped};
use super::forward;
use super::local::Replicas;
use super::outgoing::OutgoingBatch;
use crate::api::push::decode::WriteBatch;
use crate::shard::append::{Admission, Entry, RequestPart};
use crate::tenant::canonical::canonicalize;

/// A request that takes longer has failed for its sender.
const DEADLINE: Duration = Duration::from_secs(25);

/// Pause before a request that met another epoch begins anew.
const NEW_EPOCH_PAUSE: Duration = Duration::from_millis(50);

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
    pub refused: Vec<(Cow<'static, str>, u64)>,
    /// Metadata entries refused, by reason.
    pub refused_metadata: Vec<(&'static str, u64)>,
    /// The first refusal in request order, for the sender.
    pub first_error: Option<String>,
}

/// Why a request, or a part of it, was not taken. The sender should send it again: parts of it may be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A shard does not take it.
    #[error("shard {shard} does not take the write: {source}")]
    Shard {
        /// The shard.
        shard: String,
        /// Why.
        source: FirstError,
    },
    /// More bytes are on their way to the tenant's shards than it may have.
    #[error("too many bytes in flight for this tenant")]
    Overloaded,
    /// It took too long. The samples may or may not be stored.
    #[error("the write was not durable after {} s", DEADLINE.as_secs())]
    Deadline,
}

impl WriteError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        // Also when a log is poisoned: a restart mends it, and the sender must keep the samples until then.
        true
    }
}

/// Splits writes and sends their parts to replicas.
pub struct Coordinator {
    replicas: Arc<Replicas>,
    seed: HashSeed,
}

/// Where a tenant's samples go.
struct Route {
    count: ShardCount,
    /// The open segments, by shard index.
    open: Vec<Span>,
}

impl Coordinator {
    /// A coordinator in front of these replicas.
    pub fn new(replicas: Arc<Replicas>, seed: HashSeed) -> Self {
        Coordinator { replicas, seed }
    }

    /// Writes a request; the answer comes when all that was stored of it is durable. After an error parts of it
    /// may be stored; sending it again is safe.
    pub async fn write(&self, tenant: &TenantId, request: WriteBatch) -> Result<WriteOutcome, WriteError> {
        let request = Arc::new(request);
        let writing = async {
            loop {
                match self.try_write(tenant, &request).await {
                    Err(WriteError::Shard { source: FirstError::Stale, .. }) => {
                        // Whoever said so has sent the documents, or gossip will tell of them.
                        let epoch = self.replicas.cluster.state().epoch();
                        tracing::debug!(%tenant, epoch = epoch.0, "shard has moved on to another epoch");
                        tokio::time::sleep(NEW_EPOCH_PAUSE).await;
                    }
                    result => return result,
                }
            }
        };
        tokio::time::timeout_at(Instant::now() + DEADLINE, writing).await.unwrap_or(Err(WriteError::Deadline))
    }

    async fn try_write(
        &self,
        tenant: &TenantId,
        request: &Arc<WriteBatch>,
    ) -> Result<WriteOutcome, WriteError> {
        let route = self.route(tenant);
        let parts = self.split(&route, request);
        let mut admission = self.send(tenant, &route, request, None, parts).await?;
        if !admission.not_canonical.is_empty() {
            let series = std::mem::take(&mut admission.not_canonical);
            let (rewritten, parts) = self.canonicalize(tenant, &route, request, &series);
            admission.merge(self.send(tenant, &route, request, Some(rewritten), parts).await?);
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

    fn route(&self, tenant: &TenantId) -> Route {
        let state = self.replicas.cluster.state();
        let spans = state.spans(tenant);
        let mut open: Vec<Span> = spans.iter().filter(|span| span.ended.is_none()).cloned().collect();
        open.sort_by_key(|span| span.segment.shard.index);
        let count = open.first().map_or(ShardCount::ONE, |span| span.segment.shard.count);
        Route { count, open }
    }

    fn split(&self, route: &Route, request: &WriteBatch) -> Vec<Vec<Entry>> {
        let shards = route.open.len();
        let expected = request.series.len() / shards.max(1) + request.series.len() / 16 + 1;
        let mut parts: Vec<Vec<Entry>> = (0..shards).map(|_| Vec::with_capacity(expected)).collect();
        for (number, series) in request.series.iter().enumerate() {
            let key = self.seed.key(request.label_fields(series));
            let part = route.count.index_of(key) as usize;
            parts[part].push(Entry { key: key.0, labels: series.labels.clone(), series: number as u32 });
        }
        parts
    }

    /// Brings the labels of some series into canonical form, which also says where they belong. Labels that are
    /// not allowed have been refused before.
    fn canonicalize(
        &self,
        tenant: &TenantId,
        route: &Route,
        request: &WriteBatch,
        series: &[u32],
    ) -> (Vec<u8>, Vec<Vec<Entry>>) {
        let limits = self.replicas.shards.limits(tenant);
        let mut rewritten = Vec::new();
        let mut labels = Vec::new();
        let mut parts: Vec<Vec<Entry>> = route.open.iter().map(|_| Vec::new()).collect();
        let mut series = series.to_vec();
        // In request order, so that of two refusals the first is reported.
        series.sort_unstable();
        for number in series {
            let raw = request.label_fields(&request.series[number as usize]);
            if canonicalize(raw, &limits.labels, &mut labels).is_err() {
                continue;
            }
            let key = self.seed.key(&labels);
            let begin = rewritten.len() as u32;
            rewritten.extend_from_slice(&labels);
            let entry = Entry { key: key.0, labels: begin..rewritten.len() as u32, series: number };
            parts[route.count.index_of(key) as usize].push(entry);
        }
        (rewritten, parts)
    }

    async fn send(
        &self,
        tenant: &TenantId,
        route: &Route,
        request: &Arc<WriteBatch>,
        rewritten: Option<Vec<u8>>,
        parts: Vec<Vec<Entry>>,
    ) -> Result<Admission, WriteError> {
        let rewritten = rewritten.map(Arc::new);
        let inflight = self.replicas.shards.get_or_create(tenant).inflight.clone();
        let mut sending = Vec::with_capacity(parts.len());
        for (span, entries) in route.open.iter().zip(parts) {
            if entries.is_empty() {
                continue;
            }
            let bytes = request.body.len() * entries.len() / request.series.len().max(1);
            let permit = inflight.try_take(bytes).ok_or(WriteError::Overloaded)?;
            let part = RequestPart { request: request.clone(), rewritten: rewritten.clone(), entries };
            sending.push(async move {
                let _permit = permit;
                let result = self.send_part(span, Arc::new(part)).await;
                result.map_err(|source| WriteError::Shard { shard: span.segment.shard.to_string(), source })
            });
        }
        let mut admission = Admission::default();
        let mut failure: Option<WriteError> = None;
        for answer in join_all(sending).await {
            match answer {
                Ok(part) => admission.merge(part),
                // That a shard has moved on is what the sender of the request need not be told.
                Err(error) if matches!(error, WriteError::Shard { source: FirstError::Stale, .. }) => {
                    failure.get_or_insert(error);
                }
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(admission), Err)
    }

    /// Sends a part to a replica that sees to the others.
    async fn send_part(&self, span: &Span, part: Arc<RequestPart>) -> Result<Admission, FirstError> {
        let cluster = &self.replicas.cluster;
        let mut reasons = Vec::new();
        if span.replicas.contains(cluster.own()) {
            match self.replicas.write_first(span, part.clone()).await {
                Err(FirstError::NotHere(why)) if span.replicas.len() > 1 => {
                    reasons.push(format!("{}: {why}", cluster.own().node));
                }
                result => return result,
            }
        }
        let mut others: Vec<&Replica> =
            span.replicas.iter().filter(|replica| *replica != cluster.own()).collect();
        others.sort_by_key(|replica| !cluster.is_alive(replica));
        let batch = OutgoingBatch {
            segment: span.segment.to_string().into(),
            part,
            stripped: nothing_stripped(),
            repeats_labels: true,
        };
        for replica in others {
            match forward::admit(cluster, replica, &batch).await {
                Err(FirstError::NotHere(why)) => reasons.push(why),
                result => return result,
            }
        }
        // The last that was asked is one that does not answer at all; another one has said more.
        Err(FirstError::NotHere(reasons.join("; ")))
    }
}
