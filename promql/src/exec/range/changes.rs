//! `changes` and `resets`: how often a value changed or fell.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Window;
use super::rate::is_start_reset;
use crate::histogram::FloatHistogram;

#[derive(Clone, Copy)]
struct Point<'b> {
    time_ms: i64,
    start_ms: i64,
    float: f64,
    histogram: Option<&'b Arc<FloatHistogram>>,
}

/// How often the value differs from the one before; a change between float and histogram counts.
pub(super) fn changes(window: &Window<'_>, anchored: bool) -> Option<f64> {
    if window.histograms.is_empty() && !anchored {
        let differs = |pair: &&[f64]| pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan());
        return Some(window.floats.windows(2).filter(differs).count() as f64);
    }
    count(window, anchored, |before, now| match (before.histogram, now.histogram) {
        (None, None) => now.float != before.float && !(now.float.is_nan() && before.float.is_nan()),
        (Some(before), Some(now)) => !now.same_data(before),
        _ => true,
    })
}

/// How often a counter was reset; a change between float and histogram counts.
pub(super) fn resets(window: &Window<'_>, anchored: bool) -> Option<f64> {
    if window.histograms.is_empty() && window.float_starts.is_empty() && !anchored {
        return Some(window.floats.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64);
    }
    count(window, anchored, |before, now| {
        let started = || is_start_reset((before.start_ms, before.time_ms), (now.start_ms, now.time_ms));
        match (before.histogram, now.histogram) {
            (None, None) => now.float < before.float || started(),
            (Some(before), Some(now)) => started() || now.detect_reset(before),
            _ => true,
        }
    })
}

fn count(window: &Window<'_>, anchored: bool, counts: impl Fn(Point<'_>, Point<'_>) -> bool) -> Option<f64> {
    let (mut float, mut histogram) = if anchored { anchor(window)? } else { (0, 0) };
    let mut before = None;
    let mut total = 0.0;
    while let Some(now) = next(window, &mut float, &mut histogram) {
        if before.is_some_and(|before| counts(before, now)) {
            total += 1.0;
        }
        before = Some(now);
    }
    Some(total)
}

/// The next sample of either kind.
fn next<'b>(window: &Window<'b>, float: &mut usize, histogram: &mut usize) -> Option<Point<'b>> {
    let order = match (window.float_times.get(*float), window.histogram_times.get(*histogram)) {
        (None, None) => return None,
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(float), Some(histogram)) => float.cmp(histogram),
    };
    let start = |starts: &[i64], at: usize| starts.get(at).copied().unwrap_or(0);
    if order == Ordering::Less {
        let at = *float;
        *float += 1;
        let (time_ms, start_ms) = (window.float_times[at], start(window.float_starts, at));
        Some(Point { time_ms, start_ms, float: window.floats[at], histogram: None })
    } else {
        let at = *histogram;
        *histogram += 1;
        let (time_ms, start_ms) = (window.histogram_times[at], start(window.histogram_starts, at));
        Some(Point { time_ms, start_ms, float: 0.0, histogram: Some(&window.histograms[at]) })
    }
}

/// Where an anchored window begins: at the newest sample at or before the start of the range. `None` if there is no
/// sample inside the range.
fn anchor(window: &Window<'_>) -> Option<(usize, usize)> {
    let floats = window.float_times.partition_point(|&time_ms| time_ms <= window.start_ms);
    let histograms = window.histogram_times.partition_point(|&time_ms| time_ms <= window.start_ms);
    if floats >= window.floats.len() && histograms >= window.histograms.len() {
        return None;
    }
    let last_float = floats.checked_sub(1).map(|at| window.float_times[at]);
    let last_histogram = histograms.checked_sub(1).map(|at| window.histogram_times[at]);
    Some(match (last_float, last_histogram) {
        (None, None) => (0, 0),
        (Some(float), histogram) if histogram.is_none_or(|histogram| float >= histogram) => {
            (floats - 1, histograms)
        }
        _ => (floats, histograms - 1),
    })
}
