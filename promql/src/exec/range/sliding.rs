//! Functions of overlapping windows over floats alone, computed from one window to the next.
//!
//! A window shares most of its samples with the one before. Counts and extremes follow from what enters and what
//! leaves, so that a sample costs the same however many windows it is in. Compensated sums do not: their value depends
//! on where they begin, and Prometheus begins anew in each window. They are added up anew here as well, but several
//! windows side by side, as each addition waits for the one before and the processor has nothing else to do.
//!
//! What may go wrong is a last bit: the functions in [`super::over_time`] and [`super::changes`] say what each value
//! is, and these here must give the same, signs of zeros and NaN included.

use std::ops::Range;

use super::order::SortedWindow;
use super::over_time::{finished_sum, mean};
use super::{Scope, Windows, advance};
use crate::engine::{Pace, QueryError};
use crate::exec::row::Row;
use crate::kahan::kahan_add_select;
use crate::storage::SampleBuffer;
use crate::syntax::Function;

/// Windows added up side by side.
const LANES: usize = 8;

/// The floats of a series and where its windows lie.
pub(super) struct Sliding<'b> {
    times: &'b [i64],
    values: &'b [f64],
    windows: &'b Windows,
    range: (usize, usize),
}

impl<'b> Sliding<'b> {
    pub fn new(buffer: &'b SampleBuffer, windows: &'b Windows) -> Self {
        let values = &buffer.floats[..buffer.float_timestamps.len()];
        Self { times: &buffer.float_timestamps, values, windows, range: (0, 0) }
    }

    /// Fills `row` if `func` is one of those that gain from it; says whether it did.
    pub fn fill(
        self,
        func: Function,
        param: impl Fn(usize) -> f64,
        row: &mut Row,
        scope: &mut Scope<'_>,
        pace: &mut Pace<'_>,
    ) -> Result<bool, QueryError> {
        use Function as F;
        match func {
            F::MinOverTime => self.extremes(row, pace, |last, new| last > new, false),
            F::MaxOverTime => self.extremes(row, pace, |last, new| last < new, false),
            F::TsOfMinOverTime => self.extremes(row, pace, |last, new| last >= new, true),
            F::TsOfMaxOverTime => self.extremes(row, pace, |last, new| last <= new, true),
            F::Changes => self.pairs(row, pace, |a, b| a != b && !(a.is_nan() && b.is_nan())),
            F::Resets => self.pairs(row, pace, |a, b| b < a),
            F::SumOverTime => {
                self.sums(row, pace, false, |_, sum, compensation| finished_sum(sum, compensation))
            }
            F::AvgOverTime => self.sums(row, pace, true, |values, sum, compensation| {
                let count = values.len() as f64;
                // A sum that overflows on the way stays infinite or becomes NaN; the mean goes on differently then.
                if sum.is_finite() { sum / count + compensation / count } else { mean(values) }
            }),
            F::QuantileOverTime => self.quantiles(param, row, scope, pace),
            _ => return Ok(false),
        }?;
        Ok(true)
    }

    /// The samples of a step; steps must ascend.
    fn window(&mut self, step: usize) -> Range<usize> {
        let end_ms = self.windows.end_ms(step);
        advance(self.times, &mut self.range, end_ms.saturating_sub(self.windows.range_ms), end_ms);
        self.range.0..self.range.1
    }

    fn steps(&self) -> Range<usize> {
        0..self.windows.grid.steps
    }

    /// Smallest or largest values, or their times in seconds. `beaten` says whether a sample can be forgotten once a
    /// newer one is there. Any number is better than NaN; of NaN alone the last counts.
    fn extremes(
        mut self,
        row: &mut Row,
        pace: &mut Pace<'_>,
        beaten: impl Fn(f64, f64) -> bool,
        time: bool,
    ) -> Result<(), QueryError> {
        // Positions of samples of which none is beaten by a later one, from `first` on.
        let mut candidates: Vec<usize> = Vec::new();
        let mut first = 0;
        let mut entered = 0;
        for step in self.steps() {
            let window = self.window(step);
            entered = entered.max(window.start);
            pace.spend(1 + window.end.saturating_sub(entered) as u64)?;
            for at in entered..window.end {
                let value = self.values[at];
                if value.is_nan() {
                    continue;
                }
                while candidates.len() > first
                    && candidates.last().is_some_and(|&last| beaten(self.values[last], value))
                {
                    candidates.pop();
                }
                candidates.push(at);
            }
            entered = entered.max(window.end);
            while candidates.get(first).is_some_and(|&at| at < window.start) {
                first += 1;
            }
            if window.is_empty() {
                continue;
            }
            let best = candidates.get(first).copied().unwrap_or(window.end - 1);
            row.set(step, if time { self.times[best] as f64 / 1000.0 } else { self.values[best] });
        }
        Ok(())
    }

    /// The number of neighbours for which `counts` holds.
    fn pairs(
        mut self,
        row: &mut Row,
        pace: &mut Pace<'_>,
        counts: impl Fn(f64, f64) -> bool,
    ) -> Result<(), QueryError> {
        let mut counted = 0..0;
        let mut count = 0u64;
        for step in self.steps() {
            let window = self.window(step);
            pace.spend(1 + (window.end - counted.end + window.start - counted.start) as u64)?;
            let number = |firsts: Range<usize>| {
                let values = self.values;
                firsts.filter(|&at| counts(values[at], values[at + 1])).count() as u64
            };
            // Pairs are known by the position of their first sample; a window of n samples has n - 1.
            let firsts = |window: &Range<usize>| window.start..window.end.saturating_sub(1).max(window.start);
            let (old, new) = (firsts(&counted), firsts(&window));
            if new.start >= old.end {
                count = number(new);
            } else {
                count += number(old.end..new.end);
                count -= number(old.start..new.start);
            }
            if !window.is_empty() {
                row.set(step, count as f64);
            }
            counted = window;
        }
        Ok(())
    }

    /// Compensated sums, several windows at a time; from zero, or `from_first` sample on. `finish` makes a value of the
    /// samples, their sum and its compensation.
    fn sums(
        mut self,
        row: &mut Row,
        pace: &mut Pace<'_>,
        from_first: bool,
        finish: impl Fn(&[f64], f64, f64) -> f64,
    ) -> Result<(), QueryError> {
        let steps = self.windows.grid.steps;
        let mut first_step = 0;
        while first_step < steps {
            let length = LANES.min(steps - first_step);
            let mut lanes: [&[f64]; LANES] = [&[]; LANES];
            let mut shortest = usize::MAX;
            let mut work = LANES;
            for (lane, step) in lanes.iter_mut().zip(first_step..first_step + length) {
                let window = self.window(step);
                *lane = &self.values[window];
                shortest = shortest.min(lane.len());
                work += lane.len();
            }
            if length < LANES {
                shortest = 0;
            }
            pace.spend(work as u64)?;
            let begin = usize::from(from_first);
            let first = |lane: &[f64]| if from_first { lane.first().copied().unwrap_or(0.0) } else { 0.0 };
            let (mut sums, mut compensations) = (lanes.map(first), [0.0; LANES]);
            let together = lanes.map(|lane| &lane[..shortest]);
            for at in begin..shortest {
                let totals = sums.iter_mut().zip(&mut compensations);
                for (lane, (sum, compensation)) in together.iter().zip(totals) {
                    (*sum, *compensation) = kahan_add_select(lane[at], *sum, *compensation);
                }
            }
            for lane in 0..length {
                let values = lanes[lane];
                if values.is_empty() {
                    continue;
                }
                let (mut sum, mut compensation) = (sums[lane], compensations[lane]);
                for &value in &values[shortest.max(begin)..] {
                    (sum, compensation) = kahan_add_select(value, sum, compensation);
                }
                row.set(first_step + lane, finish(values, sum, compensation));
            }
            first_step += length;
        }
        Ok(())
    }

    fn quantiles(
        mut self,
        param: impl Fn(usize) -> f64,
        row: &mut Row,
        scope: &mut Scope<'_>,
        pace: &mut Pace<'_>,
    ) -> Result<(), QueryError> {
        let mut sorted = SortedWindow::default();
        for step in self.steps() {
            let window = self.window(step);
            if window.is_empty() {
                continue;
            }
            let quantile = param(step);
            scope.check_quantile(quantile);
            pace.spend(sorted.cost(&window))?;
            row.set(step, sorted.quantile(quantile, self.values, window));
        }
        Ok(())
    }
}
