//! The chunks of one series, from one source or several, become chunks of a block: in order, without overlap, within a
//! range of time, without what was deleted.
//!
//! A chunk that needs no change, and has an encoding that heads have, is handed on as it is. Chunks that overlap are decoded and merged, with the
//! [winner](crate::winner) of each time, and encoded anew, as are chunks of which only a part is wanted.
//!
//! Trap: the header of a chunk of histograms says whether a counter reset came between the chunk before and this one. That is
//! true only as long as the chunk before is the same; else it must say that nothing is known.

use std::ops::Range;

use super::error::BlockError;
use super::reader::{decode, is_of_heads};
use super::segment::ChunkRef;
use super::tombstones::DeletedRange;
use super::writer::NewChunk;
use crate::chunk::xor::{self, Encoder, HEADER_BITS};
use crate::chunk::{BitSink, ChunkError, VecSink, histogram};
use crate::head::{ReadError, encode_histograms};
use crate::histogram::Histogram;
use crate::winner::{Merge, Value};

/// Samples of a chunk of floats, as in the head and in Prometheus.
const CHUNK_SAMPLES_MAX: usize = 120;

/// A chunk of floats takes no sample past this size.
const CHUNK_BYTES_MAX: usize = 1000;

/// A chunk that goes into a merge.
#[derive(Clone, Debug)]
struct Source {
    encoding: u8,
    data: Range<usize>,
    min_ms: i64,
    max_ms: i64,
    /// Which of the merged sources it comes from.
    source: u32,
    /// Its number among the chunks of that source.
    number: u32,
}

/// Chunks of one series. Reused from series to series.
#[derive(Default)]
pub(super) struct SeriesMerge {
    bytes: Vec<u8>,
    sources: Vec<Source>,
    deleted: Vec<(u32, DeletedRange)>,
    /// What comes out: encoding, bytes, times.
    out: Vec<(u8, Range<usize>, i64, i64)>,
    floats: Vec<(i64, u64)>,
    histograms: Vec<(i64, Box<Histogram>)>,
}

/// A chunk that had to be decoded, and could not be.
pub(super) struct MergeError {
    /// The source it comes from.
    pub(super) source: u32,
    /// Its number among the chunks of that source.
    pub(super) number: u32,
    encoding: u8,
    /// `None`: the encoding is not known.
    error: Option<ChunkError>,
}

impl MergeError {
    /// As an error of a block in which the chunk has this place.
    pub(super) fn at(&self, at: ChunkRef) -> BlockError {
        let (file, offset) = (at.file(), at.offset());
        match self.error {
            Some(source) => BlockError::Chunk { file, offset, source },
            None => {
                let (what, number) = ("chunk encoding", u64::from(self.encoding));
                BlockError::Unsupported { file, offset, what, number }
            }
        }
    }

    /// As an error of a head.
    pub(super) fn in_head(&self) -> ReadError {
        ReadError::Chunk(self.error.unwrap_or(ChunkError::Malformed))
    }
}

impl SeriesMerge {
    /// Forgets the series before.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.sources.clear();
        self.deleted.clear();
        self.out.clear();
    }

    /// Adds a chunk. Those of one source come in the order they have there.
    pub(super) fn add(&mut self, source: u32, chunk: NewChunk<'_>) {
        let NewChunk { encoding, data, min_ms, max_ms } = chunk;
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(data);
        let number =
            self.sources.last().filter(|last| last.source == source).map_or(0, |last| last.number + 1);
        let data = begin..self.bytes.len();
        self.sources.push(Source { encoding, data, min_ms, max_ms, source, number });
    }

    /// Notes that samples of one source do not count.
    pub(super) fn delete(&mut self, source: u32, range: DeletedRange) {
        self.deleted.push((source, range));
    }

    /// Merges what was added; only samples from `min_ms` to `max_ms` count.
    pub(super) fn run(&mut self, min_ms: i64, max_ms: i64) -> Result<(), MergeError> {
        let mut sources = std::mem::take(&mut self.sources);
        sources.retain(|chunk| chunk.min_ms <= max_ms && min_ms <= chunk.max_ms);
        sources.sort_by_key(|chunk| (chunk.min_ms, chunk.max_ms));
        let mut result = Ok(());
        let mut copied = None;
        let mut rest = sources.as_slice();
        while !rest.is_empty() && result.is_ok() {
            let mut end_ms = rest[0].max_ms;
            let overlapping = rest[1..].iter().take_while(|chunk| {
                let overlaps = chunk.min_ms <= end_ms;
                end_ms = end_ms.max(chunk.max_ms);
                overlaps
            });
            let (cluster, behind) = rest.split_at(1 + overlapping.count());
            rest = behind;
            if self.can_be_copied(cluster, (min_ms, max_ms)) {
                self.copy(&cluster[0], copied);
                copied = Some((cluster[0].source, cluster[0].number));
            } else {
                result = self.merge(cluster, (min_ms, max_ms));
                copied = None;
            }
        }
        self.sources = sources;
        result
    }

    /// The chunks that came of it.
    pub(super) fn chunks(&self) -> impl Iterator<Item = NewChunk<'_>> {
        self.out.iter().map(|(encoding, data, min_ms, max_ms)| NewChunk {
            encoding: *encoding,
            data: &self.bytes[data.clone()],
            min_ms: *min_ms,
            max_ms: *max_ms,
        })
    }

    fn can_be_copied(&self, cluster: &[Source], (min_ms, max_ms): (i64, i64)) -> bool {
        let is_whole = |chunk: &Source| {
            let touches = |(source, range): &(u32, DeletedRange)| {
                *source == chunk.source && range.min_ms <= chunk.max_ms && chunk.min_ms <= range.max_ms
            };
            min_ms <= chunk.min_ms && chunk.max_ms <= max_ms && !self.deleted.iter().any(touches)
        };
        let data = |chunk: &Source| (chunk.encoding, &self.bytes[chunk.data.clone()]);
        let is_same = |chunk: &Source| data(chunk) == data(&cluster[0]);
        is_of_heads(cluster[0].encoding) && cluster.iter().all(|chunk| is_whole(chunk) && is_same(chunk))
    }

    fn copy(&mut self, chunk: &Source, copied: Option<(u32, u32)>) {
        // The chunk before is the one that came before at its source.
        let follows = chunk.number > 0 && copied == Some((chunk.source, chunk.number - 1));
        if !follows && histogram::kind_of(chunk.encoding).is_some() {
            histogram::forget_counter_reset(&mut self.bytes[chunk.data.clone()]);
        }
        self.out.push((chunk.encoding, chunk.data.clone(), chunk.min_ms, chunk.max_ms));
    }

    fn merge(&mut self, cluster: &[Source], (min_ms, max_ms): (i64, i64)) -> Result<(), MergeError> {
        let mut merge = Merge::default();
        for chunk in cluster {
            let deleted = &self.deleted;
            let is_wanted = |t_ms: i64| {
                let is_deleted =
                    |(s, range): &(u32, DeletedRange)| *s == chunk.source && range.contains(t_ms);
                (min_ms..=max_ms).contains(&t_ms) && !deleted.iter().any(is_deleted)
            };
            let mut sample = |t_ms: i64, value: Value<'_>| match value {
                _ if !is_wanted(t_ms) => {}
                Value::Float(bits) => merge.float(t_ms, bits),
                Value::Histogram(histogram) => merge.histogram(t_ms, histogram),
            };
            match decode(chunk.encoding, &self.bytes[chunk.data.clone()], &mut sample) {
                Some(Ok(())) => {}
                failed => {
                    let Source { source, number, encoding, .. } = *chunk;
                    let error = failed.and_then(Result::err);
                    return Err(MergeError { source, number, encoding, error });
                }
            }
        }
        merge.winners(|t_ms, value| match value {
            Value::Float(bits) => {
                // Asked for every sample, and nearly never so.
                if !self.histograms.is_empty() {
                    self.end_histograms();
                }
                self.floats.push((t_ms, bits));
            }
            Value::Histogram(histogram) => {
                self.end_floats();
                self.histograms.push((t_ms, Box::new(histogram.clone())));
            }
        });
        self.end_floats();
        self.end_histograms();
        Ok(())
    }

    fn end_floats(&mut self) {
        // Equal parts: two chunks of sixty instead of one full and one of a single sample.
        let parts = self.floats.len().div_ceil(CHUNK_SAMPLES_MAX);
        let mut left = self.floats.as_slice();
        while !left.is_empty() {
            let mut sink = VecSink::default();
            sink.put(0, u32::from(HEADER_BITS));
            let mut encoder = Encoder::EMPTY;
            let samples = self.floats.len().div_ceil(parts);
            for (t_ms, bits) in left.iter().take(samples) {
                encoder.append(&mut sink, *t_ms, *bits);
                if sink.bytes().len() >= CHUNK_BYTES_MAX {
                    break;
                }
            }
            let (chunk, behind) = left.split_at(usize::from(encoder.count));
            left = behind;
            let mut data = sink.into_bytes();
            data[..2].copy_from_slice(&encoder.count.to_be_bytes());
            let begin = self.bytes.len();
            self.bytes.extend_from_slice(&data);
            self.out.push((xor::ENCODING, begin..self.bytes.len(), chunk[0].0, encoder.t_ms));
        }
        self.floats.clear();
    }

    fn end_histograms(&mut self) {
        for chunk in encode_histograms(&self.histograms) {
            let begin = self.bytes.len();
            self.bytes.extend_from_slice(&chunk.data);
            self.out.push((chunk.encoding, begin..self.bytes.len(), chunk.min_ms, chunk.max_ms));
        }
        self.histograms.clear();
    }
}
