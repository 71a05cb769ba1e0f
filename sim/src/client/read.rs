//! A client's read: of every segment of the shard that may hold something, one replica's data.
//!
//! What blocks hold comes on top, by the list that the node has. A replica that has dropped something names the blocks that
//! have it; if the list lacks one, it is fetched anew and the read begins again, and so it does if a block was removed.
//!
//! As in the node: segments that are known to be empty are left out, and of those that have lost too many replicas what
//! is left is read, with a warning.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gyre_protocol::{DataReply, ReadOutcome, ReadRequest, ShardRead, VectorReply};
use gyre_ring::{NodeId, Replica, Segment, SeriesKey, ShardIndex, Span};

use super::{Finished, Op, PATIENCE_US};
use crate::blocks::{BlockId, Listing, concat, merge};
use crate::message::{Answer, Body, Message};
use crate::node::{Effect, Node, Purpose};
use crate::rng::Rng;

/// What a client has asked for.
#[derive(Clone, Debug)]
pub struct Asking {
    began_us: u64,
    deadline_us: u64,
    key: u128,
    prefer: Vec<NodeId>,
    /// Blocks that a replica has named and the list lacked.
    lacking: BTreeSet<BlockId>,
    /// Of those, the ones that a newer list lacks, too: they were removed.
    removed: BTreeSet<BlockId>,
    /// A newer list than one that was asked for by then is needed.
    newer_than_us: Option<u64>,
}

/// A read under way: all series whose keys have these top bits.
#[derive(Clone, Debug)]
pub struct ReadOp {
    asking: Asking,
    /// When this attempt began.
    tried_us: u64,
    bits: u32,
    list: Arc<Listing>,
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
        let (lacking, removed) = (BTreeSet::new(), BTreeSet::new());
        let (began_us, deadline_us) = (now_us, now_us + patience_us);
        let asking = Asking { began_us, deadline_us, key, prefer, lacking, removed, newer_than_us: None };
        if self.list_age_us().is_some_and(|age_us| age_us > self.list_fresh_us) {
            // The next reads will have a newer one.
            self.list_blocks(Purpose::Reads, effects);
        }
        self.begin_read(now_us, asking, effects);
    }

    /// Begins, if there is a list to go by; else asks for one.
    fn begin_read(&mut self, now_us: u64, mut asking: Asking, effects: &mut Vec<Effect>) {
        let number = self.number();
        let Some(list) = self.usable_list(asking.newer_than_us).cloned() else {
            self.list_blocks(Purpose::Op(number), effects);
            effects.push(Effect::Wake(number, PATIENCE_US));
            self.ops.insert(number, Op::List(Box::new(asking)));
            return;
        };
        asking.removed.extend(asking.lacking.iter().filter(|block| !list.has(**block)));
        asking.lacking.clear();
        let Some(document) = self.documents.last() else {
            return effects.push(Effect::Finished(Finished::ReadFailed));
        };
        let count = document.shard_count(&self.tenant);
        let index = ShardIndex(count.index_of(SeriesKey(asking.key)));
        let all = self.spans.iter().filter(|span| span.overlaps(count, index));
        let newest = all.clone().filter(|span| span.ended.is_none());
        let bits = newest.map(|span| span.segment.shard.count.get().trailing_zeros()).max().unwrap_or(0);
        let is_in_blocks = |span: &Span| {
            !self.driver.window_closes_nothing && span.ended.is_some() && list.has_some_of(&span.segment)
        };
        let full: Vec<Span> = { all }
            .filter(|span| !self.empty.contains(&span.segment) && !self.is_settled_empty(span))
            .filter(|span| !is_in_blocks(span))
            .cloned()
            .collect();
        let (mut asked, losses) = self.disks.readable(&full);
        for span in &mut asked {
            let rank = |replica: &Replica| asking.prefer.iter().position(|node| *node == replica.node);
            span.replicas.sort_by_key(|replica| rank(replica).unwrap_or(usize::MAX));
        }
        let mut requests = Vec::new();
        let read = ShardRead::new(&asked, self.rules, &mut requests);
        let mut op = ReadOp {
            asking,
            tried_us: now_us,
            bits,
            list,
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

    /// A list has come that a read waits for.
    pub(crate) fn list_came(&mut self, number: u64, effects: &mut Vec<Effect>) {
        if let Some(Op::List(asking)) = self.ops.get(&number)
            && self.usable_list(asking.newer_than_us).is_some()
        {
            let asking = asking.as_ref().clone();
            self.ops.remove(&number);
            self.begin_read(self.now_us, asking, effects);
        }
    }

    /// A list has not come so far.
    pub(super) fn wake_list(&mut self, now_us: u64, asking: Asking, effects: &mut Vec<Effect>) {
        if now_us >= asking.deadline_us {
            return effects.push(Effect::Finished(Finished::ReadFailed));
        }
        // Asks again, unless somebody else's list will do.
        self.begin_read(now_us, asking, effects);
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
            Body::Data(data, sealed, names) => {
                let as_of = data.is_some();
                let is_known = |block: &BlockId| op.list.has(*block) || op.asking.removed.contains(block);
                let lacking: BTreeSet<BlockId> = names.into_iter().filter(|block| !is_known(block)).collect();
                if as_of && !lacking.is_empty() && self.driver.released_is_checked {
                    op.asking.lacking.extend(lacking);
                    return self.read_by_newer_list(*op, effects);
                }
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

    /// The read begins again with a list that is asked for from now on.
    fn read_by_newer_list(&mut self, op: ReadOp, effects: &mut Vec<Effect>) {
        self.newer_lists += 1;
        let asking = Asking { newer_than_us: Some(self.now_us), ..op.asking };
        self.begin_read(self.now_us, asking, effects);
    }

    fn go_on_reading(&mut self, number: u64, mut op: Box<ReadOp>, rng: &mut Rng, effects: &mut Vec<Effect>) {
        match op.read.outcome() {
            None => {
                self.ops.insert(number, Op::Read(op));
            }
            Some(ReadOutcome::Complete(_)) if op.list.has_gone() && self.driver.gone_begins_again => {
                self.read_by_newer_list(*op, effects);
            }
            Some(ReadOutcome::Complete(chosen)) => {
                let heads = chosen.keys().filter_map(|segment| op.data.get(segment));
                let blocks = op.list.readable();
                let all = heads.map(Arc::as_ref).chain([blocks.as_ref()]);
                let is_asked = |key| same_shard(key, op.asking.key, op.bits);
                let points = match self.driver.blocks_are_merged {
                    true => merge(all, is_asked),
                    false => concat(all, is_asked),
                };
                self.look_for_empty(op.tried_us, &op.asked, effects);
                let Asking { began_us, key, .. } = op.asking;
                let (bits, warned) = (op.bits, op.warned);
                effects.push(Effect::Finished(Finished::Read { began_us, key, bits, warned, points }));
            }
            Some(ReadOutcome::Stale | ReadOutcome::Unavailable(_)) => {
                // Again after a while, with documents that may be newer, asking others first.
                rng.shuffle(&mut op.asking.prefer);
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
        if now_us >= op.asking.deadline_us {
            return effects.push(Effect::Finished(Finished::ReadFailed));
        }
        if op.read.outcome().is_some() {
            return self.begin_read(now_us, op.asking, effects);
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
