//! Functions over windows of samples.
//!
//! The samples of a series are decoded once; each step's window is a pair of positions that only move forward. Every
//! function sees a [`Window`] and says what the step's value is.

mod changes;
mod counters;
mod extended;
mod histogram_rate;
mod interpolation;
mod order;
mod over_time;
mod rate;
mod rate_rows;
mod regression;
mod sliding;

use std::sync::Arc;

pub(super) use extended::extend_floats;
pub(super) use interpolation::{Interpolation, interpolate, interpolate_histograms};
pub(super) use order::quantile_of;

use super::grid::Grid;
use super::pipeline::{Reader, Stage, Worker};
use super::row::Row;
use super::rows::SeriesRow;
use super::scalar::ScalarValues;
use crate::annotations::{Annotation, Annotations};
use crate::engine::{EngineOptions, Pace, QueryError};
use crate::histogram::{CounterReset, FloatHistogram};
use crate::labels::{Labels, METRIC_TYPE_LABEL};
use crate::plan::{RangeCall, RangeSelector, RangeSource, Selector, Subquery};
use crate::storage::SampleBuffer;
use crate::syntax::ast::ExtendedRange;
use crate::syntax::{Function, Span};
use crate::value::SampleValue;

/// The samples a step sees, and the bounds of its range.
#[derive(Clone, Copy)]
struct Window<'b> {
    float_times: &'b [i64],
    floats: &'b [f64],
    /// Parallel to `floats`, or empty.
    float_starts: &'b [i64],
    histogram_times: &'b [i64],
    histograms: &'b [Arc<FloatHistogram>],
    /// Parallel to `histograms`, or empty.
    histogram_starts: &'b [i64],
    /// Start of the range (open), milliseconds. With `anchored` and `smoothed` there may be samples before it.
    start_ms: i64,
    /// End of the range (closed), milliseconds. With `smoothed` there may be samples after it.
    end_ms: i64,
    /// Length of the range, milliseconds.
    range_ms: i64,
    /// Evaluation time, milliseconds.
    time_ms: i64,
}

/// What a function needs besides its window.
struct Scope<'s> {
    labels: &'s Labels,
    span: Span,
    annotations: &'s mut Annotations,
    /// For functions that sort.
    scratch: &'s mut Vec<f64>,
}

impl Scope<'_> {
    fn metric(&self) -> String {
        self.labels.metric_name().to_owned()
    }

    fn annotate(&mut self, make: impl FnOnce(String) -> Annotation) {
        let annotation = make(self.metric());
        self.annotations.add(annotation, self.span);
    }

    fn mixed(&mut self) {
        self.annotate(|metric| Annotation::MixedFloatsHistograms { metric });
    }
}

/// A function with its scalar arguments evaluated.
pub(super) struct RowFunction<'p> {
    call: &'p RangeCall,
    params: Vec<ScalarValues>,
    use_starts: bool,
    type_and_unit_labels: bool,
}

impl<'p> RowFunction<'p> {
    pub fn new(
        call: &'p RangeCall,
        params: Vec<ScalarValues>,
        options: &EngineOptions,
    ) -> Result<Self, QueryError> {
        use Function as F;
        let use_starts =
            options.use_start_timestamps && matches!(call.func, F::Rate | F::Irate | F::Increase | F::Resets);
        Ok(Self { call, params, use_starts, type_and_unit_labels: options.type_and_unit_labels })
    }

    /// Whether the result means something else than the samples, so that the metric name must go. Of
    /// `absent_over_time` only the presence of values counts here, not whose they are.
    pub fn drops_name(&self) -> bool {
        !matches!(self.call.func, Function::LastOverTime | Function::FirstOverTime | Function::AbsentOverTime)
    }

    fn param(&self, index: usize, step: usize) -> f64 {
        self.params.get(index).map_or(f64::NAN, |values| values.at(step))
    }

    /// Which of the rate functions this is, if it is one.
    fn rate_kind(&self) -> Option<rate::Kind> {
        let kind = |is_counter, is_rate| Some(rate::Kind { is_counter, is_rate });
        match self.call.func {
            Function::Rate => kind(true, true),
            Function::Increase => kind(true, false),
            Function::Delta => kind(false, false),
            _ => None,
        }
    }

    fn extended(&self) -> Option<ExtendedRange> {
        match &self.call.source {
            RangeSource::Selector(range) => range.selector.extended,
            RangeSource::Subquery(_) => None,
        }
    }

    /// Fills `row` from the samples in `buffer`, which has no stale markers.
    fn fill(
        &self,
        labels: &Labels,
        buffer: &SampleBuffer,
        windows: &Windows,
        row: &mut Row,
        annotations: &mut Annotations,
        pace: &mut Pace<'_>,
    ) -> Result<(), QueryError> {
        row.reset(windows.grid.steps);
        let mut scratch = Vec::new();
        let mut scope = Scope { labels, span: self.call.span, annotations, scratch: &mut scratch };
        let has_starts = self.use_starts && !buffer.float_start_timestamps.is_empty();
        if let Some(kind) = self.rate_kind()
            && buffer.histograms.is_empty()
            && self.extended().is_none()
            && !has_starts
        {
            rate_rows::fill(buffer, windows, kind, row, pace)?;
            if kind.is_counter && row.present().any() {
                self.check_counter_name(&mut scope);
            }
            return Ok(());
        }
        if buffer.histograms.is_empty()
            && self.extended().is_none()
            && !has_starts
            && sliding::Sliding::new(buffer, windows).fill(
                self.call.func,
                |step| self.param(0, step),
                row,
                &mut scope,
                pace,
            )?
        {
            return Ok(());
        }
        let (mut float_range, mut histogram_range) = ((0, 0), (0, 0));
        let starts = |starts: &'_ [i64]| self.use_starts && !starts.is_empty();
        let float_starts = starts(&buffer.float_start_timestamps);
        let histogram_starts = starts(&buffer.histogram_start_timestamps);
        for step in 0..windows.grid.steps {
            let end_ms = windows.end_ms(step);
            let start_ms = end_ms.saturating_sub(windows.range_ms);
            let (after_ms, until_ms) =
                (start_ms.saturating_sub(windows.before_ms), end_ms.saturating_add(windows.after_ms));
            advance(&buffer.float_timestamps, &mut float_range, after_ms, until_ms);
            let floats = float_range.0..float_range.1;
            advance(&buffer.histogram_timestamps, &mut histogram_range, after_ms, until_ms);
            let histograms = histogram_range.0..histogram_range.1;
            pace.spend(1 + floats.len() as u64 + Pace::HISTOGRAM * histograms.len() as u64)?;
            if floats.is_empty() && histograms.is_empty() {
                continue;
            }
            let window = Window {
                float_times: &buffer.float_timestamps[floats.clone()],
                float_starts: if float_starts { &buffer.float_start_timestamps[floats.clone()] } else { &[] },
                floats: &buffer.floats[floats],
                histogram_times: &buffer.histogram_timestamps[histograms.clone()],
                histogram_starts: if histogram_starts {
                    &buffer.histogram_start_timestamps[histograms.clone()]
                } else {
                    &[]
                },
                histograms: &buffer.histograms[histograms],
                start_ms,
                end_ms,
                range_ms: windows.range_ms,
                time_ms: windows.grid.timestamp(step),
            };
            match self.value(step, &window, &mut scope)? {
                Some(SampleValue::Float(value)) => row.set(step, value),
                Some(SampleValue::Histogram(histogram)) => row.push_histogram(step, histogram),
                None => {}
            }
        }
        if self.rate_kind().is_some_and(|kind| kind.is_counter) && row.present().any() {
            self.check_counter_name(&mut scope);
        }
        Ok(())
    }

    fn value(
        &self,
        step: usize,
        window: &Window<'_>,
        scope: &mut Scope<'_>,
    ) -> Result<Option<SampleValue>, QueryError> {
        use Function as F;
        let float = |value: Option<f64>| value.map(SampleValue::Float);
        if let Some(kind) = self.rate_kind() {
            return Ok(match self.extended() {
                Some(extended) => extended::rate(window, scope, kind, extended == ExtendedRange::Smoothed),
                None => rate::extrapolated(window, scope, kind),
            });
        }
        Ok(match self.call.func {
            F::Irate => counters::last_difference(window, scope, true),
            F::Idelta => counters::last_difference(window, scope, false),
            F::SumOverTime => over_time::sum(window, scope),
            F::AvgOverTime => over_time::avg(window, scope),
            F::CountOverTime => float(Some((window.floats.len() + window.histograms.len()) as f64)),
            F::PresentOverTime | F::AbsentOverTime => float(Some(1.0)),
            F::MinOverTime => float(over_time::extreme(window, scope, |current, best| current < best, false)),
            F::MaxOverTime => float(over_time::extreme(window, scope, |current, best| current > best, false)),
            F::TsOfMinOverTime => {
                float(over_time::extreme(window, scope, |current, best| current <= best, true))
            }
            F::TsOfMaxOverTime => {
                float(over_time::extreme(window, scope, |current, best| current >= best, true))
            }
            F::FirstOverTime => over_time::first(window),
            F::LastOverTime => over_time::last(window),
            F::TsOfFirstOverTime => float(over_time::first_time(window)),
            F::TsOfLastOverTime => float(over_time::last_time(window)),
            F::StddevOverTime => float(over_time::variance(window, scope).map(f64::sqrt)),
            F::StdvarOverTime => float(over_time::variance(window, scope)),
            F::QuantileOverTime => float(order::quantile(window, scope, self.param(0, step))),
            F::MadOverTime => float(order::median_absolute_deviation(window, scope)),
            F::Deriv => float(regression::derivative(window, scope)),
            F::PredictLinear => float(regression::predict(window, scope, self.param(0, step))),
            F::DoubleExponentialSmoothing => {
                float(regression::smooth(window, scope, self.param(0, step), self.param(1, step))?)
            }
            F::Changes => float(changes::changes(window, self.extended().is_some())),
            F::Resets => float(changes::resets(window, self.extended().is_some())),
            other => return Err(QueryError::internal(format!("{} takes no range", other.name()))),
        })
    }

    /// Tells the user about a `rate` of something that does not look like a counter.
    fn check_counter_name(&self, scope: &mut Scope<'_>) {
        let metric = scope.labels.metric_name();
        if metric.is_empty() {
            return;
        }
        if self.type_and_unit_labels {
            let type_label = scope.labels.get(METRIC_TYPE_LABEL).to_owned();
            if type_label != "counter" && type_label != "histogram" {
                scope.annotate(|metric| Annotation::PossibleNonCounterLabel { metric, type_label });
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix)) {
            scope.annotate(|metric| Annotation::PossibleNonCounter { metric });
        }
    }
}

/// Moves the bounds of a window forward: timestamps after `after_ms` up to `until_ms`.
#[inline]
fn advance(timestamps: &[i64], range: &mut (usize, usize), after_ms: i64, until_ms: i64) {
    while range.1 < timestamps.len() && timestamps[range.1] <= until_ms {
        range.1 += 1;
    }
    while range.0 < range.1 && timestamps[range.0] <= after_ms {
        range.0 += 1;
    }
}

/// Where the windows of the steps lie.
struct Windows {
    grid: Grid,
    at_ms: Option<i64>,
    offset_ms: i64,
    range_ms: i64,
    /// How far samples before the range are needed.
    before_ms: i64,
    /// How far samples after the range are needed.
    after_ms: i64,
}

impl Windows {
    fn end_ms(&self, step: usize) -> i64 {
        self.at_ms.unwrap_or_else(|| self.grid.timestamp(step)).saturating_sub(self.offset_ms)
    }

    /// Adds the number of samples in each window.
    fn count(&self, buffer: &SampleBuffer, counts: &mut [u64]) {
        let (mut floats, mut histograms) = ((0, 0), (0, 0));
        for (step, count) in counts.iter_mut().enumerate() {
            let end_ms = self.end_ms(step);
            let after_ms = end_ms.saturating_sub(self.range_ms).saturating_sub(self.before_ms);
            let until_ms = end_ms.saturating_add(self.after_ms);
            advance(&buffer.float_timestamps, &mut floats, after_ms, until_ms);
            advance(&buffer.histogram_timestamps, &mut histograms, after_ms, until_ms);
            let sizes = buffer.histograms[histograms.0..histograms.1].iter().map(|h| h.size_in_samples());
            *count += (floats.1 - floats.0 + sizes.sum::<usize>()) as u64;
        }
    }
}

/// A function over stored samples.
pub(super) struct RangeReader<'p> {
    selector: &'p Selector,
    windows: Windows,
    function: RowFunction<'p>,
}

impl<'p> RangeReader<'p> {
    pub fn new(range: &'p RangeSelector, grid: Grid, lookback_ms: i64, function: RowFunction<'p>) -> Self {
        let (before_ms, after_ms) = match range.selector.extended {
            None => (0, 0),
            Some(ExtendedRange::Anchored) => (lookback_ms, 0),
            Some(ExtendedRange::Smoothed) => (lookback_ms, lookback_ms),
        };
        let windows = Windows {
            grid,
            at_ms: range.selector.at_ms,
            offset_ms: range.selector.offset_ms,
            range_ms: range.range_ms,
            before_ms,
            after_ms,
        };
        Self { selector: &range.selector, windows, function }
    }
}

impl Reader for RangeReader<'_> {
    fn count(&self, _: &Row, buffer: &SampleBuffer, counts: &mut [u64]) {
        self.windows.count(buffer, counts);
    }

    fn time_range_ms(&self) -> (i64, i64) {
        let windows = &self.windows;
        let first = windows.end_ms(0).saturating_sub(windows.range_ms).saturating_sub(windows.before_ms);
        let last = windows.end_ms(windows.grid.steps.saturating_sub(1)).saturating_add(windows.after_ms);
        (first.saturating_add(1), last)
    }

    fn read(&self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        let Worker { buffer, annotations, pace, .. } = worker;
        super::select::reduce_to_stats(self, self.selector, buffer);
        buffer.remove_stale_markers();
        self.function.fill(&series.labels, buffer, &self.windows, &mut series.row, annotations, pace)
    }
}

/// A function over the values of a subquery.
pub(super) struct RangeStage<'p> {
    inner: Grid,
    windows: Windows,
    function: RowFunction<'p>,
}

impl<'p> RangeStage<'p> {
    pub fn new(subquery: &'p Subquery, inner: Grid, grid: Grid, function: RowFunction<'p>) -> Self {
        let windows = Windows {
            grid,
            at_ms: subquery.at_ms,
            offset_ms: subquery.offset_ms,
            range_ms: subquery.range_ms,
            before_ms: 0,
            after_ms: 0,
        };
        Self { inner, windows, function }
    }
}

impl Stage for RangeStage<'_> {
    fn apply(&self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        let Worker { buffer, annotations, spare, pace, .. } = worker;
        pace.spend(series.row.steps() as u64)?;
        row_to_samples(&self.inner, &series.row, buffer);
        if let Some(counts) = worker.counts {
            let mut sizes = vec![0; self.windows.grid.steps];
            self.windows.count(buffer, &mut sizes);
            counts.add(self.windows.grid.counted, &sizes);
        }
        self.function.fill(&series.labels, buffer, &self.windows, spare, annotations, pace)?;
        std::mem::swap(&mut series.row, spare);
        Ok(())
    }
}

/// The values of a row as samples. Hints about counter resets refer to the samples the values came from, which need
/// not be neighbours here, so they are forgotten.
pub(super) fn row_to_samples(grid: &Grid, row: &Row, buffer: &mut SampleBuffer) {
    buffer.clear();
    for (step, value) in row.floats() {
        if !crate::value::is_stale_nan(value) {
            buffer.push_float(grid.timestamp(step), value);
        }
    }
    for (step, histogram) in row.histograms() {
        let histogram = match histogram.counter_reset {
            CounterReset::Reset | CounterReset::NotReset => {
                Arc::new(FloatHistogram { counter_reset: CounterReset::Unknown, ..(**histogram).clone() })
            }
            CounterReset::Unknown | CounterReset::Gauge => Arc::clone(histogram),
        };
        buffer.push_histogram(grid.timestamp(*step as usize), histogram);
    }
}
