//! Answers what other nodes ask of this one's replicas.

use std::sync::Arc;

use bytes::Bytes;
use gyre_protocol::Refusal;
use gyre_ring::{BatchId, BatchNumber, BatchSet, BootId, HashSeed, Replica, Segment, TenantId};

use super::first::FirstError;
use super::forward;
use super::local::{Replicas, find};
use super::messages::{
    self, AdmitReply, AdmitRequest, AppendReply, AppendRequest, MetadataRequest, PullReply, PullRequest,
    SealReply, SealRequest, SetOnWire, SettledReply, SettledRequest, ShowsReply, ShowsRequest, VectorOnWire,
    VectorsReply, VectorsRequest, documents_from_wire,
};
use super::metadata::on_wire;
use super::pull::give::give;
use super::read::messages::{EVALUATE, LABELS, SELECT};
use super::read::{evaluate, serve};
use crate::actor::Gone;
use crate::api::push::decode::{Sample, WriteBatch};
use crate::api::push::pool::BatchPool;
use crate::query::evaluator::Evaluator;
use crate::rpc::codec::{self, Decode, Encode};
use crate::rpc::samples::{PooledBatch, SampleBatch};
use crate::rpc::{Failure, Handler, Outcome, ReplySink, Request, Response};
use crate::shard::actor::{Replicate, ShardError};
use crate::shard::append::{Entry, RequestPart};
use crate::shard::apply::ApplyError;
use crate::shard::lane::LaneError;
use crate::shard::segment_name;
use crate::shard::supervisor::ShardHandle;
use crate::tenant::metadata::Metadata;

/// Bytes of vectors in a reply, about: whoever asked about more segments asks again for the rest.
const VECTORS_BYTES_MAX: usize = 1 << 20;

/// Bytes of an interval of batches on the wire.
const INTERVAL_BYTES: usize = 32;

/// Answers other nodes.
pub struct ReplicaService {
    answers: Arc<Answers>,
}

struct Answers {
    replicas: Arc<Replicas>,
    /// This run, as readers know it.
    boot: BootId,
    pool: BatchPool,
    metadata: Arc<Metadata>,
    evaluator: Arc<Evaluator>,
}

impl ReplicaService {
    /// Answers for these replicas.
    pub fn new(
        replicas: Arc<Replicas>,
        boot: BootId,
        pool: BatchPool,
        metadata: Arc<Metadata>,
        evaluator: Arc<Evaluator>,
    ) -> Self {
        ReplicaService { answers: Arc::new(Answers { replicas, boot, pool, metadata, evaluator }) }
    }
}

impl Handler for ReplicaService {
    fn handle(&self, request: Request, sink: ReplySink) -> Response {
        let answers = self.answers.clone();
        Box::pin(async move { answers.answer(request, sink).await })
    }
}

fn parse<T: Decode<()>>(control: &[u8]) -> Result<T, Failure> {
    codec::decode(control).map_err(|error| not_done(error.to_string(), false))
}

fn reply<T: Encode>(message: &T) -> Result<Bytes, Failure> {
    codec::encode(message).map(Bytes::from).map_err(|error| not_done(error.to_string(), false))
}

fn not_done(text: String, is_retryable: bool) -> Failure {
    Failure::Failed { text, is_retryable, outcome: Outcome::NotExecuted }
}

fn maybe_done(text: String) -> Failure {
    Failure::Failed { text, is_retryable: true, outcome: Outcome::Unknown }
}

/// The segment of a name.
pub(super) fn segment_of(name: &str) -> Result<Segment, Failure> {
    segment_name::decode(name.as_bytes()).ok_or_else(|| not_done(format!("{name:?} names no segment"), false))
}

impl Answers {
    async fn answer(&self, request: Request, mut sink: ReplySink) -> Result<Bytes, Failure> {
        let Request { method, control, samples, deadline, permit, .. } = request;
        let samples = || samples.ok_or_else(|| not_done("the samples are missing".to_owned(), false));
        let answer = match method {
            number if number == messages::APPEND.number => self.append(parse(&control)?, samples()?).await,
            number if number == messages::ADMIT.number => self.admit(parse(&control)?, samples()?).await,
            number if number == messages::VECTORS.number => self.vectors(&parse(&control)?).await,
            number if number == messages::SHOWS.number => self.shows(&parse(&control)?).await,
            number if number == messages::SEAL.number => self.seal(&parse(&control)?).await,
            number if number == messages::SETTLED.number => self.settled(&parse(&control)?).await,
            number if number == messages::PULL.number => self.pull(&parse(&control)?, &mut sink).await,
            number if number == SELECT.number => {
                serve::select(&self.replicas, self.boot, parse(&control)?, sink).await
            }
            number if number == LABELS.number => {
                serve::labels(&self.replicas, self.boot, parse(&control)?, sink).await
            }
            number if number == EVALUATE.number => {
                let request = parse(&control)?;
                evaluate::evaluate(&self.replicas, self.boot, &self.evaluator, request, deadline, sink).await
            }
            number if number == messages::METADATA.number => self.metadata(&parse(&control)?),
            _ => Err(Failure::UnknownMethod),
        };
        drop(permit);
        answer
    }

    async fn append(&self, request: AppendRequest, batch: PooledBatch) -> Result<Bytes, Failure> {
        let AppendRequest { head, boot, number, histogram_buckets_max } = request;
        let id = BatchId { boot: BootId(boot), number: BatchNumber(number) };
        let refused = |refusal| reply(&AppendReply::Refused(self.replicas.refused(refusal, &head)));
        if let Err(refusal) = self.replicas.check(&head).await {
            return refused(refusal);
        }
        let shard = match self.replicas.host(&segment_of(&batch.segment)?) {
            Ok(shard) => shard,
            Err(refusal) => return refused(refusal),
        };
        let _permit = shard.budget.try_take(batch.memory_bytes());
        if _permit.is_none() {
            return Err(Failure::Overloaded("too many bytes in flight for one shard".to_owned()));
        }
        if shard.state.may_admit() == Err(Refusal::NotActive)
            && let Err(refusal) = self.replicas.activate(&shard).await
        {
            return refused(refusal);
        }
        let histogram_buckets_max = histogram_buckets_max as usize;
        let replicate = Replicate { id, batch, histogram_buckets_max, is_pulled: false };
        let durable = match shard.actor.ask(replicate).await {
            Ok(Ok(durable)) => durable,
            Ok(Err(ShardError::Refused(refusal))) => return refused(refusal),
            Ok(Err(ShardError::Apply(ApplyError::LabelsMissing))) => {
                return reply(&AppendReply::LabelsMissing);
            }
            Ok(Err(error @ ShardError::Lane(_))) => return Err(not_done(error.to_string(), true)),
            Ok(Err(error @ ShardError::Apply(_))) => {
                tracing::error!(segment = %shard.segment, %error, "cannot apply a batch that another replica admitted");
                return Err(not_done(error.to_string(), false));
            }
            Err(Gone) => return Err(maybe_done(self.replicas.shards.rebuild(&shard).to_string())),
        };
        match durable.await.unwrap_or(Err(LaneError::Closed)) {
            Ok(()) => reply(&AppendReply::Durable),
            Err(error) => Err(maybe_done(error.to_string())),
        }
    }

    async fn admit(&self, request: AdmitRequest, batch: PooledBatch) -> Result<Bytes, Failure> {
        let head = request.head;
        let refused = |refusal| reply(&AdmitReply::Refused(self.replicas.refused(refusal, &head)));
        if let Err(refusal) = self.replicas.check(&head).await {
            return refused(refusal);
        }
        let segment = segment_of(&batch.segment)?;
        let state = self.replicas.cluster.state();
        let spans = state.spans(&segment.shard.tenant);
        let own = self.replicas.cluster.own();
        let span = match find(&spans, &segment).filter(|span| span.replicas.contains(own)) {
            Some(span) if span.ended.is_none() => span.clone(),
            Some(_) => return refused(Refusal::Sealed),
            None => return refused(Refusal::NotMember),
        };
        let part = request_of(&batch, self.replicas.shards.layout().seed, &self.pool);
        drop(batch);
        match self.replicas.write_first(&span, Arc::new(part)).await {
            Ok(admission) => reply(&AdmitReply::Done(forward::counts(admission))),
            Err(FirstError::Stale) => refused(Refusal::Sealed),
            Err(error) => reply(&AdmitReply::Failed(error.to_string())),
        }
    }

    async fn vectors(&self, request: &VectorsRequest) -> Result<Bytes, Failure> {
        let refused = |refusal| reply(&VectorsReply::Refused(self.replicas.refused(refusal, &request.head)));
        if let Err(refusal) = self.replicas.check(&request.head).await {
            return refused(refusal);
        }
        let (mut vectors, mut bytes) = (Vec::new(), 0);
        for name in &request.segments {
            let vector = match self.replicas.look_at(&segment_of(name)?) {
                Ok(Some(shard)) if self.has_ended_since(&shard, &request.head) => {
                    return refused(Refusal::Sealed);
                }
                Ok(Some(shard)) => shard.state.vector(),
                Ok(None) => Default::default(),
                Err(refusal) => return refused(refusal),
            };
            bytes += vector.held.intervals().count() * INTERVAL_BYTES;
            if bytes > VECTORS_BYTES_MAX && !vectors.is_empty() {
                break;
            }
            vectors.push(VectorOnWire { held: (&vector.held).into(), is_sealed: vector.is_sealed });
        }
        reply(&VectorsReply::Vectors(vectors))
    }

    async fn shows(&self, request: &ShowsRequest) -> Result<Bytes, Failure> {
        let refused = |refusal| reply(&ShowsReply::Refused(self.replicas.refused(refusal, &request.head)));
        if let Err(refusal) = self.replicas.check(&request.head).await {
            return refused(refusal);
        }
        let batches = BatchSet::from(&request.batches);
        let segment = segment_of(&request.segment)?;
        let shard = match self.replicas.look_at(&segment) {
            // The first batch is on its way, or was missed.
            Ok(None) if !batches.is_empty() => self.replicas.host(&segment).map(Some),
            found => found,
        };
        let (all, is_sealed) = match shard {
            Ok(Some(shard)) if self.has_ended_since(&shard, &request.head) => {
                return refused(Refusal::Sealed);
            }
            Ok(Some(shard)) => {
                let holder = self.holder(&segment, &request.holder);
                let fetching = &self.replicas.fetching;
                let all = fetching.wait_for(&self.replicas, &shard, &batches, holder.as_ref()).await;
                (all, shard.state.is_sealed())
            }
            Ok(None) => (true, false),
            Err(refusal) => return refused(refusal),
        };
        let is_damaged = self.replicas.shards.is_damaged(&segment);
        reply(&ShowsReply::Shows { boot: self.boot.0, all, is_sealed, is_damaged })
    }

    /// The replica of a segment on a node.
    fn holder(&self, segment: &Segment, node: &str) -> Option<Replica> {
        let spans = self.replicas.cluster.state().spans(&segment.shard.tenant);
        find(&spans, segment)?.replicas.iter().find(|replica| replica.node.as_str() == node).cloned()
    }

    /// Whether a segment is sealed here and the sender takes it to be open: the refusal brings the documents along.
    fn has_ended_since(&self, shard: &ShardHandle, head: &messages::Head) -> bool {
        let spans = self.replicas.cluster.state().spans(&shard.segment.shard.tenant);
        let ended = find(&spans, &shard.segment).and_then(|span| span.ended);
        shard.state.is_sealed() && ended.is_some_and(|epoch| epoch.0 > head.epoch)
    }

    async fn seal(&self, request: &SealRequest) -> Result<Bytes, Failure> {
        if request.head.incarnation != self.replicas.cluster.own().incarnation.0 {
            let refused = self.replicas.refused(Refusal::NotMember, &request.head);
            return reply(&SealReply::Refused(refused));
        }
        self.replicas.cluster.learn(documents_from_wire(&request.documents)).await;
        // Ignored beyond this: a segment whose end is not known here is not sealed.
        let _ = self.replicas.check(&request.head).await;
        let segments =
            request.segments.iter().map(|name| segment_of(name)).collect::<Result<Vec<_>, Failure>>()?;
        reply(&SealReply::Sealed(self.replicas.seal_all(&segments).await))
    }
}

impl Answers {
    async fn settled(&self, request: &SettledRequest) -> Result<Bytes, Failure> {
        self.replicas.cluster.learn(documents_from_wire(&request.documents)).await;
        if let Err(refusal) = self.replicas.check(&request.head).await {
            return reply(&SettledReply::Refused(self.replicas.refused(refusal, &request.head)));
        }
        reply(&self.replicas.settle())
    }

    fn metadata(&self, request: &MetadataRequest) -> Result<Bytes, Failure> {
        let tenant = TenantId::new(&request.tenant).map_err(|error| not_done(error.to_string(), false))?;
        reply(&on_wire(self.metadata.get(&tenant, request.metric.as_deref())))
    }

    async fn pull(&self, request: &PullRequest, sink: &mut ReplySink) -> Result<Bytes, Failure> {
        let refused = |refusal| reply(&PullReply::Refused(self.replicas.refused(refusal, &request.head)));
        if let Err(refusal) = self.replicas.check(&request.head).await {
            return refused(refusal);
        }
        let shard = match self.replicas.look_at(&segment_of(&request.segment)?) {
            Ok(Some(shard)) => shard,
            Ok(None) => return reply(&PullReply::Gave { not_in_log: SetOnWire::default() }),
            Err(refusal) => return refused(refusal),
        };
        let layout = self.replicas.shards.layout();
        match give(layout, &shard, &(&request.wanted).into(), sink).await {
            Ok(not_in_log) => reply(&PullReply::Gave { not_in_log: (&not_in_log).into() }),
            Err(error) => Err(not_done(error, true)),
        }
    }
}

/// A request made of what another node passed on, whose series have all their labels.
fn request_of(batch: &SampleBatch, seed: HashSeed, pool: &BatchPool) -> RequestPart {
    let mut request = WriteBatch::without_series(pool);
    let mut samples: Vec<_> = batch.samples.iter().collect();
    samples.sort_by_key(|sample| sample.series);
    let mut rest = samples.as_slice();
    let mut entries = Vec::with_capacity(batch.series.len());
    for (place, series) in batch.series.iter().enumerate() {
        let place = place as u32;
        let labels = batch.labels(series).unwrap_or_default();
        let own = rest.iter().take_while(|sample| sample.series == place).count();
        let (own, after) = rest.split_at(own);
        rest = after;
        let range =
            request.push_series(labels, own.iter().map(|s| Sample { t_ms: s.t_ms, v_bits: s.v_bits }));
        entries.push(Entry { key: seed.key(labels).0, labels: range, series: place });
    }
    let mut histograms: Vec<_> = batch.histograms.iter().collect();
    histograms.sort_by_key(|sample| sample.series);
    for sample in histograms {
        request.push_histogram(sample.series, batch.histogram(sample));
    }
    RequestPart { request: Arc::new(request), rewritten: None, entries }
}
