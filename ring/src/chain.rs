//! The chain of a shard's segments, from the epoch documents alone (protocol rules 4, 5 and 11).
//!
//! A segment begins with the document under which a shard of its name is first held by its set of replicas, and ends
//! with the first later document that gives it other replicas (another incarnation of the same node counts) or gives
//! its tenant another number of shards. Documents that change neither let it go on.
//!
//! What a document has closed (`docs/adr/015-closing-by-document.md`) is in no chain of that document or a later one.
//!
//! Whoever acts on a shard must know all of its segments that are not closed. So [`Chain`] is made from a gapless run of
//! documents, and refuses any other.

use crate::document::EpochDocument;
use crate::hash::ShardCount;
use crate::ids::{Epoch, Segment, Shard, ShardIndex};
use crate::member::{Replica, Role};
use crate::placement::Placement;
use crate::tenant::TenantId;

/// A segment, who holds it, and whether it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its name.
    pub segment: Segment,
    /// Who holds it, in the order of placement.
    pub replicas: Vec<Replica>,
    /// The epoch that ended it; `None`: it takes appends.
    pub ended: Option<Epoch>,
}

impl Span {
    /// Whether a shard has keys in common with this segment.
    pub fn overlaps(&self, count: ShardCount, index: ShardIndex) -> bool {
        let (own_count, own_index) = (self.segment.shard.count, self.segment.shard.index);
        // The shard of the smaller count covers all those that its splits have made.
        let (few, many) = if own_count <= count { (own_count, count) } else { (count, own_count) };
        let (wide, narrow) = if own_count <= count { (own_index, index) } else { (index, own_index) };
        narrow.0 / (many.get() / few.get()) == wide.0
    }
}

/// Documents that do not follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epoch documents do not follow one another: {after} after {before}")]
pub struct Gap {
    /// A document's number.
    pub before: u64,
    /// The number of the document behind it.
    pub after: u64,
}

/// Documents, and the placements they mean.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    epochs: Vec<(EpochDocument, Placement)>,
}

impl Chain {
    /// The chain of some documents, oldest first, without gaps.
    pub fn new(documents: impl IntoIterator<Item = EpochDocument>) -> Result<Self, Gap> {
        let mut chain = Chain { epochs: Vec::new() };
        for document in documents {
            chain.push(document)?;
        }
        Ok(chain)
    }

    /// Adds the next document.
    pub fn push(&mut self, document: EpochDocument) -> Result<(), Gap> {
        if let Some(newest) = self.newest()
            && newest.epoch.0 + 1 != document.epoch.0
        {
            return Err(Gap { before: newest.epoch.0, after: document.epoch.0 });
        }
        let placement = document.placement(Role::Write);
        self.epochs.push((document, placement));
        Ok(())
    }

    /// The newest document.
    pub fn newest(&self) -> Option<&EpochDocument> {
        self.epochs.last().map(|(document, _)| document)
    }

    /// All documents, oldest first.
    pub fn documents(&self) -> impl Iterator<Item = &EpochDocument> {
        self.epochs.iter().map(|(document, _)| document)
    }

    /// The newest document's placement of heads.
    pub fn placement(&self) -> Option<&Placement> {
        self.epochs.last().map(|(_, placement)| placement)
    }

    /// Segments that had ended by this epoch are closed, as the newest document has it.
    pub fn closed_through(&self) -> Epoch {
        self.newest().map_or(Epoch(0), |document| document.closed_through)
    }

    /// All segments of a tenant that are not closed, oldest first; those of one epoch by index.
    pub fn segments(&self, tenant: &TenantId) -> Vec<Span> {
        let closed = self.closed_through();
        let mut spans = self.all_segments(tenant);
        spans.retain(|span| span.ended.is_none_or(|ended| ended > closed));
        spans
    }

    /// Whether a segment is closed.
    pub fn is_closed(&self, segment: &Segment) -> bool {
        let closed = self.closed_through();
        let is_it = |span: &Span| span.segment == *segment && span.ended.is_some_and(|ended| ended <= closed);
        // Nothing is closed in most clusters' lives.
        closed.0 > 0 && self.all_segments(&segment.shard.tenant).iter().any(is_it)
    }

    fn all_segments(&self, tenant: &TenantId) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        // Where the segments that have not ended stand in `spans`.
        let mut open: Vec<usize> = Vec::new();
        let mut count = None;
        for (document, placement) in &self.epochs {
            let (epoch, now) = (document.epoch, document.shard_count(tenant));
            if count != Some(now) {
                for at in open.drain(..) {
                    spans[at].ended = Some(epoch);
                }
            }
            let fresh = open.is_empty();
            count = Some(now);
            for index in (0..now.get()).map(ShardIndex) {
                let replicas: Vec<Replica> =
                    placement.of(tenant, now, index).into_iter().map(|member| member.replica()).collect();
                if !fresh {
                    let at = open[index.0 as usize];
                    if same_replicas(&spans[at].replicas, &replicas) {
                        continue;
                    }
                    spans[at].ended = Some(epoch);
                }
                let shard = Shard { tenant: tenant.clone(), count: now, index };
                spans.push(Span { segment: Segment { shard, epoch }, replicas, ended: None });
                match open.get_mut(index.0 as usize) {
                    Some(at) => *at = spans.len() - 1,
                    None => open.push(spans.len() - 1),
                }
            }
        }
        spans
    }
}

fn same_replicas(a: &[Replica], b: &[Replica]) -> bool {
    a.len() == b.len() && a.iter().all(|replica| b.contains(replica))
}
