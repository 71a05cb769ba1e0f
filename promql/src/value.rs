//! What a query evaluates to.
//!
//! Range results stay in the engine's own layout, one dense row per series, and are read through iterators: turning
//! them into lists of points would copy every sample once more. Presenting values as JSON is the API's business.

use std::sync::Arc;

use crate::exec::{Grid, Row};
use crate::histogram::FloatHistogram;
use crate::labels::Labels;

/// Bit pattern of the NaN that marks the end of a series (a stale marker). Ordinary NaNs have others.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Whether `value` is a stale marker.
#[inline]
pub fn is_stale_nan(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// The result of a query.
#[derive(Clone, Debug)]
pub enum Value {
    /// One number.
    Scalar {
        /// Evaluation time, milliseconds.
        timestamp_ms: i64,
        /// The number.
        value: f64,
    },
    /// A string literal.
    String {
        /// Evaluation time, milliseconds.
        timestamp_ms: i64,
        /// The text.
        value: String,
    },
    /// One sample for each of several series; the order is that of the evaluation (it matters after `sort` and `topk`).
    Vector(Vec<Sample>),
    /// Samples over time of several series, sorted by their labels.
    Matrix(Vec<Series>),
}

impl Value {
    /// Bytes it holds, about: shared histograms and labels count in full.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Scalar { .. } => size_of::<Self>(),
            Self::String { value, .. } => value.len(),
            Self::Vector(samples) => samples
                .iter()
                .map(|sample| {
                    let histogram = match &sample.value {
                        SampleValue::Float(_) => 0,
                        SampleValue::Histogram(histogram) => histogram.size_bytes(),
                    };
                    size_of::<Sample>() + sample.labels.size_bytes() + histogram
                })
                .sum(),
            Self::Matrix(series) => series.iter().map(Series::size_bytes).sum(),
        }
    }
}

/// One sample of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The series.
    pub labels: Labels,
    /// Evaluation time, milliseconds.
    pub timestamp_ms: i64,
    /// The value.
    pub value: SampleValue,
}

/// The value of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// The samples of one series.
#[derive(Clone, Debug)]
pub struct Series {
    /// The series.
    pub labels: Labels,
    floats: FloatPoints,
    histograms: Vec<(i64, Arc<FloatHistogram>)>,
}

#[derive(Clone, Debug)]
enum FloatPoints {
    OnGrid { grid: Grid, row: Row },
    Listed { timestamps_ms: Vec<i64>, values: Vec<f64> },
}

impl Series {
    /// A series whose samples lie on the evaluation times.
    pub(crate) fn on_grid(labels: Labels, grid: Grid, mut row: Row) -> Self {
        let histograms = row
            .take_histograms()
            .into_iter()
            .map(|(step, histogram)| (grid.timestamp(step as usize), histogram));
        let histograms = histograms.collect();
        Self { labels, floats: FloatPoints::OnGrid { grid, row }, histograms }
    }

    /// A series with samples at any times.
    pub fn listed(
        labels: Labels,
        timestamps_ms: Vec<i64>,
        values: Vec<f64>,
        histograms: Vec<(i64, Arc<FloatHistogram>)>,
    ) -> Self {
        Self { labels, floats: FloatPoints::Listed { timestamps_ms, values }, histograms }
    }

    /// The float samples, in time order: milliseconds and value.
    pub fn floats(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        self.floats_from(0)
    }

    /// The float samples but for the first `skipped`, in time order: milliseconds and value.
    pub fn floats_from(&self, skipped: usize) -> impl Iterator<Item = (i64, f64)> + '_ {
        let (on_grid, listed) = match &self.floats {
            // There are no more of these than steps.
            FloatPoints::OnGrid { grid, row } => {
                (Some(row.floats().skip(skipped).map(|(step, value)| (grid.timestamp(step), value))), None)
            }
            FloatPoints::Listed { timestamps_ms, values } => {
                let at = skipped.min(values.len());
                (None, Some(timestamps_ms[at..].iter().copied().zip(values[at..].iter().copied())))
            }
        };
        on_grid.into_iter().flatten().chain(listed.into_iter().flatten())
    }

    /// The histogram samples, in time order: milliseconds and value.
    pub fn histograms(&self) -> &[(i64, Arc<FloatHistogram>)] {
        &self.histograms
    }

    /// Bytes it holds.
    fn size_bytes(&self) -> usize {
        let floats = match &self.floats {
            FloatPoints::OnGrid { row, .. } => row.steps() * size_of::<f64>() + row.steps() / 8,
            FloatPoints::Listed { values, .. } => values.len() * (size_of::<i64>() + size_of::<f64>()),
        };
        let histograms = self.histograms.iter().map(|(_, histogram)| 16 + histogram.size_bytes());
        size_of::<Self>() + self.labels.size_bytes() + floats + histograms.sum::<usize>()
    }

    /// Number of float samples.
    pub fn float_count(&self) -> usize {
        match &self.floats {
            FloatPoints::OnGrid { row, .. } => row.present().count(),
            FloatPoints::Listed { values, .. } => values.len(),
        }
    }
}
