//! Instant selectors: the current sample of each series at each step.

use std::sync::Arc;

use super::grid::Grid;
use super::pipeline::{Reader, Worker};
use super::range::{Interpolation, interpolate, interpolate_histograms};
use super::row::Row;
use super::rows::SeriesRow;
use crate::annotations::Annotation;
use crate::engine::{Pace, QueryError};
use crate::histogram::CounterReset;
use crate::plan::Selector;
use crate::storage::SampleBuffer;
use crate::value::is_stale_nan;

/// Rows of current samples.
pub(super) struct InstantReader<'p> {
    pub selector: &'p Selector,
    pub grid: Grid,
    pub lookback_ms: i64,
}

/// The sample a step sees.
pub(super) enum Current<'b> {
    Float { index: usize },
    Histogram { index: usize, histogram: &'b Arc<crate::histogram::FloatHistogram> },
}

/// Finds the current sample step by step; reference times must not go back.
pub(super) struct Cursor<'b> {
    buffer: &'b SampleBuffer,
    lookback_ms: i64,
    floats: usize,
    histograms: usize,
}

impl<'b> Cursor<'b> {
    pub fn new(buffer: &'b SampleBuffer, lookback_ms: i64) -> Self {
        Self { buffer, lookback_ms, floats: 0, histograms: 0 }
    }

    /// The newest sample at or before `reference_ms`, unless it is older than the lookback or a stale marker.
    #[inline]
    pub fn at(&mut self, reference_ms: i64) -> Option<Current<'b>> {
        let timestamps = &self.buffer.float_timestamps;
        while timestamps.get(self.floats).is_some_and(|&timestamp| timestamp <= reference_ms) {
            self.floats += 1;
        }
        let oldest_ms = reference_ms.saturating_sub(self.lookback_ms);
        let float = self.floats.checked_sub(1).map(|index| (timestamps[index], index));
        if !self.buffer.histograms.is_empty()
            && let Some(newest) = self.histogram_at(reference_ms, float.map(|(timestamp, _)| timestamp))
        {
            let (timestamp, index, histogram) = newest;
            let is_current = timestamp > oldest_ms && !histogram.is_stale_marker();
            return is_current.then_some(Current::Histogram { index, histogram });
        }
        let (timestamp, index) = float?;
        (timestamp > oldest_ms && !is_stale_nan(self.buffer.floats[index]))
            .then_some(Current::Float { index })
    }

    /// The newest histogram at or before `reference_ms`, if it is newer than the newest float.
    fn histogram_at(
        &mut self,
        reference_ms: i64,
        float_ms: Option<i64>,
    ) -> Option<(i64, usize, &'b Arc<crate::histogram::FloatHistogram>)> {
        let timestamps = &self.buffer.histogram_timestamps;
        while timestamps.get(self.histograms).is_some_and(|&timestamp| timestamp <= reference_ms) {
            self.histograms += 1;
        }
        let index = self.histograms.checked_sub(1)?;
        let timestamp = timestamps[index];
        float_ms
            .is_none_or(|float_ms| timestamp > float_ms)
            .then(|| (timestamp, index, &self.buffer.histograms[index]))
    }
}

/// The times an instant selector needs samples for: the lookback is open at its start.
fn lookback_range_ms(selector: &Selector, grid: &Grid, lookback_ms: i64) -> (i64, i64) {
    let (first, last) = selector.reference_range_ms(grid);
    (first.saturating_sub(lookback_ms).saturating_add(1), last)
}

/// Forgets the buckets of histograms if nobody needs them.
pub(super) fn reduce_to_stats(reader: &impl Reader, selector: &Selector, buffer: &mut SampleBuffer) {
    if selector.histogram_stats && !buffer.histograms.is_empty() {
        buffer.reduce_to_stats(reader.time_range_ms().0);
    }
}

impl Reader for InstantReader<'_> {
    fn time_range_ms(&self) -> (i64, i64) {
        lookback_range_ms(self.selector, &self.grid, self.lookback_ms)
    }

    fn read(&self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        let row = &mut series.row;
        row.reset(self.grid.steps);
        if worker.buffer.histograms.is_empty() {
            return self.read_floats(&worker.buffer, row, &mut worker.pace);
        }
        reduce_to_stats(self, self.selector, &mut worker.buffer);
        let mut cursor = Cursor::new(&worker.buffer, self.lookback_ms);
        for step in 0..self.grid.steps {
            worker.pace.spend(1)?;
            match cursor.at(self.selector.reference_ms(&self.grid, step)) {
                Some(Current::Float { index }) => row.set(step, worker.buffer.floats[index]),
                Some(Current::Histogram { histogram, .. }) => row.push_histogram(step, Arc::clone(histogram)),
                None => {}
            }
        }
        Ok(())
    }
}

impl InstantReader<'_> {
    /// Of a series of floats alone: no branch but those that find the sample.
    fn read_floats(
        &self,
        buffer: &SampleBuffer,
        row: &mut Row,
        pace: &mut Pace<'_>,
    ) -> Result<(), QueryError> {
        let timestamps = &buffer.float_timestamps[..];
        let floats = &buffer.floats[..timestamps.len()];
        let mut next = 0;
        let (values, present) = row.lanes_mut();
        for (word, block) in values.chunks_mut(64).enumerate() {
            pace.spend(block.len() as u64)?;
            let mut mask = 0u64;
            for (lane, value) in block.iter_mut().enumerate() {
                let reference_ms = self.selector.reference_ms(&self.grid, word * 64 + lane);
                while next < timestamps.len() && timestamps[next] <= reference_ms {
                    next += 1;
                }
                let Some(newest) = next.checked_sub(1) else { continue };
                let is_current = timestamps[newest] > reference_ms.saturating_sub(self.lookback_ms);
                *value = floats[newest];
                mask |= u64::from(is_current & !is_stale_nan(*value)) << lane;
            }
            present.set_word(word, mask);
        }
        Ok(())
    }
}

/// Which times [`TimesReader`] reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeOf {
    /// Of the samples, in seconds.
    Sample,
    /// Of the start of the samples' counters, in seconds.
    Start,
    /// Of the samples of info metrics, in milliseconds.
    InfoSample,
}

/// Rows of times of current samples.
pub(super) struct TimesReader<'p> {
    pub selector: &'p Selector,
    pub grid: Grid,
    pub lookback_ms: i64,
    pub of: TimeOf,
}

impl Reader for TimesReader<'_> {
    fn time_range_ms(&self) -> (i64, i64) {
        let (first, last) = (self.reference_ms(0), self.reference_ms(self.grid.steps.saturating_sub(1)));
        (first.saturating_sub(self.lookback_ms).saturating_add(1), last)
    }

    fn read(&self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        series.row.reset(self.grid.steps);
        let Worker { buffer, pace, .. } = worker;
        let mut cursor = Cursor::new(buffer, self.lookback_ms);
        for step in 0..self.grid.steps {
            pace.spend(1)?;
            let (timestamps, starts, index) = match cursor.at(self.reference_ms(step)) {
                Some(Current::Float { index }) => {
                    (&buffer.float_timestamps, &buffer.float_start_timestamps, index)
                }
                Some(Current::Histogram { .. }) if self.of == TimeOf::InfoSample => {
                    return Err(QueryError::execution(format!(
                        "this should be an info metric, with float samples: {}",
                        series.labels
                    )));
                }
                Some(Current::Histogram { index, .. }) => {
                    (&buffer.histogram_timestamps, &buffer.histogram_start_timestamps, index)
                }
                None => continue,
            };
            let value = match self.of {
                TimeOf::Sample => timestamps[index] as f64 / 1000.0,
                TimeOf::Start => starts.get(index).copied().unwrap_or(0) as f64 / 1000.0,
                TimeOf::InfoSample => timestamps[index] as f64,
            };
            series.row.set(step, value);
        }
        Ok(())
    }
}

impl TimesReader<'_> {
    /// Prometheus forgets the offset of a pinned selector in `timestamp`.
    fn reference_ms(&self, step: usize) -> i64 {
        match self.selector.at_ms {
            Some(at_ms) if self.of != TimeOf::InfoSample => at_ms,
            _ => self.selector.reference_ms(&self.grid, step),
        }
    }
}

/// Cost of a step of [`SmoothedReader`], which searches.
const UNITS_PER_INTERPOLATION: u64 = 30;

/// Rows of values interpolated between the samples around each step (`smoothed`).
pub(super) struct SmoothedReader<'p> {
    pub selector: &'p Selector,
    pub grid: Grid,
    pub lookback_ms: i64,
}

impl Reader for SmoothedReader<'_> {
    fn time_range_ms(&self) -> (i64, i64) {
        let (mint, maxt) = lookback_range_ms(self.selector, &self.grid, self.lookback_ms);
        (mint, maxt.saturating_add(self.lookback_ms))
    }

    fn read(&self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        let Worker { buffer, annotations, pace, .. } = worker;
        reduce_to_stats(self, self.selector, buffer);
        buffer.remove_stale_markers();
        series.row.reset(self.grid.steps);
        let metric = series.labels.metric_name();
        for step in 0..self.grid.steps {
            pace.spend(UNITS_PER_INTERPOLATION)?;
            let reference_ms = self.selector.reference_ms(&self.grid, step);
            let window = |timestamps: &[i64]| {
                let start =
                    timestamps.partition_point(|&t| t <= reference_ms.saturating_sub(self.lookback_ms));
                let end = timestamps.partition_point(|&t| t <= reference_ms.saturating_add(self.lookback_ms));
                start..end
            };
            let floats = window(&buffer.float_timestamps);
            let histograms = window(&buffer.histogram_timestamps);
            if !floats.is_empty() && !histograms.is_empty() {
                let annotation = Annotation::MixedFloatsHistograms { metric: metric.to_owned() };
                annotations.add(annotation, self.selector.span);
            } else if !floats.is_empty() {
                let (timestamps, values) = (&buffer.float_timestamps[floats.clone()], &buffer.floats[floats]);
                let next = timestamps.partition_point(|&t| t < reference_ms);
                let point = |at: usize| (timestamps[at], values[at]);
                if next < timestamps.len() && timestamps[next] == reference_ms {
                    series.row.set(step, values[next]);
                } else if next > 0 && next < timestamps.len() {
                    series.row.set(step, interpolate(point(next - 1), point(next), reference_ms, false));
                } else if next > 0 {
                    series.row.set(step, values[next - 1]);
                }
            } else if !histograms.is_empty() {
                let timestamps = &buffer.histogram_timestamps[histograms.clone()];
                let values = &buffer.histograms[histograms];
                let next = timestamps.partition_point(|&t| t < reference_ms);
                if next < timestamps.len() && timestamps[next] == reference_ms {
                    series.row.push_histogram(step, Arc::clone(&values[next]));
                } else if next > 0 && next < timestamps.len() {
                    let (before, after) = (&values[next - 1], &values[next]);
                    let is_counter = before.counter_reset != CounterReset::Gauge
                        || after.counter_reset != CounterReset::Gauge;
                    let mut interpolation =
                        Interpolation { is_counter, metric, span: self.selector.span, annotations };
                    if before.uses_custom_buckets() != after.uses_custom_buckets() {
                        interpolation.incompatible();
                        continue;
                    }
                    let times = (timestamps[next - 1], timestamps[next]);
                    if let Some(histogram) =
                        interpolate_histograms(before, after, times, reference_ms, &mut interpolation)
                    {
                        series.row.push_histogram(step, Arc::new(histogram));
                    }
                } else if next > 0 {
                    let mut histogram = (*values[next - 1]).clone();
                    histogram.counter_reset = CounterReset::Unknown;
                    series.row.push_histogram(step, Arc::new(histogram));
                }
            }
        }
        Ok(())
    }
}
