//! Faults and changes: crashes, pauses, partitions, a lost disk, epochs.

use std::sync::Arc;

use gyre_ring::{BatchId, EpochDocument, Incarnation, Member, Quorum, Role, Segment, ShardCount, ShardIndex};

use super::{Cluster, Event, SECOND_US};
use crate::checks::{self, Violation};
use crate::disk::Record;
use crate::message::Documents;

/// When faults are over, so long is waited for everything to come to rest.
const REST_US: u64 = 60 * SECOND_US;

impl Cluster {
    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        if self.healed {
            return Ok(());
        }
        self.schedule(self.swarm.fault_every_us, Event::Fault);
        self.report.faults += 1;
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        match self.rng.below(10) {
            0..=2 => self.crash(node),
            3 => {
                // A power cut: all at once.
                for node in 0..self.nodes.len() {
                    self.crash(node);
                }
            }
            4..=5 => {
                self.nodes[node].paused_until_us = self.now_us + self.rng.range(50_000, 15 * SECOND_US);
            }
            6 => self.network.join(),
            7..=8 => self.network.partition(self.nodes.len(), &mut self.rng),
            _ => return self.lose_disk(node, None),
        }
        Ok(())
    }

    fn crash(&mut self, node: usize) {
        if self.nodes[node].up {
            self.nodes[node].disk.crash(&mut self.rng);
            self.nodes[node].stop();
            let soon = self.rng.chance(500);
            let down = self.rng.range(100_000, if soon { SECOND_US } else { 20 * SECOND_US });
            self.schedule(down, Event::Restart { node });
        }
    }

    /// Just acknowledged and on two disks only: the worst moment for one of them.
    pub(super) fn tempt(&mut self, segment: &Segment, batch: BatchId) -> Result<(), Violation> {
        if self.healed || !self.rng.chance(50) {
            return Ok(());
        }
        let holders: Vec<(usize, usize)> = (0..self.nodes.len())
            .filter_map(|node| Some((node, self.nodes[node].disk.find(segment, batch)?)))
            .collect();
        if holders.len() != 2 {
            return Ok(());
        }
        let (node, record) = *self.rng.pick(&holders);
        self.lose_disk(node, Some(record))
    }

    /// Acked by one replica, and on no other disk: if this one is lost now, the ack still counts.
    pub(super) fn tempt_early(&mut self, node: usize) -> Result<(), Violation> {
        if self.healed || !self.swarm.loses_disk || self.disk_lost || !self.rng.chance(200) {
            return Ok(());
        }
        let Some(Record::Batch(segment, batch)) = self.nodes[node].disk.safe().last() else { return Ok(()) };
        let holders = self.nodes.iter().filter(|node| node.disk.find(segment, batch.id).is_some()).count();
        if holders == 1 { self.lose_disk(node, None) } else { Ok(()) }
    }

    /// One node loses its disk, or finds a record in the middle of its log damaged: either way what it held is gone.
    fn lose_disk(&mut self, node: usize, record: Option<usize>) -> Result<(), Violation> {
        let is_member = self.documents().last().is_some_and(|d| d.member(&self.nodes[node].id).is_some());
        if !self.swarm.loses_disk || self.disk_lost || !is_member || self.now_us < 60 * SECOND_US {
            return Ok(());
        }
        self.disk_lost = true;
        let damaged = record.filter(|_| self.rng.chance(400));
        let disk = &self.nodes[node].disk;
        let lost = match damaged {
            Some(at) => &disk.safe()[at..=at],
            None => disk.safe(),
        };
        for record in lost {
            if let Record::Batch(segment, batch) = record {
                self.lost.insert((segment.clone(), batch.id));
            }
        }
        if let Some(at) = damaged {
            self.nodes[node].damage(at);
        }
        self.crash(node);
        if damaged.is_none() {
            self.nodes[node].lose_disk(Incarnation(1000 + node as u128));
            self.homeless = Some(node);
            self.schedule(SECOND_US, Event::Rejoin);
        }
        self.acked_is_somewhere()
    }

    /// The stored documents, all of them.
    pub(super) fn documents(&self) -> Documents {
        (1..=self.store.newest()).map_while(|epoch| self.store.get(epoch)).collect()
    }

    /// Some node proposes a change; sometimes two do at the same moment.
    pub(super) fn propose_something(&mut self) {
        if self.store.newest() >= self.swarm.epochs_max {
            return;
        }
        let proposers = if self.rng.chance(400) { 2 } else { 1 };
        let mut proposals = Vec::new();
        for _ in 0..proposers {
            let node = self.rng.below(self.nodes.len() as u64) as usize;
            if !self.nodes[node].up || self.nodes[node].paused_until_us > self.now_us {
                continue;
            }
            let Some(known) = self.nodes[node].documents.last().cloned() else { continue };
            if let Some(next) = self.some_change(node, &known) {
                proposals.push((node, next));
            }
        }
        for (node, next) in proposals {
            self.propose(node, next);
            self.fetch(node);
        }
    }

    fn propose(&mut self, _node: usize, document: EpochDocument) {
        self.proposed = self.proposed.max(document.epoch.0);
        self.store.create(Arc::new(document), &self.swarm, &self.rules, &mut self.rng);
    }

    fn some_change(&mut self, node: usize, known: &EpochDocument) -> Option<EpochDocument> {
        let proposer = self.proposer(node);
        let spare: Vec<usize> =
            (0..self.nodes.len()).filter(|n| known.member(&self.nodes[*n].id).is_none()).collect();
        let next = match self.rng.below(4) {
            0 if known.shard_count(&self.tenant).get() < 8 => {
                let count = ShardCount::new(known.shard_count(&self.tenant).get() * 2)?;
                known.next_with_shards(proposer, self.tenant.clone(), count).ok()?
            }
            1 if known.members.len() > 3 || (known.members.len() > 1 && !self.swarm.loses_disk) => {
                let leaves = self.rng.below(known.members.len() as u64) as usize;
                let mut members = known.members.clone();
                members.remove(leaves);
                known.next(proposer, members).ok()?
            }
            _ if !spare.is_empty() => {
                let joins = *self.rng.pick(&spare);
                let mut members = known.members.clone();
                members.push(self.member(joins));
                known.next(proposer, members).ok()?
            }
            _ => return None,
        };
        self.is_reachable(&next).then_some(next)
    }

    /// A change is proposed only if enough replicas of every shard would answer.
    fn is_reachable(&self, document: &EpochDocument) -> bool {
        let (placement, count) = (document.placement(Role::Write), document.shard_count(&self.tenant));
        let is_there = |member: &&Member| {
            let node = &self.nodes[self.number_of(&member.node)];
            node.up && node.paused_until_us <= self.now_us && node.incarnation == member.incarnation
        };
        (0..count.get()).map(ShardIndex).all(|index| {
            let replicas = placement.of(&self.tenant, count, index);
            let need = Quorum::of(replicas.len()).write;
            replicas.into_iter().filter(is_there).count() >= need
        })
    }

    /// A node with a new disk becomes a member again, under its new incarnation.
    pub(super) fn rejoin(&mut self) {
        let Some(node) = self.homeless else { return };
        let documents = self.documents();
        let Some(newest) = documents.last() else { return };
        let member = newest.member(&self.nodes[node].id);
        if member.is_none_or(|member| member.incarnation == self.nodes[node].incarnation) {
            self.homeless = None;
            return;
        }
        let mut members = newest.members.clone();
        members.retain(|member| member.node != self.nodes[node].id);
        members.push(self.member(node));
        let proposer = self.proposer(node);
        if let Ok(next) = newest.next(proposer, members)
            && self.is_reachable(&next)
        {
            self.propose(node, next);
            self.fetch(node);
        }
        self.schedule(3 * SECOND_US, Event::Rejoin);
    }

    pub(super) fn only_proposed(&self) -> Result<(), Violation> {
        checks::only_proposed_epochs(self.store.newest(), self.proposed).map_or(Ok(()), Err)
    }

    /// The end of all faults.
    pub(super) fn heal(&mut self) {
        (self.healed, self.healed_at_us) = (true, self.now_us);
        self.swarm.store_fails = 0;
        self.network.heal();
        for node in 0..self.nodes.len() {
            self.nodes[node].paused_until_us = 0;
            self.schedule(0, Event::Restart { node });
            self.schedule(SECOND_US, Event::Gossip { node });
        }
        self.schedule(REST_US - 10 * SECOND_US, Event::FinalReads);
        self.schedule(REST_US, Event::End);
    }
}
