//! The object store's side of blocks, closing, and nodes that are not needed any more.

use gyre_ring::Epoch;

use super::{Cluster, Event};
use crate::checks::Violation;
use crate::node::{Answered, Request};

impl Cluster {
    pub(super) fn store_delay(&mut self) -> u64 {
        let slow = !self.healed && self.rng.chance(self.swarm.slow);
        self.rng.range(1_000, if slow { self.swarm.slow_us_max.max(20_000) } else { 20_000 })
    }

    /// A request has reached the store: it fails before anything is done, or after, or succeeds.
    pub(super) fn at_store(&mut self, node: usize, run: u64, request: Request) {
        let mut answered = Answered::Failed;
        if !self.rng.chance(self.swarm.store_fails) {
            answered = match request.put.clone() {
                Some(block) => {
                    self.store.put(block);
                    Answered::Put
                }
                None => Answered::Listed(self.store.listing()),
            };
        }
        if self.rng.chance(self.swarm.store_fails / 2) {
            answered = Answered::Failed;
        }
        let delay = self.store_delay();
        self.schedule(delay, Event::StoreAnswered { node, run, request, answered });
    }

    /// After something was dropped: now and then it is looked whether all that was acknowledged is still somewhere.
    pub(super) fn look_at_drops(&mut self) -> Result<(), Violation> {
        if std::mem::take(&mut self.has_dropped) && self.rng.chance(30) {
            return self.acked_is_somewhere();
        }
        Ok(())
    }

    /// A node has segments closed, if it finds that they can be.
    pub(super) fn close(&mut self, node: usize) {
        if !self.is_awake(node) {
            return;
        }
        let Some(through) = self.nodes[node].closable() else { return };
        let Some(known) = self.nodes[node].documents.last().cloned() else { return };
        let proposer = self.proposer(node);
        if known.member(&self.nodes[node].id).is_some()
            && let Ok(next) = known.next_with_closed(proposer, through)
        {
            self.propose(node, next);
            self.fetch(node);
        }
    }

    /// Documents that closed segments.
    pub(super) fn closings(&self) -> u64 {
        let closed = |epoch: u64| self.store.get(epoch).map(|document| document.closed_through);
        (2..=self.store.newest()).filter(|epoch| closed(*epoch) > closed(epoch - 1)).count() as u64
    }

    /// A node that has left, and all whose segments are closed, may be switched off for good.
    pub(super) fn switch_off(&mut self) {
        for node in 0..self.nodes.len() {
            if !self.off[node] && self.is_drained(node) && self.rng.chance(300) {
                self.crash(node);
                self.nodes[node].stop();
                self.off[node] = true;
                self.report.switched_off += 1;
            }
        }
    }

    fn is_drained(&self, node: usize) -> bool {
        let documents = self.documents();
        let (id, newest) = (&self.nodes[node].id, documents.last());
        let lists = documents.iter().rev().find(|document| document.member(id).is_some());
        let (Some(newest), Some(last)) = (newest, lists) else { return false };
        newest.closed_through > Epoch(last.epoch.0) && !self.homeless.contains(&node)
    }
}
