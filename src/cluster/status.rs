//! What `/ring` and `gyre status` show: the newest epoch, its members and what gossip says of them, and who holds the
//! segments that are not closed, first of all those that lack a replica.

use std::collections::{BTreeMap, BTreeSet};

use gyre_ring::{Replica, Role, TenantId};
use serde::{Deserialize, Serialize};

use super::LiveCluster;
use super::bootstrap::Alarm;
use super::health::{self, HealthStatus, Insight, SegmentStatus};
use super::membership::{Peer, View};

/// How much is shown: there may be any number of tenants and segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Tenants.
    pub tenants_max: usize,
    /// Segments, and beside them as many that are under-replicated.
    pub segments_max: usize,
}

impl Shown {
    /// Unless everything is asked for.
    pub const FIRST: Shown = Shown { tenants_max: 200, segments_max: 1000 };
    /// Everything, up to some hundred MiB.
    pub const ALL: Shown = Shown { tenants_max: 1_000_000, segments_max: 200_000 };
}

/// Nodes that are no members that are shown: gossip tells of them for a day.
const OTHERS_SHOWN_MAX: usize = 100;

/// The ring, as one node sees it. This is the JSON of `/ring`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RingStatus {
    /// The node that answers.
    pub node: String,
    /// The cluster's id; absent: none has been joined yet.
    pub cluster: Option<String>,
    /// The bucket's URL.
    pub bucket: String,
    /// Why the node that answers does not serve; absent: it does.
    pub problem: Option<String>,
    /// What is odd, and its operator should know.
    pub alarms: Vec<String>,
    /// The newest epoch's number; 0: none is known.
    pub epoch: u64,
    /// Segments that had ended by this epoch are closed: blocks have what they held, and no replica is asked for them.
    #[serde(default)]
    pub closed_through: u64,
    /// Replicas of each shard, where there are as many members.
    pub replication_factor: u8,
    /// Shards of a tenant that has no number of its own.
    pub shards_per_tenant: u32,
    /// The members, by name.
    pub members: Vec<MemberStatus>,
    /// Others that gossip tells of, by name: nodes that are about to join, or that were replaced.
    pub others: Vec<OtherStatus>,
    /// Tenants that this node has met, however many are shown.
    pub tenants_total: usize,
    /// The first of them, by name.
    pub tenants: Vec<TenantStatus>,
    /// All their segments that are not closed, counted.
    pub health: HealthStatus,
    /// The first of those that are under-replicated, by tenant, oldest first.
    pub under_replicated: Vec<SegmentStatus>,
    /// The first of all, in the same order.
    pub segments: Vec<SegmentStatus>,
}

/// A member of the newest epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Its name.
    pub node: String,
    /// Its data directory.
    pub incarnation: String,
    /// Its zone; `:` and its name if it was given none.
    pub zone: String,
    /// What it does.
    pub roles: Vec<String>,
    /// Its weight; 100 is an ordinary node's.
    pub weight: u16,
    /// The part of the ring that is its own, as a fraction of 1. Absent if it holds no heads.
    pub share: Option<f64>,
    /// What gossip says of it; absent: nothing.
    pub gossip: Option<GossipStatus>,
    /// The epoch up to which it has told the node that answers which ended segments it hosts. With all members' answers up
    /// to the newest epoch a new tenant does not depend on nodes of earlier epochs. Absent: it has told nothing.
    #[serde(default)]
    pub settled: Option<u64>,
}

/// What gossip says of a node. It may be late, and the node that answers sees itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GossipStatus {
    /// Whether it has been heard of lately.
    pub alive: bool,
    /// Whether it is ready, as it says itself.
    pub ready: bool,
    /// Where it serves other nodes; absent: it does not.
    pub address: Option<String>,
    /// The newest epoch that it acts upon.
    pub epoch: Option<u64>,
}

/// A node that is no member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherStatus {
    /// Its name.
    pub node: String,
    /// Its data directory.
    pub incarnation: String,
    /// Its zone.
    pub zone: String,
    /// Its cluster; absent: it has joined none yet.
    pub cluster: Option<String>,
    /// What gossip says of it.
    pub gossip: GossipStatus,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantStatus {
    /// Its id.
    pub tenant: String,
    /// Its shards.
    pub shards: u32,
}

impl RingStatus {
    /// The status of a member that has met these tenants, and serves or says why not.
    pub fn new(
        live: &LiveCluster,
        tenants: &BTreeSet<TenantId>,
        readiness: Result<(), String>,
        insight: &impl Insight,
        shown: Shown,
    ) -> Self {
        let (state, view, notices) = (live.state(), live.view(), live.notices());
        let newest = state.newest();
        let placement = newest.placement(Role::Write);
        let share = |node| placement.shares().find(|(member, _)| member.node == node).map(|(_, share)| share);
        let runs = newest_runs(&view);
        let gossip = |replica: Replica| {
            let own = || GossipStatus {
                alive: true,
                ready: readiness.is_ok(),
                address: live.address().map(|address| address.to_string()),
                epoch: Some(newest.epoch.0),
            };
            if replica == state.own {
                Some(own())
            } else {
                runs.get(&replica).copied().map(GossipStatus::new)
            }
        };
        let members = newest.members.iter().map(|member| MemberStatus {
            node: member.node.to_string(),
            incarnation: member.incarnation.to_string(),
            zone: member.zone.to_string(),
            roles: member.roles.iter().map(|role| role.as_str().to_owned()).collect(),
            weight: member.weight.get(),
            share: share(member.node.clone()),
            gossip: gossip(member.replica()),
            settled: insight.settled_up_to(&member.replica()).map(|epoch| epoch.0),
        });
        let replicas: BTreeSet<Replica> = newest.members.iter().map(|member| member.replica()).collect();
        let mut health = HealthStatus::default();
        let (mut under_replicated, mut segments) = (Vec::new(), Vec::new());
        for segment in health::segments(&state, tenants, insight) {
            health.count(&segment, &state.own);
            if segment.under_replicated && under_replicated.len() < shown.segments_max {
                under_replicated.push(segment.clone());
            }
            if segments.len() < shown.segments_max {
                segments.push(segment);
            }
        }
        RingStatus {
            node: state.own.node.to_string(),
            cluster: Some(state.facts.cluster.to_string()),
            bucket: live.bucket_name().to_owned(),
            alarms: notices.alarms.iter().map(Alarm::to_string).collect(),
            epoch: newest.epoch.0,
            closed_through: newest.closed_through.0,
            replication_factor: newest.replication_factor,
            shards_per_tenant: newest.shards_per_tenant.get(),
            members: members.collect(),
            others: others(&runs, &replicas),
            tenants_total: tenants.len(),
            tenants: { tenants.iter().take(shown.tenants_max) }
                .map(|tenant| TenantStatus {
                    tenant: tenant.to_string(),
                    shards: newest.shard_count(tenant).get(),
                })
                .collect(),
            health,
            under_replicated,
            segments,
            problem: readiness.err(),
        }
    }

    /// The status of a node that is no member yet.
    pub fn before_joining(node: &str, bucket: &str, view: &View, problem: String) -> Self {
        RingStatus {
            node: node.to_owned(),
            cluster: None,
            bucket: bucket.to_owned(),
            problem: Some(problem),
            alarms: Vec::new(),
            epoch: 0,
            closed_through: 0,
            replication_factor: 0,
            shards_per_tenant: 0,
            members: Vec::new(),
            others: others(&newest_runs(view), &BTreeSet::new()),
            tenants_total: 0,
            tenants: Vec::new(),
            health: HealthStatus::default(),
            under_replicated: Vec::new(),
            segments: Vec::new(),
        }
    }
}

impl GossipStatus {
    /// In a word or two.
    pub fn state(&self) -> &'static str {
        match (self.alive, self.ready) {
            (true, true) => "ready",
            (true, false) => "not ready",
            (false, _) => "not heard of lately",
        }
    }

    fn new(peer: &Peer) -> Self {
        GossipStatus {
            alive: peer.alive,
            ready: peer.ready,
            address: Some(peer.rpc.clone()),
            epoch: peer.newest_epoch.map(|epoch| epoch.0),
        }
    }
}

/// Of each data directory the run that counts: earlier ones are remembered for a while.
fn newest_runs(view: &View) -> BTreeMap<Replica, &Peer> {
    let mut runs = BTreeMap::new();
    for peer in &view.peers {
        let known = runs.entry(peer.replica()).or_insert(peer);
        if peer.rank() > known.rank() {
            *known = peer;
        }
    }
    runs
}

fn others(runs: &BTreeMap<Replica, &Peer>, members: &BTreeSet<Replica>) -> Vec<OtherStatus> {
    let others = runs.iter().filter(|(replica, _)| !members.contains(replica));
    let other = |(replica, peer): (&Replica, &&Peer)| OtherStatus {
        node: replica.node.to_string(),
        incarnation: replica.incarnation.to_string(),
        zone: peer.member.zone.to_string(),
        cluster: peer.cluster.map(|cluster| cluster.to_string()),
        gossip: GossipStatus::new(peer),
    };
    others.take(OTHERS_SHOWN_MAX).map(other).collect()
}
