//! Handing out series to be read elsewhere: sealed chunks by reference, open ones as copies.
//!
//! A query must not hold up appends, so the shard copies what a batch of series needs into one buffer (labels,
//! open chunks, what is not written out yet) and the query's threads do the rest: read sealed chunks from their
//! files, check, decode, merge.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::Head;
use super::histograms::{OpenHistograms, encode_all};
use super::series::{Newest, Series};
use super::winner::Merge;
use crate::chunk::{ChunkError, histogram, xor};
use crate::disk::FileView;
use crate::histogram::Histogram;
use crate::index::SeriesRef;
use crate::labels::Labels;
use crate::sealed::{self, FrameError, Location, Stored};

/// Series of one shard as they were at one moment.
#[derive(Default)]
pub struct SeriesBatch {
    pub(super) bytes: Vec<u8>,
    pub(super) chunks: Vec<ChunkData>,
    pub(super) series: Vec<SeriesData>,
    pub(super) views: BTreeMap<u32, Arc<dyn FileView>>,
}

/// One series of a batch.
#[derive(Clone, Debug)]
pub struct SeriesData {
    pub(super) labels: Range<u32>,
    pub(super) chunks: Range<u32>,
    /// Chunks overlap or are not in order.
    pub(super) merge: bool,
}

/// Where a chunk of a batch is.
#[derive(Clone, Debug)]
pub enum ChunkData {
    /// Chunk bytes in the batch, and their encoding.
    Open(Range<u32>, u8),
    /// A frame in the batch.
    Frame(Range<u32>),
    /// A frame in a file.
    Sealed(Location),
}

/// A chunk's place among a batch's bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchChunk {
    pub(crate) begin: u32,
    pub(crate) end: u32,
    pub(crate) encoding: u8,
}

/// Where decoded samples go.
pub struct Decoded<'a> {
    /// Times of floats.
    pub times: &'a mut Vec<i64>,
    /// Their values.
    pub values: &'a mut Vec<f64>,
    /// Takes histograms with their times, milliseconds.
    pub histogram: &'a mut dyn FnMut(i64, &Histogram),
}

/// A series that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A sealed chunk is damaged on disk.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A chunk does not decode.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

impl Head {
    /// Whether a series may have samples from `min_ms` to `max_ms`: exact but for gaps within chunks.
    pub fn overlaps(&self, series: SeriesRef, min_ms: i64, max_ms: i64) -> bool {
        let Some(state) = self.state_of_range(series, min_ms) else { return false };
        // What nearly all questions come to: the range ends with now, and the newest sample lies in it.
        let is_open = state.encoder.count > 0 || state.newest == Newest::Histogram;
        if is_open && state.encoder.t_ms <= max_ms {
            return true;
        }
        if let Some(late) = self.overlay.get(series)
            && (late.newest_first(min_ms, max_ms).next().is_some() || late.has_buffered(min_ms, max_ms))
        {
            return true;
        }
        let oldest_sealed = || self.sealed_refs.newest_first(state.sealed).last().map(|sealed| sealed.min_ms);
        let open = || {
            if state.encoder.count == 0 {
                return self.histograms.open(series.0).map(OpenHistograms::begin_ms);
            }
            let mut chunk = Vec::new();
            state.copy_open_chunk(&self.extents, &mut chunk);
            xor::first_time(&chunk)
        };
        let begin = oldest_sealed().or_else(open);
        begin.is_some_and(|begin| begin <= max_ms)
    }

    /// The state of a series that may have a sample at `min_ms` or later.
    fn state_of_range(&self, series: SeriesRef, min_ms: i64) -> Option<&Series> {
        let state = &self.series[self.index.place(series)?];
        (state.has_samples() && state.encoder.t_ms >= min_ms).then_some(state)
    }

    /// Adds a series with its chunks that may hold samples from `min_ms` to `max_ms` to a batch, if there are any. A
    /// series whose samples are in blocks has none, be it gone or not.
    pub fn read(&self, series: SeriesRef, min_ms: i64, max_ms: i64, batch: &mut SeriesBatch) {
        let Some(state) = self.state_of_range(series, min_ms) else { return };
        let first_chunk = batch.chunks.len();
        for sealed in self.sealed_refs.overlapping(state.sealed, min_ms, max_ms) {
            batch.put_sealed(&self.sealed, sealed.at);
        }
        batch.chunks[first_chunk..].reverse();
        if state.encoder.count > 0 {
            let open = batch.put(|bytes| state.copy_open_chunk(&self.extents, bytes));
            batch.chunks.push(ChunkData::Open(open, xor::ENCODING));
        } else if let Some(open) = self.histograms.open(series.0) {
            batch.put_chunk(open.encoder.bytes(), open.encoder.encoding());
        }
        let mut merge = false;
        if let Some(late) = self.overlay.get(series) {
            for chunk in late.newest_first(min_ms, max_ms) {
                batch.put_sealed(&self.sealed, chunk.at);
                merge = true;
            }
            if !late.buffer.is_empty() {
                batch.put_chunk(&xor::encode(&late.buffer), xor::ENCODING);
                merge = true;
            }
            for chunk in encode_all(&late.histograms) {
                batch.put_chunk(&chunk.data, chunk.encoding);
                merge = true;
            }
        }
        let chunks = first_chunk as u32..batch.chunks.len() as u32;
        if !chunks.is_empty() {
            let labels = batch.put(|bytes| self.index.put_labels(series, bytes));
            batch.series.push(SeriesData { labels, chunks, merge });
        }
    }
}

impl SeriesBatch {
    fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range<u32> {
        let begin = self.bytes.len() as u32;
        write(&mut self.bytes);
        begin..self.bytes.len() as u32
    }

    fn put_chunk(&mut self, chunk: &[u8], encoding: u8) {
        let chunk = self.put(|bytes| bytes.extend_from_slice(chunk));
        self.chunks.push(ChunkData::Open(chunk, encoding));
    }

    fn put_sealed(&mut self, store: &sealed::SealedStore, at: Location) {
        if let Some(Stored::File(view)) = store.find(at) {
            self.views.entry(at.file).or_insert_with(|| view.clone());
            self.chunks.push(ChunkData::Sealed(at));
            return;
        }
        // Not written out yet. A frame that cannot be found is reported when it is read.
        let frame = self.put(|bytes| {
            let _ = store.copy_frame(at, bytes);
        });
        self.chunks.push(ChunkData::Frame(frame));
    }

    /// Adds a series by the places that its labels and chunks will have among the batch's bytes. `merge`: chunks overlap.
    pub(crate) fn push_series(
        &mut self,
        labels: Range<u32>,
        chunks: impl Iterator<Item = BatchChunk>,
        merge: bool,
    ) {
        let first = self.chunks.len() as u32;
        self.chunks.extend(chunks.map(|chunk| ChunkData::Open(chunk.begin..chunk.end, chunk.encoding)));
        self.series.push(SeriesData { labels, chunks: first..self.chunks.len() as u32, merge });
    }

    /// Gives the batch the bytes in which its series are.
    pub(crate) fn set_bytes(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// The series in the batch.
    pub fn series(&self) -> &[SeriesData] {
        &self.series
    }

    /// Memory held by the batch.
    pub fn bytes(&self) -> usize {
        self.bytes.capacity()
            + self.chunks.capacity() * size_of::<ChunkData>()
            + self.series.capacity() * size_of::<SeriesData>()
    }

    /// A series' canonical labels.
    pub fn labels(&self, series: &SeriesData) -> Labels<'_> {
        Labels::trusted(&self.bytes[as_range(&series.labels)])
    }

    /// Calls `chunk` for each chunk of a series with its encoding, its bytes, and the times of its first and last sample.
    pub(crate) fn each_chunk(
        &self,
        series: &SeriesData,
        mut chunk: impl FnMut(u8, &[u8], i64, i64),
    ) -> Result<(), ReadError> {
        let mut scratch = Vec::new();
        for data in &self.chunks[as_range(&series.chunks)] {
            let (sealed, data) = match data {
                ChunkData::Open(range, encoding) => {
                    let data = &self.bytes[as_range(range)];
                    if let Some((min_ms, max_ms)) = times_of(data, *encoding)? {
                        chunk(*encoding, data, min_ms, max_ms);
                    }
                    continue;
                }
                ChunkData::Frame(range) => sealed::check_frame(&self.bytes[as_range(range)])?,
                ChunkData::Sealed(at) => {
                    scratch.clear();
                    let view = self.views.get(&at.file).ok_or(FrameError)?;
                    sealed::read_frame(view.as_ref(), at.offset, &mut scratch)?;
                    sealed::check_frame(&scratch)?
                }
            };
            chunk(sealed.encoding, data, sealed.min_ms, sealed.max_ms);
        }
        Ok(())
    }

    /// Appends a series' samples from `min_ms` to `max_ms`, floats and histograms each in order of time, each
    /// time once over both. `scratch` is working memory.
    pub fn decode(
        &self,
        series: &SeriesData,
        (min_ms, max_ms): (i64, i64),
        to: &mut Decoded<'_>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        let begin = to.times.len();
        let mut merge = Merge::default();
        for chunk in &self.chunks[as_range(&series.chunks)] {
            // Floats and what lies behind them: that makes their decoding faster.
            let (encoding, data, len) = match chunk {
                ChunkData::Open(range, encoding) => {
                    let (begin, end) = (range.start as usize, range.end as usize);
                    let padded = (end + xor::PADDING_BYTES).min(self.bytes.len());
                    (*encoding, &self.bytes[begin..padded], end - begin)
                }
                ChunkData::Frame(range) => {
                    let (encoding, data) = of_frame(&self.bytes[as_range(range)])?;
                    (encoding, data, data.len())
                }
                ChunkData::Sealed(at) => {
                    scratch.clear();
                    let view = self.views.get(&at.file).ok_or(FrameError)?;
                    sealed::read_frame(view.as_ref(), at.offset, scratch)?;
                    let (encoding, len) = of_frame(scratch).map(|(encoding, data)| (encoding, data.len()))?;
                    let begin = scratch.len() - len;
                    scratch.resize(scratch.len() + xor::PADDING_BYTES, 0);
                    (encoding, &scratch[begin..], len)
                }
            };
            if let Some(kind) = histogram::kind_of(encoding) {
                histogram::decode(&data[..len], kind, |t_ms, sample| {
                    if !(min_ms..=max_ms).contains(&t_ms) {
                        return;
                    }
                    if series.merge {
                        merge.histogram(t_ms, sample);
                    } else {
                        (to.histogram)(t_ms, sample);
                    }
                })?;
                continue;
            }
            let first = to.times.len();
            xor::decode_into(data, len, to.times, to.values)?;
            if !series.merge {
                keep_within(first, (min_ms, max_ms), to.times, to.values);
            }
        }
        if series.merge {
            for (t_ms, value) in to.times.drain(begin..).zip(to.values.drain(begin..)) {
                if (min_ms..=max_ms).contains(&t_ms) {
                    merge.float(t_ms, value.to_bits());
                }
            }
            merge.finish(to);
        }
        Ok(())
    }
}

pub(super) fn of_frame(frame: &[u8]) -> Result<(u8, &[u8]), FrameError> {
    sealed::check_frame(frame).map(|(chunk, data)| (chunk.encoding, data))
}

/// The times of a chunk's first and last sample; `None` if it holds none.
fn times_of(chunk: &[u8], encoding: u8) -> Result<Option<(i64, i64)>, ChunkError> {
    let mut times: Option<(i64, i64)> = None;
    let mut saw = |t_ms| times = Some((times.map_or(t_ms, |(first, _)| first), t_ms));
    match histogram::kind_of(encoding) {
        Some(kind) => histogram::decode(chunk, kind, |t_ms, _| saw(t_ms))?,
        None => xor::decode(chunk, |t_ms, _| saw(t_ms))?,
    }
    Ok(times)
}

/// Cuts what lies outside a range of time off the samples from `first` on, which are in order of time.
fn keep_within(first: usize, (min_ms, max_ms): (i64, i64), times: &mut Vec<i64>, values: &mut Vec<f64>) {
    let end = first + times[first..].partition_point(|&t_ms| t_ms <= max_ms);
    times.truncate(end);
    values.truncate(end);
    let begin = times[first..].partition_point(|&t_ms| t_ms < min_ms);
    times.drain(first..first + begin);
    values.drain(first..first + begin);
}

pub(super) fn as_range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}
