//! This node as a replica: may it act on a segment, and what must happen before it does.
//!
//! - Whoever names another incarnation of this node, or a segment that it does not hold, is refused.
//! - A segment is *activated* before its first append: the segments before it are sealed on a quorum (protocol rule 9).
//! - A segment that has ended is *sealed*, durably, before anybody is told so (rule 10).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use gyre_protocol::{Activation, Refusal, Rules};
use gyre_ring::{Epoch, Replica, Segment, Span};
use tokio::time::Instant;

use super::call::{self, head_for};
use super::health::Comparisons;
use super::lost::counted_as_sealed;
use super::messages::{
    self, DOCUMENTS_MAX, Refused, SealReply, SealRequest, documents_from_wire, documents_on_wire,
    newest_on_wire,
};
use super::pull::PullMetrics;
use super::pull::take::Hopeless;
use super::read::fetch::Fetching;
use super::settled::Settled;
use crate::actor::Gone;
use crate::cluster::ClusterState;
use crate::cluster::live::LiveCluster;
use crate::env::crash_point;
use crate::shard::actor::{Seal, ShardError};
use crate::shard::supervisor::{ShardHandle, Shards};

/// How long an append waits for the segments before to be sealed.
const ACTIVATION_MAX: Duration = Duration::from_secs(5);

/// How long a peer may take to seal.
const SEAL_MAX: Duration = Duration::from_secs(2);

/// Pause between rounds of asking.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// This node's replicas.
pub struct Replicas {
    /// Their shards.
    pub shards: Arc<Shards>,
    /// The cluster.
    pub cluster: Arc<LiveCluster>,
    /// Peers that cannot give what is missing here, for now.
    pub(super) hopeless: Hopeless,
    /// What other replicas hold, as far as it was compared.
    pub(super) comparisons: Comparisons,
    /// What is counted of pulls.
    pub pulls: PullMetrics,
    /// What is being pulled for reads.
    pub(super) fetching: Fetching,
    /// What other nodes have said of segments that have ended.
    pub(super) settled: Arc<Settled>,
}

/// Why a replica here did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicaError {
    /// The shard.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The shard is being rebuilt.
    #[error(transparent)]
    Gone(#[from] Gone),
}

impl Replicas {
    /// The replicas that these shards are.
    pub fn new(shards: Arc<Shards>, cluster: Arc<LiveCluster>) -> Self {
        let layout = shards.layout();
        let settled = Arc::new(Settled::open(layout.disk.clone(), layout.data_dir()));
        Replicas {
            shards,
            cluster,
            hopeless: Hopeless::default(),
            comparisons: Comparisons::default(),
            pulls: PullMetrics::default(),
            fetching: Fetching::default(),
            settled,
        }
    }

    /// Whether a request is for this incarnation of this node, after looking for documents that the sender has.
    pub async fn check(&self, head: &messages::Head) -> Result<(), Refusal> {
        if head.incarnation != self.cluster.own().incarnation.0 {
            return Err(Refusal::NotMember);
        }
        if self.cluster.state().epoch().0 < head.epoch {
            self.cluster.refresh(Epoch(head.epoch)).await;
        }
        Ok(())
    }

    /// The shard of a segment of which this node is a replica, if anything of the segment has come here.
    pub fn look_at(&self, segment: &Segment) -> Result<Option<Arc<ShardHandle>>, Refusal> {
        let shard = self.shards.find(segment);
        self.check_member(segment, shard.is_some()).map(|()| shard)
    }

    /// The shard of a segment of which this node is a replica.
    pub fn host(&self, segment: &Segment) -> Result<Arc<ShardHandle>, Refusal> {
        let shard = self.shards.find(segment);
        self.check_member(segment, shard.is_some())?;
        Ok(shard.unwrap_or_else(|| self.shards.host(segment)))
    }

    /// Whether this node counts as a replica of a segment. One that has forgotten what it held is none, unless there is
    /// no other.
    fn check_member(&self, segment: &Segment, is_here: bool) -> Result<(), Refusal> {
        let is_damaged = self.shards.is_damaged(segment);
        // What is here was checked when it came here, and a segment's replicas never change.
        if is_here && !is_damaged {
            return Ok(());
        }
        let state = self.cluster.state();
        let spans = state.spans(&segment.shard.tenant);
        let counts = |span: &&Span| {
            span.replicas.contains(self.cluster.own()) && (!is_damaged || span.replicas.len() == 1)
        };
        find(&spans, segment).filter(counts).map(|_| ()).ok_or(Refusal::NotMember)
    }

    /// A refusal, with the documents that the sender lacks.
    pub fn refused(&self, refusal: Refusal, head: &messages::Head) -> Refused {
        let state = self.cluster.state();
        let newer = state.chain.documents().filter(|document| document.epoch.0 > head.epoch);
        Refused { reason: refusal.into(), documents: documents_on_wire(newer.take(DOCUMENTS_MAX)) }
    }

    /// Opens a segment for appends, if all before it are sealed.
    pub async fn activate(&self, shard: &ShardHandle) -> Result<(), Refusal> {
        let asked = Instant::now();
        // Whoever waits here finds the work done, or that it cannot be done: if each tried anew, the last would wait for all
        // before it.
        let mut failed = shard.activation.lock().await;
        if shard.state.may_admit() != Err(Refusal::NotActive) {
            return Ok(());
        }
        if failed.is_some_and(|failed| failed > asked) {
            return Err(Refusal::NotActive);
        }
        let state = self.cluster.state();
        let spans = state.spans(&shard.segment.shard.tenant);
        let span = find(&spans, &shard.segment).ok_or(Refusal::NotMember)?;
        if span.ended.is_some() {
            // Nobody will append to it any more.
            return Err(Refusal::Sealed);
        }
        let mut activation = Activation::new(span, &spans, &Rules::ALL);
        for earlier in spans.iter() {
            for replica in counted_as_sealed(&state, earlier) {
                activation.sealed(&earlier.segment, &replica);
            }
            for replica in earlier.replicas.iter().filter(|replica| self.is_settled(replica, earlier)) {
                activation.sealed(&earlier.segment, replica);
            }
        }
        let deadline = Instant::now() + ACTIVATION_MAX;
        while !activation.is_complete() {
            let mut asks: BTreeMap<Replica, Vec<Segment>> = BTreeMap::new();
            for (segment, replica) in activation.asks() {
                asks.entry(replica.clone()).or_default().push(segment.clone());
            }
            let answers = asks.into_iter().map(|(replica, segments)| {
                let state = &state;
                async move {
                    let sealed = self.ask_to_seal(state, &replica, &segments).await;
                    (replica, sealed)
                }
            });
            for (replica, sealed) in join_all(answers).await {
                sealed.iter().for_each(|segment| activation.sealed(segment, &replica));
            }
            if !activation.is_complete() {
                if Instant::now() + ASK_AGAIN > deadline {
                    *failed = Some(Instant::now());
                    return Err(Refusal::NotActive);
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
        crash_point("activate-others-sealed");
        shard.state.activate();
        Ok(())
    }

    /// Which of the segments a replica says are sealed.
    async fn ask_to_seal(
        &self,
        state: &ClusterState,
        replica: &Replica,
        segments: &[Segment],
    ) -> Vec<Segment> {
        let sealed = if replica == self.cluster.own() {
            self.seal_all(segments).await
        } else {
            let Some(peer) = self.cluster.peer(replica) else { return Vec::new() };
            let request = SealRequest {
                head: head_for(state, replica),
                documents: newest_on_wire(&state.chain),
                segments: segments.iter().map(Segment::to_string).collect(),
            };
            match call::control(&peer, messages::SEAL, &request, SEAL_MAX).await {
                Ok(SealReply::Sealed(sealed)) => sealed,
                Ok(SealReply::Refused(refused)) => {
                    self.cluster.learn(documents_from_wire(&refused.documents)).await;
                    Vec::new()
                }
                Err(error) => {
                    tracing::debug!(peer = %replica, %error, "no answer to a request to seal");
                    Vec::new()
                }
            }
        };
        segments
            .iter()
            .zip(sealed)
            .filter(|(_, sealed)| *sealed)
            .map(|(segment, _)| segment.clone())
            .collect()
    }

    /// Seals segments that have ended; for each, whether it is durably sealed.
    pub async fn seal_all(&self, segments: &[Segment]) -> Vec<bool> {
        join_all(segments.iter().map(|segment| async move {
            let sealed = self.seal(segment).await;
            sealed.inspect_err(|error| tracing::warn!(%segment, error, "not sealed")).is_ok()
        }))
        .await
    }

    async fn seal(&self, segment: &Segment) -> Result<(), String> {
        let state = self.cluster.state();
        let spans = state.spans(&segment.shard.tenant);
        let Some(span) = find(&spans, segment).filter(|span| span.ended.is_some()) else {
            return Err("this node knows of no later segment".to_owned());
        };
        let is_replica = span.replicas.contains(self.cluster.own());
        if is_replica && span.replicas.len() > 1 && self.shards.is_damaged(segment) {
            // It has acknowledged nothing since its log was found to be damaged, never will, and says to nobody what it
            // holds. That is written down (ADR 9).
            return Ok(());
        }
        let shard = self.host(segment).map_err(|refusal| format!("{refusal:?}"))?;
        if shard.state.is_sealed() {
            return Ok(());
        }
        crash_point("seal-begin");
        let sealed = shard.actor.ask(Seal).await;
        let durable = match sealed {
            Ok(durable) => durable.map_err(|error| error.to_string())?,
            Err(Gone) => return Err(self.shards.rebuild(&shard).to_string()),
        };
        crash_point("seal-in-memory");
        durable
            .await
            .map_err(|_| "the node is shutting down".to_owned())?
            .map_err(|error| error.to_string())?;
        crash_point("seal-durable");
        Ok(())
    }

    /// Seals all segments here that have ended, now and whenever there are new documents. Runs as long as the node.
    pub async fn seal_what_ends(self: Arc<Self>) {
        let mut changes = self.cluster.changes();
        loop {
            let state = changes.borrow_and_update().clone();
            let mut ended = Vec::new();
            for tenant in self.shards.tenants() {
                let spans = state.spans(&tenant.state.id);
                let open = tenant.all().into_iter().filter(|shard| !shard.state.is_sealed());
                let has_ended = |shard: &Arc<ShardHandle>| {
                    find(&spans, &shard.segment).is_some_and(|span| span.ended.is_some())
                };
                ended.extend(open.filter(has_ended).map(|shard| shard.segment.clone()));
            }
            let sealed = self.seal_all(&ended).await;
            let again = sealed.contains(&false);
            let changed = changes.changed();
            if again {
                // A log that could not be written, a shard that was being rebuilt.
                let _ = tokio::time::timeout(SEAL_MAX, changed).await;
            } else if changed.await.is_err() {
                return;
            }
        }
    }
}

/// A segment's span.
pub fn find<'a>(spans: &'a [Span], segment: &Segment) -> Option<&'a Span> {
    spans.iter().find(|span| span.segment == *segment)
}
