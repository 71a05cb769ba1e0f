//! Samples that another replica admitted, or this one before a restart: nothing of them is refused.
//!
//! Where a time is taken by another value, [the greater one](super::winner) counts. The smaller one may be in a
//! chunk by then, and chunks only grow; so the winner goes into the overlay, and reads, which merge by
//! timestamp, pass over the loser. The order of what is applied does not matter: every replica that has applied
//! the same samples shows the same ones, whatever it had to restore or repeat in between.

use std::cmp::Ordering;

use super::series::Newest;
use super::winner::{Value, compare};
use super::{Appended, Head};
use crate::chunk::{histogram, xor};
use crate::histogram::Histogram;
use crate::index::SeriesRef;
use crate::sealed::Location;

/// What became of a sample that was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Stored as the newest of its series.
    InOrder,
    /// Stored beside newer ones.
    Late,
    /// Was there; nothing changed.
    Again,
    /// Stored instead of another value for the same time.
    Won,
    /// The time is taken by a value that counts instead; nothing changed.
    Lost,
}

impl Applied {
    /// Whether the head shows a sample now that it did not show before: then the log must have it.
    pub fn is_stored(self) -> bool {
        matches!(self, Applied::InOrder | Applied::Late | Applied::Won)
    }
}

impl Head {
    /// Stores a sample unless it is there, or one that wins over it. `value` is the float's bits.
    #[inline]
    pub fn apply(&mut self, series: SeriesRef, t_ms: i64, value: u64) -> Applied {
        let appended = self.append(series, t_ms, value);
        self.decide(appended, series, t_ms, Value::Float(value))
    }

    /// Stores a histogram unless it is there, or one that wins over it. It must be [valid](Histogram::validate)
    /// and [not too large](Histogram::check_size).
    pub fn apply_histogram(&mut self, series: SeriesRef, t_ms: i64, histogram: &Histogram) -> Applied {
        let appended = self.append_histogram(series, t_ms, histogram);
        self.decide(appended, series, t_ms, Value::Histogram(histogram))
    }

    #[inline]
    fn decide(&mut self, appended: Appended, series: SeriesRef, t_ms: i64, value: Value<'_>) -> Applied {
        match appended {
            Appended::InOrder => Applied::InOrder,
            Appended::Late => Applied::Late,
            Appended::Again => Applied::Again,
            Appended::Conflict => self.decide_conflict(series, t_ms, value),
        }
    }

    #[cold]
    fn decide_conflict(&mut self, series: SeriesRef, t_ms: i64, value: Value<'_>) -> Applied {
        if self.compare_at(series, t_ms, value) == Some(Ordering::Less) {
            return Applied::Lost;
        }
        self.insert_late(series, t_ms, value);
        Applied::Won
    }

    /// Compares a value with the one that counts for a time, if there is one. Unreadable chunks count as holding
    /// nothing: the sample is kept then, and reads report the damage.
    pub(super) fn compare_at(&self, series: SeriesRef, t_ms: i64, value: Value<'_>) -> Option<Ordering> {
        // What the overlay got last won over everything before: the first one found is the one that counts.
        if let Some(late) = self.overlay.get(series) {
            if let Some(stored) = late.find(t_ms) {
                return Some(compare(value, Value::Float(stored)));
            }
            if let Some(stored) = late.find_histogram(t_ms) {
                return Some(compare(value, Value::Histogram(stored)));
            }
            for chunk in late.newest_first(t_ms, t_ms) {
                if let Some(found) = self.compare_in_sealed(chunk.at, t_ms, value) {
                    return Some(found);
                }
            }
        }
        let state = self.state(series);
        if state.encoder.t_ms == t_ms {
            let newest = match state.newest {
                Newest::None => return None,
                Newest::Float => Value::Float(state.encoder.value),
                // The value of one that has stopped is not known any more: the sample is kept, and readers decide.
                Newest::Histogram | Newest::Released => {
                    Value::Histogram(self.histograms.last(series.0)?.last())
                }
            };
            return Some(compare(value, newest));
        }
        let open_histograms = self.histograms.open(series.0);
        if state.encoder.count > 0 {
            let mut chunk = Vec::new();
            state.copy_open_chunk(&self.extents, &mut chunk);
            if let Some(found) = compare_in(&chunk, xor::ENCODING, t_ms, value) {
                return Some(found);
            }
        }
        if let Some(open) = open_histograms
            && let Some(found) = compare_in(open.encoder.bytes(), open.encoder.encoding(), t_ms, value)
        {
            return Some(found);
        }
        let mut sealed = self.sealed_refs.overlapping(state.sealed, t_ms, t_ms);
        sealed.find_map(|sealed| self.compare_in_sealed(sealed.at, t_ms, value))
    }

    fn compare_in_sealed(&self, at: Location, t_ms: i64, value: Value<'_>) -> Option<Ordering> {
        let mut frame = Vec::new();
        self.sealed.copy_frame(at, &mut frame).ok()?;
        let (chunk, data) = crate::sealed::check_frame(&frame).ok()?;
        compare_in(data, chunk.encoding, t_ms, value)
    }
}

fn compare_in(chunk: &[u8], encoding: u8, t_ms: i64, value: Value<'_>) -> Option<Ordering> {
    let mut found = None;
    // A chunk that breaks off has still told what came before.
    let _ = match histogram::kind_of(encoding) {
        Some(kind) => histogram::decode(chunk, kind, |t, stored| {
            if t == t_ms {
                found = Some(compare(value, Value::Histogram(stored)));
            }
        }),
        None => xor::decode(chunk, |t, stored| {
            if t == t_ms {
                found = Some(compare(value, Value::Float(stored)));
            }
        }),
    };
    found
}
