//! What one epoch document changes against the one before it.
//!
//! A proposer looks here before it proposes: one member at a time, so that every shard keeps all but one of its
//! replicas.

use std::fmt;

use crate::document::EpochDocument;
use crate::hash::ShardCount;
use crate::ids::NodeId;
use crate::tenant::TenantId;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A node that was no member is one.
    Joined(NodeId),
    /// A member is none any more.
    Left(NodeId),
    /// A member came back without its disk.
    NewIncarnation(NodeId),
    /// A member has another zone, weight or set of roles.
    Altered(NodeId),
    /// A tenant has another number of shards.
    Shards {
        /// The tenant; `None`: all that have no number of their own.
        tenant: Option<TenantId>,
        /// Shards it had.
        before: ShardCount,
        /// Shards it has.
        after: ShardCount,
    },
    /// Shards have another number of replicas.
    ReplicationFactor {
        /// Replicas before.
        before: u8,
        /// Replicas after.
        after: u8,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Joined(node) => write!(f, "{node} joined"),
            Change::Left(node) => write!(f, "{node} left"),
            Change::NewIncarnation(node) => write!(f, "{node} came back without its disk"),
            Change::Altered(node) => write!(f, "{node} has another zone, weight or roles"),
            Change::Shards { tenant: Some(tenant), before, after } => {
                write!(f, "tenant {tenant} went from {} to {} shards", before.get(), after.get())
            }
            Change::Shards { tenant: None, before, after } => {
                write!(f, "tenants went from {} to {} shards", before.get(), after.get())
            }
            Change::ReplicationFactor { before, after } => {
                write!(f, "replication factor went from {before} to {after}")
            }
        }
    }
}

impl Change {
    /// Whether it changes who may hold a shard.
    pub fn is_of_member(&self) -> bool {
        !matches!(self, Change::Shards { .. } | Change::ReplicationFactor { .. })
    }
}

/// All differences, members first, in order of names.
pub fn changes(before: &EpochDocument, after: &EpochDocument) -> Vec<Change> {
    let mut changes = Vec::new();
    for member in &before.members {
        match after.member(&member.node) {
            None => changes.push(Change::Left(member.node.clone())),
            Some(now) if now.incarnation != member.incarnation => {
                changes.push(Change::NewIncarnation(member.node.clone()));
            }
            Some(now) if now != member => changes.push(Change::Altered(member.node.clone())),
            Some(_) => {}
        }
    }
    let joined = after.members.iter().filter(|member| before.member(&member.node).is_none());
    changes.extend(joined.map(|member| Change::Joined(member.node.clone())));
    let (old, new) = (before.shards_per_tenant, after.shards_per_tenant);
    if old != new {
        changes.push(Change::Shards { tenant: None, before: old, after: new });
    }
    let mut tenants: Vec<&TenantId> = before.tenants.keys().chain(after.tenants.keys()).collect();
    tenants.sort();
    tenants.dedup();
    for tenant in tenants {
        let (old, new) = (before.shard_count(tenant), after.shard_count(tenant));
        if old != new {
            changes.push(Change::Shards { tenant: Some(tenant.clone()), before: old, after: new });
        }
    }
    let (old, new) = (before.replication_factor, after.replication_factor);
    if old != new {
        changes.push(Change::ReplicationFactor { before: old, after: new });
    }
    changes
}
