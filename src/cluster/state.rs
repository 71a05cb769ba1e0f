//! What a member acts upon: the documents, and what follows from them for a tenant.
//!
//! A state never changes; a newer document makes a newer state. So what was computed for a tenant once holds for as long
//! as the state does, and is kept: each write and each query asks for it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use gyre_protocol::{Disks, Rules};
use gyre_ring::{Chain, Epoch, EpochDocument, Replica, Segment, Span, TenantId};

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
    spans: RwLock<Kept>,
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
        Ok(ClusterState { facts, own, chain, disks, spans: RwLock::default() })
    }

    /// The newest document.
    pub fn newest(&self) -> &EpochDocument {
        self.chain.newest().expect("a state is made with a document at least")
    }

    /// The newest epoch.
    pub fn epoch(&self) -> Epoch {
        self.newest().epoch
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

    /// The segments that take a tenant's writes now, by shard index.
    pub fn open_segments(&self, tenant: &TenantId) -> Vec<Segment> {
        let spans = self.spans(tenant);
        let open = spans.iter().filter(|span| span.ended.is_none());
        let mut open: Vec<Segment> = open.map(|span| span.segment.clone()).collect();
        open.sort_by_key(|segment| segment.shard.index);
        open
    }
}
