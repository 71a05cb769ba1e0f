//! A decoded remote-write request: its bytes, and where in them everything is.

use std::fmt;
use std::ops::Range;

use super::pool::{Arena, BatchPool};

/// One tenant's decoded remote-write request: the decompressed protobuf body plus offsets into it. Its buffers go
/// back to the pool when it is dropped.
pub struct WriteBatch {
    /// The decompressed request. Label fields that lay scattered within their series are appended behind it.
    pub body: Vec<u8>,
    /// The series, in request order.
    pub series: Vec<SeriesSlice>,
    /// The samples of all series, in request order.
    pub samples: Vec<Sample>,
    /// Metric metadata, in request order.
    pub metadata: Vec<MetadataEntry>,
    /// The native histograms of all series, in request order.
    pub histograms: Vec<HistogramSlice>,
    /// Exemplars that were validated and dropped.
    pub dropped_exemplars: u64,
    pool: BatchPool,
}

/// One series of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesSlice {
    /// Place in the body of the series' raw `Label` fields, each with its tag and length, one behind the other.
    pub labels: Range<u32>,
    /// Place of its samples in [`WriteBatch::samples`].
    pub samples: Range<u32>,
}

/// One native histogram of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramSlice {
    /// The series' number in the request.
    pub series: u32,
    /// Place of its message in the body, which [`super::histogram::decode`] reads.
    pub message: Range<u32>,
}

/// One float sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Milliseconds since the Unix epoch; any `i64`.
    pub t_ms: i64,
    /// The value's bits. Not an `f64`, because NaN payloads (stale markers among them) must survive unchanged.
    pub v_bits: u64,
}

/// One metric's metadata. The ranges are places in the body and hold UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataEntry {
    /// `MetricMetadata.MetricType` as sent; numbers outside the enum mean "unknown".
    pub metric_type: i32,
    /// Name of the metric family.
    pub metric_family: Range<u32>,
    /// Help text.
    pub help: Range<u32>,
    /// Unit.
    pub unit: Range<u32>,
}

impl WriteBatch {
    /// A batch of nothing, in buffers of the pool.
    pub(super) fn empty(pool: &BatchPool) -> Self {
        let Arena { body, series, samples, histograms, metadata } = pool.take_arena();
        Self { body, series, samples, histograms, metadata, dropped_exemplars: 0, pool: pool.clone() }
    }

    /// The raw label fields of one of this batch's series.
    pub fn label_fields(&self, series: &SeriesSlice) -> &[u8] {
        &self.body[as_usize(&series.labels)]
    }

    /// The samples of one of this batch's series.
    pub fn samples_of(&self, series: &SeriesSlice) -> &[Sample] {
        &self.samples[as_usize(&series.samples)]
    }

    /// The native histograms of the series of this number.
    #[inline]
    pub fn histograms_of(&self, series: u32) -> &[HistogramSlice] {
        // Most requests have none at all.
        if self.histograms.is_empty() {
            return &[];
        }
        let begin = self.histograms.partition_point(|histogram| histogram.series < series);
        let len = self.histograms[begin..].partition_point(|histogram| histogram.series == series);
        &self.histograms[begin..begin + len]
    }

    /// The message of one of this batch's histograms.
    pub fn histogram_message(&self, histogram: &HistogramSlice) -> &[u8] {
        &self.body[as_usize(&histogram.message)]
    }

    /// A string of one of this batch's metadata entries.
    pub fn metadata_text(&self, range: &Range<u32>) -> &str {
        str::from_utf8(&self.body[as_usize(range)]).unwrap_or_default()
    }
}

impl Drop for WriteBatch {
    fn drop(&mut self) {
        self.pool.give_arena(Arena {
            body: std::mem::take(&mut self.body),
            series: std::mem::take(&mut self.series),
            samples: std::mem::take(&mut self.samples),
            histograms: std::mem::take(&mut self.histograms),
            metadata: std::mem::take(&mut self.metadata),
        });
    }
}

impl fmt::Debug for WriteBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBatch")
            .field("body_bytes", &self.body.len())
            .field("series", &self.series.len())
            .field("samples", &self.samples.len())
            .field("histograms", &self.histograms.len())
            .field("metadata", &self.metadata.len())
            .finish_non_exhaustive()
    }
}

fn as_usize(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}
