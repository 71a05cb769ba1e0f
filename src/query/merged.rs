//! Several segments of one shard as one, or all segments and blocks: a series that several of them have is one series to
//! the engine.
//!
//! Each segment gives its series in the order of their keys, so they are merged as they come, some at a time, however
//! many there are. Of two samples of one time [`gyre_tsdb::winner`] says which counts, as it does within a replica.

use std::collections::VecDeque;
use std::sync::Arc;

use gyre_promql::labels::Labels;
use gyre_promql::storage::{SampleBuffer, SeriesBatch, StorageError};
use gyre_ring::SeriesKey;
use gyre_tsdb::histogram::Histogram;
use gyre_tsdb::winner::Merge;
use gyre_tsdb::{Decoded, SeriesBatch as ShardBatch};

use super::source::Source;
use super::storage::{ReadySeries, ShardStorage, labels_of, push_histogram, read_failed};
use crate::shard::read::SERIES_PER_READ;

/// The segments' series, merged.
pub struct MergedSource<'a> {
    cursors: Vec<Cursor<'a>>,
}

/// One segment's next series.
struct Cursor<'a> {
    source: Source<'a>,
    batch: Arc<ShardBatch>,
    /// Keys of the batch's series that were not taken yet, and their places.
    ahead: VecDeque<(SeriesKey, usize)>,
}

impl Cursor<'_> {
    /// Fetches more if there is nothing ahead; false at the end.
    fn fill(&mut self, storage: &ShardStorage) -> Result<bool, StorageError> {
        if self.ahead.is_empty() {
            let Some(batch) = self.source.next_batch(storage)? else { return Ok(false) };
            let key = |series| storage.seed().key(batch.labels(series).as_bytes());
            self.ahead = batch.series().iter().map(key).zip(0..).collect();
            self.batch = Arc::new(batch);
        }
        Ok(true)
    }
}

impl<'a> MergedSource<'a> {
    /// Merges these, each of which gives its series in order of their keys.
    pub fn new(sources: Vec<Source<'a>>) -> Self {
        let cursor = |source| Cursor { source, batch: Arc::default(), ahead: VecDeque::new() };
        MergedSource { cursors: sources.into_iter().map(cursor).collect() }
    }

    /// The next series; `None` at the end. Blocks.
    pub fn next_batch(
        &mut self,
        storage: &ShardStorage,
    ) -> Result<Option<Box<dyn SeriesBatch>>, StorageError> {
        // One that is left has nothing to be merged with, such as blocks where heads have no samples.
        if let [Cursor { source, ahead, .. }] = &mut self.cursors[..]
            && ahead.is_empty()
        {
            let Some(batch) = source.next_batch(storage)? else { return Ok(None) };
            storage.fetched_batch(&batch)?;
            return Ok(Some(Box::new(ReadySeries::new(batch))));
        }
        let mut merged = MergedSeries::default();
        let mut keys = Vec::new();
        while merged.series.len() < SERIES_PER_READ {
            let mut least: Option<SeriesKey> = None;
            let mut at = 0;
            while at < self.cursors.len() {
                if self.cursors[at].fill(storage)? {
                    let key = self.cursors[at].ahead[0].0;
                    least = Some(least.map_or(key, |least| least.min(key)));
                    at += 1;
                } else {
                    self.cursors.remove(at);
                }
            }
            let Some(least) = least else { break };
            keys.push(least.0);
            self.take(least, &mut merged);
        }
        storage.fetched_keys(&keys)?;
        Ok((!merged.series.is_empty()).then(|| Box::new(merged) as Box<dyn SeriesBatch>))
    }

    /// Takes the series of a key from all that have it.
    fn take(&mut self, key: SeriesKey, merged: &mut MergedSeries) {
        let begin = merged.series.len();
        for cursor in &mut self.cursors {
            if cursor.ahead.front().is_none_or(|(ahead, _)| *ahead != key) {
                continue;
            }
            let Some((_, place)) = cursor.ahead.pop_front() else { continue };
            let part = (cursor.batch.clone(), place);
            // A hash alone is not trusted: two segments do not know of each other's labels.
            let same = |parts: &&mut Vec<Part>| label_bytes(&parts[0]) == label_bytes(&part);
            match merged.series[begin..].iter_mut().find(same) {
                Some(parts) => parts.push(part),
                None => merged.series.push(vec![part]),
            }
        }
    }
}

/// A series within a batch of one segment.
type Part = (Arc<ShardBatch>, usize);

fn label_bytes((batch, place): &Part) -> &[u8] {
    batch.labels(&batch.series()[*place]).as_bytes()
}

/// Series with what each segment has of them.
#[derive(Default)]
pub struct MergedSeries {
    series: Vec<Vec<Part>>,
    scratch: Vec<u8>,
    times: Vec<i64>,
    values: Vec<f64>,
}

impl SeriesBatch for MergedSeries {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&mut self, series: usize) -> Labels {
        let (batch, place) = &self.series[series][0];
        labels_of(batch, *place)
    }

    fn read(
        &mut self,
        series: usize,
        mint_ms: i64,
        maxt_ms: i64,
        buffer: &mut SampleBuffer,
    ) -> Result<(), StorageError> {
        let parts = &self.series[series];
        let range = (mint_ms, maxt_ms);
        if read_in_order(parts, range, buffer, &mut self.scratch)? {
            return Ok(());
        }
        let (times, histograms) = (&mut buffer.histogram_timestamps, &mut buffer.histograms);
        let mut to_buffer = |t_ms: i64, sample: &Histogram| push_histogram(times, histograms, t_ms, sample);
        let mut to = Decoded {
            times: &mut buffer.float_timestamps,
            values: &mut buffer.floats,
            histogram: &mut to_buffer,
        };
        let mut merge = Merge::default();
        for (batch, place) in parts {
            self.times.clear();
            self.values.clear();
            let mut part = Decoded {
                times: &mut self.times,
                values: &mut self.values,
                histogram: &mut |t_ms, sample| merge.histogram(t_ms, sample),
            };
            let decoded = batch.decode(&batch.series()[*place], range, &mut part, &mut self.scratch);
            decoded.map_err(|error| read_failed(batch, *place, error))?;
            for (t_ms, value) in self.times.iter().zip(&self.values) {
                merge.float(*t_ms, value.to_bits());
            }
        }
        merge.finish(&mut to);
        Ok(())
    }
}

/// Appends the samples of parts one after the other, if that is in order of time, as it is for a single part and for those
/// that follow each other, such as blocks and a head. If not, the buffer is as it was.
fn read_in_order(
    parts: &[Part],
    range: (i64, i64),
    buffer: &mut SampleBuffer,
    scratch: &mut Vec<u8>,
) -> Result<bool, StorageError> {
    let (floats, histograms) = (buffer.float_timestamps.len(), buffer.histogram_timestamps.len());
    let mut last_ms = i64::MIN;
    for (number, (batch, place)) in parts.iter().enumerate() {
        let (first_float, first_histogram) =
            (buffer.float_timestamps.len(), buffer.histogram_timestamps.len());
        let (times, samples) = (&mut buffer.histogram_timestamps, &mut buffer.histograms);
        let mut to = Decoded {
            times: &mut buffer.float_timestamps,
            values: &mut buffer.floats,
            histogram: &mut |t_ms, sample| push_histogram(times, samples, t_ms, sample),
        };
        let decoded = batch.decode(&batch.series()[*place], range, &mut to, scratch);
        decoded.map_err(|error| read_failed(batch, *place, error))?;
        let new = [&buffer.float_timestamps[first_float..], &buffer.histogram_timestamps[first_histogram..]];
        let Some(first_ms) = new.iter().filter_map(|times| times.first()).min() else { continue };
        if number > 0 && *first_ms <= last_ms {
            buffer.float_timestamps.truncate(floats);
            buffer.floats.truncate(floats);
            buffer.histogram_timestamps.truncate(histograms);
            buffer.histograms.truncate(histograms);
            return Ok(false);
        }
        last_ms = new.iter().filter_map(|times| times.last()).max().copied().unwrap_or(last_ms);
    }
    Ok(true)
}
