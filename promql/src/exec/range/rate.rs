//! `rate`, `increase`, `delta`: the change over a range, extrapolated to its bounds.

use std::sync::Arc;

use super::histogram_rate::histogram_rate;
use super::interpolation::Interpolation;
use super::{Scope, Window};
use crate::annotations::{Annotation, Detail};
use crate::histogram::FloatHistogram;
use crate::value::SampleValue;

/// Which of the three.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// Falling values are resets.
    pub is_counter: bool,
    /// Per second.
    pub is_rate: bool,
}

impl Scope<'_> {
    pub(super) fn interpolation(&mut self, is_counter: bool) -> Interpolation<'_> {
        Interpolation {
            is_counter,
            metric: self.labels.metric_name(),
            span: self.span,
            annotations: self.annotations,
        }
    }

    fn start_overlap(&mut self) {
        let annotation = Annotation::StartTimeOverlap { metric: self.metric() };
        self.annotations.add_with_detail(annotation, self.span, Detail::Count(1));
    }
}

/// The change between the first and last sample, extrapolated to the bounds of the range where samples are near
/// enough to them.
pub(super) fn extrapolated(window: &Window<'_>, scope: &mut Scope<'_>, kind: Kind) -> Option<SampleValue> {
    if !window.histograms.is_empty() {
        if !window.floats.is_empty() {
            scope.mixed();
            return None;
        }
        return histograms(window, scope, kind);
    }
    let samples = window.floats;
    let times = window.float_times;
    let last = samples.len() - 1;
    let mut change = samples[last] - samples[0];
    if kind.is_counter {
        for (i, pair) in samples.windows(2).enumerate() {
            if pair[1] < pair[0] || start_reset(window.float_starts, times, i) {
                change += pair[0];
            }
        }
        if (0..last).any(|i| start_overlap(window.float_starts, times, i)) {
            scope.start_overlap();
        }
    }
    let mut span = SampledSpan::new(window, times);
    if kind.is_counter && span.starts_inside(window.float_starts) {
        change += samples[0];
    } else if last == 0 {
        return None;
    } else {
        let to_zero = (change > 0.0 && samples[0] >= 0.0).then(|| samples[0] / change);
        span.limit_start(kind.is_counter, to_zero);
    }
    Some(SampleValue::Float(change * span.factor(window, kind)))
}

fn histograms(window: &Window<'_>, scope: &mut Scope<'_>, kind: Kind) -> Option<SampleValue> {
    let samples = window.histograms;
    let times = window.histogram_times;
    let starts = if kind.is_counter { window.histogram_starts } else { &[] };
    let mut change: Option<FloatHistogram> = None;
    if samples.len() > 1 {
        change = Some(histogram_rate(samples, times, starts, kind.is_counter, scope)?);
        if kind.is_counter && (0..samples.len() - 1).any(|i| start_overlap(starts, times, i)) {
            scope.start_overlap();
        }
    }
    let mut span = SampledSpan::new(window, times);
    if kind.is_counter && span.starts_inside(starts) {
        change = Some(match change {
            None => (*samples[0]).clone(),
            Some(mut change) => {
                if !scope.interpolation(true).add(&mut change, &samples[0]) {
                    return None;
                }
                change
            }
        });
    } else if samples.len() == 1 {
        return None;
    } else {
        let to_zero = change
            .as_ref()
            .filter(|change| change.count > 0.0 && samples[0].count >= 0.0)
            .map(|change| samples[0].count / change.count);
        span.limit_start(kind.is_counter, to_zero);
    }
    let mut change = change?;
    change.mul(span.factor(window, kind));
    Some(SampleValue::Histogram(Arc::new(change)))
}

/// Distances between the samples and the bounds of the range, in seconds.
struct SampledSpan {
    to_start: f64,
    to_end: f64,
    sampled: f64,
    average: f64,
    threshold: f64,
    first_ms: i64,
    last_ms: i64,
    range_start_ms: i64,
}

impl SampledSpan {
    fn new(window: &Window<'_>, times: &[i64]) -> Self {
        let (first_ms, last_ms) = (times[0], times[times.len() - 1]);
        let sampled = (last_ms - first_ms) as f64 / 1000.0;
        let average = if times.len() > 1 { sampled / (times.len() - 1) as f64 } else { 0.0 };
        Self {
            to_start: (first_ms - window.start_ms) as f64 / 1000.0,
            to_end: (window.end_ms - last_ms) as f64 / 1000.0,
            sampled,
            average,
            threshold: average * 1.1,
            first_ms,
            last_ms,
            range_start_ms: window.start_ms,
        }
    }

    /// If the first sample's counter is known to have started inside the range, nothing is extrapolated to the left.
    fn starts_inside(&mut self, starts: &[i64]) -> bool {
        let Some(&start_ms) = starts.first() else { return false };
        if start_ms == 0 || start_ms <= self.range_start_ms || start_ms >= self.first_ms {
            return false;
        }
        self.to_start = 0.0;
        self.sampled = (self.last_ms - start_ms) as f64 / 1000.0;
        true
    }

    /// Samples far from the start of the range: the series is taken to start half an interval before the first one.
    /// A counter is never extrapolated below zero, which `to_zero` (in sampled spans) says how far away is.
    fn limit_start(&mut self, is_counter: bool, to_zero: Option<f64>) {
        if self.to_start >= self.threshold {
            self.to_start = self.average / 2.0;
        }
        if let (true, Some(to_zero)) = (is_counter, to_zero) {
            let to_zero = self.sampled * to_zero;
            if to_zero < self.to_start {
                self.to_start = to_zero;
            }
        }
    }

    fn factor(&mut self, window: &Window<'_>, kind: Kind) -> f64 {
        if self.to_end >= self.threshold {
            self.to_end = self.average / 2.0;
        }
        let mut factor = 1.0;
        if self.sampled != 0.0 {
            factor = (self.sampled + self.to_start + self.to_end) / self.sampled;
        }
        if kind.is_rate {
            factor /= window.range_ms as f64 / 1000.0;
        }
        factor
    }
}

/// Whether the start timestamps say that the counter was reset between sample `i` and the next.
pub(super) fn start_reset(starts: &[i64], times: &[i64], i: usize) -> bool {
    i + 1 < starts.len() && is_start_reset((starts[i], times[i]), (starts[i + 1], times[i + 1]))
}

/// Whether the start timestamps of two samples (start, time) say that the counter was reset in between.
pub(super) fn is_start_reset(previous: (i64, i64), current: (i64, i64)) -> bool {
    let (previous_start, previous_time) = previous;
    let (current_start, current_time) = current;
    if current_start == 0 || current_start >= current_time || current_start < previous_time {
        // Unknown, invalid, or the counter is older than the previous sample.
        return false;
    }
    if current_start > previous_time {
        return true;
    }
    // It started just at the previous sample: a delta series, unless the start time is simply not known, which shows
    // at the previous sample.
    previous_start <= previous_time && previous_start != 0 && previous_start != previous_time
}

/// Whether the counter of the sample after `i` claims to have started before sample `i`, and differently.
fn start_overlap(starts: &[i64], times: &[i64], i: usize) -> bool {
    i + 1 < starts.len() && starts[i + 1] != 0 && starts[i + 1] < times[i] && starts[i + 1] != starts[i]
}
