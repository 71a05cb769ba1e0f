//! The members of the next document.
//!
//! A document after the first changes one member, so that every shard keeps all but one of its replicas; and each set
//! of replicas that some shard would change to must have enough that are ready, or the shard could take no writes until
//! they are (protocol section 4).

use std::collections::BTreeSet;
use std::fmt;

use gyre_ring::{
    Chain, EpochDocument, Member, NodeId, Placement, Quorum, Replica, Role, ShardCount, ShardIndex, TenantId,
};

use super::{Own, Situation};
use crate::cluster::identity::ClusterFacts;

/// Shards that would change to replicas of which too few are ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReady {
    /// One such set of replicas, by the names of their nodes.
    pub replicas: Vec<String>,
    /// Those of them that are ready.
    pub ready: usize,
    /// How many have to be.
    pub wanted: usize,
}

impl NotReady {
    fn of(replicas: &[Replica], ready: usize, wanted: usize) -> Self {
        let replicas = replicas.iter().map(|replica| replica.node.to_string()).collect();
        NotReady { replicas, ready, wanted }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotReady { replicas, ready, wanted } = self;
        write!(f, "{ready} of the replicas {} are ready, {wanted} have to be", replicas.join(", "))
    }
}

/// Why a member must not be left out of the next document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nobody would hold heads.
    #[error("no other member holds heads")]
    NobodyElse,
    /// Shards would take no writes.
    #[error("{0}")]
    NotReady(NotReady),
    /// Data that is not in blocks yet would be held by too few.
    #[error("what it holds is not all in blocks, and {0}")]
    LastCopy(NotReady),
}

/// The members of the document that follows `newest`: the same without one of them.
pub fn members_without(
    newest: &EpochDocument,
    node: &NodeId,
    ready: &BTreeSet<Replica>,
) -> Result<Vec<Member>, Refused> {
    let members: Vec<Member> = newest.members.iter().filter(|member| member.node != *node).cloned().collect();
    if !members.iter().any(|member| member.roles.contains(&Role::Write)) {
        return Err(Refused::NobodyElse);
    }
    enough_are_ready(newest, &members, ready).map_err(Refused::NotReady)?;
    Ok(members)
}

/// The same without one that does not answer. What it held and no block has must be with enough others, for it will not be
/// asked any more.
pub fn members_without_dead(
    chain: &Chain,
    newest: &EpochDocument,
    node: &NodeId,
    ready: &BTreeSet<Replica>,
) -> Result<Vec<Member>, Refused> {
    let members = members_without(newest, node, ready)?;
    let closed = chain.closed_through();
    for document in chain.documents().filter(|document| document.epoch >= closed) {
        let sets = document.placement(Role::Write).sets();
        for replicas in sets.iter().filter(|set| set.iter().any(|replica| replica.node == *node)) {
            let wanted = Quorum::of(replicas.len()).seal;
            let found = replicas.iter().filter(|replica| ready.contains(replica)).count();
            if found < wanted {
                return Err(Refused::LastCopy(NotReady::of(replicas, found, wanted)));
            }
        }
    }
    Ok(members)
}

/// The members of the first document: this node and all that are ready, each node once.
pub fn founding_members(s: &Situation<'_>, facts: ClusterFacts) -> Vec<Member> {
    let mut members = vec![s.own.member.clone()];
    for peer in s.view.alive().filter(|peer| peer.ready && peer.cluster == Some(facts.cluster)) {
        let named_alike = members
            .iter()
            .any(|member| member.node == *peer.node() || member.incarnation == peer.incarnation());
        if !named_alike {
            members.push(peer.member.clone());
        }
    }
    members
}

/// The members of the document that follows `newest`: the same, with this node as it is now.
pub fn next_members(
    s: &Situation<'_>,
    newest: &EpochDocument,
    ready: &BTreeSet<Replica>,
) -> Result<Vec<Member>, NotReady> {
    let Own { member: own, .. } = s.own;
    let others = newest.members.iter().filter(|member| member.node != own.node).cloned();
    let members: Vec<Member> = others.chain([own.clone()]).collect();
    enough_are_ready(newest, &members, ready)?;
    Ok(members)
}

/// Whether the shards that a tenant would have could take writes at once.
pub fn shards_are_ready(
    newest: &EpochDocument,
    tenant: &TenantId,
    count: ShardCount,
    ready: &BTreeSet<Replica>,
) -> bool {
    let placement = newest.placement(Role::Write);
    (0..count.get()).map(ShardIndex).all(|index| {
        let replicas = placement.of(tenant, count, index);
        let found = replicas.iter().filter(|member| ready.contains(&member.replica())).count();
        found >= Quorum::of(replicas.len()).write
    })
}

/// Whether the shards that change would have enough replicas that are ready.
fn enough_are_ready(
    newest: &EpochDocument,
    members: &[Member],
    ready: &BTreeSet<Replica>,
) -> Result<(), NotReady> {
    let before = newest.placement(Role::Write);
    let after = Placement::new(members, Role::Write, usize::from(newest.replication_factor));
    for replicas in after.sets_changed_from(&before) {
        let wanted = Quorum::of(replicas.len()).write;
        let found = replicas.iter().filter(|replica| ready.contains(replica)).count();
        if found < wanted {
            return Err(NotReady::of(&replicas, found, wanted));
        }
    }
    Ok(())
}
