//! Reading samples as they are stored, to send them elsewhere.

use super::executor::{Context, Executor};
use super::grid::Counted;
use super::pipeline::{Failure, Pipeline, Reader, Scan, Sink, Source, Worker};
use super::rows::SeriesRow;
use crate::engine::QueryError;
use crate::labels::Labels;
use crate::storage::{LabelMatcher, SampleBuffer, SelectHints};

impl Executor<'_> {
    /// The samples of the series that satisfy all matchers, in a range of time with both ends.
    pub fn samples(
        &self,
        matchers: &[LabelMatcher],
        (mint_ms, maxt_ms): (i64, i64),
        context: &mut Context,
    ) -> Result<Vec<(Labels, SampleBuffer)>, QueryError> {
        let scan = Scan {
            matchers,
            hints: SelectHints::default(),
            reader: Box::new(AsStored { mint_ms, maxt_ms }),
            counted: Counted::Not,
            computes: None,
        };
        let sinks =
            self.drive(Pipeline::new(Source::Scan(scan)), context, &Samples::default).map_err(|failure| {
                match failure {
                    Failure::Query(error) => error,
                    Failure::Duplicates(_) => QueryError::same_labelset(),
                }
            })?;
        Ok(sinks.into_iter().flat_map(|sink| sink.0).collect())
    }
}

/// Leaves the samples in the worker's buffer, for [`Samples`].
struct AsStored {
    mint_ms: i64,
    maxt_ms: i64,
}

impl Reader for AsStored {
    fn time_range_ms(&self) -> (i64, i64) {
        (self.mint_ms, self.maxt_ms)
    }

    fn read(&self, series: &mut SeriesRow, _: &mut Worker<'_>) -> Result<(), QueryError> {
        // The pipeline passes on only series that have values.
        series.row.reset(1);
        series.row.set(0, 0.0);
        Ok(())
    }
}

#[derive(Default)]
struct Samples(Vec<(Labels, SampleBuffer)>);

impl Sink for Samples {
    fn consume(&mut self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        let samples = std::mem::take(&mut worker.buffer);
        let histograms: usize = samples.histograms.iter().map(|histogram| histogram.size_in_samples()).sum();
        let count = (samples.floats.len() + histograms) as u64;
        worker.tracker.reserve(count, 16 * count)?;
        self.0.push((series.labels.clone(), samples));
        Ok(())
    }
}
