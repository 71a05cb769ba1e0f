//! The cluster: what its nodes agree on, and how they come to agree.
//!
//! The one agreement is a chain of numbered documents in the object store, each made with a conditional create. Gossip
//! tells nodes of each other and of new documents; it decides nothing.
//!
//! - [`store`]: the object store, with deadlines on everything.
//! - [`identity`]: the cluster's id and hash seed.
//! - [`epochs`]: creates and loads epoch documents; what is stored counts.
//! - [`local`]: this node's durable copies of all that, without which it acts on nothing.
//! - [`bootstrap`]: what a node does next to become a member, as a pure function.
//! - [`membership`]: who else is there, by gossip.
//! - [`status`]: what `/ring` shows.
//! - [`start`]: does what `bootstrap` says, for a node that runs alone and for one among others.

pub mod bootstrap;
pub mod epochs;
pub mod identity;
pub mod local;
pub mod membership;
pub mod start;
pub mod status;
pub mod store;

use gyre_ring::{Chain, Replica, Segment, TenantId};

use self::identity::ClusterFacts;

/// What a member acts upon.
#[derive(Clone, Debug)]
pub struct ClusterState {
    /// The cluster.
    pub facts: ClusterFacts,
    /// This node and its disk.
    pub own: Replica,
    /// The documents.
    pub chain: Chain,
}

impl ClusterState {
    /// The segments that take a tenant's writes now, by shard index.
    pub fn open_segments(&self, tenant: &TenantId) -> Vec<Segment> {
        let open = self.chain.segments(tenant).into_iter().filter(|span| span.ended.is_none());
        let mut open: Vec<Segment> = open.map(|span| span.segment).collect();
        open.sort_by_key(|segment| segment.shard.index);
        open
    }
}
