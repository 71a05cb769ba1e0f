//! The overlay: samples that came later than newer ones of their series.
//!
//! They are few, so they are kept apart in sorted buffers instead of burdening every append. A buffer that has
//! filled up is sealed as a chunk of its own, which may overlap others. Reads merge by timestamp.

use std::collections::HashMap;

use crate::index::SeriesRef;
use crate::sealed::Location;

/// A buffer of so many samples is sealed.
pub(super) const BUFFER_SAMPLES_MAX: usize = 32;

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
}

impl Late {
    /// The value buffered for a time.
    pub(super) fn find(&self, t_ms: i64) -> Option<u64> {
        let at = self.buffer.binary_search_by_key(&t_ms, |sample| sample.0).ok()?;
        Some(self.buffer[at].1)
    }

    /// Buffers a sample whose time is not there yet.
    pub(super) fn insert(&mut self, t_ms: i64, value: u64) {
        let at = self.buffer.partition_point(|sample| sample.0 < t_ms);
        self.buffer.insert(at, (t_ms, value));
    }

    /// Chunks that may hold samples of a range of time.
    pub(super) fn overlapping(&self, min_ms: i64, max_ms: i64) -> impl Iterator<Item = &LateChunk> {
        self.chunks.iter().filter(move |chunk| chunk.min_ms <= max_ms && min_ms <= chunk.max_ms)
    }
}
