//! What a node says once for all of ended segments (ADR 11), and what others make of it.

use std::collections::BTreeSet;

use gyre_protocol::{EmptyCheck, Said, VectorReply};
use gyre_ring::{BatchSet, Epoch, NodeId, Replica, Span};

use super::{Effect, Local, Node, answer};
use crate::message::{Body, Message};

impl Node {
    /// Asks all other nodes that there are or were, unless they have said enough.
    pub(super) fn ask_to_settle(&mut self, effects: &mut Vec<Effect>) {
        let (own, epoch) = (self.replica(), Epoch(self.documents.len() as u64));
        let closed = self.chain.closed_through();
        let documents = self.documents.iter().filter(|document| document.epoch >= closed);
        let members = documents.flat_map(|document| &document.members);
        let others: BTreeSet<Replica> = members.map(|member| member.replica()).collect();
        let Some(segment) = self.spans.last().map(|span| span.segment.clone()) else { return };
        for replica in others.into_iter().filter(|replica| replica.node != own.node) {
            let is_known = self.settled.epoch_of(&replica).is_some_and(|known| known >= epoch);
            if !is_known || self.settled.clear_of(&replica) < self.to_close {
                self.send(0, segment.clone(), replica, Body::AskSettled, effects);
            }
        }
    }

    /// Says what it does not hold, unless it may have forgotten what it held.
    pub(super) fn settle_for(&mut self, from: NodeId, message: Message, effects: &mut Vec<Effect>) {
        let is_meant = message.replica == self.replica() || !self.rules.settled_by_disk;
        if !is_meant || !self.damaged.is_empty() {
            return;
        }
        if self.rules.settled_when_durable {
            self.durable_epochs = self.durable_epochs.max(self.documents.len());
        }
        let hosts = |span: &&Span| {
            let local = self.segments.get(&span.segment);
            let is_one = |local: &Local| local.replica.is_open() || !local.replica.logged().is_empty();
            span.ended.is_some() && local.is_some_and(is_one)
        };
        let hosted = self.spans.iter().filter(hosts).map(|span| span.segment.clone());
        let hosted = if self.rules.settled_names_hosted { hosted.collect() } else { BTreeSet::new() };
        let (epoch, closed) = (Epoch(self.documents.len() as u64), self.chain.closed_through());
        let said = Said { epoch, hosted, clear: self.clear(), closed };
        effects.push(answer(&self.documents, from, &message, Body::Settled(said)));
    }

    /// Whether an ended segment is known to hold nothing, by what its replicas have said for good.
    pub(crate) fn is_settled_empty(&self, span: &Span) -> bool {
        let mut check = EmptyCheck::new(span, self.rules);
        for replica in span.replicas.iter().filter(|replica| self.settled.covers(replica, span)) {
            check.on_vector(replica, &VectorReply { held: BatchSet::default(), sealed: true });
        }
        span.ended.is_some() && check.is_empty()
    }
}
