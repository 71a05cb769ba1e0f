//! Appending a sample: in order, late, again, or in conflict.

use std::cmp::Ordering;

use super::Head;
use super::histograms::{FullChunk, encode_all};
use super::ooo::{BUFFER_SAMPLES_MAX, LateChunk};
use super::sealed_refs::SealedRef;
use super::series::Newest;
use super::winner::Value;
use crate::chunk::histogram::Encoder;
use crate::chunk::xor;
use crate::histogram::{Histogram, Kind, STALE_NAN};
use crate::index::{IndexFull, SeriesRef};
use crate::mem::NO_EXTENT;
use crate::sealed::SealedChunk;

/// Samples of a full chunk, as in Prometheus.
const CHUNK_SAMPLES_MAX: u16 = 120;

/// A chunk takes no sample past this size. Prometheus's readers expect chunks of at most 1,024 bytes.
const CHUNK_BITS_MAX: u16 = 1000 * 8;

/// A chunk never spans a multiple of this, so that it lies in one block.
pub const WINDOW_MS: i64 = 2 * 60 * 60 * 1000;

/// The number of the window that a time lies in; window n begins at n times [`WINDOW_MS`].
#[inline]
pub fn window_of(t_ms: i64) -> i64 {
    t_ms.div_euclid(WINDOW_MS)
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Stored as the newest of its series.
    InOrder,
    /// Stored beside newer ones.
    Late,
    /// Was there; nothing changed.
    Again,
    /// The time is taken by another value; nothing changed.
    Conflict,
}

/// Why a series was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// Another label set has the same 128-bit hash.
    #[error("label set has the hash of another one")]
    Collision,
    /// The shard's label memory is full.
    #[error(transparent)]
    Full(#[from] IndexFull),
}

/// How many series [`Head::touch`] should be told of at once: as many loads as a core has in flight, and little enough
/// to be still in the cache when the last of them is appended to.
pub const TOUCHED_TOGETHER: usize = 16;

impl Head {
    /// Brings what an append to these series will change into the cache. Each append alone waits for its series and then
    /// for the end of its chunk, which lie anywhere; several are fetched in the time of one. Series may be gone.
    #[inline]
    pub fn touch(&self, series: impl Iterator<Item = SeriesRef>) {
        let mut touched = 0;
        for series in series {
            let Some(place) = self.index.place(series) else { continue };
            let state = &self.series[place];
            if state.last != NO_EXTENT {
                touched ^= self.extents.touch(state.last);
            }
        }
        std::hint::black_box(touched);
    }

    /// Appends a sample unless it is there. `value` is the float's bits.
    #[inline]
    pub fn append(&mut self, series: SeriesRef, t_ms: i64, value: u64) -> Appended {
        let place = self.place(series);
        let state = &self.series[place];
        let encoder = &state.encoder;
        if state.newest != Newest::Float {
            return self.append_after_no_float(series, t_ms, value);
        }
        if t_ms <= encoder.t_ms {
            return self.append_float_not_newer(series, t_ms, value);
        }
        let full = encoder.count >= CHUNK_SAMPLES_MAX
            || state.bits >= CHUNK_BITS_MAX
            || window_of(t_ms) != window_of(encoder.t_ms);
        if full && encoder.count > 0 {
            self.seal_open_chunk(series);
        }
        self.push_float(place, t_ms, value)
    }

    #[inline]
    fn push_float(&mut self, place: usize, t_ms: i64, value: u64) -> Appended {
        self.series[place].push(&mut self.extents, t_ms, value);
        self.saw(t_ms);
        Appended::InOrder
    }

    #[inline]
    fn saw(&mut self, t_ms: i64) {
        if self.newest_ms.is_none_or(|newest| newest < t_ms) {
            self.newest_ms = Some(t_ms);
        }
    }

    /// Appends a histogram unless it is there. It must be [valid](Histogram::validate) and [not too
    /// large](Histogram::check_size).
    pub fn append_histogram(&mut self, series: SeriesRef, t_ms: i64, histogram: &Histogram) -> Appended {
        let state = self.state(series);
        if state.has_samples() && t_ms <= state.encoder.t_ms {
            return self.append_not_newer(series, t_ms, Value::Histogram(histogram));
        }
        if state.encoder.count > 0 {
            self.seal_open_chunk(series);
        }
        if let Some(full) = self.histograms.append(series.0, t_ms, histogram) {
            self.seal_histograms(series, &full);
        }
        let state = self.state_mut(series);
        state.newest = Newest::Histogram;
        state.encoder.t_ms = t_ms;
        self.saw(t_ms);
        Appended::InOrder
    }

    /// Appends a float to a series that is empty, or whose newest sample is a histogram.
    #[cold]
    fn append_after_no_float(&mut self, series: SeriesRef, t_ms: i64, value: u64) -> Appended {
        let state = self.state(series);
        if state.newest == Newest::None {
            return self.push_float(self.place(series), t_ms, value);
        }
        if t_ms <= state.encoder.t_ms {
            return self.append_not_newer(series, t_ms, Value::Float(value));
        }
        if value == STALE_NAN {
            // Whoever ends a series does not always know what it is made of.
            let kind = self.histograms.last(series.0).map_or(Kind::Integer, Encoder::kind);
            return self.append_histogram(series, t_ms, &Histogram::stale(kind));
        }
        if let Some(full) = self.histograms.close(series.0) {
            self.seal_histograms(series, &full);
        }
        self.push_float(self.place(series), t_ms, value)
    }

    /// Whether a sample of this time would not be the newest of its series.
    #[inline]
    pub fn is_late(&self, series: SeriesRef, t_ms: i64) -> bool {
        let state = self.state(series);
        state.has_samples() && t_ms < state.encoder.t_ms
    }

    /// So that a float's way in order has no [`Value`] to build.
    #[cold]
    #[inline(never)]
    fn append_float_not_newer(&mut self, series: SeriesRef, t_ms: i64, value: u64) -> Appended {
        self.append_not_newer(series, t_ms, Value::Float(value))
    }

    #[cold]
    fn append_not_newer(&mut self, series: SeriesRef, t_ms: i64, value: Value<'_>) -> Appended {
        match self.compare_at(series, t_ms, value) {
            Some(Ordering::Equal) => Appended::Again,
            Some(_) => Appended::Conflict,
            None => {
                self.insert_late(series, t_ms, value);
                Appended::Late
            }
        }
    }

    /// Puts a sample into the overlay: its time is free, or taken by a value that loses.
    pub(super) fn insert_late(&mut self, series: SeriesRef, t_ms: i64, value: Value<'_>) {
        let late = self.overlay.entry(series);
        match value {
            Value::Float(value) => late.insert(t_ms, value),
            Value::Histogram(histogram) => late.insert_histogram(t_ms, histogram.clone()),
        }
        if late.buffer.len() >= BUFFER_SAMPLES_MAX {
            let buffered = std::mem::take(&mut late.buffer);
            // Like those in order, no late chunk spans windows: a window is dropped whole when a block has it.
            for samples in buffered.chunk_by(|a, b| window_of(a.0) == window_of(b.0)) {
                let full = FullChunk {
                    encoding: xor::ENCODING,
                    data: xor::encode(samples),
                    min_ms: samples[0].0,
                    max_ms: samples[samples.len() - 1].0,
                };
                self.seal_late(series, &full);
            }
        } else if late.histograms_are_full() {
            let buffered = std::mem::take(&mut late.histograms);
            for full in encode_all(&buffered) {
                self.seal_late(series, &full);
            }
        }
    }

    fn seal_open_chunk(&mut self, series: SeriesRef) {
        let place = self.place(series);
        let state = &mut self.series[place];
        self.scratch.clear();
        state.copy_open_chunk(&self.extents, &mut self.scratch);
        let min_ms = xor::first_time(&self.scratch).expect("an open chunk holds a sample");
        let chunk = SealedChunk {
            series: series.0,
            encoding: xor::ENCODING,
            out_of_order: false,
            min_ms,
            max_ms: state.encoder.t_ms,
        };
        let at = self.sealed.push(&chunk, &self.scratch);
        state.close_chunk(&mut self.extents);
        state.sealed = self.sealed_refs.push(state.sealed, SealedRef { min_ms, at });
    }

    fn seal_histograms(&mut self, series: SeriesRef, full: &FullChunk) {
        let at = self.sealed.push(&full.header(series, false), &full.data);
        let place = self.place(series);
        let state = &mut self.series[place];
        state.sealed = self.sealed_refs.push(state.sealed, SealedRef { min_ms: full.min_ms, at });
    }

    fn seal_late(&mut self, series: SeriesRef, full: &FullChunk) {
        let at = self.sealed.push(&full.header(series, true), &full.data);
        let chunk = LateChunk { min_ms: full.min_ms, max_ms: full.max_ms, at };
        self.overlay.entry(series).chunks.push(chunk);
    }
}

impl FullChunk {
    fn header(&self, series: SeriesRef, out_of_order: bool) -> SealedChunk {
        let FullChunk { encoding, min_ms, max_ms, .. } = *self;
        SealedChunk { series: series.0, encoding, out_of_order, min_ms, max_ms }
    }
}
