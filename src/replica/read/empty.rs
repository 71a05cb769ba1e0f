//! Segments that have ended and hold nothing: they need not be read.
//!
//! A cluster that grows from one node ends the segments of all tenants with each member that comes, also of tenants that
//! had written nothing by then. To go on reading these would cost a call each, and a query would fail while the node
//! that held nothing is away.
//!
//! If as many replicas as a seal takes say that a segment is sealed, and that they hold nothing of it, it never holds
//! anything that was acknowledged: what was acknowledged is held by one of them at least, and a sealed replica
//! acknowledges nothing more. This is protocol rule 16, closing, with an empty cover. It is found out beside the reads, and
//! remembered while the process runs.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use gyre_ring::{Quorum, Replica, Segment, Span};
use tokio::time::Instant;

use crate::cluster::ClusterState;
use crate::replica::call::{self, head_for};
use crate::replica::local::Replicas;
use crate::replica::messages::VectorsReply;

/// A segment that could not be found to be empty is not asked about for so long.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// How long a peer may take to say what it holds.
const VECTORS_MAX: Duration = Duration::from_secs(2);

/// Segments that are remembered, some hundred bytes each. Past it all are forgotten, and asked about again.
const SEGMENTS_MAX: usize = 100_000;

/// What is known of ended segments.
#[derive(Clone, Debug, Default)]
pub(super) struct EmptySegments(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    empty: HashSet<Segment>,
    /// The others that were asked about, and when.
    asked: HashMap<Segment, Instant>,
}

impl EmptySegments {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Segments without those that are known to be empty.
    pub(super) fn without<'a>(&self, spans: &'a [Span]) -> Cow<'a, [Span]> {
        if spans.iter().all(|span| span.ended.is_none()) {
            return Cow::Borrowed(spans);
        }
        let known = self.lock();
        let is_read = |span: &&Span| span.ended.is_none() || !known.empty.contains(&span.segment);
        Cow::Owned(spans.iter().filter(is_read).cloned().collect())
    }

    /// Asks about those of the segments that have ended, beside what the caller does.
    pub(super) fn look_at(&self, replicas: &Arc<Replicas>, state: &Arc<ClusterState>, spans: &[Span]) {
        let ended = spans.iter().filter(|span| span.ended.is_some());
        let due = self.take_due(ended);
        if !due.is_empty() {
            let (this, replicas, state) = (self.clone(), replicas.clone(), state.clone());
            tokio::spawn(async move { this.ask(&replicas, &state, &due).await });
        }
    }

    fn take_due<'a>(&self, ended: impl Iterator<Item = &'a Span>) -> Vec<Span> {
        let mut due = Vec::new();
        let mut ended = ended.peekable();
        if ended.peek().is_none() {
            return due;
        }
        let mut known = self.lock();
        if known.empty.len() + known.asked.len() > SEGMENTS_MAX {
            *known = Known::default();
        }
        let now = Instant::now();
        for span in ended {
            let asked = known.asked.get(&span.segment);
            if !known.empty.contains(&span.segment) && asked.is_none_or(|asked| *asked + ASK_AGAIN <= now) {
                known.asked.insert(span.segment.clone(), now);
                due.push(span.clone());
            }
        }
        due
    }

    async fn ask(&self, replicas: &Replicas, state: &ClusterState, spans: &[Span]) {
        let mut by_replica: BTreeMap<&Replica, Vec<&Segment>> = BTreeMap::new();
        for span in spans {
            span.replicas
                .iter()
                .for_each(|replica| by_replica.entry(replica).or_default().push(&span.segment));
        }
        let answers = by_replica.into_iter().map(|(replica, segments)| async move {
            sealed_and_empty(replicas, state, replica, &segments).await
        });
        let mut counts: HashMap<Segment, usize> = HashMap::new();
        for segment in join_all(answers).await.into_iter().flatten() {
            *counts.entry(segment).or_default() += 1;
        }
        let mut known = self.lock();
        for span in spans {
            let count = counts.get(&span.segment).copied().unwrap_or(0);
            if count >= Quorum::of(span.replicas.len()).seal {
                known.asked.remove(&span.segment);
                known.empty.insert(span.segment.clone());
            }
        }
    }
}

/// Those of the segments that a replica says are sealed and without data there.
async fn sealed_and_empty(
    replicas: &Replicas,
    state: &ClusterState,
    replica: &Replica,
    segments: &[&Segment],
) -> Vec<Segment> {
    let is_empty: Vec<bool> = if *replica == state.own {
        let is_empty = |segment: &&Segment| {
            let vector = replicas.look_at(segment).ok().flatten().map(|shard| shard.state.vector());
            vector.is_some_and(|vector| vector.is_sealed && vector.held.is_empty())
        };
        segments.iter().map(is_empty).collect()
    } else {
        let Some(peer) = replicas.cluster.peer(replica) else { return Vec::new() };
        let head = head_for(state, replica);
        let segments = segments.iter().map(ToString::to_string).collect();
        match call::vectors(&peer, head, segments, VECTORS_MAX).await {
            Ok(VectorsReply::Vectors(vectors)) => {
                vectors.iter().map(|vector| vector.is_sealed && vector.held.0.is_empty()).collect()
            }
            Ok(VectorsReply::Refused(_)) | Err(_) => return Vec::new(),
        }
    };
    let empty = segments.iter().zip(is_empty).filter(|(_, is_empty)| *is_empty);
    empty.map(|(segment, _)| (*segment).clone()).collect()
}
