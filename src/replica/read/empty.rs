//! Segments that have ended and hold nothing: they need not be read.
//!
//! A cluster that grows from one node ends the segments of all tenants with each member that comes, also of tenants that
//! had written nothing by then. To go on reading these would cost a call each, and a query would fail while the node
//! that held nothing is away.
//!
//! When that is certain is a matter of the protocol, [`gyre_protocol::empty`]. It is found out beside the reads, and
//! remembered while the process runs.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use gyre_protocol::{EmptyCheck, Rules, VectorReply};
use gyre_ring::{BatchSet, Replica, Segment, Span};
use tokio::time::Instant;

use crate::cluster::ClusterState;
use crate::replica::call::{self, head_for};
use crate::replica::local::Replicas;
use crate::replica::messages::{self, VectorsReply};

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

    /// Segments without those that are known to be empty: of which replicas have said so one by one, or once for all that
    /// they do not host.
    pub(super) fn without<'a>(&self, replicas: &Replicas, spans: &'a [Span]) -> Cow<'a, [Span]> {
        if spans.iter().all(|span| span.ended.is_none()) {
            return Cow::Borrowed(spans);
        }
        let known = self.lock();
        let is_empty = |span: &Span| known.empty.contains(&span.segment) || is_settled(replicas, span);
        let is_read = |span: &&Span| span.ended.is_none() || !is_empty(span);
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
        let answers =
            by_replica.into_iter().map(|(replica, segments)| vectors(replicas, state, replica, segments));
        let mut checks: HashMap<&Segment, EmptyCheck> =
            spans.iter().map(|span| (&span.segment, EmptyCheck::new(span, Rules::ALL))).collect();
        for (replica, segment, reply) in join_all(answers).await.into_iter().flatten() {
            if let Some(check) = checks.get_mut(segment) {
                check.on_vector(replica, &reply);
            }
        }
        let mut known = self.lock();
        for (segment, _) in checks.iter().filter(|(_, check)| check.is_empty()) {
            known.asked.remove(*segment);
            known.empty.insert((*segment).clone());
        }
    }
}

/// Whether so many replicas do not host a segment that has ended that nobody ever will.
fn is_settled(replicas: &Replicas, span: &Span) -> bool {
    let mut check = EmptyCheck::new(span, Rules::ALL);
    for replica in span.replicas.iter().filter(|replica| replicas.is_settled(replica, span)) {
        check.on_vector(replica, &VectorReply { held: BatchSet::default(), sealed: true });
    }
    check.is_empty()
}

/// What a replica says of the segments.
async fn vectors<'a>(
    replicas: &Replicas,
    state: &ClusterState,
    replica: &'a Replica,
    segments: Vec<&'a Segment>,
) -> Vec<(&'a Replica, &'a Segment, VectorReply)> {
    if *replica == state.own {
        let reply = |segment: &&'a Segment| {
            let vector = replicas.look_at(segment).ok().flatten()?.state.vector();
            Some((replica, *segment, VectorReply { held: vector.held, sealed: vector.is_sealed }))
        };
        return segments.iter().filter_map(reply).collect();
    }
    let Some(peer) = replicas.cluster.peer(replica) else { return Vec::new() };
    let head = head_for(state, replica);
    let names = segments.iter().map(ToString::to_string).collect();
    match call::vectors(&peer, head, names, VECTORS_MAX).await {
        Ok(VectorsReply::Vectors(vectors)) => {
            let reply = |vector: &messages::VectorOnWire| VectorReply {
                held: (&vector.held).into(),
                sealed: vector.is_sealed,
            };
            segments
                .into_iter()
                .zip(&vectors)
                .map(|(segment, vector)| (replica, segment, reply(vector)))
                .collect()
        }
        Ok(VectorsReply::Refused(_)) | Err(_) => Vec::new(),
    }
}
