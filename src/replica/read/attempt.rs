//! One try to make a plan, under one state of the cluster: does what `ShardRead` says, for all shards at once.
//!
//! All vectors that one peer is asked for travel in one call. What this node knows itself is answered at once, without
//! waiting. A call that takes long is made elsewhere as well; a slow answer still counts.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use gyre_protocol::{DataReply, ReadOutcome, ReadRequest, Rules, ShardRead, VectorReply};
use gyre_ring::{BatchSet, Replica, Segment, Span};
use tokio::time::{Instant, timeout, timeout_at};

use super::messages::Place;
use super::metrics::Retry;
use super::partial::Reduced;
use super::plan::{Groups, ReadPlan, Reader, SegmentSource, Wish, damage_warning};
use super::remote::RemoteSegment;
use crate::cluster::ClusterState;
use crate::replica::call::{self, CallError, head_for};
use crate::replica::messages::{
    self, Refused, RefusedBecause, ShowsReply, ShowsRequest, VectorsReply, documents_from_wire,
};

/// A replica that has not answered after so long is slow.
const SLOW: Duration = Duration::from_millis(100);

/// A replica that has not answered after so long has failed.
const CALL_MAX: Duration = Duration::from_secs(2);

/// How long a read waits for documents to be acted upon.
const LEARN_MAX: Duration = Duration::from_secs(1);

/// Reasons that an error tells; the last ones.
const REASONS_MAX: usize = 4;

/// How a try ended, if not with a plan.
#[derive(Debug)]
pub(super) enum Ended {
    /// There are newer documents.
    Stale,
    /// A segment cannot be read.
    Unavailable { segment: Segment, reason: String },
}

/// An answer, and which question it answers.
struct Answer {
    asked: usize,
    body: Body,
}

enum Body {
    Vectors(Result<VectorsReply, CallError>),
    Shows(Result<ShowsReply, CallError>),
    /// Of this node's own data.
    Arrived {
        all: bool,
        is_sealed: bool,
    },
}

/// A question that is not answered yet.
struct Asked {
    replica: Replica,
    segments: Vec<Segment>,
    slow_at: Instant,
}

type Pending = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// One try.
pub(super) struct Attempt<'a> {
    reader: &'a Reader,
    state: Arc<ClusterState>,
    groups: Groups,
    /// The segments of each group, their replicas in the order of asking.
    spans: Vec<Vec<Span>>,
    reads: Vec<ShardRead>,
    /// What is read in part; absent: nothing may be.
    reduced: Option<Reduced>,
    /// What is to be asked next.
    requests: Vec<ReadRequest>,
    /// The runs of other nodes that said that their data is complete.
    boots: BTreeMap<(Segment, Replica), u128>,
    /// Segments whose only replica, at another node, has a damaged log.
    damaged: BTreeSet<Segment>,
    asked: BTreeMap<usize, Asked>,
    /// Questions asked so far.
    count: usize,
    answers: FuturesUnordered<Pending>,
    /// Why replicas did not do.
    reasons: Vec<String>,
    is_stale: bool,
}

impl<'a> Attempt<'a> {
    /// Begins to read these segments; `order` is that of asking.
    pub(super) fn new(
        reader: &'a Reader,
        state: Arc<ClusterState>,
        spans: &[Span],
        order: &[Replica],
        wish: Wish<'_>,
    ) -> Self {
        let groups = Groups::of(spans);
        let mut by_group: Vec<Vec<Span>> = (0..groups.len()).map(|_| Vec::new()).collect();
        let place = |replica: &Replica| order.iter().position(|other| other == replica);
        for span in spans {
            let mut span = span.clone();
            span.replicas.sort_by_key(place);
            by_group[groups.index_of(&span.segment)].push(span);
        }
        let mut requests = Vec::new();
        let reads =
            { by_group.iter() }.map(|spans| ShardRead::new(spans, Rules::ALL, &mut requests)).collect();
        let mut attempt = Attempt {
            reader,
            state,
            groups,
            spans: by_group,
            reads,
            reduced: wish.may_be_partial.then(Reduced::default),
            requests,
            boots: BTreeMap::new(),
            damaged: BTreeSet::new(),
            asked: BTreeMap::new(),
            count: 0,
            answers: FuturesUnordered::new(),
            reasons: Vec::new(),
            is_stale: false,
        };
        for span in spans {
            for replica in span.replicas.iter().filter(|replica| wish.without.contains(replica)) {
                attempt.failed(replica, &span.segment, "it failed while it was read");
            }
        }
        attempt
    }

    /// Asks until there is a plan, or none to be had.
    pub(super) async fn run(mut self, mut deadline: Instant) -> Result<ReadPlan, Ended> {
        let mut is_late = false;
        loop {
            self.send();
            if self.read_less() {
                continue;
            }
            if let Some(ended) = self.ended() {
                return ended.map(|()| self.into_plan());
            }
            let wake =
                self.asked.values().map(|asked| asked.slow_at).min().map_or(deadline, |at| at.min(deadline));
            match timeout_at(wake, self.answers.next()).await {
                Ok(Some(answer)) => self.take(answer).await,
                Ok(None) => return Err(self.gave_up("nobody is left to be asked")),
                Err(_) if Instant::now() >= deadline && self.reduced.is_some() && !is_late => {
                    is_late = true;
                    deadline += CALL_MAX;
                    self.fail_all_asked();
                }
                Err(_) if Instant::now() >= deadline => {
                    return Err(self.gave_up("its replicas did not answer in time"));
                }
                Err(_) => self.note_slow(),
            }
        }
    }

    /// How it ended; an `Ok` if all reads are complete.
    fn ended(&self) -> Option<Result<(), Ended>> {
        if self.is_stale {
            return Some(Err(Ended::Stale));
        }
        let mut all = true;
        for (read, spans) in self.reads.iter().zip(&self.spans) {
            match read.outcome() {
                Some(ReadOutcome::Stale) => return Some(Err(Ended::Stale)),
                Some(ReadOutcome::Unavailable(segment)) => return Some(Err(self.unavailable(segment))),
                Some(ReadOutcome::Complete(_)) => {}
                None if self.is_left_out(spans) => {}
                None => all = false,
            }
        }
        all.then_some(Ok(()))
    }

    /// Reads what cannot be read completely in part, if it may be. Whether there is anything new to be asked.
    fn read_less(&mut self) -> bool {
        let Some(reduced) = &mut self.reduced else { return false };
        let mut is_changed = false;
        for (read, spans) in self.reads.iter_mut().zip(&self.spans) {
            // Each time round a replica has failed, so this comes to an end.
            if let Some(ReadOutcome::Unavailable(segment)) = read.outcome() {
                reduced.add(segment.clone());
                *read = ShardRead::new(&reduced.readable(spans), Rules::ALL, &mut self.requests);
                is_changed = true;
            }
        }
        is_changed
    }

    /// Whether none of the segments can be read, and none must be.
    fn is_left_out(&self, spans: &[Span]) -> bool {
        self.reduced.as_ref().is_some_and(|reduced| reduced.readable(spans).is_empty())
    }

    /// Nobody is waited for any longer.
    fn fail_all_asked(&mut self) {
        for Asked { replica, segments, .. } in std::mem::take(&mut self.asked).into_values() {
            for segment in &segments {
                self.failed(&replica, segment, "it did not answer in time");
            }
        }
    }

    fn unavailable(&self, segment: &Segment) -> Ended {
        let mut reason = format!("too few replicas of segment {segment} can be read");
        if !self.reasons.is_empty() {
            reason = format!("{reason} ({})", self.reasons.join("; "));
        }
        Ended::Unavailable { segment: segment.clone(), reason }
    }

    fn gave_up(&mut self, why: &str) -> Ended {
        self.reasons.push(why.to_owned());
        let open = self.asked.values().flat_map(|asked| &asked.segments).next();
        match open {
            Some(segment) => self.unavailable(segment),
            // Nothing is awaited, and yet something is missing: newer documents are the only way on.
            None => Ended::Stale,
        }
    }

    fn into_plan(self) -> ReadPlan {
        let shards = &self.reader.replicas.shards;
        let own = &self.state.own;
        let mut groups = self.groups;
        let (mut local, mut remote) = (0, 0);
        for read in &self.reads {
            let Some(ReadOutcome::Complete(chosen)) = read.outcome() else { continue };
            for (segment, replica) in chosen {
                if replica == own {
                    if let Some(shard) = shards.find(segment) {
                        local += 1;
                        groups.add(segment, SegmentSource::Local(shard));
                    }
                    continue;
                }
                let boot = self.boots.get(&(segment.clone(), replica.clone())).copied().unwrap_or_default();
                // Without an address it could not have answered; if it is gone since, the read fails and says so.
                let peer = self.reader.replicas.cluster.peer(replica);
                remote += 1;
                let head = head_for(&self.state, replica);
                let place = Place { head, segment: segment.to_string(), boot };
                let source = RemoteSegment { peer, replica: replica.clone(), place };
                groups.add(segment, SegmentSource::Remote(source));
            }
        }
        self.reader.metrics.segments(true, local);
        self.reader.metrics.segments(false, remote);
        let reduced = self.reduced.as_ref();
        let warnings = reduced.map(|reduced| reduced.warnings(self.spans.iter().flatten(), &self.reasons));
        let (groups, mut warnings) = (groups.into_sources(), warnings.unwrap_or_default());
        warnings.extend(self.damaged.iter().map(damage_warning));
        ReadPlan { groups, has_choice: true, warnings, ..ReadPlan::default() }
    }

    /// Asks what is to be asked, and what follows from answers that are here already.
    fn send(&mut self) {
        while !self.requests.is_empty() {
            let mut vectors: BTreeMap<Replica, Vec<Segment>> = BTreeMap::new();
            for request in std::mem::take(&mut self.requests) {
                match request {
                    ReadRequest::Vector { segment, replica } if replica == self.state.own => {
                        self.reader.metrics.checks(true, 1);
                        self.own_vector(&segment);
                    }
                    ReadRequest::Vector { segment, replica } => {
                        vectors.entry(replica).or_default().push(segment);
                    }
                    ReadRequest::Data { segment, replica, as_of, holder } if replica == self.state.own => {
                        self.own_data(segment, as_of, holder);
                    }
                    ReadRequest::Data { segment, replica, as_of, holder } => {
                        self.ask_data(segment, replica, &as_of, holder.as_ref());
                    }
                }
            }
            for (replica, segments) in vectors {
                self.reader.metrics.checks(false, segments.len() as u64);
                self.ask_vectors(replica, segments);
            }
        }
    }

    fn own_vector(&mut self, segment: &Segment) {
        let own = self.state.own.clone();
        match self.reader.replicas.look_at(segment) {
            Ok(shard) => {
                let vector = shard.map(|shard| shard.state.vector()).unwrap_or_default();
                let reply = VectorReply { held: vector.held, sealed: vector.is_sealed };
                self.read(segment, |read, requests| read.on_vector(segment, &own, reply, requests));
            }
            Err(refusal) => self.failed(&own, segment, &format!("refused: {refusal:?}")),
        }
    }

    fn own_data(&mut self, segment: Segment, as_of: BatchSet, holder: Option<Replica>) {
        let (own, replicas) = (self.state.own.clone(), &self.reader.replicas);
        let shard = match replicas.look_at(&segment) {
            Ok(Some(shard)) => shard,
            Ok(None) if as_of.is_empty() => {
                let reply = DataReply { as_of: true, sealed: false };
                return self.read(&segment, |read, requests| read.on_data(&segment, &own, reply, requests));
            }
            // The first batch is on its way.
            Ok(None) => match replicas.host(&segment) {
                Ok(shard) => shard,
                Err(refusal) => return self.failed(&own, &segment, &format!("refused: {refusal:?}")),
            },
            Err(refusal) => return self.failed(&own, &segment, &format!("refused: {refusal:?}")),
        };
        if shard.state.shows(&as_of) {
            let reply = DataReply { as_of: true, sealed: shard.state.is_sealed() };
            return self.read(&segment, |read, requests| read.on_data(&segment, &own, reply, requests));
        }
        let replicas = replicas.clone();
        self.ask(own, vec![segment], async move {
            let all = replicas.fetching.wait_for(&replicas, &shard, &as_of, holder.as_ref()).await;
            Body::Arrived { all, is_sealed: shard.state.is_sealed() }
        });
    }

    fn ask_vectors(&mut self, replica: Replica, segments: Vec<Segment>) {
        let Some(peer) = self.reader.replicas.cluster.peer(&replica) else {
            return segments
                .iter()
                .for_each(|segment| self.failed(&replica, segment, "its address is not known"));
        };
        let head = head_for(&self.state, &replica);
        let names = segments.iter().map(Segment::to_string).collect();
        self.ask(replica, segments, async move {
            Body::Vectors(call::vectors(&peer, head, names, CALL_MAX).await)
        });
    }

    fn ask_data(&mut self, segment: Segment, replica: Replica, as_of: &BatchSet, holder: Option<&Replica>) {
        let Some(peer) = self.reader.replicas.cluster.peer(&replica) else {
            return self.failed(&replica, &segment, "its address is not known");
        };
        let request = ShowsRequest {
            head: head_for(&self.state, &replica),
            segment: segment.to_string(),
            batches: as_of.into(),
            holder: holder.map(|holder| holder.node.to_string()).unwrap_or_default(),
        };
        self.ask(replica, vec![segment], async move {
            Body::Shows(call::control(&peer, messages::SHOWS, &request, CALL_MAX).await)
        });
    }

    fn ask(
        &mut self,
        replica: Replica,
        segments: Vec<Segment>,
        answer: impl Future<Output = Body> + Send + 'static,
    ) {
        let asked = self.count;
        self.count += 1;
        self.asked.insert(asked, Asked { replica, segments, slow_at: Instant::now() + SLOW });
        self.answers.push(Box::pin(async move { Answer { asked, body: answer.await } }));
    }

    async fn take(&mut self, Answer { asked, body }: Answer) {
        let Some(Asked { replica, segments, .. }) = self.asked.remove(&asked) else { return };
        match body {
            Body::Vectors(Ok(VectorsReply::Vectors(vectors))) if vectors.len() == segments.len() => {
                for (segment, vector) in segments.iter().zip(&vectors) {
                    let reply = VectorReply { held: (&vector.held).into(), sealed: vector.is_sealed };
                    self.read(segment, |read, requests| read.on_vector(segment, &replica, reply, requests));
                }
            }
            Body::Shows(Ok(ShowsReply::Shows { boot, all, is_sealed, is_damaged })) => {
                if is_damaged {
                    self.damaged.insert(segments[0].clone());
                }
                if all {
                    self.boots.insert((segments[0].clone(), replica.clone()), boot);
                }
                self.arrived(&replica, &segments[0], all, is_sealed);
            }
            Body::Arrived { all, is_sealed } => self.arrived(&replica, &segments[0], all, is_sealed),
            Body::Vectors(Ok(VectorsReply::Refused(refused)))
            | Body::Shows(Ok(ShowsReply::Refused(refused))) => {
                self.refused(&replica, &segments, refused).await;
            }
            Body::Vectors(Ok(VectorsReply::Vectors(_))) => {
                segments
                    .iter()
                    .for_each(|segment| self.failed(&replica, segment, "its answer makes no sense"));
            }
            Body::Vectors(Err(error)) | Body::Shows(Err(error)) => {
                let error = error.to_string();
                segments.iter().for_each(|segment| self.failed(&replica, segment, &error));
            }
        }
    }

    fn arrived(&mut self, replica: &Replica, segment: &Segment, all: bool, is_sealed: bool) {
        if !all {
            self.reader.metrics.retry(Retry::Behind);
            self.note(format!("{} lacks batches that another replica has", replica.node));
        }
        let reply = DataReply { as_of: all, sealed: is_sealed };
        self.read(segment, |read, requests| read.on_data(segment, replica, reply, requests));
    }

    async fn refused(&mut self, replica: &Replica, segments: &[Segment], refused: Refused) {
        let learn = self.reader.replicas.cluster.learn(documents_from_wire(&refused.documents));
        // If it takes longer, whoever looks for newer documents next finds them.
        let _ = timeout(LEARN_MAX, learn).await;
        if refused.reason == RefusedBecause::Sealed {
            self.is_stale = true;
            return;
        }
        let why = format!("refused: {:?}", refused.reason);
        segments.iter().for_each(|segment| self.failed(replica, segment, &why));
    }

    fn failed(&mut self, replica: &Replica, segment: &Segment, why: &str) {
        self.reader.metrics.retry(Retry::Failed);
        // Errors of calls name the peer themselves.
        let name = replica.node.as_str();
        self.note(if why.contains(name) { why.to_owned() } else { format!("{name}: {why}") });
        if let Some(reduced) = &mut self.reduced {
            reduced.failed(segment, replica);
        }
        self.read(segment, |read, requests| read.on_failure(segment, replica, requests));
    }

    fn note(&mut self, reason: String) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
            let over = self.reasons.len().saturating_sub(REASONS_MAX);
            self.reasons.drain(..over);
        }
    }

    /// Asks elsewhere for what takes long.
    fn note_slow(&mut self) {
        let now = Instant::now();
        let mut slow = Vec::new();
        for asked in self.asked.values_mut().filter(|asked| asked.slow_at <= now) {
            asked.slow_at = now + CALL_MAX + SLOW;
            slow.push((asked.replica.clone(), asked.segments.clone()));
        }
        for (replica, segments) in slow {
            self.reader.metrics.retry(Retry::Slow);
            self.note(format!("{} is slow", replica.node));
            for segment in &segments {
                self.read(segment, |read, requests| read.on_slow(segment, &replica, requests));
            }
        }
    }

    /// Tells the read of a segment's shard something.
    fn read(&mut self, segment: &Segment, tell: impl FnOnce(&mut ShardRead, &mut Vec<ReadRequest>)) {
        let group = self.groups.index_of(segment);
        tell(&mut self.reads[group], &mut self.requests);
    }
}
