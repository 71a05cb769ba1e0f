//! Functions of a window that depend on the order of its values.

use std::cmp::Ordering;
use std::ops::Range;

use super::{Scope, Window};
use crate::annotations::Annotation;

impl Scope<'_> {
    /// Warns about a quantile outside 0..=1.
    pub(super) fn check_quantile(&mut self, quantile: f64) {
        if !(0.0..=1.0).contains(&quantile) {
            let annotation = Annotation::InvalidQuantile { quantile: quantile.into() };
            self.annotations.add(annotation, self.span);
        }
    }
}

pub(super) fn quantile(window: &Window<'_>, scope: &mut Scope<'_>, quantile: f64) -> Option<f64> {
    if window.floats.is_empty() {
        return None;
    }
    scope.check_quantile(quantile);
    scope.ignore_histograms(window);
    scope.scratch.clear();
    scope.scratch.extend_from_slice(window.floats);
    Some(quantile_of(quantile, scope.scratch))
}

pub(super) fn median_absolute_deviation(window: &Window<'_>, scope: &mut Scope<'_>) -> Option<f64> {
    if window.floats.is_empty() {
        return None;
    }
    scope.ignore_histograms(window);
    if window.floats.iter().any(|value| value.is_nan()) {
        return Some(f64::NAN);
    }
    let values = &mut *scope.scratch;
    values.clear();
    values.extend_from_slice(window.floats);
    let median = quantile_of(0.5, values);
    for value in values.iter_mut() {
        *value = (*value - median).abs();
    }
    Some(quantile_of(0.5, values))
}

/// The quantile of `values`, which get reordered, NaN first: between two values by weight. NaN of no values or a NaN
/// quantile, an infinity of a quantile outside 0..=1.
pub(in crate::exec) fn quantile_of(quantile: f64, values: &mut [f64]) -> f64 {
    let rank = match Rank::of(quantile, values.len()) {
        Ok(rank) => rank,
        Err(value) => return value,
    };
    // Only two values need to stand where sorting would put them.
    let (_, &mut at_lower, above) = values.select_nth_unstable_by(rank.lower, order);
    let at_upper = if rank.upper > rank.lower {
        above.iter().copied().min_by(order).unwrap_or(at_lower)
    } else {
        at_lower
    };
    rank.between(at_lower, at_upper)
}

/// NaN first, then by size, then `-0` before `0`: an order in which different bits have different places.
fn order(a: &f64, b: &f64) -> Ordering {
    b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b))
}

/// Between which of the sorted values a quantile lies.
struct Rank {
    lower: usize,
    upper: usize,
    /// How near to the upper one, 0 to 1.
    weight: f64,
}

impl Rank {
    /// An error is the quantile's value where it does not depend on the values.
    fn of(quantile: f64, count: usize) -> Result<Self, f64> {
        if count == 0 || quantile.is_nan() {
            return Err(f64::NAN);
        }
        if quantile < 0.0 {
            return Err(f64::NEG_INFINITY);
        }
        if quantile > 1.0 {
            return Err(f64::INFINITY);
        }
        let count = count as f64;
        let rank = quantile * (count - 1.0);
        let lower = rank.floor().max(0.0);
        let upper = (lower + 1.0).min(count - 1.0);
        Ok(Self { lower: lower as usize, upper: upper as usize, weight: rank - rank.floor() })
    }

    fn between(&self, at_lower: f64, at_upper: f64) -> f64 {
        at_lower * (1.0 - self.weight) + at_upper * self.weight
    }
}

/// Samples that may enter and leave a sorted window before selecting anew is cheaper.
const MOVES_MAX: usize = 16;

/// The sorted values of a window that moves on; built once it moves by little.
#[derive(Default)]
pub(super) struct SortedWindow {
    values: Vec<f64>,
    window: Range<usize>,
}

impl SortedWindow {
    fn moves(&self, window: &Range<usize>) -> Option<usize> {
        let overlaps = window.start < self.window.end && window.start >= self.window.start;
        overlaps.then(|| window.start - self.window.start + window.end - self.window.end)
    }

    fn is_sorted(&self) -> bool {
        !self.window.is_empty() && self.values.len() == self.window.len()
    }

    /// What the quantile of a window costs now, in units of [`Pace`](crate::engine::Pace).
    pub fn cost(&self, window: &Range<usize>) -> u64 {
        match self.moves(window) {
            // Moving values up costs a tenth of looking at them.
            Some(moves) if moves <= MOVES_MAX && self.is_sorted() => {
                (1 + moves) as u64 * (20 + window.len() as u64 / 10)
            }
            _ => 10 * window.len() as u64,
        }
    }

    /// The quantile of the values in `window`, which does not begin or end before the last one.
    pub fn quantile(&mut self, quantile: f64, all: &[f64], window: Range<usize>) -> f64 {
        let moves = self.moves(&window).unwrap_or(usize::MAX);
        if moves > MOVES_MAX {
            self.values.clear();
            self.values.extend_from_slice(&all[window.clone()]);
            let value = quantile_of(quantile, &mut self.values);
            // Not sorted: the next window may be as far away.
            self.values.clear();
            self.window = window;
            return value;
        }
        if self.is_sorted() {
            for gone in &all[self.window.start..window.start] {
                if let Ok(at) = self.values.binary_search_by(|value| order(value, gone)) {
                    self.values.remove(at);
                }
            }
            for new in &all[self.window.end..window.end] {
                let at = self.values.partition_point(|value| order(value, new) == Ordering::Less);
                self.values.insert(at, *new);
            }
        } else {
            self.values.clear();
            self.values.extend_from_slice(&all[window.clone()]);
            self.values.sort_unstable_by(order);
        }
        self.window = window;
        match Rank::of(quantile, self.values.len()) {
            Ok(rank) => rank.between(self.values[rank.lower], self.values[rank.upper]),
            Err(value) => value,
        }
    }
}
