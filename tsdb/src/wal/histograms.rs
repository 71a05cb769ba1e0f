//! The part of a batch that holds histograms.
//!
//! Each is written in full: histograms are few beside floats, and one that can be read alone is never lost
//! with another.

use crate::histogram::Histogram;
use crate::varint;

/// The histograms of a batch that is being put together.
#[derive(Default)]
pub(super) struct HistogramSection {
    bytes: Vec<u8>,
    last_series: u32,
    last_ms: i64,
}

impl HistogramSection {
    /// Appends a histogram.
    pub(super) fn put(&mut self, series: u32, t_ms: i64, histogram: &Histogram) {
        varint::put_i64(&mut self.bytes, i64::from(series) - i64::from(self.last_series));
        varint::put_i64(&mut self.bytes, t_ms.wrapping_sub(self.last_ms));
        histogram.put(&mut self.bytes);
        (self.last_series, self.last_ms) = (series, t_ms);
    }

    /// The bytes so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        (self.last_series, self.last_ms) = (0, 0);
    }
}

/// Reads the histograms of a batch: series number, time, histogram; `None` at the first byte that makes no
/// sense.
pub(super) fn take_histograms(
    mut from: &[u8],
    mut histogram: impl FnMut(u32, i64, &Histogram),
) -> Option<()> {
    let (mut series, mut t_ms) = (0u32, 0i64);
    while !from.is_empty() {
        series = u32::try_from(i64::from(series).checked_add(varint::take_i64(&mut from)?)?).ok()?;
        t_ms = t_ms.wrapping_add(varint::take_i64(&mut from)?);
        histogram(series, t_ms, &Histogram::take(&mut from)?);
    }
    Some(())
}
