//! A request made of parts instead of bytes: what another node has passed on.

use std::ops::Range;

use super::decode::{HistogramSlice, Sample, SeriesSlice, WriteBatch};
use super::pool::BatchPool;

impl WriteBatch {
    /// A request without series.
    pub fn without_series(pool: &BatchPool) -> Self {
        let mut batch = Self::empty(pool);
        batch.body.clear();
        batch
    }

    /// Adds a series with its float samples; gives the place of its label fields.
    pub fn push_series(&mut self, labels: &[u8], samples: impl Iterator<Item = Sample>) -> Range<u32> {
        let labels = self.push_bytes(labels);
        let begin = self.samples.len() as u32;
        self.samples.extend(samples);
        let samples = begin..self.samples.len() as u32;
        self.series.push(SeriesSlice { labels: labels.clone(), samples });
        labels
    }

    /// Adds a native histogram to a series. Series must come in order.
    pub fn push_histogram(&mut self, series: u32, message: &[u8]) {
        debug_assert!(self.histograms.last().is_none_or(|last| last.series <= series));
        let message = self.push_bytes(message);
        self.histograms.push(HistogramSlice { series, message });
    }

    fn push_bytes(&mut self, bytes: &[u8]) -> Range<u32> {
        let begin = self.body.len() as u32;
        self.body.extend_from_slice(bytes);
        begin..self.body.len() as u32
    }
}
