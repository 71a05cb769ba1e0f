//! The actor that owns a shard.

use std::sync::{Arc, PoisonError};

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use gyre_ring::{BatchSet, Segment};
use gyre_tsdb::Head;
use gyre_tsdb::wal::{StreamId, WalPosition};
use tokio::sync::mpsc::UnboundedSender;

use super::append::{Admission, Appender, ReplicaBatch};
use super::lane::{Lane, LaneError};
use super::segment_name;
use super::spill::{Spill, Spilled};
use super::tenant_state::TenantState;
use crate::actor::Permit;
use crate::env::SharedEnv;

/// What a shard actor is made of.
pub struct ShardParts {
    /// The segment it holds.
    pub segment: Segment,
    /// Its series.
    pub head: Head,
    /// The batches it holds.
    pub batches: BatchSet,
    /// The last record of it in the lane, if there is one that no snapshot covers for sure.
    pub last_record: Option<WalPosition>,
    /// Its lane.
    pub lane: Arc<Lane>,
    /// Its number in the lane.
    pub stream: StreamId,
    /// Its tenant's shared state.
    pub tenant: Arc<TenantState>,
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

/// Appends a batch; the answer comes when it is durable.
#[derive(Message)]
#[rtype(result = "Result<Admission, LaneError>")]
pub struct Append {
    /// The batch.
    pub batch: ReplicaBatch,
    /// Its share of the bytes that may be on their way.
    pub permit: Permit,
}

impl Handler<Append> for ShardActor {
    type Result = ResponseFuture<Result<Admission, LaneError>>;

    fn handle(&mut self, Append { batch, permit }: Append, _: &mut Self::Context) -> Self::Result {
        let parts = &mut self.parts;
        // Before anything is touched: a lane that can't log must not leave samples in memory that a repeated
        // request would find and take for acknowledged.
        let mut encoding = match parts.lane.encode() {
            Ok(encoding) => encoding,
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        let position = encoding.encoder().position();
        let mut appender = Appender {
            head: &mut parts.head,
            encoder: encoding.encoder(),
            tenant: &parts.tenant,
            now_ms: parts.env.now_ms(),
            scratch: &mut self.scratch,
        };
        let admission = appender.append(&batch, parts.stream, &self.stream_name);
        let committed = encoding.commit();
        // Also a batch of which nothing was admitted is held, or the set would be full of holes.
        parts.batches.insert(batch.id);
        if admission.stored > 0 {
            parts.last_record = Some(position);
            self.spill(false);
        }
        // The request's buffers go back to their pool now, not when the disk is done.
        drop(batch);
        Box::pin(async move {
            let _permit = permit;
            committed.await.unwrap_or(Err(LaneError::Closed))?;
            Ok(admission)
        })
    }
}
