//! A node as coordinator: clients' writes and reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gyre_protocol::{
    DataReply, QuorumWrite, ReadOutcome, ReadRequest, Refusal, ShardRead, VectorReply, WriteState,
};
use gyre_ring::{BatchId, BatchNumber, NodeId, Replica, Segment, SeriesKey, Span};

use crate::message::{Answer, Batch, Body, Message, Points};
use crate::node::{Effect, Node};
use crate::rng::Rng;

/// Time after which a request that was not answered is sent again, or given up.
const PATIENCE_US: u64 = 400_000;

/// An operation under way.
#[derive(Clone, Debug)]
pub enum Op {
    /// A write.
    Write(WriteOp),
    /// A read.
    Read(ReadOp),
}

/// A write under way.
#[derive(Clone, Debug)]
pub struct WriteOp {
    points: Points,
    deadline_us: u64,
    segment: Segment,
    batch: Arc<Batch>,
    quorum: QuorumWrite,
}

/// A read under way: all series whose keys have these top bits.
#[derive(Clone, Debug)]
pub struct ReadOp {
    began_us: u64,
    deadline_us: u64,
    key: u128,
    prefer: Vec<NodeId>,
    read: ShardRead,
    outstanding: Vec<(Segment, Replica)>,
    /// Of those, the ones that have let time pass.
    slow: BTreeSet<(Segment, Replica)>,
    data: BTreeMap<Segment, Arc<Points>>,
    asked: Vec<Span>,
}

/// The end of an operation.
#[derive(Clone, Debug)]
pub enum Finished {
    /// The client is told that its points are durable.
    Acked {
        /// What it wrote.
        points: Points,
        /// Where.
        segment: Segment,
        /// In which batch.
        batch: BatchId,
    },
    /// The client is told that they may not be.
    WriteFailed,
    /// The client gets a complete answer.
    Read {
        /// When it asked.
        began_us: u64,
        /// A key of the shard that was read.
        key: u128,
        /// The shard's number of bits.
        bits: u32,
        /// The answer.
        points: Answer,
    },
    /// The client is told that there is no complete answer.
    ReadFailed,
}

/// Whether two keys agree in their top bits.
pub fn same_shard(a: u128, b: u128, bits: u32) -> bool {
    bits == 0 || a >> (128 - bits) == b >> (128 - bits)
}

/// Points of several segments as one answer; the greater of two values for one point stays.
fn merge<'a>(data: impl Iterator<Item = &'a Points>, is_asked: impl Fn(u128) -> bool) -> Answer {
    let mut answer: Answer = data
        .flatten()
        .filter(|(point, _)| is_asked(point.0))
        .map(|(point, value)| (*point, *value))
        .collect();
    answer.sort_unstable_by_key(|(point, value)| (*point, std::cmp::Reverse(*value)));
    answer.dedup_by_key(|(point, _)| *point);
    answer
}

impl Node {
    /// A client writes points of one series.
    pub fn write(&mut self, now_us: u64, points: Points, patience_us: u64, effects: &mut Vec<Effect>) {
        let Some(span) = self.newest_span(&points) else {
            return effects.push(Effect::Finished(Finished::WriteFailed));
        };
        let (segment, quorum) = (span.segment.clone(), QuorumWrite::new(span.replicas.clone(), self.rules));
        let batch = self.name(&segment, &points);
        let op = WriteOp { points, deadline_us: now_us + patience_us, segment, batch, quorum };
        let number = self.number();
        self.send_write(number, &op, effects);
        self.ops.insert(number, Op::Write(op));
    }

    /// A client reads all series of the shard that a key belongs to.
    pub fn read(
        &mut self,
        now_us: u64,
        key: u128,
        patience_us: u64,
        prefer: Vec<NodeId>,
        effects: &mut Vec<Effect>,
    ) {
        self.begin_read(now_us, now_us + patience_us, key, prefer, effects);
    }

    fn number(&mut self) -> u64 {
        self.next_op += 1;
        self.next_op
    }

    fn newest_span(&self, points: &Points) -> Option<&Span> {
        let key = points.keys().next()?.0;
        self.spans.iter().rev().find(|span| {
            let shard = &span.segment.shard;
            span.ended.is_none() && shard.count.index_of(SeriesKey(key)) == shard.index.0
        })
    }

    fn name(&mut self, segment: &Segment, points: &Points) -> Arc<Batch> {
        let boot = self.boot();
        let next = self.next_number.entry(segment.clone()).or_default();
        *next += 1;
        Arc::new(Batch { id: BatchId { boot, number: BatchNumber(*next) }, points: points.clone() })
    }

    fn send_write(&self, number: u64, op: &WriteOp, effects: &mut Vec<Effect>) {
        for replica in op.quorum.outstanding() {
            let body = Body::Append(op.batch.clone());
            self.send(number, op.segment.clone(), replica.clone(), body, effects);
        }
        effects.push(Effect::Wake(number, PATIENCE_US));
    }

    fn begin_read(
        &mut self,
        began_us: u64,
        deadline_us: u64,
        key: u128,
        prefer: Vec<NodeId>,
        effects: &mut Vec<Effect>,
    ) {
        let number = self.number();
        let Some(document) = self.documents.last() else {
            return effects.push(Effect::Finished(Finished::ReadFailed));
        };
        let count = document.shard_count(&self.tenant);
        let index = gyre_ring::ShardIndex(count.index_of(SeriesKey(key)));
        let mut asked: Vec<Span> =
            self.spans.iter().filter(|span| span.overlaps(count, index)).cloned().collect();
        for span in &mut asked {
            let rank = |replica: &Replica| prefer.iter().position(|node| *node == replica.node);
            span.replicas.sort_by_key(|replica| rank(replica).unwrap_or(usize::MAX));
        }
        let mut requests = Vec::new();
        let read = ShardRead::new(&asked, self.rules, &mut requests);
        let mut op = ReadOp {
            began_us,
            deadline_us,
            key,
            prefer,
            read,
            outstanding: Vec::new(),
            slow: BTreeSet::new(),
            data: BTreeMap::new(),
            asked,
        };
        self.send_read(number, &mut op, requests, effects);
        effects.push(Effect::Wake(number, PATIENCE_US));
        self.ops.insert(number, Op::Read(op));
    }

    fn send_read(&self, number: u64, op: &mut ReadOp, requests: Vec<ReadRequest>, effects: &mut Vec<Effect>) {
        for request in requests {
            let (segment, replica, body) = match request {
                ReadRequest::Vector { segment, replica } => (segment, replica, Body::AskVector),
                ReadRequest::Data { segment, replica, as_of, holder } => {
                    (segment, replica, Body::AskData(as_of, holder))
                }
            };
            op.outstanding.push((segment.clone(), replica.clone()));
            self.send(number, segment, replica, body, effects);
        }
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
            Op::Read(op) => self.read_answered(message, op, rng, effects),
        }
    }

    fn write_answered(&mut self, message: Message, mut op: WriteOp, effects: &mut Vec<Effect>) {
        let number = message.op;
        let is_current = |id: &BatchId| *id == op.batch.id && message.segment == op.segment;
        let state = match &message.body {
            Body::Acked(id) if is_current(id) => op.quorum.acked(&message.replica),
            Body::Refused(id, refusal) if is_current(id) => {
                if *refusal == Refusal::Sealed {
                    self.learn(&message.documents, message.documents.len(), effects);
                }
                op.quorum.failed(&message.replica)
            }
            Body::NotMember if message.segment == op.segment => op.quorum.failed(&message.replica),
            _ => op.quorum.state(),
        };
        if state == WriteState::Durable {
            let WriteOp { points, segment, batch, .. } = op;
            return effects.push(Effect::Finished(Finished::Acked { points, segment, batch: batch.id }));
        }
        self.ops.insert(number, Op::Write(op));
        if matches!(message.body, Body::Refused(_, Refusal::Sealed)) {
            self.renew_write(number, effects);
        }
    }

    /// Goes to a newer segment if there is one (rule 8: with a new name, and no acks).
    fn renew_write(&mut self, number: u64, effects: &mut Vec<Effect>) -> bool {
        let Some(Op::Write(mut op)) = self.ops.remove(&number) else { return false };
        let newest = self.newest_span(&op.points).cloned();
        let renewed = match newest {
            Some(span) if span.segment != op.segment => {
                op.quorum = op.quorum.again(span.replicas.clone());
                op.batch = self.name(&span.segment, &op.points);
                op.segment = span.segment;
                self.send_write(number, &op, effects);
                true
            }
            _ => false,
        };
        if op.quorum.state() == WriteState::Durable {
            let WriteOp { points, segment, batch, .. } = op;
            effects.push(Effect::Finished(Finished::Acked { points, segment, batch: batch.id }));
            return true;
        }
        self.ops.insert(number, Op::Write(op));
        renewed
    }

    fn read_answered(&mut self, message: Message, mut op: ReadOp, rng: &mut Rng, effects: &mut Vec<Effect>) {
        let (number, segment, from) = (message.op, &message.segment, &message.replica);
        let mut requests = Vec::new();
        op.outstanding.retain(|(s, r)| s != segment || r != from);
        match message.body {
            Body::Vector(held, sealed) => {
                op.read.on_vector(segment, from, VectorReply { held, sealed }, &mut requests);
            }
            Body::Data(data, sealed) => {
                let as_of = data.is_some();
                if let Some(data) = data {
                    op.data.insert(segment.clone(), data);
                }
                op.read.on_data(segment, from, DataReply { as_of, sealed }, &mut requests);
            }
            _ => op.read.on_failure(segment, from, &mut requests),
        }
        self.send_read(number, &mut op, requests, effects);
        if op.read.outcome() == Some(&ReadOutcome::Stale) {
            self.learn(&message.documents, message.documents.len(), effects);
            effects.push(Effect::Fetch);
        }
        self.go_on_reading(number, op, rng, effects);
    }

    fn go_on_reading(&mut self, number: u64, op: ReadOp, rng: &mut Rng, effects: &mut Vec<Effect>) {
        match op.read.outcome() {
            None => {
                self.ops.insert(number, Op::Read(op));
            }
            Some(ReadOutcome::Complete(chosen)) => {
                let newest = op.asked.iter().filter(|span| span.ended.is_none());
                let bits =
                    newest.map(|span| span.segment.shard.count.get().trailing_zeros()).max().unwrap_or(0);
                let data = chosen.keys().filter_map(|segment| op.data.get(segment));
                let points = merge(data.map(Arc::as_ref), |key| same_shard(key, op.key, bits));
                let (began_us, key) = (op.began_us, op.key);
                effects.push(Effect::Finished(Finished::Read { began_us, key, bits, points }));
            }
            Some(ReadOutcome::Stale | ReadOutcome::Unavailable(_)) => {
                // Again after a while, with documents that may be newer, asking others first.
                let mut prefer = op.prefer.clone();
                rng.shuffle(&mut prefer);
                self.ops.insert(number, Op::Read(ReadOp { prefer, ..op }));
                effects.push(Effect::Wake(number, 50_000));
            }
        }
    }

    /// It is time to look at an operation again.
    pub fn wake(&mut self, now_us: u64, number: u64, rng: &mut Rng, effects: &mut Vec<Effect>) {
        let Some(op) = self.ops.remove(&number) else { return };
        match op {
            Op::Write(op) => {
                if now_us >= op.deadline_us {
                    return effects.push(Effect::Finished(Finished::WriteFailed));
                }
                self.ops.insert(number, Op::Write(op.clone()));
                if !self.renew_write(number, effects) && self.ops.contains_key(&number) {
                    self.send_write(number, &op, effects);
                }
            }
            Op::Read(mut op) => {
                if now_us >= op.deadline_us {
                    return effects.push(Effect::Finished(Finished::ReadFailed));
                }
                if op.read.outcome().is_some() {
                    return self.begin_read(op.began_us, op.deadline_us, op.key, op.prefer, effects);
                }
                let mut requests = Vec::new();
                // Slow at first, then given up.
                for (segment, replica) in std::mem::take(&mut op.outstanding) {
                    if op.slow.insert((segment.clone(), replica.clone())) {
                        op.read.on_slow(&segment, &replica, &mut requests);
                        op.outstanding.push((segment, replica));
                    } else {
                        op.read.on_failure(&segment, &replica, &mut requests);
                    }
                }
                self.send_read(number, &mut op, requests, effects);
                effects.push(Effect::Wake(number, PATIENCE_US));
                self.go_on_reading(number, op, rng, effects);
            }
        }
    }
}
