//! From a tenant to the sources whose data is complete.
//!
//! A plan is made once for a query or a question about labels, and read to the end. What may go wrong afterwards: a
//! source fails while it is read; then its reader makes another plan, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gyre_ring::{Epoch, Replica, Segment, Span, TenantId};
use gyre_tsdb::block::Ulid;
use tokio::time::Instant;

use super::attempt::{Attempt, Ended};
use super::empty::EmptySegments;
use super::metrics::{ReadMetrics, Retry};
use super::remote::RemoteSegment;
use crate::cluster::state::Closing;
use crate::query::blocks::PlanBlocks;
use crate::replica::local::Replicas;
use crate::replica::lost::readable;
use crate::shard::read::TimeRange;
use crate::shard::supervisor::ShardHandle;

/// A plan that is not made after so long is not made.
const PLAN_MAX: Duration = Duration::from_secs(5);

/// What cannot be read is tried once more after so long.
const ONCE_MORE_AFTER: Duration = Duration::from_millis(250);

/// Tries under newer and newer documents. Epochs follow each other in minutes, so more would mean that something is wrong.
const TRIES_MAX: usize = 4;

/// What a tenant's question is answered from.
#[derive(Clone, Debug, Default)]
pub struct ReadPlan {
    /// Sources whose series may meet stand together: a shard's segments. A segment without data has no source.
    pub groups: Vec<Vec<SegmentSource>>,
    /// Whether another plan may do better if a source fails.
    pub has_choice: bool,
    /// What may be missing for good.
    pub warnings: Vec<String>,
    /// What is read beside segments.
    pub blocks: PlanBlocks,
    /// The segments that are left out were closed by then; the list of blocks must not be older.
    pub closing: Closing,
}

impl ReadPlan {
    /// Blocks that have what was dropped here of a range of time, if there is no list that would have them: whoever drops
    /// something has a list that has its block, but a restart forgets the list.
    pub fn named_here(&self, blocks: &PlanBlocks, range: TimeRange) -> Vec<Ulid> {
        if blocks.unlisted.is_none() {
            return Vec::new();
        }
        let of = |source: &SegmentSource| match source {
            SegmentSource::Local(shard) => shard.released.blocks(range),
            SegmentSource::Remote(_) => Vec::new(),
        };
        self.groups.iter().flatten().flat_map(of).collect()
    }
}

/// What a reader asks for, beside the data.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// Replicas that have failed their reader: they are asked last.
    pub avoid: &'a [Replica],
    /// Replicas that have failed again: they are not asked.
    pub without: &'a [Replica],
    /// Whether what cannot be read completely may be read in part or left out, with a warning.
    pub may_be_partial: bool,
}

/// A segment's data.
#[derive(Clone)]
pub enum SegmentSource {
    /// It is here.
    Local(Arc<ShardHandle>),
    /// It is at another node.
    Remote(RemoteSegment),
}

impl std::fmt::Debug for SegmentSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SegmentSource::Local(shard) => write!(f, "{} here", shard.name),
            SegmentSource::Remote(remote) => write!(f, "{} at {}", remote.place.segment, remote.replica),
        }
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A shard's data cannot be read completely now.
    #[error("shard {shard} cannot be read: {reason}")]
    Unavailable {
        /// The shard.
        shard: String,
        /// What is missing.
        reason: String,
    },
    /// Other nodes act upon documents that this one cannot get.
    #[error("this node is behind: other nodes act upon an epoch after {}, which it cannot get", .0.0)]
    Behind(Epoch),
}

/// Makes plans.
pub struct Reader {
    pub(super) replicas: Arc<Replicas>,
    /// What is counted.
    pub metrics: ReadMetrics,
    empty: EmptySegments,
    /// Which of the other nodes is asked first: they take turns.
    turn: AtomicUsize,
}

impl Reader {
    /// Reads what these replicas and those of other nodes hold.
    pub fn new(replicas: Arc<Replicas>, metrics: ReadMetrics) -> Self {
        Reader { replicas, metrics, empty: EmptySegments::default(), turn: AtomicUsize::new(0) }
    }

    /// A plan for a tenant's data of this moment: it covers all that was acknowledged before, or warns.
    pub async fn plan(&self, tenant: &TenantId, wish: Wish<'_>) -> Result<ReadPlan, PlanError> {
        let deadline = Instant::now() + PLAN_MAX;
        let cluster = &self.replicas.cluster;
        let mut state = cluster.state();
        let mut has_waited = false;
        for _ in 0..TRIES_MAX {
            let all = state.spans(tenant);
            let (spans, mut warnings) = readable(&state, &self.empty.without(&self.replicas, &all));
            warnings.extend(self.damaged(&spans));
            let closing = state.closing;
            // Segments that are closed are dropped here, and then look as if they had never been.
            let is_closed_meanwhile = || cluster.state().closing != closing;
            if let Some(plan) = self.alone(&spans)
                && !is_closed_meanwhile()
            {
                return Ok(ReadPlan { warnings, closing, ..plan });
            }
            let order = self.order(&spans, wish.avoid);
            match Attempt::new(self, state.clone(), &spans, &order, wish).run(deadline).await {
                Ok(_) if is_closed_meanwhile() => {}
                Ok(mut plan) => {
                    plan.closing = closing;
                    plan.warnings.splice(..0, warnings);
                    self.empty.look_at(&self.replicas, &state, &spans);
                    return Ok(plan);
                }
                Err(Ended::Unavailable { .. }) if cluster.state().epoch() > state.epoch() => {}
                // A replica may just have come back, and not be called again yet.
                Err(Ended::Unavailable { .. }) if !has_waited => {
                    has_waited = true;
                    tokio::time::sleep(ONCE_MORE_AFTER).await;
                }
                Err(Ended::Unavailable { segment, reason }) => {
                    return Err(PlanError::Unavailable { shard: segment.shard.to_string(), reason });
                }
                Err(Ended::Stale) => {
                    self.metrics.retry(Retry::Stale);
                    let next = Epoch(state.epoch().0 + 1);
                    if !cluster.refresh(next).await {
                        return Err(PlanError::Behind(state.epoch()));
                    }
                }
            }
            state = cluster.state();
        }
        Err(PlanError::Behind(state.epoch()))
    }

    /// What is to be said of segments that this node holds alone, and not completely.
    fn damaged(&self, spans: &[Span]) -> Vec<String> {
        let shards = &self.replicas.shards;
        if !shards.has_damage() {
            return Vec::new();
        }
        let is_damaged = |span: &&Span| {
            span.replicas.as_slice() == std::slice::from_ref(self.replicas.cluster.own())
                && shards.is_damaged(&span.segment)
        };
        spans.iter().filter(is_damaged).map(|span| damage_warning(&span.segment)).collect()
    }

    /// The plan of a node that holds everything and shares nothing: nobody needs to be asked.
    fn alone(&self, spans: &[Span]) -> Option<ReadPlan> {
        let own = self.replicas.cluster.own();
        let mut groups = Groups::of(spans);
        for span in spans {
            if span.replicas.len() != 1 || span.replicas[0] != *own {
                return None;
            }
            let Some(shard) = self.replicas.shards.find(&span.segment) else { continue };
            if span.ended.is_none() && shard.state.is_sealed() {
                return None;
            }
            groups.add(&span.segment, SegmentSource::Local(shard));
        }
        let groups = groups.into_sources();
        self.metrics.segments(true, groups.iter().map(Vec::len).sum::<usize>() as u64);
        Some(ReadPlan { groups, ..ReadPlan::default() })
    }

    /// All replicas in the order in which to ask them. It is the same for all shards of a read, so that they are asked
    /// of as few nodes as can be.
    fn order(&self, spans: &[Span], avoid: &[Replica]) -> Vec<Replica> {
        let cluster = &self.replicas.cluster;
        let mut all: Vec<Replica> = spans.iter().flat_map(|span| span.replicas.iter().cloned()).collect();
        all.sort_unstable();
        all.dedup();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % all.len().max(1);
        all.rotate_left(turn);
        all.sort_by_cached_key(|replica| {
            (avoid.contains(replica), replica != cluster.own(), !cluster.is_alive(replica))
        });
        all
    }
}

/// What is to be said of a segment whose only replica has a damaged log.
pub(super) fn damage_warning(segment: &Segment) -> String {
    let (shard, epoch) = (&segment.shard, segment.epoch.0);
    format!(
        "data of shard {shard} written under epoch {epoch} may be missing: the log of its only replica was damaged"
    )
}

/// Segments by the shard of the smallest count among them: those of one group may have series in common, those of
/// different groups have none.
pub(super) struct Groups {
    count_min: u32,
    groups: Vec<Vec<SegmentSource>>,
}

impl Groups {
    pub(super) fn of(spans: &[Span]) -> Self {
        let counts = spans.iter().map(|span| span.segment.shard.count.get());
        let count_min = counts.min().unwrap_or(1);
        Groups { count_min, groups: (0..count_min).map(|_| Vec::new()).collect() }
    }

    /// The number of a segment's group.
    pub(super) fn index_of(&self, segment: &gyre_ring::Segment) -> usize {
        let shard = &segment.shard;
        (shard.index.0 / (shard.count.get() / self.count_min)) as usize
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn add(&mut self, segment: &gyre_ring::Segment, source: SegmentSource) {
        let index = self.index_of(segment);
        self.groups[index].push(source);
    }

    pub(super) fn into_sources(mut self) -> Vec<Vec<SegmentSource>> {
        self.groups.retain(|group| !group.is_empty());
        self.groups
    }
}
