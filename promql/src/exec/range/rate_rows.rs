//! `rate`, `increase` and `delta` of whole float series.
//!
//! The same computation as [`super::rate::extrapolated`], arranged for the processor: positions of the windows are
//! found first, for a block of steps, and the arithmetic then runs over plain arrays without branches, several steps
//! at a time. Each operation and its order stay, so the results are the same to the last bit.

use super::rate::Kind;
use super::{Windows, advance};
use crate::engine::{Pace, QueryError};
use crate::exec::row::Row;
use crate::storage::SampleBuffer;

/// Steps computed at once; as many as fit a word of the presence bitmap.
const BLOCK: usize = 64;

/// What the arithmetic needs of each window of a block.
struct Block {
    change: [f64; BLOCK],
    first_value: [f64; BLOCK],
    /// Samples in the window less one, at least 1.
    intervals: [f64; BLOCK],
    /// Milliseconds from the first to the last sample.
    sampled_ms: [f64; BLOCK],
    /// Milliseconds from the start of the range to the first sample.
    to_start_ms: [f64; BLOCK],
    /// Milliseconds from the last sample to the end of the range.
    to_end_ms: [f64; BLOCK],
}

/// Fills `row` from the floats of `buffer`, whatever else is in there.
pub(super) fn fill(
    buffer: &SampleBuffer,
    windows: &Windows,
    kind: Kind,
    row: &mut Row,
    pace: &mut Pace<'_>,
) -> Result<(), QueryError> {
    let (times, values) = (&buffer.float_timestamps[..], &buffer.floats[..values_len(buffer)]);
    let resets = if kind.is_counter { resets(values) } else { Vec::new() };
    let mut resets_from = 0;
    let mut range = (0, 0);
    let zeros = || [0.0; BLOCK];
    let mut block = Block {
        change: zeros(),
        first_value: zeros(),
        intervals: [1.0; BLOCK],
        sampled_ms: zeros(),
        to_start_ms: zeros(),
        to_end_ms: zeros(),
    };
    let range_s = windows.range_ms as f64 / 1000.0;
    let steps = windows.grid.steps;
    let mut first_step = 0;
    while first_step < steps {
        let length = BLOCK.min(steps - first_step);
        let mut corrections = 0;
        let mut present = 0u64;
        for lane in 0..length {
            let end_ms = windows.end_ms(first_step + lane);
            let start_ms = end_ms.saturating_sub(windows.range_ms);
            advance(times, &mut range, start_ms, end_ms);
            if range.1 - range.0 < 2 {
                continue;
            }
            let (first, last) = (range.0, range.1 - 1);
            let mut change = values[last] - values[first];
            if !resets.is_empty() {
                while resets.get(resets_from).is_some_and(|&at| at <= first) {
                    resets_from += 1;
                }
                for &at in resets[resets_from..].iter().take_while(|&&at| at <= last) {
                    change += values[at - 1];
                    corrections += 1;
                }
            }
            block.change[lane] = change;
            block.first_value[lane] = values[first];
            block.intervals[lane] = (last - first) as f64;
            block.sampled_ms[lane] = (times[last] - times[first]) as f64;
            block.to_start_ms[lane] = (times[first] - start_ms) as f64;
            block.to_end_ms[lane] = (end_ms - times[last]) as f64;
            present |= 1 << lane;
        }
        if present != 0 {
            let (lanes, presence) = row.lanes_mut();
            block.extrapolate(kind, range_s, &mut lanes[first_step..first_step + length]);
            presence.set_word(first_step / BLOCK, present);
        }
        pace.spend(length as u64 + corrections)?;
        first_step += length;
    }
    Ok(())
}

/// Both arrays are equally long; saying so spares checks.
fn values_len(buffer: &SampleBuffer) -> usize {
    buffer.float_timestamps.len().min(buffer.floats.len())
}

/// Positions of the samples that are below the one before.
fn resets(values: &[f64]) -> Vec<usize> {
    let falls = |pair: &[f64]| pair[1] < pair[0];
    // Most counters never fall; asking first costs less than collecting.
    if !values.windows(2).fold(false, |any, pair| any | falls(pair)) {
        return Vec::new();
    }
    (1..values.len()).filter(|&at| falls(&values[at - 1..=at])).collect()
}

impl Block {
    fn extrapolate(&self, kind: Kind, range_s: f64, results: &mut [f64]) {
        for (lane, result) in results.iter_mut().enumerate() {
            let (change, first_value) = (self.change[lane], self.first_value[lane]);
            let sampled = self.sampled_ms[lane] / 1000.0;
            let average = sampled / self.intervals[lane];
            let threshold = average * 1.1;
            let half = average / 2.0;
            let mut to_start = self.to_start_ms[lane] / 1000.0;
            to_start = if to_start >= threshold { half } else { to_start };
            if kind.is_counter {
                let to_zero = sampled * (first_value / change);
                let counts = (change > 0.0) & (first_value >= 0.0) & (to_zero < to_start);
                to_start = if counts { to_zero } else { to_start };
            }
            let mut to_end = self.to_end_ms[lane] / 1000.0;
            to_end = if to_end >= threshold { half } else { to_end };
            let mut factor = (sampled + to_start + to_end) / sampled;
            factor = if sampled == 0.0 { 1.0 } else { factor };
            if kind.is_rate {
                factor /= range_s;
            }
            *result = change * factor;
        }
    }
}
