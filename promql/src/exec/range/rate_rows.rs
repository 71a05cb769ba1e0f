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
    let mut ends = Ends::new(windows);
    let range_s = windows.range_ms as f64 / 1000.0;
    let steps = windows.grid.steps;
    let mut first_step = 0;
    while first_step < steps {
        let length = BLOCK.min(steps - first_step);
        let (lanes, presence) = row.lanes_mut();
        if resets.is_empty()
            && let results = &mut lanes[first_step..first_step + length]
            && let Some(skipped) = regular_block((times, values), range, &ends, windows, kind, results)
        {
            pace.spend(length as u64)?;
            presence.set_word(first_step / BLOCK, u64::MAX >> (BLOCK - length));
            range = skipped;
            ends.skip(length);
            first_step += length;
            continue;
        }
        let mut corrections = 0;
        let mut present = 0u64;
        for lane in 0..length {
            let end_ms = ends.next();
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
            block.extrapolate(kind, range_s, &mut lanes[first_step..first_step + length]);
            presence.set_word(first_step / BLOCK, present);
        }
        pace.spend(length as u64 + corrections)?;
        first_step += length;
    }
    Ok(())
}

/// A block whose windows are alike: each begins and ends one sample after the one before, as samples come as
/// regularly as steps do. `range` is the window of the step before; returns that of the block's last step. `None`, and
/// nothing done, if the block is not so.
fn regular_block(
    (times, values): (&[i64], &[f64]),
    mut range: (usize, usize),
    ends: &Ends,
    windows: &Windows,
    kind: Kind,
    results: &mut [f64],
) -> Option<(usize, usize)> {
    let end_ms = ends.time_ms.saturating_sub(ends.offset_ms);
    let start_ms = end_ms.saturating_sub(windows.range_ms);
    advance(times, &mut range, start_ms, end_ms);
    let (first, last) = (range.0, range.1.checked_sub(1)?);
    let steps = results.len();
    if last <= first || ends.step_ms <= 0 {
        return None;
    }
    let (firsts, lasts) = (times.get(first..first + steps)?, times.get(last..last + steps)?);
    let (to_start_ms, to_end_ms) = (firsts[0] - start_ms, end_ms - lasts[0]);
    // Then the sample before the first lies outside each window, and so does the one after the last; of the last
    // window there may be no such sample to see.
    let alone = to_start_ms <= ends.step_ms && to_end_ms < ends.step_ms;
    let is_next_outside = times.get(last + steps).is_none_or(|&time_ms| {
        time_ms > end_ms.saturating_add(ends.step_ms.saturating_mul(steps as i64 - 1))
    });
    let regular = |times: &[i64]| {
        let mut expected = times[0];
        let mut difference = 0;
        for &time_ms in times {
            difference |= time_ms ^ expected;
            expected = expected.wrapping_add(ends.step_ms);
        }
        difference == 0
    };
    if !alone || !is_next_outside || !regular(firsts) || !regular(lasts) {
        return None;
    }
    let geometry = Geometry::new(
        (lasts[0] - firsts[0]) as f64,
        (last - first) as f64,
        to_start_ms as f64,
        to_end_ms as f64,
    );
    let range_s = windows.range_ms as f64 / 1000.0;
    let changes = || values[last..].iter().zip(&values[first..]).map(|(last, first)| (last - first, *first));
    let factor = geometry.factor(None, kind, range_s);
    let mut near_zero = false;
    for (result, (change, first_value)) in results.iter_mut().zip(changes()) {
        *result = change * factor;
        let to_zero = geometry.to_zero(change, first_value);
        near_zero |= geometry.is_zero_near(to_zero, change, first_value);
    }
    if kind.is_counter && near_zero {
        for (result, (change, first_value)) in results.iter_mut().zip(changes()) {
            *result = change * geometry.factor(Some((change, first_value)), kind, range_s);
        }
    }
    Some((first + steps - 1, last + steps))
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

/// The ends of the windows, one after the other: [`Windows::end_ms`] without its multiplication.
struct Ends {
    time_ms: i64,
    step_ms: i64,
    offset_ms: i64,
}

impl Ends {
    fn new(windows: &Windows) -> Self {
        let (time_ms, step_ms) = match windows.at_ms {
            Some(at_ms) => (at_ms, 0),
            None => (windows.grid.start_ms, windows.grid.step_ms),
        };
        Self { time_ms, step_ms, offset_ms: windows.offset_ms }
    }

    fn skip(&mut self, steps: usize) {
        self.time_ms = self.time_ms.saturating_add(self.step_ms.saturating_mul(steps as i64));
    }

    #[inline]
    fn next(&mut self) -> i64 {
        let end_ms = self.time_ms.saturating_sub(self.offset_ms);
        self.time_ms = self.time_ms.saturating_add(self.step_ms);
        end_ms
    }
}

impl Block {
    fn extrapolate(&self, kind: Kind, range_s: f64, results: &mut [f64]) {
        for (lane, result) in results.iter_mut().enumerate() {
            let geometry = Geometry::new(
                self.sampled_ms[lane],
                self.intervals[lane],
                self.to_start_ms[lane],
                self.to_end_ms[lane],
            );
            let counter = kind.is_counter.then(|| (self.change[lane], self.first_value[lane]));
            *result = self.change[lane] * geometry.factor(counter, kind, range_s);
        }
    }
}

/// How the samples lie in their window, in seconds.
struct Geometry {
    /// From the first to the last sample.
    sampled: f64,
    /// How far the change reaches on before the first sample.
    to_start: f64,
    /// How far it reaches on after the last sample.
    to_end: f64,
}

impl Geometry {
    /// From distances in milliseconds and the number of distances between samples.
    #[inline]
    fn new(sampled_ms: f64, intervals: f64, to_start_ms: f64, to_end_ms: f64) -> Self {
        let sampled = sampled_ms / 1000.0;
        let average = sampled / intervals;
        let threshold = average * 1.1;
        let half = average / 2.0;
        let bounded = |distance: f64| if distance >= threshold { half } else { distance };
        Self { sampled, to_start: bounded(to_start_ms / 1000.0), to_end: bounded(to_end_ms / 1000.0) }
    }

    #[inline]
    fn to_zero(&self, change: f64, first_value: f64) -> f64 {
        self.sampled * (first_value / change)
    }

    #[inline]
    fn is_zero_near(&self, to_zero: f64, change: f64, first_value: f64) -> bool {
        (change > 0.0) & (first_value >= 0.0) & (to_zero < self.to_start)
    }

    /// What a change is multiplied by. `counter`: change and first value of one that cannot fall below zero.
    #[inline]
    fn factor(&self, counter: Option<(f64, f64)>, kind: Kind, range_s: f64) -> f64 {
        let mut to_start = self.to_start;
        if let Some((change, first_value)) = counter {
            let to_zero = self.to_zero(change, first_value);
            to_start = if self.is_zero_near(to_zero, change, first_value) { to_zero } else { to_start };
        }
        let mut factor = (self.sampled + to_start + self.to_end) / self.sampled;
        factor = if self.sampled == 0.0 { 1.0 } else { factor };
        if kind.is_rate {
            factor /= range_s;
        }
        factor
    }
}
