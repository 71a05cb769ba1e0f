//! What a node does with a message: who is meant, and what is asked.

use gyre_protocol::membership::is_meant;
use gyre_ring::{NodeId, Segment};

use super::{EMPTY, Effect, Node, REPAIR, answer, local};
use crate::message::{Body, Message};
use crate::rng::Rng;

impl Node {
    /// A message has arrived.
    pub fn receive(&mut self, from: NodeId, message: Message, rng: &mut Rng, effects: &mut Vec<Effect>) {
        if message.body.is_answer() {
            return self.receive_answer(from, message, rng, effects);
        }
        // A request for a segment that is not known yet brings the documents that made it; a seal brings those that
        // ended it.
        let needed = match message.body {
            Body::Seal | Body::AskSettled => message.documents.len(),
            _ => message.segment.epoch.0 as usize,
        };
        self.learn(&message.documents.clone(), needed, effects);
        let segment = message.segment.clone();
        let meant = is_meant(&self.replica(), &message.replica, self.has_copied_all(&segment), &self.rules);
        if matches!(message.body, Body::AskSettled) {
            return self.settle_for(from, message, effects);
        }
        let span = self.span(&segment).filter(|span| span.replicas.contains(&message.replica));
        let has_ended_among_others = span.is_some_and(|span| span.ended.is_some() && span.replicas.len() > 1);
        let member = span.is_some();
        if meant && has_ended_among_others && self.is_damaged(&segment) && matches!(message.body, Body::Seal)
        {
            // It acknowledges nothing of it any more, which is all that a seal promises.
            effects.push(answer(&self.documents, from, &message, Body::Sealed));
            return;
        }
        if !meant || !member || self.is_damaged(&segment) {
            effects.push(answer(&self.documents, from, &message, Body::NotMember));
            return;
        }
        match message.body.clone() {
            Body::Write(points) => self.begin_first(from, message, points, effects),
            Body::Append(batch) => self.append(from, message, batch, rng, effects),
            Body::AskVector => {
                let local = self.segments.get(&segment);
                let held = local.map(|local| self.vector(local)).unwrap_or_default();
                let sealed = local.is_some_and(|local| local.replica.is_sealed());
                effects.push(answer(&self.documents, from, &message, Body::Vector(held, sealed)));
            }
            Body::AskData(as_of, holder) => self.ask_data(from, message, as_of, holder, effects),
            Body::Seal => {
                self.begin_seal(&segment, effects);
                let local = local(&mut self.segments, &segment, &self.rules);
                if local.replica.is_sealed() {
                    effects.push(answer(&self.documents, from, &message, Body::Sealed));
                } else {
                    local.seal_waiters.push((from, message));
                }
            }
            Body::Pull(wanted) => {
                let (given, named) = self.give(&segment, &wanted, rng);
                effects.push(answer(&self.documents, from, &message, Body::Pulled(given, named)));
            }
            _ => {}
        }
    }

    fn receive_answer(&mut self, from: NodeId, message: Message, rng: &mut Rng, effects: &mut Vec<Effect>) {
        if matches!(message.body, Body::NotMember) {
            self.hear_of_closing(&message.documents, effects);
        }
        match &message.body {
            Body::Sealed => self.note_seal(&message.segment, &message.replica),
            Body::Settled(said) => self.settled.note(message.replica.clone(), said.clone()),
            Body::Pulled(batches, named) => {
                // To whom asked: a call does not outlive a restart, which may have lost what was not asked for.
                if message.op == self.runs {
                    self.note_named(&message.segment, named);
                    self.pulled(&message.segment, batches.clone(), effects);
                }
            }
            Body::Vector(held, _) if message.op == REPAIR => self.compared(&message, held, effects),
            Body::Vector(held, sealed) if message.op == EMPTY => {
                self.note_vector(&message.segment, &message.replica, held, *sealed);
            }
            _ => self.operate(from, message, rng, effects),
        }
    }

    /// Whether it has compared a segment with all of its other replicas since it started.
    fn has_copied_all(&self, segment: &Segment) -> bool {
        let (Some(span), Some(local)) = (self.span(segment), self.segments.get(segment)) else {
            return false;
        };
        span.replicas.iter().all(|replica| replica.node == self.id || local.compared.contains(&replica.node))
    }
}
