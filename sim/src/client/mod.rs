//! A node as the one that a client talks to: it passes [writes](write) on to a replica, and makes [reads](read) of what
//! replicas hold.

mod read;
mod write;

use gyre_ring::{NodeId, Segment, SeriesKey, Span};

pub use read::{Asking, ReadOp, same_shard};
pub use write::WriteOp;

use crate::message::{Answer, Message, Points, Written};
use crate::node::{Effect, FirstOp, Node};
use crate::rng::Rng;

/// Time after which a request that was not answered is sent again, or given up.
pub const PATIENCE_US: u64 = 400_000;

/// An operation under way.
#[derive(Clone, Debug)]
pub enum Op {
    /// A client's write.
    Write(WriteOp),
    /// A write of which this node is the first replica.
    First(Box<FirstOp>),
    /// A client's read.
    Read(Box<ReadOp>),
    /// A client's read that waits for a list of blocks.
    List(Box<Asking>),
}

/// The end of an operation.
#[derive(Clone, Debug)]
pub enum Finished {
    /// The client is told that its points are durable, but for those that were refused since others have their times.
    Acked(Written),
    /// The client is told that all of its points were refused.
    Refused,
    /// The client is told that they may not be durable.
    WriteFailed,
    /// The client gets an answer.
    Read {
        /// When it asked.
        began_us: u64,
        /// A key of the shard that was read.
        key: u128,
        /// The shard's number of bits.
        bits: u32,
        /// Segments of which data may be missing, as the answer's warnings say.
        warned: Vec<Segment>,
        /// The answer.
        points: Answer,
    },
    /// The client is told that there is no complete answer.
    ReadFailed,
}

impl Node {
    /// A number for an operation.
    pub(crate) fn number(&mut self) -> u64 {
        self.next_op += 1;
        self.next_op
    }

    /// The segment that takes these points.
    pub(crate) fn newest_span(&self, points: &Points) -> Option<&Span> {
        let key = points.keys().next()?.0;
        self.spans.iter().rev().find(|span| {
            let shard = &span.segment.shard;
            span.ended.is_none() && shard.count.index_of(SeriesKey(key)) == shard.index.0
        })
    }

    /// An answer to one of its operations.
    pub(crate) fn operate(
        &mut self,
        _from: NodeId,
        message: Message,
        rng: &mut Rng,
        effects: &mut Vec<Effect>,
    ) {
        let Some(op) = self.ops.remove(&message.op) else { return };
        match op {
            Op::Write(op) => self.write_answered(message, op, effects),
            Op::First(op) => self.first_answered(message, *op, effects),
            Op::Read(op) => self.read_answered(message, op, rng, effects),
            Op::List(op) => drop(self.ops.insert(message.op, Op::List(op))),
        }
    }

    /// It is time to look at an operation again.
    pub fn wake(&mut self, now_us: u64, number: u64, rng: &mut Rng, effects: &mut Vec<Effect>) {
        let Some(op) = self.ops.remove(&number) else { return };
        match op {
            Op::Write(op) => self.wake_write(now_us, number, op, effects),
            Op::First(op) => self.wake_first(number, *op, effects),
            Op::Read(op) => self.wake_read(now_us, number, op, rng, effects),
            Op::List(asking) => self.wake_list(now_us, *asking, effects),
        }
    }
}
