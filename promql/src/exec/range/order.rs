//! Functions of a window that depend on the order of its values.

use super::{Scope, Window};
use crate::annotations::Annotation;

pub(super) fn quantile(window: &Window<'_>, scope: &mut Scope<'_>, quantile: f64) -> Option<f64> {
    if window.floats.is_empty() {
        return None;
    }
    if !(0.0..=1.0).contains(&quantile) {
        let annotation = Annotation::InvalidQuantile { quantile: quantile.into() };
        scope.annotations.add(annotation, scope.span);
    }
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
    if values.is_empty() || quantile.is_nan() {
        return f64::NAN;
    }
    if quantile < 0.0 {
        return f64::NEG_INFINITY;
    }
    if quantile > 1.0 {
        return f64::INFINITY;
    }
    let count = values.len() as f64;
    let rank = quantile * (count - 1.0);
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(count - 1.0);
    let weight = rank - rank.floor();
    // Only two values need to stand where sorting would put them.
    let ordered = |a: &f64, b: &f64| {
        b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal))
    };
    let (_, &mut at_lower, above) = values.select_nth_unstable_by(lower as usize, ordered);
    let at_upper =
        if upper > lower { above.iter().copied().min_by(ordered).unwrap_or(at_lower) } else { at_lower };
    at_lower * (1.0 - weight) + at_upper * weight
}
