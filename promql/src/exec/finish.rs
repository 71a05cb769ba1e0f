//! From rows to the result of a query.

use std::sync::Arc;
use std::time::Instant;

use super::executor::{Context, Executor};
use super::grid::{Counted, Grid};
use super::grouping::{Groups, Key};
use super::pipeline::{Sink, Worker};
use super::range::extend_floats;
use super::row::Row;
use super::rows::{Rows, SeriesRow};
use super::sort::sorted;
use crate::annotations::Annotations;
use crate::engine::{Pace, QueryError};
use crate::histogram::FloatHistogram;
use crate::plan::{Plan, RangeSelector, RangeSource};
use crate::storage::SampleBuffer;
use crate::syntax::ast::ExtendedRange;
use crate::value::{Sample, SampleValue, Series, Value};

/// What it costs to look a label set up, in units of [`Pace`].
const UNITS_PER_SERIES: u64 = 200;

impl Executor<'_> {
    /// The result of a plan and what to know about it.
    pub fn run(
        &self,
        plan: &Plan,
        grid: Grid,
        is_range: bool,
        mut context: Context,
    ) -> Result<(Value, Annotations), QueryError> {
        let value = match plan {
            Plan::String(value) => Value::String { timestamp_ms: grid.start_ms, value: value.clone() },
            Plan::Scalar(plan) => {
                let values = self.scalar(plan, grid, &mut context)?;
                if is_range {
                    let row = super::Row::full(values.into_values(grid.steps));
                    Value::Matrix(vec![Series::on_grid(crate::labels::Labels::empty(), grid, row)])
                } else {
                    Value::Scalar { timestamp_ms: grid.start_ms, value: values.at(0) }
                }
            }
            Plan::Vector(plan) => {
                let rows = self.rows(plan, grid, &mut context)?;
                let rows = self.finished(rows)?;
                if is_range { self.matrix(rows, grid)? } else { Value::Vector(vector(rows, grid)) }
            }
            Plan::Matrix(RangeSource::Selector(range)) => self.raw_samples(range, grid, &mut context)?,
            Plan::Matrix(RangeSource::Subquery(subquery)) => {
                let inner = Grid { counted: Counted::AtEach(1), ..subquery.grid(&grid) };
                let rows = self.rows(&subquery.input, inner, &mut context)?;
                self.matrix(self.finished(rows)?, inner)?
            }
        };
        self.tracker.check()?;
        Ok((value, context.annotations))
    }

    /// Drops the metric names that are still to be dropped; series that thereby become one are merged.
    fn finished<'t>(&self, mut rows: Rows<'t>) -> Result<Rows<'t>, QueryError> {
        if !self.options.delayed_name_removal {
            return Ok(rows);
        }
        for series in &mut rows.series {
            if series.drop_name {
                series.labels = series.labels.without_metadata();
            }
        }
        merge_same_labels(rows, FloatBesideHistogram::Allowed)
    }

    /// The samples of a range selector, as stored.
    fn raw_samples(
        &self,
        range: &RangeSelector,
        grid: Grid,
        context: &mut Context,
    ) -> Result<Value, QueryError> {
        let reader = RawReader { executor: self, range, grid };
        let pipeline = self.scan(&range.selector, range.range_ms, grid, reader, None);
        let sinks = self.drive(pipeline, context, &RawSamples::default).map_err(|failure| match failure {
            super::pipeline::Failure::Query(error) => error,
            super::pipeline::Failure::Duplicates(_) => QueryError::same_labelset(),
        })?;
        let series: Vec<Series> = sinks.into_iter().flat_map(|sink| sink.series).collect();
        Ok(Value::Matrix(self.in_order(series)?))
    }

    fn matrix(&self, rows: Rows<'_>, grid: Grid) -> Result<Value, QueryError> {
        let series = rows.series.into_iter().map(|series| Series::on_grid(series.labels, grid, series.row));
        Ok(Value::Matrix(self.in_order(series.collect())?))
    }

    /// The series of a result, sorted by labels.
    fn in_order(&self, series: Vec<Series>) -> Result<Vec<Series>, QueryError> {
        let begun = Instant::now();
        let series = sorted(series, &mut Pace::new(self.tracker), |a, b| a.labels.cmp(&b.labels))?;
        self.tracker.count_sorting(begun.elapsed());
        Ok(series)
    }
}

/// Whether a float and a histogram of the same labels may stand at the same step. Prometheus notices that wherever it
/// evaluates step by step, but not where it merges whole series.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum FloatBesideHistogram {
    Allowed,
    Refused,
}

/// One series for each label set. Values at the same step are an error. If only some of the series are to lose their
/// name, the one whose values begin first decides.
pub(super) fn merge_same_labels(
    mut rows: Rows<'_>,
    beside: FloatBesideHistogram,
) -> Result<Rows<'_>, QueryError> {
    let mut groups = Groups::default();
    let mut merged: Vec<SeriesRow> = Vec::with_capacity(rows.series.len());
    let mut pace = rows.pace();
    for series in std::mem::take(&mut rows.series) {
        pace.spend(UNITS_PER_SERIES)?;
        let (at, is_new) = groups.find_or_add(&Key::All, &series.labels);
        if is_new {
            merged.push(series);
            continue;
        }
        let known = &mut merged[at];
        pace.spend((series.row.steps() + known.row.histograms().len()) as u64)?;
        if known.drop_name != series.drop_name && series.row.first_step() < known.row.first_step() {
            known.drop_name = series.drop_name;
        }
        if !known.row.merge_disjoint(&series.row)
            || (beside == FloatBesideHistogram::Refused && has_both(&known.row))
        {
            return Err(QueryError::same_labelset());
        }
    }
    Ok(rows.replaced(merged))
}

/// Whether a step has a float and a histogram.
fn has_both(row: &Row) -> bool {
    row.histograms().iter().any(|(step, _)| row.present().get(*step as usize))
}

fn vector(rows: Rows<'_>, grid: Grid) -> Vec<Sample> {
    let samples = rows.series.into_iter().filter_map(|series| {
        let value = match series.row.histogram(0) {
            Some(histogram) => SampleValue::Histogram(Arc::clone(histogram)),
            None => SampleValue::Float(series.row.float(0)?),
        };
        Some(Sample { labels: series.labels, timestamp_ms: grid.start_ms, value })
    });
    samples.collect()
}

/// Leaves the samples in the worker's buffer, for [`RawSamples`].
struct RawReader<'e> {
    executor: &'e Executor<'e>,
    range: &'e RangeSelector,
    grid: Grid,
}

impl RawReader<'_> {
    /// Bounds of the range (open, closed).
    fn range_ms(&self) -> (i64, i64) {
        let end_ms = self.range.selector.reference_ms(&self.grid, 0);
        (end_ms.saturating_sub(self.range.range_ms), end_ms)
    }
}

impl super::pipeline::Reader for RawReader<'_> {
    fn count(&self, _: &super::Row, buffer: &SampleBuffer, counts: &mut [u64]) {
        counts[0] += super::count::samples_in(buffer);
    }

    fn time_range_ms(&self) -> (i64, i64) {
        let (start_ms, end_ms) = self.range_ms();
        let lookback_ms = self.executor.lookback_ms;
        let (before_ms, after_ms) = match self.range.selector.extended {
            None => (0, 0),
            Some(ExtendedRange::Anchored) => (lookback_ms, 0),
            Some(ExtendedRange::Smoothed) => (lookback_ms, lookback_ms),
        };
        (start_ms.saturating_sub(before_ms).saturating_add(1), end_ms.saturating_add(after_ms))
    }

    fn read(&self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        let buffer = &mut worker.buffer;
        buffer.remove_stale_markers();
        keep_within(buffer, self.time_range_ms());
        if let Some(extended) = self.range.selector.extended {
            let smoothed = extended == ExtendedRange::Smoothed;
            if !buffer.histograms.is_empty() {
                let modifier = if smoothed { "smoothed" } else { "anchored" };
                return Err(QueryError::execution(format!(
                    "{modifier} modifier is not supported with histograms"
                )));
            }
            let samples = extend_floats(&buffer.float_timestamps, &buffer.floats, self.range_ms(), smoothed);
            buffer.clear();
            samples.into_iter().for_each(|(timestamp_ms, value)| buffer.push_float(timestamp_ms, value));
        }
        // The pipeline passes on only series that have values.
        series.row.reset(1);
        if !buffer.is_empty() {
            series.row.set(0, 0.0);
        }
        Ok(())
    }
}

fn keep_within(buffer: &mut SampleBuffer, (mint_ms, maxt_ms): (i64, i64)) {
    let bounds = |timestamps: &[i64]| {
        let start = timestamps.partition_point(|&timestamp_ms| timestamp_ms < mint_ms);
        (start, timestamps.partition_point(|&timestamp_ms| timestamp_ms <= maxt_ms))
    };
    let (start, end) = bounds(&buffer.float_timestamps);
    buffer.float_timestamps.truncate(end);
    buffer.floats.truncate(end);
    buffer.float_timestamps.drain(..start);
    buffer.floats.drain(..start);
    let (start, end) = bounds(&buffer.histogram_timestamps);
    buffer.histogram_timestamps.truncate(end);
    buffer.histograms.truncate(end);
    buffer.histogram_timestamps.drain(..start);
    buffer.histograms.drain(..start);
}

#[derive(Default)]
struct RawSamples {
    series: Vec<Series>,
    held: u64,
}

impl Sink for RawSamples {
    fn consume(&mut self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        let buffer = &mut worker.buffer;
        let histograms: Vec<(i64, Arc<FloatHistogram>)> =
            buffer.histogram_timestamps.iter().copied().zip(buffer.histograms.drain(..)).collect();
        let size: usize = histograms.iter().map(|(_, histogram)| histogram.size_in_samples()).sum();
        let samples = (buffer.floats.len() + size) as u64;
        self.held += samples;
        worker.tracker.reserve(samples, 16 * samples)?;
        let times = buffer.float_timestamps.clone();
        self.series.push(Series::listed(series.labels.clone(), times, buffer.floats.clone(), histograms));
        Ok(())
    }
}
