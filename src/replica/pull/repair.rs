//! Who notices that a replica lacks batches: a task that compares this node's vectors with one peer's after the other.
//!
//! A batch may be on its way here while it is durable there already, so one that is missing is pulled only if it was
//! missing the last time too. What may go wrong: a peer that is down is passed over, and asked again in its turn.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use gyre_ring::{BatchSet, Replica, Segment};

use super::take::PullError;
use crate::replica::call::{self, head_for};
use crate::replica::local::{Replicas, find};
use crate::replica::messages::{VectorsReply, documents_from_wire};
use crate::rpc::Peer;
use crate::shard::supervisor::ShardHandle;

/// Time between comparisons. Each takes one call to one peer for many segments.
const ROUND: Duration = Duration::from_secs(1);

/// Segments in one call.
const SEGMENTS_PER_CALL: usize = 500;

/// How long a peer may take to say what it holds.
const VECTORS_MAX: Duration = Duration::from_secs(2);

/// What was missing when it was last compared, by peer and segment.
type Missed = HashMap<(Replica, Segment), BatchSet>;

impl Replicas {
    /// Keeps this node's replicas complete. Runs as long as the node.
    pub async fn repair(self: Arc<Self>) {
        let mut missed = Missed::new();
        loop {
            for (replica, shards) in self.shards_by_peer() {
                let Some(peer) = self.cluster.peer(&replica).filter(|_| self.cluster.is_alive(&replica))
                else {
                    continue;
                };
                for some in shards.chunks(SEGMENTS_PER_CALL) {
                    self.compare(&replica, &peer, some, &mut missed).await;
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

    async fn compare(
        &self,
        replica: &Replica,
        peer: &Peer,
        shards: &[Arc<ShardHandle>],
        missed: &mut Missed,
    ) {
        let head = head_for(&self.cluster.state(), replica);
        let segments = shards.iter().map(|shard| shard.name.to_string()).collect();
        let vectors = match call::vectors(peer, head, segments, VECTORS_MAX).await {
            Ok(VectorsReply::Vectors(vectors)) => vectors,
            Ok(VectorsReply::Refused(refused)) => {
                return self.cluster.learn(documents_from_wire(&refused.documents)).await;
            }
            Err(error) => {
                tracing::debug!(peer = %replica, %error, "cannot compare replicas");
                return;
            }
        };
        for (shard, vector) in shards.iter().zip(vectors) {
            let missing = shard.state.missing(&(&vector.held).into());
            let key = (replica.clone(), shard.segment.clone());
            let before = missed.remove(&key).unwrap_or_default();
            if missing.is_empty() {
                continue;
            }
            let missing_again = !before.is_empty() && before.difference(&missing) != before;
            if missing_again {
                self.fill(shard, replica, peer, &missing).await;
            } else {
                missed.insert(key, missing);
            }
        }
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
