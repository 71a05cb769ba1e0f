//! Aggregations over the samples of a window.

use std::sync::Arc;

use super::{Scope, Window};
use crate::annotations::{Annotation, HistogramOperation};
use crate::exec::aggregate::{HistogramAverage, HistogramSum, Seen};
use crate::histogram::{FloatHistogram, IncompatibleSchemas};
use crate::kahan::{KahanSum, kahan_add};
use crate::value::SampleValue;

impl Scope<'_> {
    /// Says what happened while histograms were added up.
    fn annotate_seen(&mut self, seen: Seen) {
        let operation = HistogramOperation::Aggregation;
        if seen.has_collision() {
            self.annotations.add(Annotation::CounterResetCollision { operation }, self.span);
        }
        if seen.bounds_reconciled {
            self.annotations.add(Annotation::MismatchedCustomBuckets { operation }, self.span);
        }
    }

    /// Notes that histograms among the samples do not count.
    pub(super) fn ignore_histograms(&mut self, window: &Window<'_>) {
        if !window.histograms.is_empty() {
            self.annotate(|metric| Annotation::HistogramIgnoredInMixedRange { metric });
        }
    }

    fn histogram_result(
        &mut self,
        result: Result<(FloatHistogram, Seen), IncompatibleSchemas>,
    ) -> Option<SampleValue> {
        match result {
            Ok((histogram, seen)) => {
                self.annotate_seen(seen);
                Some(SampleValue::Histogram(Arc::new(histogram)))
            }
            Err(IncompatibleSchemas) => {
                self.interpolation(false).incompatible();
                None
            }
        }
    }
}

pub(super) fn sum(window: &Window<'_>, scope: &mut Scope<'_>) -> Option<SampleValue> {
    if window.histograms.is_empty() {
        let mut sum = KahanSum::default();
        for &value in window.floats {
            sum.add(value);
        }
        return Some(SampleValue::Float(finished_sum(sum.sum, sum.compensation)));
    }
    if !window.floats.is_empty() {
        scope.mixed();
        return None;
    }
    let (first, rest) = window.histograms.split_first()?;
    let mut sum = HistogramSum::new(first);
    let result = rest.iter().try_for_each(|histogram| sum.add(histogram)).map(|()| sum.finish());
    scope.histogram_result(result)
}

/// The value of a compensated sum.
pub(super) fn finished_sum(sum: f64, compensation: f64) -> f64 {
    if sum.is_infinite() { sum } else { sum + compensation }
}

pub(super) fn avg(window: &Window<'_>, scope: &mut Scope<'_>) -> Option<SampleValue> {
    if window.histograms.is_empty() {
        return Some(SampleValue::Float(mean(window.floats)));
    }
    if !window.floats.is_empty() {
        scope.mixed();
        return None;
    }
    let (first, rest) = window.histograms.split_first()?;
    let mut average = HistogramAverage::new(first);
    let result = rest.iter().try_for_each(|histogram| average.add(histogram)).map(|()| average.finish());
    scope.histogram_result(result)
}

/// The mean: a compensated sum divided at the end, or, once that would overflow, a running mean.
pub(super) fn mean(values: &[f64]) -> f64 {
    let mut sum = values[0];
    let mut compensation = 0.0;
    for (i, &value) in values.iter().enumerate().skip(1) {
        let (next, next_compensation) = kahan_add(value, sum, compensation);
        if next.is_infinite() {
            return running_mean(sum / i as f64, compensation / i as f64, i, &values[i..]);
        }
        (sum, compensation) = (next, next_compensation);
    }
    let count = values.len() as f64;
    sum / count + compensation / count
}

/// Continues the mean of `count` values with more values.
fn running_mean(mut mean: f64, mut compensation: f64, count: usize, values: &[f64]) -> f64 {
    for (i, &value) in values.iter().enumerate() {
        let count = (count + i + 1) as f64;
        let share = (count - 1.0) / count;
        (mean, compensation) = kahan_add(value / count, share * mean, share * compensation);
    }
    mean + compensation
}

/// The smallest or largest float by `is_better`, or its time in seconds. Any number is better than NaN.
#[inline]
pub(super) fn extreme(
    window: &Window<'_>,
    scope: &mut Scope<'_>,
    is_better: impl Fn(f64, f64) -> bool,
    time: bool,
) -> Option<f64> {
    let mut best = *window.floats.first()?;
    let mut best_at = 0;
    scope.ignore_histograms(window);
    for (at, &value) in window.floats.iter().enumerate() {
        if is_better(value, best) || best.is_nan() {
            best = value;
            best_at = at;
        }
    }
    Some(if time { window.float_times[best_at] as f64 / 1000.0 } else { best })
}

pub(super) fn first(window: &Window<'_>) -> Option<SampleValue> {
    let float = window.float_times.first().copied();
    let histogram = window.histogram_times.first().copied();
    match (float, histogram) {
        (Some(float), Some(histogram)) if float < histogram => Some(SampleValue::Float(window.floats[0])),
        (_, Some(_)) => Some(SampleValue::Histogram(Arc::clone(&window.histograms[0]))),
        (Some(_), None) => Some(SampleValue::Float(window.floats[0])),
        (None, None) => None,
    }
}

pub(super) fn last(window: &Window<'_>) -> Option<SampleValue> {
    match (window.float_times.last(), window.histogram_times.last()) {
        (Some(float), Some(histogram)) if histogram < float => {
            window.floats.last().copied().map(SampleValue::Float)
        }
        (_, Some(_)) => window.histograms.last().cloned().map(SampleValue::Histogram),
        (Some(_), None) => window.floats.last().copied().map(SampleValue::Float),
        (None, None) => None,
    }
}

pub(super) fn first_time(window: &Window<'_>) -> Option<f64> {
    let times = [window.float_times.first(), window.histogram_times.first()];
    times.into_iter().flatten().min().map(|&time_ms| time_ms as f64 / 1000.0)
}

pub(super) fn last_time(window: &Window<'_>) -> Option<f64> {
    // The latest of both kinds, and of 0 if a kind is missing, as in Prometheus.
    let times = [window.float_times.last(), window.histogram_times.last()];
    times.into_iter().map(|time| time.copied().unwrap_or(0)).max().map(|time_ms| time_ms as f64 / 1000.0)
}

pub(super) fn variance(window: &Window<'_>, scope: &mut Scope<'_>) -> Option<f64> {
    if window.floats.is_empty() {
        return None;
    }
    scope.ignore_histograms(window);
    let mut mean = KahanSum::default();
    let mut squares = KahanSum::default();
    let mut count = 0.0;
    for &value in window.floats {
        count += 1.0;
        let delta = value - mean.total();
        mean.add(delta / count);
        squares.add(delta * (value - mean.total()));
    }
    Some(squares.total() / count)
}
