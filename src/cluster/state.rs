//! What a member acts upon: the documents, and what follows from them for a tenant.
//!
//! A state never changes; a newer document makes a newer state. So what was computed for a tenant once holds for as long
//! as the state does, and is kept: each write and each query asks for it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use gyre_protocol::{Disks, Rules};
use gyre_ring::{
    Chain, Epoch, EpochDocument, Placement, Replica, Role, Segment, ShardCount, ShardIndex, Span, TenantId,
};

use super::identity::ClusterFacts;

/// Spans that are kept computed, a few hundred bytes each. Past it the kept ones are forgotten and computed again.
const SPANS_KEPT_MAX: usize = 100_000;

/// What a member acts upon.
#[derive(Debug)]
pub struct ClusterState {
    /// The cluster.
    pub facts: ClusterFacts,
    /// This node and its disk.
    pub own: Replica,
    /// The documents; one at least.
    pub chain: Chain,
    /// Which disks are lost, as they say.
    pub disks: Disks,
    /// Since when it is known here what they close.
    pub closing: Closing,
    spans: RwLock<Kept>,
    /// Over all members that compute queries; made when it is first asked for.
    readers: OnceLock<Placement>,
}

/// When a node heard of the newest document that closed segments, or found it on its disk at start. Lists of blocks that are
/// older may lack what these segments held (`docs/adr/015-closing-by-document.md`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closing {
    /// Time since some fixed moment, as [`crate::env::Env::monotonic`] has it.
    pub at: Duration,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

#[derive(Debug, Default)]
struct Kept {
    by_tenant: HashMap<TenantId, Arc<[Span]>>,
    count: usize,
}

/// There is no document to act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no epoch document is known")]
pub struct NoDocument;

impl ClusterState {
    /// The state of a node that knows these documents.
    pub fn new(facts: ClusterFacts, own: Replica, chain: Chain) -> Result<Self, NoDocument> {
        chain.newest().ok_or(NoDocument)?;
        let disks = Disks::of(chain.documents(), Rules::ALL);
        let closing = Closing::default();
        let (spans, readers) = (RwLock::default(), OnceLock::new());
        Ok(ClusterState { facts, own, chain, disks, closing, spans, readers })
    }

    /// The same, with what it closes known since then.
    pub fn with_closing(self, closing: Closing) -> Self {
        ClusterState { closing, ..self }
    }

    /// The newest document.
    pub fn newest(&self) -> &EpochDocument {
        self.chain.newest().expect("a state is made with a document at least")
    }

    /// The newest epoch.
    pub fn epoch(&self) -> Epoch {
        self.newest().epoch
    }

    /// The first epoch of which this node is no member any more; `None`: it is one.
    pub fn left(&self) -> Option<Epoch> {
        let lists_own = |document: &&EpochDocument| {
            document.member(&self.own.node).is_some_and(|member| member.replica() == self.own)
        };
        let last = self.chain.documents().filter(lists_own).last()?;
        let left = Epoch(last.epoch.0 + 1);
        (left <= self.epoch()).then_some(left)
    }

    /// Whether this node has left, and all that it held is closed.
    pub fn is_drained(&self) -> bool {
        self.left().is_some_and(|left| left <= self.chain.closed_through())
    }

    /// All segments of a tenant, oldest first; those of one epoch by index. The segments that take writes are those
    /// that have not ended.
    pub fn spans(&self, tenant: &TenantId) -> Arc<[Span]> {
        let kept = self.spans.read().unwrap_or_else(PoisonError::into_inner).by_tenant.get(tenant).cloned();
        if let Some(spans) = kept {
            return spans;
        }
        let spans: Arc<[Span]> = self.chain.segments(tenant).into();
        let mut kept = self.spans.write().unwrap_or_else(PoisonError::into_inner);
        if kept.count + spans.len() > SPANS_KEPT_MAX {
            *kept = Kept::default();
        }
        if kept.by_tenant.insert(tenant.clone(), spans.clone()).is_none() {
            kept.count += spans.len();
        }
        spans
    }

    /// The members that compute a tenant's queries, the one that is first asked first. The same one looks after the
    /// tenant's blocks ([`crate::archive::keeper`]).
    pub fn readers(&self, tenant: &TenantId) -> Vec<Replica> {
        let members = &self.newest().members;
        let readers = self.readers.get_or_init(|| Placement::new(members, Role::Read, members.len()));
        let walk = readers.of(tenant, ShardCount::ONE, ShardIndex(0));
        walk.into_iter().map(|member| member.replica()).collect()
    }

    /// The segments that take a tenant's writes now, by shard index.
    pub fn open_segments(&self, tenant: &TenantId) -> Vec<Segment> {
        let spans = self.spans(tenant);
        let open = spans.iter().filter(|span| span.ended.is_none());
        let mut open: Vec<Segment> = open.map(|span| span.segment.clone()).collect();
        open.sort_by_key(|segment| segment.shard.index);
        open
    }
}
