//! A client's read: of every segment of the shard that may hold something, one replica's data.
//!
//! As in the node: segments that are known to be empty are left out, and of those that have lost too many replicas what
//! is left is read, with a warning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gyre_protocol::{DataReply, ReadOutcome, ReadRequest, ShardRead, VectorReply};
use gyre_ring::{NodeId, Replica, Segment, SeriesKey, ShardIndex, Span};

use super::{Finished, Op, PATIENCE_US};
use crate::message::{Answer, Body, Message};
use crate::node::{Effect, Node};
use crate::rng::Rng;
use crate::series::wins;

/// A read under way: all series whose keys have these top bits.
#[derive(Clone, Debug)]
pub struct ReadOp {
    began_us: u64,
    /// When this attempt began.
    tried_us: u64,
    deadline_us: u64,
    key: u128,
    bits: u32,
    prefer: Vec<NodeId>,
    read: ShardRead,
    outstanding: Vec<(Segment, Replica)>,
    /// Of those, the ones that have let time pass.
    slow: BTreeSet<(Segment, Replica)>,
    data: BTreeMap<Segment, Arc<Answer>>,
    asked: Vec<Span>,
    warned: Vec<Segment>,
}

/// Whether two keys agree in their top bits.
pub fn same_shard(a: u128, b: u128, bits: u32) -> bool {
    bits == 0 || a >> (128 - bits) == b >> (128 - bits)
}

/// Points of several segments as one answer; of two values for one point the winner stays.
fn merge<'a>(data: impl Iterator<Item = &'a Answer>, is_asked: impl Fn(u128) -> bool) -> Answer {
    let mut answer: Answer = data.flatten().filter(|(point, _)| is_asked(point.0)).copied().collect();
    answer.sort_by_key(|(point, _)| *point);
    answer.dedup_by(|later, kept| {
        let is_same = later.0 == kept.0;
        if is_same && wins(later.1, kept.1) {
            kept.1 = later.1;
        }
        is_same
    });
    answer
}

impl Node {
    /// A client reads all series of the shard that a key belongs to.
    pub fn read(
        &mut self,
        now_us: u64,
        key: u128,
        patience_us: u64,
        prefer: Vec<NodeId>,
        effects: &mut Vec<Effect>,
    ) {
        self.begin_read(now_us, (now_us, now_us + patience_us), key, prefer, effects);
    }

    fn begin_read(
        &mut self,
        now_us: u64,
        (began_us, deadline_us): (u64, u64),
        key: u128,
        prefer: Vec<NodeId>,
        effects: &mut Vec<Effect>,
    ) {
        let number = self.number();
        let Some(document) = self.documents.last() else {
            return effects.push(Effect::Finished(Finished::ReadFailed));
        };
        let count = document.shard_count(&self.tenant);
        let index = ShardIndex(count.index_of(SeriesKey(key)));
        let all = self.spans.iter().filter(|span| span.overlaps(count, index));
        let newest = all.clone().filter(|span| span.ended.is_none());
        let bits = newest.map(|span| span.segment.shard.count.get().trailing_zeros()).max().unwrap_or(0);
        let full: Vec<Span> = { all }
            .filter(|span| !self.empty.contains(&span.segment) && !self.is_settled_empty(span))
            .cloned()
            .collect();
        let (mut asked, losses) = self.disks.readable(&full);
        for span in &mut asked {
            let rank = |replica: &Replica| prefer.iter().position(|node| *node == replica.node);
            span.replicas.sort_by_key(|replica| rank(replica).unwrap_or(usize::MAX));
        }
        let mut requests = Vec::new();
        let read = ShardRead::new(&asked, self.rules, &mut requests);
        let mut op = ReadOp {
            began_us,
            tried_us: now_us,
            deadline_us,
            key,
            bits,
            prefer,
            read,
            outstanding: Vec::new(),
            slow: BTreeSet::new(),
            data: BTreeMap::new(),
            asked,
            warned: losses.into_iter().map(|loss| loss.segment).collect(),
        };
        self.send_read(number, &mut op, requests, effects);
        effects.push(Effect::Wake(number, PATIENCE_US));
        self.ops.insert(number, Op::Read(Box::new(op)));
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

    pub(super) fn read_answered(
        &mut self,
        message: Message,
        mut op: Box<ReadOp>,
        rng: &mut Rng,
        effects: &mut Vec<Effect>,
    ) {
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

    fn go_on_reading(&mut self, number: u64, mut op: Box<ReadOp>, rng: &mut Rng, effects: &mut Vec<Effect>) {
        match op.read.outcome() {
            None => {
                self.ops.insert(number, Op::Read(op));
            }
            Some(ReadOutcome::Complete(chosen)) => {
                let data = chosen.keys().filter_map(|segment| op.data.get(segment));
                let points = merge(data.map(Arc::as_ref), |key| same_shard(key, op.key, op.bits));
                self.look_for_empty(op.tried_us, &op.asked, effects);
                let (began_us, key, bits, warned) = (op.began_us, op.key, op.bits, op.warned);
                effects.push(Effect::Finished(Finished::Read { began_us, key, bits, warned, points }));
            }
            Some(ReadOutcome::Stale | ReadOutcome::Unavailable(_)) => {
                // Again after a while, with documents that may be newer, asking others first.
                rng.shuffle(&mut op.prefer);
                self.ops.insert(number, Op::Read(op));
                effects.push(Effect::Wake(number, 50_000));
            }
        }
    }

    pub(super) fn wake_read(
        &mut self,
        now_us: u64,
        number: u64,
        mut op: Box<ReadOp>,
        rng: &mut Rng,
        effects: &mut Vec<Effect>,
    ) {
        if now_us >= op.deadline_us {
            return effects.push(Effect::Finished(Finished::ReadFailed));
        }
        if op.read.outcome().is_some() {
            let times = (op.began_us, op.deadline_us);
            return self.begin_read(now_us, times, op.key, op.prefer, effects);
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
