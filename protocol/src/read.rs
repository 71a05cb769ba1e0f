//! Reading a shard: read one, check one (rules 11 to 13).
//!
//! Of each segment that is not closed, one replica says which batches it holds, and another hands out its data as of at
//! least these. Any two of three replicas cover every acknowledged batch, so the data of one is complete without being
//! merged with anybody's.
//!
//! That holds only if nobody writes to a segment the reader has not heard of. So both replicas of the newest segment
//! must say that it is open there (the *fence*): a newer one could only have been opened after a quorum had sealed this
//! one, and any two replicas would include one of these. If one is sealed, the reader's documents are old: it fetches
//! newer ones and starts again.
//!
//! A replica that is slow need not be waited for: [`ShardRead::on_slow`] asks another pair as well, and whoever
//! completes first is read. An answer that comes late still counts: a vector, because it was taken after the read
//! began, as any other; data, because it is as of the vector that it was asked for.

use std::collections::{BTreeMap, BTreeSet};

use gyre_ring::{BatchSet, Quorum, Replica, Segment, Span};

use crate::rules::Rules;

/// Something to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadRequest {
    /// Which batches of a segment a replica holds.
    Vector {
        /// The segment.
        segment: Segment,
        /// Whom to ask.
        replica: Replica,
    },
    /// A replica's data.
    Data {
        /// The segment.
        segment: Segment,
        /// Whom to ask.
        replica: Replica,
        /// It must contain these at least; what is missing can be pulled from `holder`.
        as_of: BatchSet,
        /// Who named them; `None` if nobody did.
        holder: Option<Replica>,
    },
}

/// A replica's answer to [`ReadRequest::Vector`].
#[derive(Clone, Debug)]
pub struct VectorReply {
    /// What is durable there.
    pub held: BatchSet,
    /// Whether the segment is sealed there.
    pub sealed: bool,
}

/// A replica's answer to [`ReadRequest::Data`], without the data.
#[derive(Clone, Copy, Debug)]
pub struct DataReply {
    /// Whether the data contains what was asked for.
    pub as_of: bool,
    /// Whether the segment is sealed there.
    pub sealed: bool,
}

/// How a read ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// The data of these replicas is complete.
    Complete(BTreeMap<Segment, Replica>),
    /// The documents it went by are old.
    Stale,
    /// Too few replicas of a segment can be reached, or none has all that another one named.
    Unavailable(Segment),
}

/// A read of one shard, under one set of documents.
#[derive(Clone, Debug)]
pub struct ShardRead {
    segments: BTreeMap<Segment, SegmentRead>,
    outcome: Option<ReadOutcome>,
    rules: Rules,
}

#[derive(Clone, Debug)]
struct SegmentRead {
    /// Those that may still be asked, best first.
    replicas: Vec<Replica>,
    /// How many must answer.
    need: usize,
    /// Whether it takes appends, as far as the documents say: then the fence applies.
    is_newest: bool,
    /// Those that let others be asked in their stead. They stand last among `replicas`.
    slow: BTreeSet<Replica>,
    /// Asked what they hold, not necessarily for the pair of this moment.
    asked_vector: BTreeSet<Replica>,
    /// Asked for their data, likewise.
    asked_data: BTreeSet<Replica>,
    /// Pairs (data, vector) that did not do.
    tried: BTreeSet<(Replica, Replica)>,
    stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// The first is to be read, the second has been asked what it holds.
    Vector {
        data: Replica,
        vector: Replica,
    },
    /// It has been asked for its data.
    Data {
        data: Replica,
        vector: Option<Replica>,
    },
    Done(Replica),
}

impl ShardRead {
    /// A read of a shard's segments, all that are not closed and have keys of it, each with its replicas in the order
    /// in which to try them. What to ask first is pushed to `requests`.
    pub fn new(spans: &[Span], rules: Rules, requests: &mut Vec<ReadRequest>) -> Self {
        let mut spans: Vec<&Span> = spans.iter().collect();
        if !rules.read_covers_all {
            spans.sort_by_key(|span| std::cmp::Reverse(span.segment.epoch));
            spans.truncate(2);
        }
        let mut read = ShardRead { segments: BTreeMap::new(), outcome: None, rules };
        for span in spans {
            let need = if rules.read_checks_one { Quorum::of(span.replicas.len()).read } else { 1 };
            let mut segment = SegmentRead {
                replicas: span.replicas.clone(),
                need,
                is_newest: span.ended.is_none(),
                slow: BTreeSet::new(),
                asked_vector: BTreeSet::new(),
                asked_data: BTreeSet::new(),
                tried: BTreeSet::new(),
                stage: Stage::Done(span.replicas[0].clone()),
            };
            if !segment.begin(&span.segment, requests) {
                read.outcome = Some(ReadOutcome::Unavailable(span.segment.clone()));
            }
            read.segments.insert(span.segment.clone(), segment);
        }
        read
    }

    /// How it ended; `None` while answers are awaited.
    pub fn outcome(&self) -> Option<&ReadOutcome> {
        self.outcome.as_ref()
    }

    /// A replica has said what it holds.
    pub fn on_vector(
        &mut self,
        segment: &Segment,
        from: &Replica,
        reply: VectorReply,
        requests: &mut Vec<ReadRequest>,
    ) {
        let Some(read) = self.awaiting(segment) else { return };
        let Stage::Vector { data, .. } = &read.stage else { return };
        if data == from || !read.asked_vector.contains(from) {
            return;
        }
        let (data, vector) = (data.clone(), from.clone());
        if read.is_newest && reply.sealed && self.rules.fence_on_vector {
            self.outcome = Some(ReadOutcome::Stale);
            return;
        }
        let as_of = match (self.rules.data_as_of_vector, self.rules.vector_is_a_set) {
            (false, _) => BatchSet::default(),
            (true, true) => reply.held,
            (true, false) => reply.held.highest_only(),
        };
        let Some(read) = self.awaiting(segment) else { return };
        read.stage = Stage::Data { data: data.clone(), vector: Some(vector.clone()) };
        read.asked_data.insert(data.clone());
        requests.push(ReadRequest::Data {
            segment: segment.clone(),
            replica: data,
            as_of,
            holder: Some(vector),
        });
    }

    /// A replica has handed out its data.
    pub fn on_data(
        &mut self,
        segment: &Segment,
        from: &Replica,
        reply: DataReply,
        requests: &mut Vec<ReadRequest>,
    ) {
        let fence = self.rules.fence_on_data;
        let Some(read) = self.awaiting(segment) else { return };
        if !read.asked_data.contains(from) {
            return;
        }
        if read.is_newest && reply.sealed && fence {
            self.outcome = Some(ReadOutcome::Stale);
            return;
        }
        if reply.as_of {
            read.stage = Stage::Done(from.clone());
            return self.finish();
        }
        // It could not get what the other one named. If another pair is being asked by now, that goes on.
        let Stage::Data { data, vector } = &read.stage else { return };
        if data != from {
            return;
        }
        let vector = vector.clone().unwrap_or_else(|| data.clone());
        read.tried.insert((data.clone(), vector));
        if !read.begin(segment, requests) {
            self.outcome = Some(ReadOutcome::Unavailable(segment.clone()));
        }
    }

    /// A replica has not answered for a while: another pair is asked as well, if there is one without anybody slow.
    pub fn on_slow(&mut self, segment: &Segment, from: &Replica, requests: &mut Vec<ReadRequest>) {
        let Some(read) = self.awaiting(segment) else { return };
        if !read.concerns(from) || !read.slow.insert(from.clone()) {
            return;
        }
        read.replicas.sort_by_key(|replica| read.slow.contains(replica));
        // Of the rest any will do; if they are too few, the slow one is waited for.
        let waiting = read.stage.clone();
        let slow = std::mem::take(&mut read.slow);
        let all = read.replicas.clone();
        read.replicas.retain(|replica| !slow.contains(replica));
        if !read.begin(segment, requests) {
            read.stage = waiting;
        }
        (read.slow, read.replicas) = (slow, all);
    }

    /// A replica could not be reached, did not answer in time or refused: it is not asked again by this read.
    pub fn on_failure(&mut self, segment: &Segment, from: &Replica, requests: &mut Vec<ReadRequest>) {
        let Some(read) = self.awaiting(segment) else { return };
        read.replicas.retain(|replica| replica != from);
        if read.concerns(from) && !read.begin(segment, requests) {
            self.outcome = Some(ReadOutcome::Unavailable(segment.clone()));
        }
    }

    fn awaiting(&mut self, segment: &Segment) -> Option<&mut SegmentRead> {
        if self.outcome.is_some() {
            return None;
        }
        self.segments.get_mut(segment).filter(|read| !matches!(read.stage, Stage::Done(_)))
    }

    fn finish(&mut self) {
        let done = self.segments.iter().map(|(segment, read)| match &read.stage {
            Stage::Done(replica) => Some((segment.clone(), replica.clone())),
            _ => None,
        });
        if let Some(read) = done.collect() {
            self.outcome = Some(ReadOutcome::Complete(read));
        }
    }
}

impl SegmentRead {
    /// Whether the pair of this moment waits for a replica, or will.
    fn concerns(&self, replica: &Replica) -> bool {
        match &self.stage {
            Stage::Vector { data, vector } => data == replica || vector == replica,
            Stage::Data { data, .. } => data == replica,
            Stage::Done(_) => false,
        }
    }

    /// Asks the first pair that has not been tried; false if there is none.
    fn begin(&mut self, segment: &Segment, requests: &mut Vec<ReadRequest>) -> bool {
        if self.need == 1 {
            let Some(data) =
                self.replicas.iter().find(|r| !self.tried.contains(&((*r).clone(), (*r).clone())))
            else {
                return false;
            };
            self.stage = Stage::Data { data: data.clone(), vector: None };
            self.asked_data.insert(data.clone());
            requests.push(ReadRequest::Data {
                segment: segment.clone(),
                replica: data.clone(),
                as_of: BatchSet::default(),
                holder: None,
            });
            return true;
        }
        let pairs = self.replicas.iter().flat_map(|data| {
            let others = self.replicas.iter().filter(move |vector| *vector != data);
            others.map(move |vector| (data.clone(), vector.clone()))
        });
        let Some((data, vector)) = { pairs }.find(|pair| !self.tried.contains(pair)) else { return false };
        requests.push(ReadRequest::Vector { segment: segment.clone(), replica: vector.clone() });
        self.asked_vector.insert(vector.clone());
        self.stage = Stage::Vector { data, vector };
        true
    }
}
