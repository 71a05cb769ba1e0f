//! What `/ring` and `gyre status` show: the newest epoch, its members, and who holds the segments that are not closed.

use std::collections::BTreeSet;

use gyre_ring::{Replica, Role, Span, TenantId};
use serde::{Deserialize, Serialize};

use super::ClusterState;

/// Tenants that are shown; there may be any number.
pub const TENANTS_SHOWN_MAX: usize = 200;

/// The ring, as one node sees it. This is the JSON of `/ring`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RingStatus {
    /// The node that answers.
    pub node: String,
    /// The cluster's id.
    pub cluster: String,
    /// The bucket's URL.
    pub bucket: String,
    /// The newest epoch's number.
    pub epoch: u64,
    /// Replicas of each shard, where there are as many members.
    pub replication_factor: u8,
    /// Shards of a tenant that has no number of its own.
    pub shards_per_tenant: u32,
    /// The members, by name.
    pub members: Vec<MemberStatus>,
    /// Tenants that this node has met, however many are shown.
    pub tenants_total: usize,
    /// The first of them, by name.
    pub tenants: Vec<TenantStatus>,
    /// The segments of these tenants that are not closed, by tenant, oldest first.
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
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantStatus {
    /// Its id.
    pub tenant: String,
    /// Its shards.
    pub shards: u32,
}

/// A segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentStatus {
    /// Its name.
    pub segment: String,
    /// The epoch that ended it; absent: it takes writes.
    pub ended: Option<u64>,
    /// Who holds it.
    pub replicas: Vec<ReplicaStatus>,
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
}

impl SegmentStatus {
    /// Whether nobody who held it is a member any more.
    pub fn is_lost(&self) -> bool {
        self.replicas.iter().all(|replica| !replica.member)
    }
}

impl RingStatus {
    /// The status of a node that has met these tenants.
    pub fn new(state: &ClusterState, bucket: &str, tenants: &BTreeSet<TenantId>) -> Self {
        let newest = state.newest();
        let placement = newest.placement(Role::Write);
        let share = |node| placement.shares().find(|(member, _)| member.node == node).map(|(_, share)| share);
        let members = newest.members.iter().map(|member| MemberStatus {
            node: member.node.to_string(),
            incarnation: member.incarnation.to_string(),
            zone: member.zone.to_string(),
            roles: member.roles.iter().map(|role| role.as_str().to_owned()).collect(),
            weight: member.weight.get(),
            share: share(member.node.clone()),
        });
        let replicas: BTreeSet<Replica> = newest.members.iter().map(|member| member.replica()).collect();
        let shown = || tenants.iter().take(TENANTS_SHOWN_MAX);
        let segments = shown().flat_map(|tenant| state.spans(tenant).to_vec());
        RingStatus {
            node: state.own.node.to_string(),
            cluster: state.facts.cluster.to_string(),
            bucket: bucket.to_owned(),
            epoch: newest.epoch.0,
            replication_factor: newest.replication_factor,
            shards_per_tenant: newest.shards_per_tenant.get(),
            members: members.collect(),
            tenants_total: tenants.len(),
            tenants: shown()
                .map(|tenant| TenantStatus {
                    tenant: tenant.to_string(),
                    shards: newest.shard_count(tenant).get(),
                })
                .collect(),
            segments: segments.map(|span| segment(&span, &replicas)).collect(),
        }
    }
}

fn segment(span: &Span, members: &BTreeSet<Replica>) -> SegmentStatus {
    let replica = |replica: &Replica| ReplicaStatus {
        node: replica.node.to_string(),
        incarnation: replica.incarnation.to_string(),
        member: members.contains(replica),
    };
    SegmentStatus {
        segment: span.segment.to_string(),
        ended: span.ended.map(|epoch| epoch.0),
        replicas: span.replicas.iter().map(replica).collect(),
    }
}
