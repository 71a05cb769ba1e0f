//! `rate`, `increase` and `delta` of `anchored` and `smoothed` ranges: no extrapolation, the values at the bounds are
//! taken from samples around them.

use std::sync::Arc;

use super::interpolation::{interpolate, interpolate_histograms};
use super::rate::Kind;
use super::{Scope, Window};
use crate::annotations::Annotation;
use crate::histogram::{CounterReset, FloatHistogram};
use crate::value::SampleValue;

pub(super) fn rate(
    window: &Window<'_>,
    scope: &mut Scope<'_>,
    kind: Kind,
    smoothed: bool,
) -> Option<SampleValue> {
    match (window.floats.is_empty(), window.histograms.is_empty()) {
        (false, false) => {
            scope.mixed();
            None
        }
        (true, false) => histogram_rate(window, scope, kind, smoothed)
            .map(|histogram| SampleValue::Histogram(Arc::new(histogram))),
        (false, true) => float_rate(window, kind, smoothed).map(SampleValue::Float),
        (true, true) => None,
    }
}

/// Positions of the samples that stand for the bounds of the range; `None` if there is nothing to measure.
fn bounds(window: &Window<'_>, times: &[i64], smoothed: bool) -> Option<(usize, usize)> {
    let mut last = times.len() - 1;
    let first = times[..last].partition_point(|&time_ms| time_ms <= window.start_ms).saturating_sub(1);
    if smoothed {
        last = times[..last].partition_point(|&time_ms| time_ms < window.end_ms);
    }
    let nothing = times[last] <= window.start_ms || (smoothed && times[first] > window.end_ms);
    (!nothing).then_some((first, last))
}

fn float_rate(window: &Window<'_>, kind: Kind, smoothed: bool) -> Option<f64> {
    let (times, values) = (window.float_times, window.floats);
    let (first, last) = bounds(window, times, smoothed)?;
    let (left, right) = float_bounds(window, (first, last), smoothed, kind.is_counter);
    let mut change = right - left;
    if kind.is_counter {
        // The bounds have their resets accounted for; between them each fall adds what was there before.
        let start = if times[first] <= window.start_ms { first + 1 } else { first };
        let end = if times[last] >= window.end_ms { last } else { last + 1 };
        let mut correction = 0.0;
        let mut before = left;
        for &value in values[start..end.max(start)].iter().chain([&right]) {
            if value < before {
                correction += before;
            }
            before = value;
        }
        change += correction;
    }
    Some(if kind.is_rate { change / (window.range_ms as f64 / 1000.0) } else { change })
}

/// The values at both bounds of the range.
fn float_bounds(
    window: &Window<'_>,
    (first, last): (usize, usize),
    smoothed: bool,
    is_counter: bool,
) -> (f64, f64) {
    let point = |at: usize| (window.float_times[at], window.floats[at]);
    let left = if smoothed && window.float_times[first] < window.start_ms {
        interpolate(point(first), point(first + 1), window.start_ms, is_counter)
    } else {
        window.floats[first]
    };
    let right = if smoothed && last > 0 && window.float_times[last] > window.end_ms {
        interpolate(point(last - 1), point(last), window.end_ms, is_counter)
    } else {
        window.floats[last]
    };
    (left, right)
}

fn histogram_rate(
    window: &Window<'_>,
    scope: &mut Scope<'_>,
    kind: Kind,
    smoothed: bool,
) -> Option<FloatHistogram> {
    let (times, values) = (window.histogram_times, window.histograms);
    let (first, last) = bounds(window, times, smoothed)?;
    let custom = values[first].uses_custom_buckets();
    for histogram in &values[first..=last] {
        if histogram.uses_custom_buckets() != custom {
            scope.interpolation(kind.is_counter).incompatible();
            return None;
        }
        if kind.is_counter && histogram.counter_reset == CounterReset::Gauge {
            scope.annotate(|metric| Annotation::NativeHistogramNotCounter { metric });
        }
    }
    let interpolated = |at: usize, time_ms: i64, scope: &mut Scope<'_>| {
        let (before, after) = (&values[at], &values[at + 1]);
        let mut interpolation = scope.interpolation(kind.is_counter);
        interpolate_histograms(before, after, (times[at], times[at + 1]), time_ms, &mut interpolation)
    };
    let left = if smoothed && times[first] < window.start_ms {
        interpolated(first, window.start_ms, scope)?
    } else {
        (*values[first]).clone()
    };
    let right = if smoothed && last > 0 && times[last] > window.end_ms {
        interpolated(last - 1, window.end_ms, scope)?
    } else {
        (*values[last]).clone()
    };
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset == CounterReset::Gauge;
    if !kind.is_counter && (!is_gauge(&left) || !is_gauge(&right)) {
        scope.annotate(|metric| Annotation::NativeHistogramNotGauge { metric });
    }
    let mut change = right.clone();
    if !scope.interpolation(kind.is_counter).sub(&mut change, &left) {
        return None;
    }
    if kind.is_counter {
        let spanned = smoothed
            && times[first] < window.start_ms
            && values.get(first + 1).is_some_and(|next| next.detect_reset(&values[first]));
        let correction = reset_correction(values, (first, last), &left, &right, spanned, scope)?;
        if let Some(correction) = correction
            && !scope.interpolation(true).add(&mut change, &correction)
        {
            return None;
        }
    }
    if kind.is_rate {
        change.div(window.range_ms as f64 / 1000.0);
    }
    change.counter_reset = CounterReset::Gauge;
    change.compact();
    Some(change)
}

/// The sum of the histograms just before each reset; `None` outside if they are incompatible, inside if there is none.
///
/// `spanned`: the left bound was interpolated across a reset, which is thereby accounted for.
fn reset_correction(
    values: &[Arc<FloatHistogram>],
    (first, last): (usize, usize),
    left: &FloatHistogram,
    right: &FloatHistogram,
    spanned: bool,
    scope: &mut Scope<'_>,
) -> Option<Option<FloatHistogram>> {
    let start = first + 1 + usize::from(spanned);
    // The last sample is represented by the right bound, which carries its hint: compared twice, it would seem to
    // reset against itself.
    if start > last {
        return Some(None);
    }
    let mut before = if spanned { &*values[first + 1] } else { left };
    let mut correction: Option<FloatHistogram> = None;
    let inner = values[start..last].iter().map(|histogram| &**histogram);
    for histogram in inner.chain([right]) {
        if histogram.detect_reset(before) {
            match &mut correction {
                None => correction = Some(before.clone()),
                Some(sum) => {
                    if !scope.interpolation(true).add(sum, before) {
                        return None;
                    }
                }
            }
        }
        before = histogram;
    }
    Some(correction)
}

/// The samples of a range shown as it is: those inside, and the values at its bounds.
pub(in crate::exec) fn extend_floats(
    times: &[i64],
    values: &[f64],
    range_ms: (i64, i64),
    smoothed: bool,
) -> Vec<(i64, f64)> {
    let window = Window {
        float_times: times,
        floats: values,
        float_starts: &[],
        histogram_times: &[],
        histograms: &[],
        histogram_starts: &[],
        start_ms: range_ms.0,
        end_ms: range_ms.1,
        range_ms: range_ms.1 - range_ms.0,
        time_ms: range_ms.1,
    };
    let Some(last) = times.len().checked_sub(1) else { return Vec::new() };
    let first = times[..last].partition_point(|&time_ms| time_ms <= range_ms.0).saturating_sub(1);
    let last = if smoothed { times[..last].partition_point(|&time_ms| time_ms < range_ms.1) } else { last };
    if times[last] <= range_ms.0 {
        return Vec::new();
    }
    let (left, right) = float_bounds(&window, (first, last), smoothed, false);
    let inside = times.iter().zip(values).take(last + 1).skip(first);
    let inside = inside.filter(|&(&time_ms, _)| time_ms > range_ms.0 && time_ms < range_ms.1);
    let inside = inside.map(|(&time_ms, &value)| (time_ms, value));
    [(range_ms.0, left)].into_iter().chain(inside).chain([(range_ms.1, right)]).collect()
}
