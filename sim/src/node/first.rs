//! The first replica's part of a write: it admits the points, numbers what is left as a batch, and sees to it that a
//! quorum has the batch on disk before anybody is told so. And what the other replicas do with it.

use std::sync::Arc;

use gyre_protocol::{Append, QuorumWrite, Refusal, WriteState};
use gyre_ring::{BatchId, BatchNumber, NodeId, Segment};

use super::{Effect, Node, answer, local};
use crate::client::{Op, PATIENCE_US};
use crate::message::{Batch, Body, Message, Points, Written};
use crate::rng::Rng;
use crate::series::Samples;

/// Rounds of asking after which a write has failed.
const ROUNDS_MAX: u32 = 20;

/// A write of which this node is the first replica.
#[derive(Clone, Debug)]
pub struct FirstOp {
    /// Who sent it, and what.
    asked: (NodeId, Message),
    points: Arc<Points>,
    segment: Segment,
    /// `None`: the segment is not open here yet.
    batch: Option<Arc<Batch>>,
    quorum: QuorumWrite,
    rounds: u32,
}

impl Node {
    /// A client's points have come, from the node that the client talks to.
    pub(super) fn begin_first(
        &mut self,
        from: NodeId,
        message: Message,
        points: Arc<Points>,
        effects: &mut Vec<Effect>,
    ) {
        let segment = message.segment.clone();
        let Some(span) = self.span(&segment) else { return };
        let quorum = QuorumWrite::new(span.replicas.clone(), self.rules);
        let op = FirstOp { asked: (from, message), points, segment, batch: None, quorum, rounds: 0 };
        let number = self.number();
        self.admit(number, op, effects);
    }

    /// Admits the points if the segment is open here.
    fn admit(&mut self, number: u64, mut op: FirstOp, effects: &mut Vec<Effect>) {
        if self.span(&op.segment).is_none() {
            // It is closed by now.
            return self.answer_first(&op, Body::NotWritten, effects);
        }
        let (boot, replica) = (self.boot(), self.own_name(&op.segment));
        let local = local(&mut self.segments, &op.segment, &self.rules);
        let may_wait = local.replica.is_inactive() && self.rules.activation;
        if may_wait {
            self.ask_to_open(&op.segment.clone(), effects);
            return self.keep(number, op, effects);
        }
        if !local.replica.is_open() && !local.replica.is_inactive() {
            return self.answer_first(&op, Body::NotWritten, effects);
        }
        let (disk, catalog) = (self.lane.disk(), &self.catalog);
        let samples = local.samples.get_or_insert_with(|| Samples::new(disk, catalog.clone()));
        let admitted = samples.admit(&op.points, self.lane.encoder());
        if admitted.is_empty() {
            // All of these times are taken, so no series was made and nothing is to be logged.
            return self.answer_first(&op, Body::Written(None), effects);
        }
        let next = self.next_number.entry(op.segment.clone()).or_default();
        *next += 1;
        let id = BatchId { boot, number: BatchNumber(*next) };
        let batch = Arc::new(Batch { id, points: admitted });
        let request = Message { segment: op.segment.clone(), replica, op: number, ..op.asked.1.clone() };
        local.note(id, &batch.points, &self.driver);
        match local.replica.append(id) {
            Append::Take => {
                self.lane.finish(&op.segment, batch.clone());
                effects.push(Effect::Sync);
                let own = self.id.clone();
                if self.rules.ack_after_fsync {
                    local.append_waiters.entry(id).or_default().push((own, request));
                } else {
                    effects.push(answer(&self.documents, own, &request, Body::Acked(id)));
                }
            }
            // The number was used before, which happens only if runs have no names.
            _ => {
                self.lane.encoder().abandon_batch();
                effects.push(answer(&self.documents, self.id.clone(), &request, Body::Acked(id)));
            }
        }
        op.batch = Some(batch);
        self.replicate(number, &op, effects);
        self.keep(number, op, effects);
    }

    /// The replica as which this node is listed.
    fn own_name(&self, segment: &Segment) -> gyre_ring::Replica {
        let listed = self.span(segment).and_then(|span| span.replicas.iter().find(|r| r.node == self.id));
        listed.cloned().unwrap_or_else(|| self.replica())
    }

    fn keep(&mut self, number: u64, op: FirstOp, effects: &mut Vec<Effect>) {
        self.ops.insert(number, Op::First(Box::new(op)));
        effects.push(Effect::Wake(number, PATIENCE_US));
    }

    /// Sends the batch to the other replicas that have not acknowledged it.
    fn replicate(&self, number: u64, op: &FirstOp, effects: &mut Vec<Effect>) {
        let Some(batch) = &op.batch else { return };
        for replica in op.quorum.outstanding().filter(|replica| replica.node != self.id) {
            self.send(number, op.segment.clone(), replica.clone(), Body::Append(batch.clone()), effects);
        }
    }

    fn answer_first(&self, op: &FirstOp, body: Body, effects: &mut Vec<Effect>) {
        effects.push(answer(&self.documents, op.asked.0.clone(), &op.asked.1, body));
    }

    fn answer_written(&self, op: &FirstOp, effects: &mut Vec<Effect>) {
        let written = op.batch.clone().map(|batch| Written { batch, segment: op.segment.clone() });
        self.answer_first(op, Body::Written(written), effects);
    }

    /// A replica has said something about the batch.
    pub(crate) fn first_answered(&mut self, message: Message, mut op: FirstOp, effects: &mut Vec<Effect>) {
        let id = op.batch.as_ref().map(|batch| batch.id);
        let is_current = message.segment == op.segment;
        let state = match &message.body {
            Body::Acked(acked) if is_current && Some(*acked) == id => op.quorum.acked(&message.replica),
            Body::Refused(refused, refusal) if is_current && Some(*refused) == id => {
                let state = op.quorum.failed(&message.replica);
                if *refusal == Refusal::Sealed && state != WriteState::Durable {
                    self.learn(&message.documents, message.documents.len(), effects);
                    return self.move_on(message.op, op, effects);
                }
                state
            }
            Body::NotMember if is_current => op.quorum.failed(&message.replica),
            _ => op.quorum.state(),
        };
        if state == WriteState::Durable {
            return self.answer_written(&op, effects);
        }
        self.ops.insert(message.op, Op::First(Box::new(op)));
    }

    /// The segment has ended: the points go to the next one (rule 8: with a new name, and no acks).
    fn move_on(&mut self, number: u64, mut op: FirstOp, effects: &mut Vec<Effect>) {
        let own = self.replica();
        let next = self.newest_span(&op.points).filter(|span| span.segment != op.segment);
        let Some(next) = next.filter(|span| span.replicas.contains(&own)).cloned() else {
            return self.answer_first(&op, Body::NotWritten, effects);
        };
        op.quorum = op.quorum.again(next.replicas.clone());
        if op.quorum.state() == WriteState::Durable {
            return self.answer_written(&op, effects);
        }
        op.segment = next.segment;
        op.batch = None;
        if self.is_damaged(&op.segment) {
            return self.answer_first(&op, Body::NotWritten, effects);
        }
        self.admit(number, op, effects);
    }

    /// It is time to ask again.
    pub(crate) fn wake_first(&mut self, number: u64, mut op: FirstOp, effects: &mut Vec<Effect>) {
        op.rounds += 1;
        if op.rounds > ROUNDS_MAX {
            return self.answer_first(&op, Body::NotWritten, effects);
        }
        if op.batch.is_none() {
            return self.admit(number, op, effects);
        }
        self.replicate(number, &op, effects);
        self.keep(number, op, effects);
    }

    /// A batch has come from its first replica.
    pub(super) fn append(
        &mut self,
        from: NodeId,
        message: Message,
        batch: Arc<Batch>,
        rng: &mut Rng,
        effects: &mut Vec<Effect>,
    ) {
        let (segment, id) = (message.segment.clone(), batch.id);
        let local = local(&mut self.segments, &segment, &self.rules);
        match local.replica.append(id) {
            Append::Take => {
                if self.rules.ack_after_fsync {
                    local.append_waiters.entry(id).or_default().push((from, message));
                } else {
                    effects.push(answer(&self.documents, from, &message, Body::Acked(id)));
                }
                let batch = if self.rules.batch_is_whole { batch } else { Arc::new(some_of(&batch, rng)) };
                self.log(&segment, batch, effects);
            }
            Append::Wait => local.append_waiters.entry(id).or_default().push((from, message)),
            Append::Held => effects.push(answer(&self.documents, from, &message, Body::Acked(id))),
            Append::Refuse(refusal) => {
                effects.push(answer(&self.documents, from, &message, Body::Refused(id, refusal)));
                if refusal == Refusal::NotActive {
                    self.ask_to_open(&segment, effects);
                }
            }
        }
    }
}

/// A part of a batch: what a replica keeps that judges sample by sample.
fn some_of(batch: &Batch, rng: &mut Rng) -> Batch {
    let points = batch.points.iter().filter(|_| rng.chance(700)).map(|(point, value)| (*point, *value));
    Batch { id: batch.id, points: points.collect() }
}
