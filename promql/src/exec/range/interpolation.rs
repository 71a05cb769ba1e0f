//! Values between two samples, for `smoothed`.

use std::sync::Arc;

use crate::annotations::{Annotation, Annotations, HistogramOperation};
use crate::histogram::{FloatHistogram, IncompatibleSchemas};
use crate::syntax::Span;

/// The value at `time_ms` on the line between two samples. A counter that was reset in between is taken to have
/// started from zero.
pub(in crate::exec) fn interpolate(
    before: (i64, f64),
    after: (i64, f64),
    time_ms: i64,
    is_counter: bool,
) -> f64 {
    let from = if is_counter && after.1 < before.1 { 0.0 } else { before.1 };
    from + (after.1 - from) * (time_ms - before.0) as f64 / (after.0 - before.0) as f64
}

/// How to interpolate histograms, and where complaints go.
pub(in crate::exec) struct Interpolation<'a> {
    pub is_counter: bool,
    pub metric: &'a str,
    pub span: Span,
    pub annotations: &'a mut Annotations,
}

impl Interpolation<'_> {
    /// Exponential and custom buckets met.
    pub fn incompatible(&mut self) {
        let metric = self.metric.to_owned();
        self.annotations.add(Annotation::MixedExponentialCustomHistograms { metric }, self.span);
    }

    /// Adds `other` to `base`; `false` if they are incompatible.
    pub fn add(&mut self, base: &mut FloatHistogram, other: &FloatHistogram) -> bool {
        let combined = base.add(other).map(|combined| combined.bounds_reconciled);
        self.combined(combined, HistogramOperation::Addition)
    }

    /// Subtracts `other` from `base`; `false` if they are incompatible.
    pub fn sub(&mut self, base: &mut FloatHistogram, other: &FloatHistogram) -> bool {
        let combined = base.sub(other).map(|combined| combined.bounds_reconciled);
        self.combined(combined, HistogramOperation::Subtraction)
    }

    fn combined(
        &mut self,
        reconciled: Result<bool, IncompatibleSchemas>,
        operation: HistogramOperation,
    ) -> bool {
        match reconciled {
            Ok(reconciled) => {
                if reconciled {
                    self.annotations.add(Annotation::MismatchedCustomBuckets { operation }, self.span);
                }
                true
            }
            Err(IncompatibleSchemas) => {
                self.incompatible();
                false
            }
        }
    }
}

/// The histogram at `time_ms` between two samples at `times`; `None` if they are incompatible.
pub(in crate::exec) fn interpolate_histograms(
    before: &Arc<FloatHistogram>,
    after: &Arc<FloatHistogram>,
    times: (i64, i64),
    time_ms: i64,
    interpolation: &mut Interpolation<'_>,
) -> Option<FloatHistogram> {
    if time_ms == times.0 {
        return Some((**before).clone());
    }
    if time_ms == times.1 {
        return Some((**after).clone());
    }
    let fraction = (time_ms - times.0) as f64 / (times.1 - times.0) as f64;
    let mut result = (**after).clone();
    if interpolation.is_counter && after.detect_reset(before) {
        result.mul(fraction);
        return Some(result);
    }
    if !interpolation.sub(&mut result, before) {
        return None;
    }
    result.mul(fraction);
    interpolation.add(&mut result, before).then_some(result)
}
