//! Closing (ADR 15): through which epoch a node is clear, what it finds that can be closed, and what it does when a document
//! says so.

use gyre_protocol::closable;
use gyre_ring::{Epoch, Replica, Segment};

use super::{Effect, Local, Node};
use crate::message::Documents;

impl Node {
    /// Through which epoch it is clear.
    pub(super) fn clear(&self) -> Epoch {
        let mut clear = Epoch(self.documents.len() as u64);
        for span in &self.spans {
            let (Some(ended), Some(local)) = (span.ended, self.segments.get(&span.segment)) else { continue };
            if !self.is_clear(local) {
                clear = clear.min(Epoch(ended.0 - 1));
            }
        }
        clear
    }

    fn is_clear(&self, local: &Local) -> bool {
        // One that nothing was ever taken for, and nothing will be since it has ended, need not be sealed.
        let is_unused = local.replica.is_inactive() && local.replica.logged().is_empty();
        let is_sealed = local.replica.is_sealed() || is_unused || !self.rules.clear_when_sealed;
        let is_covered = local.windows.is_empty() || !self.rules.clear_when_covered;
        is_sealed && is_covered
    }

    /// The epoch through which segments can be closed and are not, as far as this node knows.
    pub fn closable(&mut self) -> Option<Epoch> {
        self.to_close?;
        if self.rules.settled_when_durable {
            // Its own word counts like that of others.
            self.durable_epochs = self.durable_epochs.max(self.documents.len());
        }
        let (own, own_clear) = (self.replica(), self.clear());
        let clear = |replica: &Replica| match *replica == own {
            true => self.damaged.is_empty().then_some(own_clear),
            false => self.settled.clear_of(replica),
        };
        let through = closable(&self.chain, &self.disks, &clear, &self.rules);
        (through > self.chain.closed_through()).then_some(through)
    }

    /// Whether nothing that has ended is left to be closed, as far as this node knows.
    pub fn has_closed_all(&self) -> bool {
        self.to_close.is_none()
    }

    /// Drops what its documents have closed.
    pub(super) fn drop_closed(&mut self, effects: &mut Vec<Effect>) {
        if self.driver.closed_is_durable {
            self.durable_epochs = self.documents.len();
        }
        let is_closed = |segment: &&Segment| self.chain.is_closed(segment);
        let closed: Vec<Segment> = self.segments.keys().filter(is_closed).cloned().collect();
        for segment in closed {
            self.segments.remove(&segment);
            self.released.remove(&segment);
            self.dropped.remove(&segment);
            self.shelf.close(&segment);
            self.lane.safe.close(&segment);
            self.dropped_segments += 1;
            effects.push(Effect::Dropped);
        }
        // What opening a segment takes has changed: evidence is gathered anew for those before it that are left.
        for local in self.segments.values_mut() {
            local.activation = None;
        }
    }

    /// Who refuses what is closed sends the documents along that say so.
    pub(super) fn hear_of_closing(&mut self, documents: &Documents, effects: &mut Vec<Effect>) {
        let closed = documents.last().map(|document| document.closed_through);
        if closed > Some(self.chain.closed_through()) {
            self.learn(documents, documents.len(), effects);
        }
    }
}
