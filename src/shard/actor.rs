//! The actor that owns a shard.
//!
//! It is the only one that appends to its segment and seals it, so that what the [state](SegmentState) says of the
//! segment does not change between a decision and the record in the log that follows from it.

use std::sync::{Arc, PoisonError};

use actix::{Actor, Context, Handler, Message, MessageResult};
use gyre_protocol::Refusal;
use gyre_ring::{BatchId, HashSeed, Segment};
use gyre_tsdb::Head;
use gyre_tsdb::wal::{BatchName, StreamId, WalPosition};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::append::{Admission, Appender, RequestPart, Seen};
use super::apply::{Applier, ApplyError};
use super::lane::{Lane, LaneError};
use super::segment_name;
use super::segment_state::{Mark, SegmentState};
use super::spill::{Spill, Spilled};
use super::tenant_state::TenantState;
use super::windows::BatchWindows;
use crate::env::SharedEnv;
use crate::rpc::samples::PooledBatch;

/// What a shard actor is made of.
pub struct ShardParts {
    /// The segment it holds.
    pub segment: Segment,
    /// Its series.
    pub head: Head,
    /// The batches it holds.
    pub state: Arc<SegmentState>,
    /// The last record of it in the lane, if there is one that no snapshot covers for sure.
    pub last_record: Option<WalPosition>,
    /// Its lane.
    pub lane: Arc<Lane>,
    /// Its number in the lane.
    pub stream: StreamId,
    /// Its tenant's shared state.
    pub tenant: Arc<TenantState>,
    /// The cluster's seed for series keys.
    pub seed: HashSeed,
    /// Takes sealed chunks to disk.
    pub spills: UnboundedSender<Spill>,
    /// Clocks.
    pub env: SharedEnv,
}

/// A shard.
pub struct ShardActor {
    pub(super) parts: ShardParts,
    stream_name: Vec<u8>,
    spilled: Spilled,
    scratch: Vec<u8>,
}

/// Says when something is durable, or why it may not be.
pub type Durable = oneshot::Receiver<Result<(), LaneError>>;

/// Why a shard did not do what it was asked. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// Its log takes nothing.
    #[error(transparent)]
    Lane(#[from] LaneError),
    /// The protocol forbids it.
    #[error("the replica refuses the batch: {0:?}")]
    Refused(Refusal),
    /// A batch cannot be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl ShardActor {
    /// An actor around its parts.
    pub fn new(parts: ShardParts) -> Self {
        let stream_name = segment_name::encode(&parts.segment);
        ShardActor { parts, stream_name, spilled: Spilled::default(), scratch: Vec::new() }
    }

    /// Forgets the memory of chunks that are on disk by now, and sends further ones there.
    pub(super) fn spill(&mut self, all: bool) {
        let mut spilled = self.spilled.lock().unwrap_or_else(PoisonError::into_inner);
        for (flush, view) in spilled.drain(..) {
            self.parts.head.sealed_mut().flushed(&flush, view);
        }
        drop(spilled);
        while let Some(flush) = self.parts.head.sealed_mut().take_flush(all) {
            let view = self.parts.head.sealed_mut().view(&flush);
            // A closed channel means that the process ends; the WAL has it all.
            let _ = self.parts.spills.send(Spill::Write { flush, view, done: self.spilled.clone() });
        }
    }
}

impl Actor for ShardActor {
    type Context = Context<Self>;
}

fn name_of(id: BatchId) -> BatchName {
    BatchName { boot: id.boot.0, number: id.number.0 }
}

/// Admits a client's samples: this is the first replica that sees them.
#[derive(Message)]
#[rtype(result = "Result<Admitted, ShardError>")]
pub struct Admit {
    /// The samples.
    pub part: Arc<RequestPart>,
}

/// What became of samples, and what is left of them.
pub struct Admitted {
    /// What became of them; [`Admission::stripped`] says which are not in the batch.
    pub admission: Admission,
    /// The batch that was made of them; `None` if nothing is left.
    pub id: Option<BatchId>,
    /// When the batch, and with it what was there already, is durable here.
    pub durable: Durable,
}

impl Handler<Admit> for ShardActor {
    type Result = MessageResult<Admit>;

    fn handle(&mut self, Admit { part }: Admit, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.admit(&part))
    }
}

impl ShardActor {
    fn admit(&mut self, part: &RequestPart) -> Result<Admitted, ShardError> {
        let parts = &mut self.parts;
        parts.state.may_admit().map_err(ShardError::Refused)?;
        // Before anything is touched: a lane that can't log must not leave samples in memory that a repeated
        // request would find and take for acknowledged.
        let mut encoding = parts.lane.encode()?;
        let position = encoding.encoder().position();
        let mut appender = Appender {
            head: &mut parts.head,
            encoder: encoding.encoder(),
            tenant: &parts.tenant,
            now_ms: parts.env.now_ms(),
            scratch: &mut self.scratch,
            seen: Seen::default(),
            windows: BatchWindows::default(),
        };
        let admission = appender.append(part);
        let windows = appender.windows;
        if admission.stored + admission.repeated == 0 && encoding.encoder().batch_is_empty() {
            return Ok(Admitted { admission, id: None, durable: encoding.commit() });
        }
        // Samples that were there are part of the batch, too: other replicas may lack them.
        let id = parts.state.number(&windows);
        encoding.encoder().finish_batch(parts.stream, &self.stream_name, name_of(id));
        let durable = encoding.commit_mark(&parts.state, Mark::Batch(id));
        parts.last_record = Some(position);
        if admission.stored > 0 {
            self.spill(false);
        }
        Ok(Admitted { admission, id: Some(id), durable })
    }
}

/// Takes a batch that another replica has admitted.
#[derive(Message)]
#[rtype(result = "Result<Durable, ShardError>")]
pub struct Replicate {
    /// Its name.
    pub id: BatchId,
    /// Its samples.
    pub batch: PooledBatch,
    /// The limit on histogram buckets under which it was admitted; 0: none.
    pub histogram_buckets_max: usize,
    /// Whether it was pulled from a replica that holds it: then it comes in after a seal, too.
    pub is_pulled: bool,
}

impl Handler<Replicate> for ShardActor {
    type Result = MessageResult<Replicate>;

    fn handle(&mut self, message: Replicate, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.replicate(&message))
    }
}

impl ShardActor {
    fn replicate(&mut self, message: &Replicate) -> Result<Durable, ShardError> {
        let Replicate { id, batch, histogram_buckets_max, is_pulled } = message;
        let parts = &mut self.parts;
        let mut encoding = parts.lane.encode()?;
        // Whether the batch can be taken is known only when its series are: the state is asked first without being
        // changed, and the batch noted when it is in the log.
        if parts.state.check(*id, *is_pulled).map_err(ShardError::Refused)? {
            // It is in the log: durable when all is that was logged until now.
            return Ok(encoding.commit());
        }
        let position = encoding.encoder().position();
        let mut applier = Applier {
            head: &mut parts.head,
            encoder: encoding.encoder(),
            tenant: &parts.tenant,
            counts: !parts.state.is_ending(),
            seed: parts.seed,
        };
        let windows = applier.apply(batch, *histogram_buckets_max)?;
        parts.state.take(*id, *is_pulled, &windows);
        encoding.encoder().finish_batch(parts.stream, &self.stream_name, name_of(*id));
        let durable = encoding.commit_mark(&parts.state, Mark::Batch(*id));
        parts.last_record = Some(position);
        self.spill(false);
        Ok(durable)
    }
}

/// Ends the segment: nothing is taken any more (protocol rule 10).
#[derive(Message)]
#[rtype(result = "Result<Durable, ShardError>")]
pub struct Seal;

impl Handler<Seal> for ShardActor {
    type Result = MessageResult<Seal>;

    fn handle(&mut self, _: Seal, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.seal())
    }
}

impl ShardActor {
    fn seal(&mut self) -> Result<Durable, ShardError> {
        let parts = &mut self.parts;
        let mut encoding = parts.lane.encode()?;
        if !parts.state.begin_seal() {
            return Ok(encoding.commit());
        }
        parts.tenant.forget_series(&parts.head);
        let position = encoding.encoder().position();
        encoding.encoder().seal(parts.stream, &self.stream_name);
        parts.last_record = Some(position);
        let durable = encoding.commit_mark(&parts.state, Mark::Seal);
        tracing::info!(segment = %parts.segment, "sealed");
        Ok(durable)
    }
}
