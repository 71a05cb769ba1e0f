//! Epoch documents: the numbered versions of the ring's membership, the one thing the nodes agree on.
//!
//! A document is made once, under its number, with a conditional create in the object store, and never changes. All
//! placement follows from it, so a reader that understands it only in part would place wrongly: a field or version it
//! does not know is an error. The format is JSON, since operators will look at it; see `docs/format/epoch.md`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::hash::ShardCount;
use crate::ids::{BootId, Epoch, NodeId};
use crate::member::{Member, Role};
use crate::placement::Placement;
use crate::tenant::TenantId;

/// The version of the format this code writes and reads.
const VERSION: u32 = 1;

/// No document is larger.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// A version of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochDocument {
    version: u32,
    /// Its number.
    pub epoch: Epoch,
    /// Who made it: some stores report a conflict to the winner of a race too, so the winner knows itself by this.
    pub proposer: Proposer,
    /// Replicas of each shard, where there are as many members.
    pub replication_factor: u8,
    /// Shards of tenants that are not listed.
    pub shards_per_tenant: ShardCount,
    /// The members, in order of their names.
    pub members: Vec<Member>,
    /// Every segment, of whatever tenant, that had ended by this epoch is closed; 0: none is.
    #[serde(default, skip_serializing_if = "is_none")]
    pub closed_through: Epoch,
    /// Tenants with another number of shards.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<TenantId, ShardCount>,
}

/// The run of a node that made a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposer {
    /// The node.
    pub node: NodeId,
    /// Drawn for this proposal.
    pub proposal: BootId,
}

/// What is wrong with a document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Too large to be one.
    #[error("epoch document of {0} bytes; at most {DOCUMENT_BYTES_MAX} are read")]
    TooLarge(usize),
    /// Not the format.
    #[error("epoch document does not parse: {0}")]
    Parse(#[from] serde_json::Error),
    /// A later version of the format.
    #[error("epoch document has version {0}, this program knows {VERSION}: upgrade this node first")]
    Version(u32),
    /// It contradicts itself.
    #[error("epoch document {epoch}: {problem}")]
    Invalid {
        /// Its number.
        epoch: u64,
        /// What is wrong.
        problem: String,
    },
}

impl DocumentError {
    /// Whether reading it again may help.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl EpochDocument {
    /// The first document of a cluster.
    pub fn first(
        proposer: Proposer,
        replication_factor: u8,
        shards_per_tenant: ShardCount,
        members: Vec<Member>,
    ) -> Result<Self, DocumentError> {
        let document = EpochDocument {
            version: VERSION,
            epoch: Epoch(1),
            proposer,
            replication_factor,
            shards_per_tenant,
            members,
            closed_through: Epoch(0),
            tenants: BTreeMap::new(),
        };
        document.normalized()
    }

    /// The document that follows this one, with other members.
    pub fn next(&self, proposer: Proposer, members: Vec<Member>) -> Result<Self, DocumentError> {
        let epoch = Epoch(self.epoch.0 + 1);
        EpochDocument { epoch, proposer, members, ..self.clone() }.normalized()
    }

    /// The document that follows this one, with another number of shards for a tenant.
    pub fn next_with_shards(
        &self,
        proposer: Proposer,
        tenant: TenantId,
        count: ShardCount,
    ) -> Result<Self, DocumentError> {
        let mut next = EpochDocument { epoch: Epoch(self.epoch.0 + 1), proposer, ..self.clone() };
        next.tenants.insert(tenant, count);
        next.normalized()
    }

    /// The document that follows this one, with all segments closed that had ended by an epoch.
    pub fn next_with_closed(&self, proposer: Proposer, through: Epoch) -> Result<Self, DocumentError> {
        let epoch = Epoch(self.epoch.0 + 1);
        EpochDocument { epoch, proposer, closed_through: through, ..self.clone() }.normalized()
    }

    /// Reads a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge(bytes.len()));
        }
        // The version first: what else a later version holds is nothing to complain about in detail.
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(DocumentError::Version(version));
        }
        let document: EpochDocument = serde_json::from_slice(bytes)?;
        document.check()?;
        Ok(document)
    }

    /// The document's bytes; equal documents are equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("names, numbers and lists always serialize")
    }

    /// A tenant's number of shards.
    pub fn shard_count(&self, tenant: &TenantId) -> ShardCount {
        self.tenants.get(tenant).copied().unwrap_or(self.shards_per_tenant)
    }

    /// Placement over the members with a role.
    pub fn placement(&self, role: Role) -> Placement {
        Placement::new(&self.members, role, usize::from(self.replication_factor))
    }

    /// The member that a node is, if it is one.
    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        let at = self.members.binary_search_by(|member| member.node.cmp(node)).ok()?;
        Some(&self.members[at])
    }

    fn normalized(mut self) -> Result<Self, DocumentError> {
        self.members.sort_by(|a, b| a.node.cmp(&b.node));
        for member in &mut self.members {
            member.roles.sort_unstable();
            member.roles.dedup();
        }
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> Result<(), DocumentError> {
        let invalid = |problem: String| Err(DocumentError::Invalid { epoch: self.epoch.0, problem });
        if self.epoch.0 == 0 {
            return invalid("epochs count from 1".to_owned());
        }
        if self.closed_through >= self.epoch {
            let through = self.closed_through.0;
            return invalid(format!("segments are closed through {through}, which is not before it"));
        }
        if self.replication_factor == 0 {
            return invalid("replication factor is 0".to_owned());
        }
        if let Some(pair) = self.members.windows(2).find(|pair| pair[0].node >= pair[1].node) {
            return invalid(format!("member {} is listed twice or out of order", pair[1].node));
        }
        if let Some(member) = self.members.iter().find(|member| member.roles.is_empty()) {
            return invalid(format!("member {} has no role", member.node));
        }
        let mut incarnations = BTreeSet::new();
        if let Some(member) = self.members.iter().find(|member| !incarnations.insert(member.incarnation)) {
            return invalid(format!("member {} has the incarnation of another one", member.node));
        }
        if !self.members.iter().any(|member| member.roles.contains(&Role::Write)) {
            return invalid("no member holds heads".to_owned());
        }
        Ok(())
    }
}

fn is_none(epoch: &Epoch) -> bool {
    epoch.0 == 0
}
