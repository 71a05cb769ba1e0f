//! The change of native histograms over a range.

use std::sync::Arc;

use super::Scope;
use super::rate::start_reset;
use crate::annotations::Annotation;
use crate::histogram::{CounterReset, FloatHistogram};

/// The difference between the last and the first histogram plus what was lost to counter resets; `None` if exponential
/// and custom buckets meet. There are at least two samples.
pub(super) fn histogram_rate(
    samples: &[Arc<FloatHistogram>],
    times: &[i64],
    starts: &[i64],
    is_counter: bool,
    scope: &mut Scope<'_>,
) -> Option<FloatHistogram> {
    let (first, last) = (&samples[0], &samples[samples.len() - 1]);
    let is_gauge = |histogram: &FloatHistogram| histogram.counter_reset == CounterReset::Gauge;
    let mut annotate_not_counter = false;
    if is_counter && (is_gauge(first) || is_gauge(last)) {
        annotate_not_counter = true;
    }

    // A first sample that is followed by a reset contributes nothing, not even its bucket layout.
    let zero;
    let mut previous: &FloatHistogram = first;
    let mut custom = first.uses_custom_buckets();
    if is_counter {
        let second = &samples[1];
        if start_reset(starts, times, 0) || second.detect_reset(first) {
            zero = FloatHistogram {
                schema: second.schema,
                custom_values: second.custom_values.clone(),
                ..FloatHistogram::default()
            };
            previous = &zero;
            custom = second.uses_custom_buckets();
        }
    }

    // The incompatibility replaces what was to be annotated so far, except at this first check.
    if last.uses_custom_buckets() != custom {
        if annotate_not_counter {
            scope.annotate(|metric| Annotation::NativeHistogramNotCounter { metric });
        }
        scope.interpolation(true).incompatible();
        return None;
    }
    let mut schema = last.schema.min(previous.schema);
    if is_counter {
        for histogram in &samples[1..samples.len() - 1] {
            annotate_not_counter |= is_gauge(histogram);
            schema = schema.min(histogram.schema);
            if histogram.uses_custom_buckets() != custom {
                scope.interpolation(true).incompatible();
                return None;
            }
        }
    }
    if annotate_not_counter {
        scope.annotate(|metric| Annotation::NativeHistogramNotCounter { metric });
    }

    let mut change = last.at_schema(schema);
    if !scope.interpolation(is_counter).sub(&mut change, previous) {
        return None;
    }
    if is_counter {
        for (i, histogram) in samples[1..].iter().enumerate() {
            if (start_reset(starts, times, i) || histogram.detect_reset(previous))
                && !scope.interpolation(true).add(&mut change, previous)
            {
                return None;
            }
            previous = histogram;
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        scope.annotate(|metric| Annotation::NativeHistogramNotGauge { metric });
    }
    change.counter_reset = CounterReset::Gauge;
    change.compact();
    Some(change)
}
