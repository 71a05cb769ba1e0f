//! Series descriptions, the notation for test data: `metric{label="x"} 1 2x3 _ {{schema:0 sum:5}}`.
//!
//! What is parsed stays unexpanded and does not know how histograms add up; both are the test runner's part. The
//! notation is not reachable from a query. Counts are capped, so that a typing error in a test does not fill the
//! memory.

mod histogram;
mod scanner;
mod start;
mod values;

use super::error::ParseError;
use scanner::Scanner;

/// Labels and values of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesDescription {
    /// Name and value of each label, the metric name included, sorted by name.
    pub labels: Vec<(String, String)>,
    /// Runs of values, one after the other at equal distances in time.
    pub items: Vec<SeriesItem>,
}

/// A run of values.
#[derive(Clone, Debug, PartialEq)]
pub enum SeriesItem {
    /// `_`, `_x3`: no samples.
    Omitted {
        /// How many are left out.
        count: u64,
    },
    /// `1`, `1x3`, `1+2x3`, `stale`: a float and `repeats` more, each by `step` larger than the one before.
    Float {
        /// The first value.
        first: f64,
        /// What to add each time. `None` copies the value bit by bit.
        step: Option<f64>,
        /// How many follow the first.
        repeats: u64,
    },
    /// The same for histograms.
    Histogram {
        /// The first value.
        first: Box<HistogramDescription>,
        /// What to add or subtract each time.
        step: Option<(HistogramStep, Box<HistogramDescription>)>,
        /// How many follow the first.
        repeats: u64,
    },
}

/// How a run of histograms goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistogramStep {
    /// `{{...}}+{{...}}x3`
    Add,
    /// `{{...}}-{{...}}x3`
    Sub,
}

/// The fields of a histogram, as far as they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramDescription {
    /// `schema`
    pub schema: Option<i64>,
    /// `sum`
    pub sum: Option<f64>,
    /// `count`
    pub count: Option<f64>,
    /// `z_bucket`: count of the zero bucket.
    pub zero_count: Option<f64>,
    /// `z_bucket_w`: its width, the zero threshold.
    pub zero_threshold: Option<f64>,
    /// `custom_values`: upper bounds of the buckets of schema -53.
    pub custom_values: Option<Vec<f64>>,
    /// `buckets`: absolute counts of adjacent positive buckets.
    pub positive_buckets: Option<Vec<f64>>,
    /// `offset`: index of the first of them.
    pub positive_offset: Option<i64>,
    /// `n_buckets`: absolute counts of adjacent negative buckets.
    pub negative_buckets: Option<Vec<f64>>,
    /// `n_offset`: index of the first of them.
    pub negative_offset: Option<i64>,
    /// `counter_reset_hint`
    pub reset_hint: Option<ResetHint>,
}

/// What is known about a counter reset between a histogram and the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetHint {
    /// `unknown`
    Unknown,
    /// `reset`
    Reset,
    /// `not_reset`
    NotReset,
    /// `gauge`
    Gauge,
}

/// Start timestamps for the series described in the line that follows: `metric{label="x"}@st _ -30s-1mx2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartTimestamps {
    /// Labels, as in [`SeriesDescription::labels`]; the same as in the next line.
    pub labels: Vec<(String, String)>,
    /// Runs of start timestamps.
    pub items: Vec<StartTimestampItem>,
}

/// A run of start timestamps, relative to those of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTimestampItem {
    /// `_`, `_x3`: no start timestamp.
    Omitted {
        /// How many are left out.
        count: u64,
    },
    /// `-30s`, `-30sx2`, `-30s-1mx2`: an offset and `repeats` more.
    Offset {
        /// The first offset.
        first_ms: i64,
        /// What to add each time.
        step_ms: i64,
        /// How many follow the first.
        repeats: u64,
    },
}

/// Parses a description of a series.
pub fn parse_series_description(input: &str) -> Result<SeriesDescription, ParseError> {
    let mut scanner = Scanner::new(input);
    let labels = scanner.metric()?;
    let mut items = Vec::new();
    while scanner.spaces() && !scanner.rest().is_empty() {
        items.push(scanner.item()?);
    }
    if scanner.rest().is_empty() {
        Ok(SeriesDescription { labels, items })
    } else {
        scanner.unexpected("series values")
    }
}

/// Whether a line holds start timestamps: its first word ends in `@st`.
pub fn is_start_timestamps_line(line: &str) -> bool {
    line.trim().split_once([' ', '\t']).is_some_and(|(first, _)| first.ends_with("@st"))
}

/// Parses a line of start timestamps.
pub fn parse_start_timestamps(line: &str) -> Result<StartTimestamps, ParseError> {
    let mut scanner = Scanner::new(line);
    scanner.spaces();
    let labels = scanner.metric()?;
    if !scanner.accept("@st") {
        return scanner.fail("expected \"@st\" after the metric");
    }
    let mut items = Vec::new();
    while scanner.spaces() && !scanner.rest().is_empty() {
        items.push(scanner.start_timestamp_item()?);
    }
    if scanner.rest().is_empty() {
        Ok(StartTimestamps { labels, items })
    } else {
        scanner.unexpected("start timestamps")
    }
}
