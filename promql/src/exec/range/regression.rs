//! Trends: `deriv`, `predict_linear`, `double_exponential_smoothing`.

use super::{Scope, Window};
use crate::engine::QueryError;
use crate::gostd::format_fixed;
use crate::kahan::KahanSum;

/// Whether there are enough floats; notes histograms beside them.
fn has_two_floats(window: &Window<'_>, scope: &mut Scope<'_>) -> bool {
    if !window.floats.is_empty() {
        scope.ignore_histograms(window);
    }
    window.floats.len() >= 2
}

pub(super) fn derivative(window: &Window<'_>, scope: &mut Scope<'_>) -> Option<f64> {
    // Times are taken relative to the first sample, for accuracy.
    has_two_floats(window, scope).then(|| linear_regression(window, window.float_times[0]).0)
}

pub(super) fn predict(window: &Window<'_>, scope: &mut Scope<'_>, seconds: f64) -> Option<f64> {
    if !has_two_floats(window, scope) {
        return None;
    }
    let (slope, intercept) = linear_regression(window, window.time_ms);
    Some(slope * seconds + intercept)
}

/// Slope (per second) and value at `intercept_ms` of the least-squares line.
fn linear_regression(window: &Window<'_>, intercept_ms: i64) -> (f64, f64) {
    let first = window.floats[0];
    if window.floats.iter().skip(1).all(|&value| value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (KahanSum::default(), KahanSum::default(), KahanSum::default(), KahanSum::default());
    for (&time_ms, &y) in window.float_times.iter().zip(window.floats) {
        let x = (time_ms - intercept_ms) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let count = window.floats.len() as f64;
    let (x, y, xy, xx) = (x_sum.total(), y_sum.total(), xy_sum.total(), xx_sum.total());
    let covariance = xy - x * y / count;
    let variance = xx - x * x / count;
    let slope = covariance / variance;
    (slope, y / count - slope * x / count)
}

/// Holt's double exponential smoothing.
pub(super) fn smooth(
    window: &Window<'_>,
    scope: &mut Scope<'_>,
    smoothing_factor: f64,
    trend_factor: f64,
) -> Result<Option<f64>, QueryError> {
    for (name, symbol, factor) in [("smoothing", "sf", smoothing_factor), ("trend", "tf", trend_factor)] {
        if factor <= 0.0 || factor >= 1.0 {
            return Err(QueryError::execution(format!(
                "invalid {name} factor. Expected: 0 < {symbol} < 1, got: {}",
                format_fixed(factor, 6)
            )));
        }
    }
    if !has_two_floats(window, scope) {
        return Ok(None);
    }
    let values = window.floats;
    let mut before = 0.0;
    let mut smoothed = values[0];
    let mut trend = values[1] - values[0];
    for (i, &value) in values.iter().enumerate().skip(1) {
        let scaled = smoothing_factor * value;
        if i > 1 {
            trend = trend_factor * (smoothed - before) + (1.0 - trend_factor) * trend;
        }
        let carried = (1.0 - smoothing_factor) * (smoothed + trend);
        (before, smoothed) = (smoothed, scaled + carried);
    }
    Ok(Some(smoothed))
}
