//! Whether segments have all their replicas: what is wrong with which, in a form that people and alerts can use.
//!
//! A replica is *fine* if its node is alive, it has its disk and its log, and it holds all that the replicas it was
//! compared with hold. A segment is *under-replicated* if not all of its replicas are fine, unless it has ended and holds
//! nothing, or is gone altogether. Documents and gossip tell of every segment; what replicas hold is known only to nodes
//! that hold the segment, too. So a node that does not says less, never something wrong.

use std::collections::BTreeSet;
use std::fmt;

use gyre_ring::{Epoch, Replica, Span, TenantId};
use serde::{Deserialize, Serialize};

use super::{ClusterState, LiveCluster};

/// What the node that answers knows beyond documents and gossip.
pub trait Insight {
    /// The epoch up to which a node has said which ended segments it hosts.
    fn settled_up_to(&self, replica: &Replica) -> Option<Epoch>;
    /// Whether a replica's node seems to be alive.
    fn is_alive(&self, replica: &Replica) -> bool;
    /// What comparisons tell of a segment.
    fn look_at(&self, span: &Span) -> SegmentInsight;
}

/// All that a node knows that has not read its log yet.
impl Insight for LiveCluster {
    fn settled_up_to(&self, _: &Replica) -> Option<Epoch> {
        None
    }

    fn is_alive(&self, replica: &Replica) -> bool {
        LiveCluster::is_alive(self, replica)
    }

    fn look_at(&self, _: &Span) -> SegmentInsight {
        SegmentInsight::default()
    }
}

/// What comparisons tell of a segment.
#[derive(Clone, Debug, Default)]
pub struct SegmentInsight {
    /// It has ended, and holds nothing.
    pub is_empty: bool,
    /// In the order of the segment's replicas; may be shorter where nothing is known.
    pub replicas: Vec<ReplicaInsight>,
}

/// What comparisons tell of a replica.
#[derive(Clone, Debug, Default)]
pub struct ReplicaInsight {
    /// Whether the segment is durably sealed there.
    pub is_sealed: Option<bool>,
    /// Its log of the segment was damaged: it counts as no replica.
    pub is_damaged: bool,
    /// What it lacks.
    pub behind: Option<BehindStatus>,
}

/// A replica lacks batches that another one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BehindStatus {
    /// How many, at least.
    pub batches: u64,
    /// For how many seconds it has been lacking some.
    pub seconds: u64,
    /// How many of them the other replicas do not have in their logs any more: it cannot get these. Only the replica's
    /// own node knows.
    pub unobtainable: u64,
}

impl fmt::Display for BehindStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lacks {} batches for {} s", self.batches, self.seconds)?;
        match self.unobtainable {
            0 => Ok(()),
            unobtainable => write!(f, ", {unobtainable} of them are in no other log"),
        }
    }
}

/// How a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplicaState {
    /// Alive, and as far as is known caught up.
    Ok,
    /// It lacks batches.
    Behind,
    /// Its node is not heard of.
    Away,
    /// Its log was damaged.
    Damaged,
    /// Its disk is lost.
    Lost,
}

impl ReplicaState {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            ReplicaState::Ok => "ok",
            ReplicaState::Behind => "behind",
            ReplicaState::Away => "away",
            ReplicaState::Damaged => "damaged",
            ReplicaState::Lost => "lost",
        }
    }
}

/// A holder of a segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// The node.
    pub node: String,
    /// The data directory it was on.
    pub incarnation: String,
    /// Whether this node with this data directory is a member of the newest epoch. One that is not has lost its disk or
    /// left.
    pub member: bool,
    /// How it is.
    pub state: ReplicaState,
    /// Whether the segment is durably sealed there; absent: the node that answers does not know.
    pub sealed: Option<bool>,
    /// What it lacks.
    pub behind: Option<BehindStatus>,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentStatus {
    /// Its name.
    pub segment: String,
    /// The epoch that ended it; absent: it takes writes.
    pub ended: Option<u64>,
    /// It has ended, and is known to hold nothing.
    pub empty: bool,
    /// Not all of its replicas are fine.
    pub under_replicated: bool,
    /// Who holds it.
    pub replicas: Vec<ReplicaStatus>,
}

/// All segments that the node that answers knows of, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthStatus {
    /// Shards: segments that take writes.
    pub shards: u64,
    /// How many of them are under-replicated.
    pub shards_under_replicated: u64,
    /// Segments that have ended.
    pub ended_segments: u64,
    /// How many of them are under-replicated.
    pub ended_segments_under_replicated: u64,
    /// How many of them nobody holds any more.
    pub ended_segments_gone: u64,
    /// Batches that this node lacks and others hold.
    pub missing_batches: u64,
    /// How many of them the others do not have in their logs any more.
    pub unobtainable_batches: u64,
}

/// How the segments of these tenants are that are not closed, by tenant, oldest first.
pub fn segments<'a>(
    state: &'a ClusterState,
    tenants: &'a BTreeSet<TenantId>,
    insight: &'a impl Insight,
) -> impl Iterator<Item = SegmentStatus> + 'a {
    let members: BTreeSet<Replica> = state.newest().members.iter().map(|member| member.replica()).collect();
    tenants.iter().flat_map(move |tenant| {
        let spans = state.spans(tenant);
        let status = |span| SegmentStatus::new(state, &members, span, insight);
        spans.iter().map(status).collect::<Vec<_>>()
    })
}

impl SegmentStatus {
    /// How a segment is, by documents, gossip and comparisons.
    fn new(state: &ClusterState, members: &BTreeSet<Replica>, span: &Span, insight: &impl Insight) -> Self {
        let known = insight.look_at(span);
        let mut of_each = known.replicas.into_iter();
        let replicas = span.replicas.iter().map(|replica| {
            let known = of_each.next().unwrap_or_default();
            let how = match () {
                () if state.disks.is_lost(replica) => ReplicaState::Lost,
                () if known.is_damaged => ReplicaState::Damaged,
                () if !insight.is_alive(replica) => ReplicaState::Away,
                () if known.behind.is_some() => ReplicaState::Behind,
                () => ReplicaState::Ok,
            };
            ReplicaStatus {
                node: replica.node.to_string(),
                incarnation: replica.incarnation.to_string(),
                member: members.contains(replica),
                state: how,
                sealed: known.is_sealed,
                behind: known.behind,
            }
        });
        let mut status = SegmentStatus {
            segment: span.segment.to_string(),
            ended: span.ended.map(|epoch| epoch.0),
            empty: known.is_empty,
            under_replicated: false,
            replicas: replicas.collect(),
        };
        let are_all_fine = status.replicas.iter().all(|replica| replica.state == ReplicaState::Ok);
        status.under_replicated = !are_all_fine && !status.empty && !status.is_gone();
        status
    }

    /// Whether nobody who held it is a member any more.
    pub fn is_gone(&self) -> bool {
        self.replicas.iter().all(|replica| !replica.member)
    }
}

impl HealthStatus {
    /// Counts the segments of these tenants.
    pub fn of(state: &ClusterState, tenants: &BTreeSet<TenantId>, insight: &impl Insight) -> Self {
        let mut health = HealthStatus::default();
        segments(state, tenants, insight).for_each(|segment| health.count(&segment, &state.own));
        health
    }

    /// Counts a segment; `own` is the node that answers.
    pub fn count(&mut self, segment: &SegmentStatus, own: &Replica) {
        let under_replicated = u64::from(segment.under_replicated);
        if segment.ended.is_none() {
            self.shards += 1;
            self.shards_under_replicated += under_replicated;
        } else {
            self.ended_segments += 1;
            self.ended_segments_under_replicated += under_replicated;
            self.ended_segments_gone += u64::from(segment.is_gone() && !segment.empty);
        }
        let is_own = |replica: &&ReplicaStatus| replica.node == own.node.as_str() && replica.member;
        if let Some(behind) = segment.replicas.iter().find(is_own).and_then(|replica| replica.behind) {
            self.missing_batches += behind.batches;
            self.unobtainable_batches += behind.unobtainable;
        }
    }
}
