//! Which nodes compute the answers to queries: those with the role `read`, each tenant's at few of them, so that its index
//! entries and pages of blocks lie in few caches.
//!
//! The newest document says which roles a node has, whatever it was started with.

use std::sync::Arc;

use gyre_ring::{Replica, Role, TenantId};

use super::Node;
use crate::replica::call::head_for;
use crate::replica::messages::Head;
use crate::rpc::Peer;

/// A node that computes answers, and the way there.
#[derive(Clone)]
pub struct ReaderNode {
    /// Who it is.
    pub replica: Replica,
    /// The way there.
    pub peer: Arc<Peer>,
    /// What stands in front of a request to it.
    pub head: Head,
}

impl Node {
    /// Whether this node computes the answers to its clients' queries: it has the role, or is no member (any more), and
    /// nobody knows which role it would have.
    pub fn computes_queries(&self) -> bool {
        let state = self.cluster.state();
        let member = state.newest().member(&state.own.node).filter(|member| member.replica() == state.own);
        member.is_none_or(|member| member.roles.contains(&Role::Read))
    }

    /// The other nodes that compute the answers to a tenant's queries and seem to be alive: the one that should be asked
    /// first, then those that stand in for it.
    pub fn readers(&self, tenant: &TenantId) -> Vec<ReaderNode> {
        let state = self.cluster.state();
        let walk = state.readers(tenant);
        let alive = walk.into_iter().filter(|replica| self.cluster.is_alive(replica));
        let with_way = alive.filter_map(|replica| {
            let (peer, head) = (self.cluster.peer(&replica)?, head_for(&state, &replica));
            Some(ReaderNode { replica, peer, head })
        });
        with_way.collect()
    }

    /// Whether a request of another node is for this one, with this data directory. Looks for documents that the caller
    /// has and this node lacks.
    pub async fn is_meant(&self, head: &Head) -> bool {
        self.replicas.check(head).await.is_ok()
    }
}
