//! Samples that other storages sent, as a storage.

use crate::labels::Labels;
use crate::storage::{
    LabelMatcher, SERIES_PER_BATCH, SampleBuffer, SelectRequest, SeriesBatch, SeriesSet, Storage,
    StorageError, StorageErrorKind,
};

/// The samples of some selectors.
#[derive(Default)]
pub(crate) struct ShippedStorage {
    pub selections: Vec<Selection>,
}

/// The samples of one selector in a range of time.
pub(crate) struct Selection {
    pub matchers: Vec<LabelMatcher>,
    pub mint_ms: i64,
    pub maxt_ms: i64,
    pub series: Vec<(Labels, SampleBuffer)>,
}

impl Storage for ShippedStorage {
    fn select<'a>(
        &'a self,
        request: &SelectRequest<'_>,
    ) -> Result<Box<dyn SeriesSet<'a> + 'a>, StorageError> {
        let holds = |selection: &&Selection| {
            selection.mint_ms <= request.mint_ms
                && request.maxt_ms <= selection.maxt_ms
                && selection.matchers.iter().all(|matcher| request.matchers.contains(matcher))
        };
        let selection = self.selections.iter().find(holds).ok_or_else(|| {
            let message = format!("no samples were sent for {:?}", request.matchers);
            StorageError::new(StorageErrorKind::Internal, message)
        })?;
        let matches = |(labels, _): &&(Labels, SampleBuffer)| {
            request.matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name)))
        };
        Ok(Box::new(ShippedSet(selection.series.iter().filter(matches).collect())))
    }
}

struct ShippedSet<'a>(Vec<&'a (Labels, SampleBuffer)>);

impl<'a> SeriesSet<'a> for ShippedSet<'a> {
    fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch + 'a>>, StorageError> {
        let rest = self.0.split_off(self.0.len().min(SERIES_PER_BATCH));
        let batch = std::mem::replace(&mut self.0, rest);
        Ok((!batch.is_empty()).then(|| Box::new(ShippedBatch(batch)) as Box<dyn SeriesBatch>))
    }
}

struct ShippedBatch<'a>(Vec<&'a (Labels, SampleBuffer)>);

impl SeriesBatch for ShippedBatch<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&mut self, series: usize) -> Labels {
        self.0[series].0.clone()
    }

    fn read(
        &mut self,
        series: usize,
        mint_ms: i64,
        maxt_ms: i64,
        buffer: &mut SampleBuffer,
    ) -> Result<(), StorageError> {
        let samples = &self.0[series].1;
        let within = |times: &[i64]| {
            let start = times.partition_point(|&time_ms| time_ms < mint_ms);
            start..times.partition_point(|&time_ms| time_ms <= maxt_ms).max(start)
        };
        let start = |starts: &[i64], at: usize| starts.get(at).copied().unwrap_or(0);
        for at in within(&samples.float_timestamps) {
            let start_ms = start(&samples.float_start_timestamps, at);
            buffer.push_float_with_start(samples.float_timestamps[at], start_ms, samples.floats[at]);
        }
        for at in within(&samples.histogram_timestamps) {
            let start_ms = start(&samples.histogram_start_timestamps, at);
            let histogram = samples.histograms[at].clone();
            buffer.push_histogram_with_start(samples.histogram_timestamps[at], start_ms, histogram);
        }
        Ok(())
    }
}
