//! Histograms with custom bounds that differ.

use super::{Buckets, FloatHistogram};
use crate::kahan::kahan_add;

/// The bounds both lists have.
pub(super) fn intersect_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut shared = Vec::with_capacity(a.len().min(b.len()));
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            shared.push(a[i]);
            i += 1;
            j += 1;
        } else if a[i] < b[j] {
            i += 1;
        } else {
            j += 1;
        }
    }
    shared
}

/// Buckets over the shared `bounds` with the counts of `a` plus (or minus) those of `b`, and what rounding lost.
pub(super) fn add_mismatched(
    a: &FloatHistogram,
    a_compensation: Option<&[f64]>,
    b: &FloatHistogram,
    negative: bool,
    bounds: &[f64],
) -> (Buckets, Vec<f64>) {
    let mut counts = vec![(0.0, 0.0); bounds.len() + 1];
    for (i, (target, count)) in mapped(a, bounds).enumerate() {
        let (sum, lost) = &mut counts[target];
        (*sum, *lost) = kahan_add(count, *sum, *lost);
        if let Some(compensation) = a_compensation {
            (*sum, *lost) = kahan_add(compensation[i], *sum, *lost);
        }
    }
    for (target, count) in mapped(b, bounds) {
        let (sum, lost) = &mut counts[target];
        (*sum, *lost) = kahan_add(if negative { -count } else { count }, *sum, *lost);
    }
    let mut buckets = Buckets::default();
    let mut compensation = Vec::new();
    for (index, (count, lost)) in (0..).zip(counts) {
        if count != 0.0 || lost != 0.0 {
            buckets.push(index, count);
            compensation.push(lost);
        }
    }
    (buckets, compensation)
}

/// Each bucket of `histogram` as the position of the shared bucket it falls into, and its count.
fn mapped<'a>(histogram: &'a FloatHistogram, bounds: &'a [f64]) -> impl Iterator<Item = (usize, f64)> + 'a {
    let own = histogram.custom_bounds();
    let mut at = 0;
    histogram.positive.iter().map(move |(index, count)| {
        let Some(&bound) = usize::try_from(index).ok().and_then(|index| own.get(index)) else {
            return (bounds.len(), count);
        };
        while at < bounds.len() && bounds[at] < bound {
            at += 1;
        }
        (at, count)
    })
}

/// Whether a count went down between two histograms with different custom bounds, judged by the shared ones.
pub(super) fn has_reset(current: &FloatHistogram, previous: &FloatHistogram) -> bool {
    let bounds = intersect_bounds(current.custom_bounds(), previous.custom_bounds());
    let mut totals = vec![(0.0, 0.0); bounds.len() + 1];
    for (target, count) in mapped(current, &bounds) {
        totals[target].0 += count;
    }
    for (target, count) in mapped(previous, &bounds) {
        totals[target].1 += count;
    }
    totals.iter().any(|(current, previous)| current < previous)
}
