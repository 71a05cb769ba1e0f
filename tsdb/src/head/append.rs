//! Appending a sample: in order, late, again, or in conflict.

use super::Head;
use super::ooo::{BUFFER_SAMPLES_MAX, LateChunk};
use super::sealed_refs::SealedRef;
use crate::chunk::xor;
use crate::index::{IndexFull, SeriesRef};
use crate::sealed::SealedChunk;

/// Samples of a full chunk, as in Prometheus.
const CHUNK_SAMPLES_MAX: u16 = 120;

/// A chunk takes no sample past this size. Prometheus's readers expect chunks of at most 1,024 bytes.
const CHUNK_BITS_MAX: u16 = 1000 * 8;

/// A chunk never spans a multiple of this, so that it lies in one block.
const WINDOW_MS: i64 = 2 * 60 * 60 * 1000;

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

impl Head {
    /// Appends a sample unless it is there. `value` is the float's bits.
    #[inline]
    pub fn append(&mut self, series: SeriesRef, t_ms: i64, value: u64) -> Appended {
        let state = &mut self.series[series.0 as usize];
        let encoder = &state.encoder;
        if state.has_samples && t_ms <= encoder.t_ms {
            if t_ms == encoder.t_ms {
                return if value == encoder.value { Appended::Again } else { Appended::Conflict };
            }
            return self.append_late(series, t_ms, value);
        }
        let full = encoder.count >= CHUNK_SAMPLES_MAX
            || state.bits >= CHUNK_BITS_MAX
            || t_ms.div_euclid(WINDOW_MS) != encoder.t_ms.div_euclid(WINDOW_MS);
        if full && encoder.count > 0 {
            self.seal_open_chunk(series);
        }
        self.series[series.0 as usize].push(&mut self.extents, t_ms, value);
        if self.newest_ms.is_none_or(|newest| newest < t_ms) {
            self.newest_ms = Some(t_ms);
        }
        Appended::InOrder
    }

    /// Whether a sample of this time would not be the newest of its series.
    #[inline]
    pub fn is_late(&self, series: SeriesRef, t_ms: i64) -> bool {
        let state = &self.series[series.0 as usize];
        state.has_samples && t_ms < state.encoder.t_ms
    }

    #[cold]
    fn append_late(&mut self, series: SeriesRef, t_ms: i64, value: u64) -> Appended {
        if let Some(stored) = self.value_at(series, t_ms) {
            return if stored == value { Appended::Again } else { Appended::Conflict };
        }
        let late = self.overlay.entry(series);
        late.insert(t_ms, value);
        if late.buffer.len() >= BUFFER_SAMPLES_MAX {
            let data = xor::encode(&late.buffer);
            let (min_ms, max_ms) = (late.buffer[0].0, late.buffer[late.buffer.len() - 1].0);
            let chunk =
                SealedChunk { series: series.0, encoding: xor::ENCODING, out_of_order: true, min_ms, max_ms };
            let at = self.sealed.push(&chunk, &data);
            late.chunks.push(LateChunk { min_ms, max_ms, at });
            late.buffer.clear();
        }
        Appended::Late
    }

    /// The value stored for a time. Unreadable chunks count as holding nothing: the sample is kept then, and
    /// reads report the damage.
    fn value_at(&self, series: SeriesRef, t_ms: i64) -> Option<u64> {
        if let Some(late) = self.overlay.get(series) {
            if let Some(value) = late.find(t_ms) {
                return Some(value);
            }
            for chunk in late.overlapping(t_ms, t_ms) {
                if let Some(value) = self.value_in_sealed(chunk.at, t_ms) {
                    return Some(value);
                }
            }
        }
        let state = &self.series[series.0 as usize];
        if state.encoder.count > 0 {
            let mut chunk = Vec::new();
            state.copy_open_chunk(&self.extents, &mut chunk);
            if let Some(value) = value_in(&chunk, t_ms) {
                return Some(value);
            }
        }
        let mut sealed = self.sealed_refs.overlapping(state.sealed, t_ms, t_ms);
        sealed.find_map(|sealed| self.value_in_sealed(sealed.at, t_ms))
    }

    fn value_in_sealed(&self, at: crate::sealed::Location, t_ms: i64) -> Option<u64> {
        let mut frame = Vec::new();
        self.sealed.copy_frame(at, &mut frame).ok()?;
        let (_, data) = crate::sealed::check_frame(&frame).ok()?;
        value_in(data, t_ms)
    }

    fn seal_open_chunk(&mut self, series: SeriesRef) {
        let state = &mut self.series[series.0 as usize];
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
}

fn value_in(chunk: &[u8], t_ms: i64) -> Option<u64> {
    let mut found = None;
    // A chunk that breaks off has still told what came before.
    let _ = xor::decode(chunk, |t, value| {
        if t == t_ms {
            found = Some(value);
        }
    });
    found
}
