//! `irate` and `idelta`: the difference of the last two samples.

use std::sync::Arc;

use super::rate::is_start_reset;
use super::{Scope, Window};
use crate::annotations::Annotation;
use crate::histogram::{CounterReset, FloatHistogram};
use crate::value::SampleValue;

#[derive(Clone, Copy)]
struct Last<'b> {
    time_ms: i64,
    start_ms: i64,
    float: f64,
    histogram: Option<&'b Arc<FloatHistogram>>,
}

/// The difference of the last two samples of either kind; per second and with counter resets for `irate`.
pub(super) fn last_difference(
    window: &Window<'_>,
    scope: &mut Scope<'_>,
    is_rate: bool,
) -> Option<SampleValue> {
    let [first, second] = last_two(window)?;
    let interval_ms = second.time_ms - first.time_ms;
    if interval_ms == 0 {
        return None;
    }
    let seconds = interval_ms as f64 / 1000.0;
    let started = is_start_reset((first.start_ms, first.time_ms), (second.start_ms, second.time_ms));
    match (first.histogram, second.histogram) {
        (None, None) => {
            let reset = is_rate && (second.float < first.float || started);
            let difference = if reset { second.float } else { second.float - first.float };
            Some(SampleValue::Float(if is_rate { difference / seconds } else { difference }))
        }
        (Some(before), Some(after)) => {
            let gauges = [before, after].map(|histogram| histogram.counter_reset == CounterReset::Gauge);
            if is_rate && gauges.contains(&true) {
                scope.annotate(|metric| Annotation::NativeHistogramNotCounter { metric });
            }
            if !is_rate && gauges.contains(&false) {
                scope.annotate(|metric| Annotation::NativeHistogramNotGauge { metric });
            }
            let mut result = (**after).clone();
            let reset = is_rate && (started || after.detect_reset(before));
            if !reset && !scope.interpolation(is_rate).sub(&mut result, before) {
                return None;
            }
            result.counter_reset = CounterReset::Gauge;
            result.compact();
            if is_rate {
                result.div(seconds);
            }
            Some(SampleValue::Histogram(Arc::new(result)))
        }
        _ => {
            scope.mixed();
            None
        }
    }
}

fn last_two<'b>(window: &Window<'b>) -> Option<[Last<'b>; 2]> {
    let start = |starts: &[i64], i: usize| starts.get(i).copied().unwrap_or(0);
    let float = |i: usize| Last {
        time_ms: window.float_times[i],
        start_ms: start(window.float_starts, i),
        float: window.floats[i],
        histogram: None,
    };
    let histogram = |i: usize| Last {
        time_ms: window.histogram_times[i],
        start_ms: start(window.histogram_starts, i),
        float: 0.0,
        histogram: Some(&window.histograms[i]),
    };
    let (floats, histograms) = (window.floats.len(), window.histograms.len());
    if histograms == 0 {
        return (floats >= 2).then(|| [float(floats - 2), float(floats - 1)]);
    }
    let floats = (floats.saturating_sub(2)..floats).map(float);
    let histograms = (histograms.saturating_sub(2)..histograms).map(histogram);
    let mut last: Vec<Last<'b>> = floats.chain(histograms).collect();
    // At the same time a histogram counts as the earlier one.
    last.sort_by_key(|sample| (sample.time_ms, sample.histogram.is_none()));
    let at = last.len().checked_sub(2)?;
    Some([last[at], last[at + 1]])
}
