//! What this node knows of how complete replicas are: its own, and those that [`repair`](super::pull::repair) compares
//! it with.
//!
//! A batch is on its way to one replica while another holds it already. So a replica counts as behind only when what it
//! lacked at one comparison it still lacks at the next. What may go wrong: a peer that is away is not compared with, and
//! what was known of it stays; gossip says that it is away.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gyre_protocol::{EmptyCheck, Rules, VectorReply};
use gyre_ring::{BatchSet, Epoch, Replica, Segment, Span};
use tokio::time::Instant;

use super::local::Replicas;
use crate::cluster::health::{BehindStatus, Insight, ReplicaInsight, SegmentInsight};
use crate::shard::segment_state::Vector;
use crate::shard::supervisor::ShardHandle;

/// A peer that refuses to say what it holds of a segment is not asked about it for so long.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// What comparisons have told, by the other replica.
#[derive(Default)]
pub struct Comparisons(Mutex<BTreeMap<Replica, HashMap<Segment, Comparison>>>);

/// What the last comparison with one other replica of a segment has told. There is one for each segment, and few lack anything.
#[derive(Clone, Default)]
enum Comparison {
    /// Nothing yet.
    #[default]
    None,
    /// It said that it is no replica of it: its log was damaged.
    Refused(Instant),
    Compared {
        is_sealed: bool,
        is_empty: bool,
        /// What this node lacks and the other holds.
        here: Option<Box<Lacking>>,
        /// What the other lacks and this node holds.
        there: Option<Box<Lacking>>,
    },
}

/// Batches that a replica lacks.
#[derive(Clone)]
struct Lacking {
    batches: BatchSet,
    since: Instant,
    /// Some of them were missing at the comparison before.
    is_behind: bool,
}

impl Lacking {
    fn after(before: Option<&Lacking>, batches: BatchSet, now: Instant) -> Option<Box<Self>> {
        if batches.is_empty() {
            return None;
        }
        let again = before.filter(|before| before.batches.difference(&batches) != before.batches);
        let since = again.map_or(now, |before| before.since);
        Some(Box::new(Lacking { batches, since, is_behind: again.is_some() }))
    }
}

impl Comparisons {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Replica, HashMap<Segment, Comparison>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what another replica says of a segment; `held` is what this node held before it was asked. Gives what this
    /// node should pull: batches that it lacks again, if it does.
    pub fn compared(
        &self,
        replica: &Replica,
        shard: &ShardHandle,
        held: &BatchSet,
        theirs: &Vector,
    ) -> Option<(BatchSet, Instant)> {
        let (now, missing) = (Instant::now(), shard.state.missing(&theirs.held));
        if theirs.is_sealed && shard.state.is_sealed() {
            shard.state.note_compared(replica, &missing, held, &theirs.held);
        }
        let mut all = self.lock();
        let known = all.entry(replica.clone()).or_default().entry(shard.segment.clone()).or_default();
        let (here, there) = match known {
            Comparison::Compared { here, there, .. } => (here.as_deref(), there.as_deref()),
            Comparison::None | Comparison::Refused(_) => (None, None),
        };
        let here = Lacking::after(here, missing, now);
        let pull = here.as_ref().filter(|lacking| lacking.is_behind);
        let pull = pull.map(|lacking| (lacking.batches.clone(), lacking.since));
        *known = Comparison::Compared {
            is_sealed: theirs.is_sealed,
            is_empty: theirs.held.is_empty(),
            there: Lacking::after(there, held.difference(&theirs.held), now),
            here,
        };
        pull
    }

    /// Notes that another replica says that it is none.
    pub fn refused(&self, replica: &Replica, segment: &Segment) {
        let mut all = self.lock();
        all.entry(replica.clone()).or_default().insert(segment.clone(), Comparison::Refused(Instant::now()));
    }

    /// Whether another replica is to be asked about a segment.
    pub fn is_due(&self, replica: &Replica, segment: &Segment) -> bool {
        let all = self.lock();
        match all.get(replica).and_then(|segments| segments.get(segment)) {
            Some(Comparison::Refused(at)) => at.elapsed() >= REFUSED_FOR,
            Some(Comparison::None | Comparison::Compared { .. }) | None => true,
        }
    }

    /// Forgets all but these.
    pub fn keep(&self, shards: &BTreeMap<Replica, Vec<Arc<ShardHandle>>>) {
        let mut all = self.lock();
        all.retain(|replica, _| shards.contains_key(replica));
        for (replica, segments) in all.iter_mut() {
            let kept = &shards[replica];
            if segments.len() > kept.len() {
                let kept: HashSet<&Segment> = kept.iter().map(|shard| &shard.segment).collect();
                segments.retain(|segment, _| kept.contains(segment));
            }
        }
    }

    fn of(&self, replica: &Replica, segment: &Segment) -> Comparison {
        self.lock().get(replica).and_then(|segments| segments.get(segment)).cloned().unwrap_or_default()
    }
}

impl Insight for Replicas {
    fn settled_up_to(&self, replica: &Replica) -> Option<Epoch> {
        Replicas::settled_up_to(self, replica)
    }

    fn is_alive(&self, replica: &Replica) -> bool {
        self.cluster.is_alive(replica)
    }

    fn look_at(&self, span: &Span) -> SegmentInsight {
        let own = self.cluster.own();
        let mut empty = EmptyCheck::new(span, Rules::ALL);
        // What this node lacks of any of the others.
        let (mut lacking, mut since, mut unobtainable) = (BatchSet::default(), None, BatchSet::default());
        let mut replicas: Vec<ReplicaInsight> = Vec::with_capacity(span.replicas.len());
        for replica in &span.replicas {
            if self.is_settled(replica, span) {
                empty.on_vector(replica, &VectorReply { held: BatchSet::default(), sealed: true });
                replicas.push(ReplicaInsight { is_sealed: Some(true), ..ReplicaInsight::default() });
                continue;
            }
            if replica == own {
                let is_damaged = self.shards.is_damaged(&span.segment);
                let vector = self.shards.find(&span.segment).map(|shard| shard.state.vector());
                let is_sealed = vector.as_ref().map(|vector| vector.is_sealed);
                if let Some(Vector { held, is_sealed: sealed }) = vector.filter(|_| !is_damaged) {
                    empty.on_vector(replica, &VectorReply { held, sealed });
                }
                replicas.push(ReplicaInsight { is_sealed, is_damaged, behind: None });
                continue;
            }
            replicas.push(match self.comparisons.of(replica, &span.segment) {
                Comparison::None => ReplicaInsight::default(),
                Comparison::Refused(_) => ReplicaInsight { is_damaged: true, ..ReplicaInsight::default() },
                Comparison::Compared { is_sealed, is_empty, here, there } => {
                    if is_empty {
                        let reply = VectorReply { held: BatchSet::default(), sealed: is_sealed };
                        empty.on_vector(replica, &reply);
                    }
                    if let Some(here) = here.filter(|here| here.is_behind) {
                        lacking.extend(&here.batches);
                        since = Some(since.map_or(here.since, |since: Instant| since.min(here.since)));
                        unobtainable.extend(&self.hopeless.of(replica, &span.segment, &here.batches));
                    }
                    ReplicaInsight {
                        is_sealed: Some(is_sealed),
                        is_damaged: false,
                        behind: there.filter(|there| there.is_behind).map(|there| BehindStatus {
                            batches: there.batches.len(),
                            seconds: there.since.elapsed().as_secs(),
                            unobtainable: 0,
                        }),
                    }
                }
            });
        }
        let place = span.replicas.iter().position(|replica| replica == own);
        if let Some((since, own)) = since.zip(place.and_then(|place| replicas.get_mut(place))) {
            own.behind = Some(BehindStatus {
                batches: lacking.len(),
                seconds: since.elapsed().as_secs(),
                unobtainable: unobtainable.len(),
            });
        }
        SegmentInsight { is_empty: span.ended.is_some() && empty.is_empty(), replicas }
    }
}
