//! Who notices that a replica lacks batches: a task that compares this node's vectors with one peer's after the other.
//!
//! A batch may be on its way here while it is durable there already, so one that is missing is pulled only if it was
//! missing the last time too. What comparisons tell is kept for `/ring` (`health.rs`).
//!
//! A segment that has ended is about to be in blocks. If one of its replicas has everything, what others missed when they were
//! sealed need not be sent to them, unless that takes long or one of them is away.
//!
//! What may go wrong: a peer that is down is passed over, and asked again in its turn. A peer whose log of a segment was
//! damaged refuses to say what it holds of it, and with it of all that it was asked about at once; so it is asked about
//! fewer, until those that it refuses are known, and these are left out for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gyre_ring::{BatchSet, Replica};

use super::take::PullError;
use crate::replica::call::{self, head_for};
use crate::replica::local::{Replicas, find};
use crate::replica::messages::{RefusedBecause, VectorsReply, documents_from_wire};
use crate::rpc::Peer;
use crate::shard::segment_state::Vector;
use crate::shard::supervisor::ShardHandle;

/// Time between comparisons. Each takes one call to one peer for many segments.
const ROUND: Duration = Duration::from_secs(1);

/// Segments in one call.
const SEGMENTS_PER_CALL: usize = 500;

/// How long a peer may take to say what it holds.
const VECTORS_MAX: Duration = Duration::from_secs(2);

/// What a replica lacks of a segment that has ended is not sent to it for so long.
const BLOCKS_MAX: Duration = Duration::from_secs(120);

/// Calls to one peer in one round, all more than one for what it refuses.
const CALLS_MAX: usize = 64;

impl Replicas {
    /// Keeps this node's replicas complete. Runs as long as the node.
    pub async fn repair(self: Arc<Self>) {
        loop {
            let by_peer = self.shards_by_peer();
            self.comparisons.keep(&by_peer);
            for (replica, shards) in by_peer {
                let peer = self.cluster.peer(&replica).filter(|_| self.cluster.is_alive(&replica));
                if let Some(peer) = peer {
                    self.compare_all(&replica, &peer, &shards).await;
                }
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    /// The shards here, by the other replicas of their segments.
    fn shards_by_peer(&self) -> BTreeMap<Replica, Vec<Arc<ShardHandle>>> {
        let state = self.cluster.state();
        let mut by_peer: BTreeMap<Replica, Vec<Arc<ShardHandle>>> = BTreeMap::new();
        for shard in self.shards.all().into_iter().filter(|shard| !self.shards.is_damaged(&shard.segment)) {
            let spans = state.spans(&shard.segment.shard.tenant);
            let replicas = find(&spans, &shard.segment).map(|span| span.replicas.as_slice());
            let others = replicas.unwrap_or_default().iter().filter(|replica| *replica != self.cluster.own());
            for replica in others {
                by_peer.entry(replica.clone()).or_default().push(shard.clone());
            }
        }
        by_peer
    }

    async fn compare_all(&self, replica: &Replica, peer: &Peer, shards: &[Arc<ShardHandle>]) {
        let is_due = |shard: &&Arc<ShardHandle>| self.comparisons.is_due(replica, &shard.segment);
        let due: Vec<Arc<ShardHandle>> = shards.iter().filter(is_due).cloned().collect();
        let mut rest: Vec<&[Arc<ShardHandle>]> = due.chunks(SEGMENTS_PER_CALL).collect();
        let calls_max = rest.len() + CALLS_MAX;
        for _ in 0..calls_max {
            let Some(some) = rest.pop() else { return };
            if self.compare(replica, peer, some).await {
                continue;
            }
            if let [one] = some {
                self.comparisons.refused(replica, &one.segment);
            } else {
                let (first, second) = some.split_at(some.len() / 2);
                rest.extend([second, first]);
            }
        }
    }

    /// Compares some segments with one peer's; false if it says that it is no replica of one of them.
    async fn compare(&self, replica: &Replica, peer: &Peer, shards: &[Arc<ShardHandle>]) -> bool {
        let head = head_for(&self.cluster.state(), replica);
        let segments = shards.iter().map(|shard| shard.name.to_string()).collect();
        let held: Vec<BatchSet> = shards.iter().map(|shard| shard.state.vector().held).collect();
        let vectors = match call::vectors(peer, head, segments, VECTORS_MAX).await {
            Ok(VectorsReply::Vectors(vectors)) => vectors,
            Ok(VectorsReply::Refused(refused)) => {
                self.cluster.learn(documents_from_wire(&refused.documents)).await;
                return refused.reason != RefusedBecause::NotMember;
            }
            Err(error) => {
                tracing::debug!(peer = %replica, %error, "cannot compare replicas");
                return true;
            }
        };
        for ((shard, held), vector) in shards.iter().zip(&held).zip(vectors) {
            let theirs = Vector { held: (&vector.held).into(), is_sealed: vector.is_sealed };
            let Some((missing, since)) = self.comparisons.compared(replica, shard, held, &theirs) else {
                continue;
            };
            if since.elapsed() > BLOCKS_MAX || !self.will_be_in_blocks(shard) {
                self.fill(shard, replica, peer, &missing).await;
            }
        }
        true
    }

    /// Whether a segment has ended, another replica has all of it, and all are there to see to it.
    fn will_be_in_blocks(&self, shard: &ShardHandle) -> bool {
        let spans = self.cluster.state().spans(&shard.segment.shard.tenant);
        let is_there = |replica: &Replica| replica == self.cluster.own() || self.cluster.is_alive(replica);
        shard.state.is_sealed()
            && shard.state.is_behind_another()
            && find(&spans, &shard.segment).is_some_and(|span| span.replicas.iter().all(is_there))
    }

    async fn fill(&self, shard: &Arc<ShardHandle>, from: &Replica, peer: &Peer, missing: &BatchSet) {
        match self.pull(shard, from, peer, missing).await {
            Ok(pulled) => {
                tracing::info!(segment = %shard.segment, peer = %from, batches = pulled.batches, "pulled missing batches");
                if !pulled.not_in_log.is_empty() {
                    tracing::warn!(
                        segment = %shard.segment, peer = %from, batches = pulled.not_in_log.len(),
                        "a peer holds batches that are not in its log any more; this replica stays incomplete"
                    );
                }
            }
            Err(PullError::Hopeless) => {}
            Err(error) => {
                tracing::warn!(segment = %shard.segment, peer = %from, %error, "cannot pull missing batches")
            }
        }
    }
}
