//! The sending side of a connection: from batches to bytes.
//!
//! Series are looked up where they are expected first, behind the one before, since a target sends its series in
//! the same order each time; the table by key is asked only where the order breaks. That makes a sample of a
//! known series some sequential memory and no hashing.

use std::collections::{HashMap, HashSet};

use gyre_ring::SeriesKey;
use hashbrown::{HashTable, hash_table};

use super::values::put_run;
use super::wire::{put_bytes, put_signed, put_unsigned};
use super::{LABEL_BYTES_MAX, NAME_BYTES_MAX, SAMPLES_PER_BATCH_MAX, SERIES_PER_BATCH_MAX, STREAMS_MAX};

/// First byte of a batch: the ids of all batches before are forgotten.
pub(super) const RESET: u8 = 1;

/// After a segment was followed by another one of its shard, more may have ended, whose successors go elsewhere. So it is looked
/// which segments are used, for so many batches for each of them on average.
const REVIEW_BATCHES: usize = 2;

/// If more than one of so many ids was not used meanwhile, both sides begin anew, and labels travel again.
const UNUSED_SHARE: usize = 3;

/// A batch to be sent: one segment's part of a write.
pub trait SampleSource: Send + Sync {
    /// The segment's name, at most [`NAME_BYTES_MAX`] bytes.
    fn segment(&self) -> &str;

    /// A name that this segment has in common with those that it follows, and that follow it.
    fn shard(&self) -> &str {
        self.segment()
    }

    /// How many series [`SampleSource::write_to`] will give, at least.
    fn series_len(&self) -> usize;

    /// Gives all series, each followed by its samples. It may be called again, for another connection.
    fn write_to(&self, out: &mut BatchWriter<'_>);

    /// Whether labels travel even if this connection has sent them: the receiver lacks some.
    fn repeats_labels(&self) -> bool {
        false
    }

    /// Bytes of memory this holds while it waits to be sent.
    fn memory_bytes(&self) -> usize;
}

/// A batch that cannot be sent, whatever is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Something in it is beyond its limit.
    #[error("the batch has {got} {what}, at most {max} can be sent")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many.
        got: usize,
        /// The limit.
        max: usize,
    },
}

/// What a segment's receiver knows by now.
#[derive(Default)]
struct Stream {
    /// By id.
    keys: Vec<u128>,
    /// The last value sent, by id.
    last: Vec<u64>,
    /// Ids by key.
    ids: HashTable<u32>,
    /// Whether there was a batch of it since the last review began.
    is_used: bool,
}

#[derive(Clone, Copy)]
struct Staged {
    position: u32,
    /// Which sample of its series it is.
    round: u32,
    t_ms: i64,
    v_bits: u64,
}

/// A batch while it is put together; empty between batches.
#[derive(Default)]
struct Stage {
    /// The series section's bytes, but for the group of known series at its end.
    series: Vec<u8>,
    /// Stream ids by position.
    ids: Vec<u32>,
    samples: Vec<Staged>,
    histograms: Vec<u8>,
    histogram_count: usize,
    /// Position and time of the last histogram.
    last_histogram: (i64, i64),
    /// The series at the end, whose group goes on as long as ids are consecutive.
    group: Group,
    /// Id behind the last group written.
    behind: u32,
    /// Samples that the current series has so far.
    round: u32,
    /// Some series has several samples.
    has_rounds: bool,
    label_bytes_max: usize,
}

/// Consecutive series of one kind that wait to be written.
#[derive(Clone, Copy, Default)]
struct Group {
    first: u32,
    count: u32,
    new: bool,
    /// Where in the section the bytes of the new series begin.
    begin: usize,
}

/// Encodes the batches of one connection, in the order in which they are written.
pub struct Encoder {
    streams: Vec<Stream>,
    by_name: HashMap<Box<str>, u32>,
    /// The shards of these streams.
    shards: HashSet<Box<str>>,
    /// Batches until it is seen which streams were used.
    review: Option<usize>,
    ids: usize,
    ids_max: usize,
    must_reset: bool,
    stage: Stage,
    xors: Vec<u64>,
}

impl Encoder {
    /// An encoder whose receiver holds at most so many series ids.
    pub fn new(ids_max: u32) -> Self {
        Encoder {
            streams: Vec::new(),
            by_name: HashMap::new(),
            shards: HashSet::new(),
            review: None,
            ids: 0,
            ids_max: ids_max as usize,
            must_reset: false,
            stage: Stage::default(),
            xors: Vec::new(),
        }
    }

    /// Appends a batch. After an error nothing was appended, and the next batch begins anew.
    pub fn encode(&mut self, source: &dyn SampleSource, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let begin = out.len();
        let result = self.try_encode(source, out);
        if result.is_err() {
            out.truncate(begin);
            self.must_reset = true;
        }
        result
    }

    fn try_encode(&mut self, source: &dyn SampleSource, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let series_max = SERIES_PER_BATCH_MAX.min(self.ids_max);
        at_most("series", source.series_len(), series_max)?;
        at_most("bytes in its segment's name", source.segment().len(), NAME_BYTES_MAX)?;
        let is_known = self.by_name.contains_key(source.segment());
        let is_full =
            self.ids + source.series_len() > self.ids_max || !is_known && self.streams.len() == STREAMS_MAX;
        let reset = self.is_mostly_old() || is_full || self.must_reset;
        if reset {
            self.forget();
        }
        out.push(if reset { RESET } else { 0 });
        let stream = self.put_stream(source, out);
        let ids_before = self.streams[stream].keys.len();
        self.stage.clear();
        let repeats_labels = source.repeats_labels();
        source.write_to(&mut BatchWriter {
            stage: &mut self.stage,
            stream: &mut self.streams[stream],
            repeats_labels,
        });
        self.ids += self.streams[stream].keys.len() - ids_before;
        self.stage.end_group();
        at_most("series", self.stage.ids.len(), series_max)?;
        // A source that gave more series than it announced.
        at_most("series on its connection", self.ids, self.ids_max)?;
        at_most("samples", self.stage.samples.len(), SAMPLES_PER_BATCH_MAX)?;
        at_most("histograms", self.stage.histogram_count, SAMPLES_PER_BATCH_MAX)?;
        at_most("label bytes in one series", self.stage.label_bytes_max, LABEL_BYTES_MAX)?;
        put_unsigned(out, self.stage.ids.len() as u64);
        out.extend_from_slice(&self.stage.series);
        self.put_samples(stream, out);
        put_unsigned(out, self.stage.histogram_count as u64);
        out.extend_from_slice(&self.stage.histograms);
        Ok(())
    }

    /// The next batch begins anew: labels travel again. For a batch that was encoded and then not written.
    pub fn forget(&mut self) {
        // Not cleared: their memory goes, too.
        self.streams = Vec::new();
        (self.by_name, self.shards) = (HashMap::new(), HashSet::new());
        (self.ids, self.review) = (0, None);
        self.must_reset = true;
    }

    /// Counts a batch of the review, if there is one; whether it ends, and finds much that is not used.
    fn is_mostly_old(&mut self) -> bool {
        let Some(left) = &mut self.review else { return false };
        if *left > 0 {
            *left -= 1;
            return false;
        }
        self.review = None;
        let unused = self.streams.iter().filter(|stream| !stream.is_used);
        unused.map(|stream| stream.keys.len()).sum::<usize>() > self.ids / UNUSED_SHARE
    }

    fn begin_review(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.is_used = false);
        self.review = Some(REVIEW_BATCHES * self.streams.len());
    }

    /// Series ids that sender and receiver hold.
    pub fn series_ids(&self) -> usize {
        self.ids
    }

    /// Names the segment: by number, and in letters the first time.
    fn put_stream(&mut self, source: &dyn SampleSource, out: &mut Vec<u8>) -> usize {
        self.must_reset = false;
        let segment = source.segment();
        if let Some(&stream) = self.by_name.get(segment) {
            put_unsigned(out, u64::from(stream));
            self.streams[stream as usize].is_used = true;
            return stream as usize;
        }
        let stream = self.streams.len();
        put_unsigned(out, stream as u64);
        put_bytes(out, segment.as_bytes());
        if !self.shards.insert(source.shard().into()) && self.review.is_none() {
            self.begin_review();
        }
        self.streams.push(Stream { is_used: true, ..Stream::default() });
        self.by_name.insert(segment.into(), stream as u32);
        stream
    }

    fn put_samples(&mut self, stream: usize, out: &mut Vec<u8>) {
        let Stage { samples, ids, has_rounds, .. } = &mut self.stage;
        if *has_rounds {
            // The first samples of all series, then the second ones: so a target's scrapes are runs again. The
            // order within a series stays.
            samples.sort_unstable_by_key(|sample| (sample.round, sample.position));
        }
        put_unsigned(out, samples.len() as u64);
        let last = &mut self.streams[stream].last;
        let (mut t_ms, mut position) = (0i64, 0i64);
        let mut rest = samples.as_slice();
        while let Some(first) = rest.first() {
            let follows =
                |(expected, sample): (u32, &Staged)| sample.position == expected && sample.t_ms == first.t_ms;
            let len = (first.position..).zip(rest).take_while(|&pair| follows(pair)).count();
            let (run, behind) = rest.split_at(len);
            let ids = &ids[first.position as usize..][..len];
            self.xors.clear();
            self.xors.extend(run.iter().zip(ids).map(|(sample, &id)| {
                std::mem::replace(&mut last[id as usize], sample.v_bits) ^ sample.v_bits
            }));
            put_unsigned(out, len as u64);
            put_signed(out, first.t_ms.wrapping_sub(t_ms));
            put_signed(out, i64::from(first.position) - position);
            put_run(out, &self.xors);
            (t_ms, position) = (first.t_ms, i64::from(first.position) + len as i64);
            rest = behind;
        }
    }
}

fn at_most(what: &'static str, got: usize, max: usize) -> Result<(), EncodeError> {
    if got > max { Err(EncodeError::TooMany { what, got, max }) } else { Ok(()) }
}

/// Takes a batch's series and their samples.
pub struct BatchWriter<'a> {
    stage: &'a mut Stage,
    stream: &'a mut Stream,
    repeats_labels: bool,
}

impl BatchWriter<'_> {
    /// Begins a series. The samples that follow are its. Its labels are asked for if they must travel.
    #[inline]
    pub fn series<'l>(&mut self, key: SeriesKey, labels: impl FnOnce() -> &'l [u8]) {
        self.stage.round = 0;
        // Where the order is that of the last time, the next series is the one behind.
        let expected = self.stage.group.first + self.stage.group.count;
        let is_expected = self.stream.keys.get(expected as usize) == Some(&key.0);
        if is_expected && !self.repeats_labels && !self.stage.group.new {
            self.stage.group.count += 1;
            self.stage.ids.push(expected);
        } else {
            let is_new = self.series_out_of_order(key);
            if is_new {
                self.stage.put_new(key, labels());
            }
        }
    }

    /// A float sample of the current series.
    #[inline]
    pub fn sample(&mut self, t_ms: i64, v_bits: u64) {
        let Some(position) = self.position() else { return };
        let stage = &mut *self.stage;
        let round = stage.round;
        stage.round += 1;
        stage.has_rounds |= round > 0;
        stage.samples.push(Staged { position, round, t_ms, v_bits });
    }

    /// A native histogram sample of the current series: the bytes of one remote-write `Histogram` message, and
    /// the timestamp in it.
    pub fn histogram(&mut self, t_ms: i64, message: &[u8]) {
        let Some(position) = self.position() else { return };
        let stage = &mut *self.stage;
        let (last_position, last_t_ms) = stage.last_histogram;
        put_signed(&mut stage.histograms, i64::from(position) - last_position);
        put_signed(&mut stage.histograms, t_ms.wrapping_sub(last_t_ms));
        put_bytes(&mut stage.histograms, message);
        stage.last_histogram = (i64::from(position), t_ms);
        stage.histogram_count += 1;
    }

    /// Place of the current series; none before the first, whose samples belong to nothing.
    fn position(&self) -> Option<u32> {
        let position = self.stage.ids.len().checked_sub(1);
        debug_assert!(position.is_some(), "a sample comes behind its series");
        position.map(|position| position as u32)
    }

    /// Looks the series up by its key. Whether it is new.
    fn series_out_of_order(&mut self, key: SeriesKey) -> bool {
        let hash = |key: u128| key as u64;
        let Stream { keys, last, ids, .. } = &mut *self.stream;
        let is_it = |id: &u32| keys[*id as usize] == key.0;
        let entry = ids.entry(hash(key.0), is_it, |id| hash(keys[*id as usize]));
        let (id, new) = match entry {
            hash_table::Entry::Occupied(known) if !self.repeats_labels => (*known.get(), false),
            entry => {
                let id = keys.len() as u32;
                match entry {
                    hash_table::Entry::Occupied(mut known) => *known.get_mut() = id,
                    hash_table::Entry::Vacant(place) => {
                        place.insert(id);
                    }
                }
                keys.push(key.0);
                last.push(0);
                (id, true)
            }
        };
        let stage = &mut *self.stage;
        let group = stage.group;
        if group.new != new || group.first + group.count != id || group.count == 0 {
            stage.end_group();
            stage.group = Group { first: id, count: 0, new, begin: stage.series.len() };
        }
        stage.group.count += 1;
        stage.ids.push(id);
        new
    }
}

impl Stage {
    fn clear(&mut self) {
        self.series.clear();
        self.ids.clear();
        self.samples.clear();
        self.histograms.clear();
        self.histogram_count = 0;
        self.last_histogram = (0, 0);
        self.group = Group::default();
        (self.behind, self.round, self.label_bytes_max) = (0, 0, 0);
        self.has_rounds = false;
    }

    fn put_new(&mut self, key: SeriesKey, labels: &[u8]) {
        self.series.extend_from_slice(&key.0.to_le_bytes());
        put_bytes(&mut self.series, labels);
        self.label_bytes_max = self.label_bytes_max.max(labels.len());
    }

    /// Writes the head of the group that ends here: in front of its series if they are new.
    fn end_group(&mut self) {
        let Group { first, count, new, begin } = self.group;
        if count == 0 {
            return;
        }
        let end = self.series.len();
        put_unsigned(&mut self.series, u64::from(count) << 1 | u64::from(new));
        if !new {
            put_signed(&mut self.series, i64::from(first) - i64::from(self.behind));
        }
        let head_bytes = self.series.len() - end;
        self.series[begin..].rotate_right(head_bytes);
        self.behind = first + count;
    }
}
