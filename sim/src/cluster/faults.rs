//! Faults and changes: crashes, pauses, partitions, a lost disk, epochs.

use std::sync::Arc;

use gyre_ring::{BatchId, EpochDocument, Incarnation, Member, Quorum, Role, Segment, ShardCount, ShardIndex};

use super::{Cluster, Event, SECOND_US};
use crate::checks::{self, Violation};
use crate::message::Documents;
use crate::safe::Missing;

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
            5 if self.swarm.losses_max > 1 => return self.lose_disk(node),
            4 | 5 => {
                self.nodes[node].paused_until_us = self.now_us + self.rng.range(50_000, 15 * SECOND_US);
            }
            6 => self.network.join(),
            7..=8 => self.network.partition(self.nodes.len(), &mut self.rng),
            _ => return self.lose_disk(node),
        }
        Ok(())
    }

    pub(super) fn crash(&mut self, node: usize) {
        if self.nodes[node].up {
            let rng = &mut self.rng;
            self.nodes[node].lane.crash(|bytes| rng.below(bytes as u64 + 1) as usize);
            self.nodes[node].stop();
            let soon = self.rng.chance(500);
            let down = self.rng.range(100_000, if soon { SECOND_US } else { 20 * SECOND_US });
            self.schedule(down, Event::Restart { node });
        }
    }

    /// What a restart has found, and what not.
    pub(super) fn restarted(&mut self, node: usize) -> Result<(), Violation> {
        let forgotten = std::mem::take(&mut self.nodes[node].forgotten);
        self.count_lost(forgotten);
        self.check_restart(node)
    }

    /// What was synced is in the log, or in a block.
    pub(super) fn check_restart(&mut self, node: usize) -> Result<(), Violation> {
        let missing = std::mem::take(&mut self.nodes[node].lost_on_restart);
        let is_listed = |missing: &Missing| {
            missing.point.is_some_and(|(point, value)| self.store.has_point(&point, value))
        };
        let lost = missing.into_iter().find(|missing| !is_listed(missing));
        let lost = lost.map(|Missing { segment, what, .. }| format!("{what} of {segment}"));
        checks::recovered(lost).map_or(Ok(()), Err)
    }

    fn count_lost(&mut self, batches: Vec<(Segment, BatchId)>) {
        for batch in batches {
            *self.lost.entry(batch).or_default() += 1;
        }
    }

    /// Just acknowledged and on two disks only: the worst moment for one of them.
    pub(super) fn tempt(&mut self, segment: &Segment, batch: BatchId) -> Result<(), Violation> {
        if self.healed || !self.rng.chance(50) {
            return Ok(());
        }
        let holders: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].lane.safe.has(segment, batch)).collect();
        if holders.len() != 2 {
            return Ok(());
        }
        let node = *self.rng.pick(&holders);
        if self.swarm.losses_max == 1 && self.rng.chance(500) {
            return self.damage(node, segment, batch);
        }
        self.lose_disk(node)
    }

    /// Acked by one replica, and on no other disk: if this one is lost now, the ack still counts.
    pub(super) fn tempt_early(&mut self, node: usize) -> Result<(), Violation> {
        if self.healed || !self.may_lose(node) || !self.rng.chance(200) {
            return Ok(());
        }
        let Some((segment, batch)) = self.nodes[node].lane.safe.last().cloned() else { return Ok(()) };
        let holders = self.nodes.iter().filter(|node| node.lane.safe.has(&segment, batch)).count();
        if holders == 1 { self.lose_disk(node) } else { Ok(()) }
    }

    fn may_lose(&self, node: usize) -> bool {
        self.losses < self.swarm.losses_max
            && self.now_us >= 60 * SECOND_US
            && !self.homeless.contains(&node)
            && self.documents().last().is_some_and(|newest| newest.member(&self.nodes[node].id).is_some())
    }

    /// A node loses its disk, and comes back with an empty one.
    fn lose_disk(&mut self, node: usize) -> Result<(), Violation> {
        if !self.may_lose(node) {
            return Ok(());
        }
        self.losses += 1;
        let lost = self.nodes[node].lane.safe.batches().cloned().collect();
        self.count_lost(lost);
        self.crash(node);
        let incarnation = Incarnation(1000 * u128::from(self.losses) + node as u128);
        self.nodes[node].lose_disk(incarnation);
        self.homeless.push(node);
        self.schedule(SECOND_US, Event::Rejoin);
        self.acked_is_somewhere()
    }

    /// A record goes bad. Sometimes the node crashes, and finds out; sometimes it goes on, and gives its peers what it
    /// still can, until it restarts.
    fn damage(&mut self, node: usize, segment: &Segment, batch: BatchId) -> Result<(), Violation> {
        if !self.may_lose(node) || !self.nodes[node].lane.can_damage(segment, batch) {
            return Ok(());
        }
        self.losses += 1;
        self.nodes[node].lane.damage(segment, batch);
        let forgotten = self.nodes[node].lane.forget(segment);
        self.count_lost(forgotten);
        self.damaged = Some(node);
        if self.rng.chance(400) {
            self.crash(node);
        }
        self.acked_is_somewhere()
    }

    /// The stored documents, all of them.
    pub(super) fn documents(&self) -> Documents {
        (1..=self.store.newest()).map_while(|epoch| self.store.get(epoch)).collect()
    }

    /// Some node proposes a change; sometimes two do at the same moment.
    pub(super) fn propose_something(&mut self) {
        if self.store.newest() - self.closings() >= self.swarm.epochs_max {
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

    pub(super) fn propose(&mut self, _node: usize, document: EpochDocument) {
        self.proposed = self.proposed.max(document.epoch.0);
        self.store.create(Arc::new(document), &self.swarm, &self.conduct.rules, &mut self.rng);
    }

    fn some_change(&mut self, node: usize, known: &EpochDocument) -> Option<EpochDocument> {
        let proposer = self.proposer(node);
        let is_spare = |n: &usize| !self.off[*n] && known.member(&self.nodes[*n].id).is_none();
        let spare: Vec<usize> = (0..self.nodes.len()).filter(is_spare).collect();
        let next = match self.rng.below(4) {
            0 if known.shard_count(&self.tenant).get() < 8 => {
                let count = ShardCount::new(known.shard_count(&self.tenant).get() * 2)?;
                known.next_with_shards(proposer, self.tenant.clone(), count).ok()?
            }
            1 if known.members.len() > 3 || (known.members.len() > 1 && self.swarm.losses_max != 1) => {
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
            let number = self.number_of(&member.node);
            let node = &self.nodes[number];
            // One that lost its disk, too, will be listed anew: there is no point in waiting for the other first.
            let is_it = node.incarnation == member.incarnation || self.homeless.contains(&number);
            node.up && node.paused_until_us <= self.now_us && is_it
        };
        (0..count.get()).map(ShardIndex).all(|index| {
            let replicas = placement.of(&self.tenant, count, index);
            let need = Quorum::of(replicas.len()).write;
            replicas.into_iter().filter(is_there).count() >= need
        })
    }

    /// A node with a new disk becomes a member again, under its new incarnation.
    pub(super) fn rejoin(&mut self) {
        let documents = self.documents();
        let Some(newest) = documents.last() else { return };
        let is_listed = |node: usize| {
            let member = newest.member(&self.nodes[node].id);
            member.is_some_and(|member| member.incarnation == self.nodes[node].incarnation)
        };
        let homeless: Vec<usize> = self.homeless.iter().copied().filter(|node| !is_listed(*node)).collect();
        self.homeless = homeless;
        let Some(node) = self.homeless.first().copied() else { return };
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
        if let Some(node) = self.damaged {
            // It finds out at last.
            self.crash(node);
        }
        for node in 0..self.nodes.len() {
            self.nodes[node].paused_until_us = 0;
            self.schedule(0, Event::Restart { node });
            self.schedule(SECOND_US, Event::Gossip { node });
            // The next comparison may have been a minute away, and the next window.
            self.schedule(SECOND_US, Event::Repair { node });
            self.schedule(SECOND_US, Event::Ship { node });
            self.schedule(SECOND_US, Event::Close { node });
        }
        self.schedule(REST_US - 10 * SECOND_US, Event::FinalReads);
        self.schedule(REST_US, Event::End);
    }
}
