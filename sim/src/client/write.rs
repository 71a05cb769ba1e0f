//! A client's write: it goes to a replica of the open segment, to this node if it is one, and to another one if that does
//! not succeed.

use std::sync::Arc;

use gyre_ring::{NodeId, Replica};

use super::{Finished, Op, PATIENCE_US};
use crate::message::{Body, Message, Points};
use crate::node::{Effect, Node};

/// Pause before another replica is tried.
const PAUSE_US: u64 = 50_000;

/// How long the first replica may take: it waits for others.
const FIRST_US: u64 = 2 * PATIENCE_US;

/// A write under way.
#[derive(Clone, Debug)]
pub struct WriteOp {
    points: Arc<Points>,
    deadline_us: u64,
    /// Nodes that have been asked, in this round of asking.
    tried: Vec<NodeId>,
    /// Nobody is being asked.
    is_pausing: bool,
}

impl Node {
    /// A client writes points of one series.
    pub fn write(&mut self, now_us: u64, points: Points, patience_us: u64, effects: &mut Vec<Effect>) {
        let points = Arc::new(points);
        let op = WriteOp { points, deadline_us: now_us + patience_us, tried: Vec::new(), is_pausing: false };
        let number = self.number();
        self.pass_on(number, op, effects);
    }

    /// Sends the points to a replica.
    fn pass_on(&mut self, number: u64, mut op: WriteOp, effects: &mut Vec<Effect>) {
        let Some(span) = self.newest_span(&op.points).cloned() else {
            return effects.push(Effect::Finished(Finished::WriteFailed));
        };
        let is_new = |replica: &&Replica| !op.tried.contains(&replica.node);
        let own = span.replicas.iter().find(|replica| replica.node == self.id);
        let own = own.filter(|_| !self.is_damaged(&span.segment)).filter(is_new);
        let Some(first) = own.or_else(|| span.replicas.iter().find(is_new)).cloned() else {
            op.tried.clear();
            op.is_pausing = true;
            self.ops.insert(number, Op::Write(op));
            return effects.push(Effect::Wake(number, PAUSE_US));
        };
        op.tried.push(first.node.clone());
        op.is_pausing = false;
        self.send(number, span.segment, first, Body::Write(op.points.clone()), effects);
        self.ops.insert(number, Op::Write(op));
        effects.push(Effect::Wake(number, FIRST_US));
    }

    pub(super) fn write_answered(&mut self, message: Message, op: WriteOp, effects: &mut Vec<Effect>) {
        match message.body {
            Body::Written(Some(written)) => effects.push(Effect::Finished(Finished::Acked(written))),
            Body::Written(None) => effects.push(Effect::Finished(Finished::Refused)),
            _ => {
                self.learn(&message.documents, message.documents.len(), effects);
                // Its wake-up goes on; an answer that came late changes nothing.
                let asked = op.tried.last() == Some(&message.replica.node);
                if asked && !op.is_pausing {
                    let op = WriteOp { is_pausing: true, ..op };
                    self.ops.insert(message.op, Op::Write(op));
                    effects.push(Effect::Wake(message.op, PAUSE_US));
                } else {
                    self.ops.insert(message.op, Op::Write(op));
                }
            }
        }
    }

    pub(super) fn wake_write(&mut self, now_us: u64, number: u64, op: WriteOp, effects: &mut Vec<Effect>) {
        if now_us >= op.deadline_us {
            return effects.push(Effect::Finished(Finished::WriteFailed));
        }
        self.pass_on(number, op, effects);
    }
}
