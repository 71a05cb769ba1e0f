//! A decoded batch, in buffers that are used again.
//!
//! What an idle pool may hold is bounded, and a batch that one outlier has blown up is not kept.

use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, Mutex, PoisonError};

use gyre_ring::SeriesKey;

/// A batch larger than this is not kept for reuse.
const IDLE_BATCH_BYTES_MAX: usize = 4 << 20;
/// Batches kept for reuse.
const IDLE_BATCHES_MAX: usize = 16;

/// What one message brought for one segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleBatch {
    /// The segment's name, as the sender gave it.
    pub segment: String,
    /// The series, in the sender's order.
    pub series: Vec<Series>,
    /// Float samples. Those of one series are in the sender's order; several series may interleave.
    pub samples: Vec<FloatSample>,
    /// Native histogram samples, likewise.
    pub histograms: Vec<HistogramSample>,
    pub(super) bytes: Vec<u8>,
}

/// A series of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Hash of its label bytes.
    pub key: SeriesKey,
    pub(super) labels: Option<Range<u32>>,
}

/// One float sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatSample {
    /// Its series: a place in [`SampleBatch::series`].
    pub series: u32,
    /// Milliseconds since 1970.
    pub t_ms: i64,
    /// The value's bits; NaN payloads are kept.
    pub v_bits: u64,
}

/// One native histogram sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramSample {
    /// Its series: a place in [`SampleBatch::series`].
    pub series: u32,
    /// Milliseconds since 1970.
    pub t_ms: i64,
    pub(super) message: Range<u32>,
}

impl SampleBatch {
    /// The label bytes of a series of this batch, if they came with it: when the connection met the series
    /// first, or when the sender repeated them.
    pub fn labels(&self, series: &Series) -> Option<&[u8]> {
        series.labels.as_ref().map(|range| self.slice(range))
    }

    /// The remote-write `Histogram` message of a sample of this batch, as it was sent.
    pub fn histogram(&self, sample: &HistogramSample) -> &[u8] {
        self.slice(&sample.message)
    }

    /// Bytes of memory it takes.
    pub fn memory_bytes(&self) -> usize {
        self.segment.capacity()
            + self.bytes.capacity()
            + self.series.capacity() * size_of::<Series>()
            + self.samples.capacity() * size_of::<FloatSample>()
            + self.histograms.capacity() * size_of::<HistogramSample>()
    }

    pub(super) fn clear(&mut self) {
        self.segment.clear();
        self.series.clear();
        self.samples.clear();
        self.histograms.clear();
        self.bytes.clear();
    }

    /// Keeps bytes with the batch. Frames are far shorter than 4 GiB.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Range<u32> {
        let begin = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        begin..self.bytes.len() as u32
    }

    fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }
}

/// Batches that wait to be used again.
#[derive(Clone, Debug, Default)]
pub struct BatchPool {
    idle: Arc<Mutex<Vec<SampleBatch>>>,
}

impl BatchPool {
    /// An empty batch that goes back to the pool when it is dropped.
    pub fn take(&self) -> PooledBatch {
        // A list of batches cannot be left half changed: a poisoned lock is as good.
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        PooledBatch { batch: idle.unwrap_or_default(), pool: self.clone() }
    }
}

/// A batch on loan from a [`BatchPool`].
#[derive(Debug)]
pub struct PooledBatch {
    batch: SampleBatch,
    pool: BatchPool,
}

impl Deref for PooledBatch {
    type Target = SampleBatch;

    fn deref(&self) -> &SampleBatch {
        &self.batch
    }
}

impl DerefMut for PooledBatch {
    fn deref_mut(&mut self) -> &mut SampleBatch {
        &mut self.batch
    }
}

impl Drop for PooledBatch {
    fn drop(&mut self) {
        if self.batch.memory_bytes() > IDLE_BATCH_BYTES_MAX {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_BATCHES_MAX {
            idle.push(batch);
        }
    }
}
