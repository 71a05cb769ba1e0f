//! A storage in memory: for tests, and as an example of the traits.

use std::collections::HashMap;
use std::sync::Arc;

use crate::histogram::{CounterReset, FloatHistogram};
use crate::labels::Labels;
use crate::storage::{
    SERIES_PER_BATCH, SampleBuffer, SelectRequest, SeriesBatch, SeriesSet, Storage, StorageError,
};
use crate::value::SampleValue;

/// Series and samples held in memory, in the order the series were first seen.
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    series: Vec<MemorySeries>,
    by_labels: HashMap<Labels, usize>,
    series_per_batch: usize,
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::with_series_per_batch(SERIES_PER_BATCH)
    }
}

#[derive(Clone, Debug)]
struct MemorySeries {
    labels: Labels,
    floats: Vec<Stored<f64>>,
    histograms: Vec<Stored<Arc<FloatHistogram>>>,
}

#[derive(Clone, Debug)]
struct Stored<T> {
    timestamp_ms: i64,
    start_timestamp_ms: i64,
    value: T,
}

impl MemoryStorage {
    /// A storage that hands out this many series at a time; few of them make several workers share even little data.
    pub fn with_series_per_batch(series_per_batch: usize) -> Self {
        Self { series: Vec::new(), by_labels: HashMap::new(), series_per_batch: series_per_batch.max(1) }
    }

    /// Adds a sample. A sample of the same series, time and kind is replaced.
    pub fn append(&mut self, labels: &Labels, timestamp_ms: i64, value: SampleValue) {
        self.append_with_start(labels, timestamp_ms, 0, value);
    }

    /// Adds a sample with the time its counter started (0 for unknown).
    pub fn append_with_start(
        &mut self,
        labels: &Labels,
        timestamp_ms: i64,
        start_timestamp_ms: i64,
        value: SampleValue,
    ) {
        let next = self.series.len();
        let at = *self.by_labels.entry(labels.clone()).or_insert(next);
        if at == next {
            self.series.push(MemorySeries {
                labels: labels.clone(),
                floats: Vec::new(),
                histograms: Vec::new(),
            });
        }
        let series = &mut self.series[at];
        match value {
            SampleValue::Float(value) => {
                insert(&mut series.floats, Stored { timestamp_ms, start_timestamp_ms, value });
            }
            SampleValue::Histogram(mut value) => {
                let hint = series.hint(timestamp_ms, &value);
                if value.counter_reset != hint {
                    Arc::make_mut(&mut value).counter_reset = hint;
                }
                insert(&mut series.histograms, Stored { timestamp_ms, start_timestamp_ms, value });
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.series.clear();
        self.by_labels.clear();
    }

    /// Number of series.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }
}

impl MemorySeries {
    /// The counter reset hint a histogram comes back with. Prometheus stores histograms in chunks, each without a
    /// reset inside: only the first of a chunk is unknown, whatever its hint was when it was appended.
    fn hint(&self, timestamp_ms: i64, value: &FloatHistogram) -> CounterReset {
        if value.counter_reset == CounterReset::Gauge {
            return CounterReset::Gauge;
        }
        let before = self.histograms.iter().rev().find(|sample| sample.timestamp_ms < timestamp_ms);
        let Some(before) = before else { return CounterReset::Unknown };
        let float_between =
            self.floats.iter().any(|float| (before.timestamp_ms..timestamp_ms).contains(&float.timestamp_ms));
        let previous = &before.value;
        let same_chunk = !float_between
            && previous.counter_reset != CounterReset::Gauge
            && value.counter_reset != CounterReset::Reset
            && (value.is_stale_marker() || !previous.is_stale_marker())
            && (value.is_stale_marker() || continues(value, previous));
        if same_chunk { CounterReset::NotReset } else { CounterReset::Unknown }
    }
}

/// Whether the layout is the same and no count went down.
fn continues(value: &FloatHistogram, previous: &FloatHistogram) -> bool {
    let unhinted = FloatHistogram { counter_reset: CounterReset::Unknown, ..value.clone() };
    value.schema == previous.schema
        && value.zero_threshold == previous.zero_threshold
        && value.custom_bounds() == previous.custom_bounds()
        && !unhinted.detect_reset(previous)
}

fn insert<T>(samples: &mut Vec<Stored<T>>, sample: Stored<T>) {
    let at = samples.partition_point(|other| other.timestamp_ms < sample.timestamp_ms);
    match samples.get_mut(at) {
        Some(other) if other.timestamp_ms == sample.timestamp_ms => *other = sample,
        _ => samples.insert(at, sample),
    }
}

impl Storage for MemoryStorage {
    fn select<'a>(
        &'a self,
        request: &SelectRequest<'_>,
    ) -> Result<Box<dyn SeriesSet<'a> + 'a>, StorageError> {
        let matches = |series: &&MemorySeries| {
            request.matchers.iter().all(|matcher| matcher.matches(series.labels.get(&matcher.name)))
        };
        let matched: Vec<&MemorySeries> = self.series.iter().filter(matches).collect();
        Ok(Box::new(MemorySeriesSet { matched, next: 0, per_batch: self.series_per_batch }))
    }
}

struct MemorySeriesSet<'a> {
    matched: Vec<&'a MemorySeries>,
    next: usize,
    per_batch: usize,
}

impl<'a> SeriesSet<'a> for MemorySeriesSet<'a> {
    fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch + 'a>>, StorageError> {
        let end = self.matched.len().min(self.next + self.per_batch);
        let batch = self.matched[self.next..end].to_vec();
        self.next = end;
        Ok((!batch.is_empty()).then(|| Box::new(MemoryBatch(batch)) as Box<dyn SeriesBatch>))
    }
}

struct MemoryBatch<'a>(Vec<&'a MemorySeries>);

impl SeriesBatch for MemoryBatch<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&mut self, series: usize) -> Labels {
        self.0[series].labels.clone()
    }

    fn read(
        &mut self,
        series: usize,
        mint_ms: i64,
        maxt_ms: i64,
        buffer: &mut SampleBuffer,
    ) -> Result<(), StorageError> {
        let series = self.0[series];
        for sample in within(&series.floats, mint_ms, maxt_ms) {
            buffer.push_float_with_start(sample.timestamp_ms, sample.start_timestamp_ms, sample.value);
        }
        for sample in within(&series.histograms, mint_ms, maxt_ms) {
            let histogram = Arc::clone(&sample.value);
            buffer.push_histogram_with_start(sample.timestamp_ms, sample.start_timestamp_ms, histogram);
        }
        Ok(())
    }
}

fn within<T>(samples: &[Stored<T>], mint_ms: i64, maxt_ms: i64) -> &[Stored<T>] {
    let start = samples.partition_point(|sample| sample.timestamp_ms < mint_ms);
    let end = samples.partition_point(|sample| sample.timestamp_ms <= maxt_ms);
    &samples[start..end.max(start)]
}
