//! The overlay: samples that came later than newer ones of their series, or that won over others of their time.
//!
//! They are few, so they are kept apart in sorted buffers instead of burdening every append. A buffer that has
//! filled up is sealed as a chunk of its own, which may overlap others. Reads merge by timestamp. A time that is
//! there more than once is so because a later sample [won](super::winner): the buffers' counts more than the
//! chunks', a later chunk's more than an earlier one's, and the overlay's more than what was in order.

use std::collections::HashMap;

use crate::histogram::Histogram;
use crate::index::SeriesRef;
use crate::sealed::Location;

/// A buffer of so many samples is sealed.
pub(super) const BUFFER_SAMPLES_MAX: usize = 32;

/// Histograms that may take more are sealed earlier.
pub(super) const BUFFER_HISTOGRAM_BYTES_MAX: usize = 16 << 10;

/// A sealed chunk of late samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LateChunk {
    pub(super) min_ms: i64,
    pub(super) max_ms: i64,
    pub(super) at: Location,
}

/// One series' late samples.
#[derive(Clone, Debug, Default)]
pub(super) struct Late {
    /// Sorted by time, no time twice.
    pub(super) buffer: Vec<(i64, u64)>,
    /// Likewise; no time of the other buffer.
    pub(super) histograms: Vec<(i64, Box<Histogram>)>,
    pub(super) chunks: Vec<LateChunk>,
}

/// All late samples of a head.
#[derive(Default)]
pub(super) struct Overlay {
    series: HashMap<u32, Late>,
}

impl Overlay {
    pub(super) fn get(&self, series: SeriesRef) -> Option<&Late> {
        // Most heads have no late samples at all.
        if self.series.is_empty() { None } else { self.series.get(&series.0) }
    }

    pub(super) fn entry(&mut self, series: SeriesRef) -> &mut Late {
        self.series.entry(series.0).or_default()
    }

    /// Changes a series' late samples, and forgets the series if none are left.
    pub(super) fn change(&mut self, series: SeriesRef, change: impl FnOnce(&mut Late)) {
        if let Some(late) = self.series.get_mut(&series.0) {
            change(late);
            if late.is_empty() {
                self.series.remove(&series.0);
            }
        }
    }
}

impl Late {
    /// The value buffered for a time.
    pub(super) fn find(&self, t_ms: i64) -> Option<u64> {
        let at = self.buffer.binary_search_by_key(&t_ms, |sample| sample.0).ok()?;
        Some(self.buffer[at].1)
    }

    /// Buffers a sample, in place of one of its time.
    pub(super) fn insert(&mut self, t_ms: i64, value: u64) {
        self.histograms.retain(|sample| sample.0 != t_ms);
        match self.buffer.binary_search_by_key(&t_ms, |sample| sample.0) {
            Ok(at) => self.buffer[at].1 = value,
            Err(at) => self.buffer.insert(at, (t_ms, value)),
        }
    }

    /// The histogram buffered for a time.
    pub(super) fn find_histogram(&self, t_ms: i64) -> Option<&Histogram> {
        let at = self.histograms.binary_search_by_key(&t_ms, |sample| sample.0).ok()?;
        Some(&self.histograms[at].1)
    }

    /// Buffers a histogram, in place of a sample of its time.
    pub(super) fn insert_histogram(&mut self, t_ms: i64, histogram: Histogram) {
        self.buffer.retain(|sample| sample.0 != t_ms);
        let histogram = Box::new(histogram);
        match self.histograms.binary_search_by_key(&t_ms, |sample| sample.0) {
            Ok(at) => self.histograms[at].1 = histogram,
            Err(at) => self.histograms.insert(at, (t_ms, histogram)),
        }
    }

    /// Whether the buffered histograms are due to be sealed.
    pub(super) fn histograms_are_full(&self) -> bool {
        let bytes =
            || self.histograms.iter().map(|(_, histogram)| histogram.chunk_bytes_max()).sum::<usize>();
        self.histograms.len() >= BUFFER_SAMPLES_MAX || bytes() >= BUFFER_HISTOGRAM_BYTES_MAX
    }

    /// Whether a sample of a range of time is buffered.
    pub(super) fn has_buffered(&self, min_ms: i64, max_ms: i64) -> bool {
        let floats = self.buffer.iter().map(|sample| sample.0);
        let histograms = self.histograms.iter().map(|sample| sample.0);
        floats.chain(histograms).any(|t_ms| (min_ms..=max_ms).contains(&t_ms))
    }

    /// Whether nothing is late.
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.buffer.is_empty() && self.histograms.is_empty()
    }

    /// Chunks that may hold samples of a range of time, the one that was sealed last first.
    pub(super) fn newest_first(&self, min_ms: i64, max_ms: i64) -> impl Iterator<Item = &LateChunk> {
        self.chunks.iter().rev().filter(move |chunk| chunk.min_ms <= max_ms && min_ms <= chunk.max_ms)
    }
}
