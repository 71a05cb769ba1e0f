//! Where series come from: the traits a storage implements for the engine.
//!
//! The engine asks once per selector ([`Storage::select`]) and then pulls batches of series, which its workers decode
//! ([`SeriesBatch::read`]) and drop. A storage therefore holds handles of about a thousand series at a time, however
//! many a query matches, and the order of series is its own choice.
//!
//! There is no async and no I/O here: a storage that reads disks or other nodes blocks inside these calls or
//! prefetches behind them.

use std::fmt;
use std::sync::Arc;

use crate::gostd::regexp::{Regex, RegexError};
use crate::histogram::{CounterReset, FloatHistogram};
use crate::labels::Labels;
use crate::syntax::MatchOp;

/// About how many series a batch should hold.
pub const SERIES_PER_BATCH: usize = 1024;

/// A set of series that can be queried.
pub trait Storage: Send + Sync {
    /// The series that match all of the request's matchers and may have samples in its time range.
    fn select<'a>(&'a self, request: &SelectRequest<'_>)
    -> Result<Box<dyn SeriesSet<'a> + 'a>, StorageError>;
}

/// What a selector needs.
#[derive(Clone, Debug)]
pub struct SelectRequest<'a> {
    /// All must match.
    pub matchers: &'a [LabelMatcher],
    /// First millisecond of interest.
    pub mint_ms: i64,
    /// Last millisecond of interest.
    pub maxt_ms: i64,
    /// What the samples are for; a storage may ignore it.
    pub hints: SelectHints<'a>,
}

/// What a storage may want to know to read less.
#[derive(Clone, Copy, Debug, Default)]
pub struct SelectHints<'a> {
    /// Distance of the evaluation times, milliseconds.
    pub step_ms: i64,
    /// Length of the range selector, milliseconds; 0 for an instant selector.
    pub range_ms: i64,
    /// The function or aggregation directly around the selector; may be empty.
    pub func: &'a str,
    /// Labels of the aggregation directly around the selector.
    pub grouping: &'a [String],
    /// Whether `grouping` are the labels to keep (`by`).
    pub by: bool,
    /// Only count and sum of native histograms are of interest, so that buckets may be left out if there is a counter
    /// reset hint to make up for them.
    pub histogram_stats: bool,
}

/// The matched series, in batches. Several batches may be alive at a time, one per worker.
pub trait SeriesSet<'a>: Send {
    /// The next batch; `None` at the end. Batches are not empty.
    fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch + 'a>>, StorageError>;

    /// Warnings for the user (partial data, for example); asked for after the last batch.
    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Some series, ready to be read.
pub trait SeriesBatch: Send {
    /// Number of series.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels of one series. Asked at most once for each, and not for series without samples.
    fn labels(&mut self, series: usize) -> Labels;

    /// Appends the samples of one series from `mint_ms` to `maxt_ms`, both included, in time order, each timestamp
    /// once. More samples before or after do no harm. Stale markers are samples like others.
    fn read(
        &mut self,
        series: usize,
        mint_ms: i64,
        maxt_ms: i64,
        buffer: &mut SampleBuffer,
    ) -> Result<(), StorageError>;
}

/// Decoded samples of one series, floats and histograms apart. Reused from series to series.
#[derive(Clone, Debug, Default)]
pub struct SampleBuffer {
    /// Times of the float samples, milliseconds, ascending.
    pub float_timestamps: Vec<i64>,
    /// Values of the float samples.
    pub floats: Vec<f64>,
    /// Start timestamps of the float samples, 0 for unknown; empty if none is known.
    pub float_start_timestamps: Vec<i64>,
    /// Times of the histogram samples, milliseconds, ascending.
    pub histogram_timestamps: Vec<i64>,
    /// Values of the histogram samples.
    pub histograms: Vec<Arc<FloatHistogram>>,
    /// Start timestamps of the histogram samples, 0 for unknown; empty if none is known.
    pub histogram_start_timestamps: Vec<i64>,
}

impl SampleBuffer {
    /// Removes all samples, keeps the memory.
    pub fn clear(&mut self) {
        self.float_timestamps.clear();
        self.floats.clear();
        self.float_start_timestamps.clear();
        self.histogram_timestamps.clear();
        self.histograms.clear();
        self.histogram_start_timestamps.clear();
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.float_timestamps.is_empty() && self.histogram_timestamps.is_empty()
    }

    /// Appends a float sample.
    #[inline]
    pub fn push_float(&mut self, timestamp_ms: i64, value: f64) {
        self.float_timestamps.push(timestamp_ms);
        self.floats.push(value);
        if !self.float_start_timestamps.is_empty() {
            self.float_start_timestamps.push(0);
        }
    }

    /// Appends a float sample with the time its counter started (0 for unknown).
    pub fn push_float_with_start(&mut self, timestamp_ms: i64, start_timestamp_ms: i64, value: f64) {
        self.push_float(timestamp_ms, value);
        set_last(&mut self.float_start_timestamps, self.floats.len(), start_timestamp_ms);
    }

    /// Appends a histogram sample.
    pub fn push_histogram(&mut self, timestamp_ms: i64, histogram: Arc<FloatHistogram>) {
        self.histogram_timestamps.push(timestamp_ms);
        self.histograms.push(histogram);
        if !self.histogram_start_timestamps.is_empty() {
            self.histogram_start_timestamps.push(0);
        }
    }

    /// Appends a histogram sample with the time its counter started (0 for unknown).
    pub fn push_histogram_with_start(
        &mut self,
        timestamp_ms: i64,
        start_timestamp_ms: i64,
        histogram: Arc<FloatHistogram>,
    ) {
        self.push_histogram(timestamp_ms, histogram);
        set_last(&mut self.histogram_start_timestamps, self.histograms.len(), start_timestamp_ms);
    }

    /// Removes stale markers, which a range does not show.
    pub fn remove_stale_markers(&mut self) {
        if self.floats.iter().any(|&value| crate::value::is_stale_nan(value)) {
            let stale: Vec<bool> =
                self.floats.iter().map(|&value| crate::value::is_stale_nan(value)).collect();
            remove_marked(&mut self.float_timestamps, &stale);
            remove_marked(&mut self.floats, &stale);
            remove_marked(&mut self.float_start_timestamps, &stale);
        }
        if self.histograms.iter().any(|histogram| histogram.is_stale_marker()) {
            let stale: Vec<bool> =
                self.histograms.iter().map(|histogram| histogram.is_stale_marker()).collect();
            remove_marked(&mut self.histogram_timestamps, &stale);
            remove_marked(&mut self.histograms, &stale);
            remove_marked(&mut self.histogram_start_timestamps, &stale);
        }
    }
}

impl SampleBuffer {
    /// Leaves only count and sum of the histograms from `mint_ms` on. Counter resets, which could not be told any
    /// more, become explicit hints, except of the first histogram.
    pub(crate) fn reduce_to_stats(&mut self, mint_ms: i64) {
        let mut previous: Option<Arc<FloatHistogram>> = None;
        for (histogram, &timestamp_ms) in self.histograms.iter_mut().zip(&self.histogram_timestamps) {
            let mut hint = histogram.counter_reset;
            if hint == CounterReset::Unknown
                && let Some(previous) = &previous
                && !histogram.is_stale_marker()
            {
                let reset = histogram.detect_reset(previous);
                hint = if reset { CounterReset::Reset } else { CounterReset::NotReset };
            }
            let stats = FloatHistogram {
                counter_reset: hint,
                schema: histogram.schema,
                count: histogram.count,
                sum: histogram.sum,
                ..FloatHistogram::default()
            };
            let whole = std::mem::replace(histogram, Arc::new(stats));
            if timestamp_ms >= mint_ms && !whole.is_stale_marker() {
                previous = Some(whole);
            }
        }
    }
}

impl SampleBuffer {
    /// Makes `to` a copy of the samples in a range of time with both ends.
    pub(crate) fn copy_range(&self, (mint_ms, maxt_ms): (i64, i64), to: &mut Self) {
        let within = |times: &[i64]| {
            let start = times.partition_point(|&time_ms| time_ms < mint_ms);
            start..times.partition_point(|&time_ms| time_ms <= maxt_ms).max(start)
        };
        to.clear();
        let floats = within(&self.float_timestamps);
        if !self.float_start_timestamps.is_empty() {
            to.float_start_timestamps.extend_from_slice(&self.float_start_timestamps[floats.clone()]);
        }
        to.float_timestamps.extend_from_slice(&self.float_timestamps[floats.clone()]);
        to.floats.extend_from_slice(&self.floats[floats]);
        let histograms = within(&self.histogram_timestamps);
        if !self.histogram_start_timestamps.is_empty() {
            to.histogram_start_timestamps
                .extend_from_slice(&self.histogram_start_timestamps[histograms.clone()]);
        }
        to.histogram_timestamps.extend_from_slice(&self.histogram_timestamps[histograms.clone()]);
        to.histograms.extend_from_slice(&self.histograms[histograms]);
    }
}

/// Start timestamps are only stored once one is known; those before it are unknown.
fn set_last(start_timestamps: &mut Vec<i64>, samples: usize, start_timestamp_ms: i64) {
    if start_timestamps.is_empty() && start_timestamp_ms == 0 {
        return;
    }
    start_timestamps.resize(samples, 0);
    start_timestamps[samples - 1] = start_timestamp_ms;
}

fn remove_marked<T>(values: &mut Vec<T>, marked: &[bool]) {
    let mut marks = marked.iter();
    values.retain(|_| marks.next() != Some(&true));
}

/// A label matcher, ready to be applied.
#[derive(Clone)]
pub struct LabelMatcher {
    /// How to compare.
    pub op: MatchOp,
    /// Label name.
    pub name: String,
    /// Value or pattern.
    pub value: String,
    regex: Option<Arc<Regex>>,
}

impl LabelMatcher {
    /// A matcher; a pattern is compiled here.
    pub fn new(op: MatchOp, name: &str, value: &str) -> Result<Self, RegexError> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regexp | MatchOp::NotRegexp => Some(Arc::new(Regex::anchored(value)?)),
        };
        Ok(Self { op, name: name.to_owned(), value: value.to_owned(), regex })
    }

    /// Whether a label value (empty for a missing label) satisfies the matcher.
    pub fn matches(&self, value: &str) -> bool {
        let matches_regex = || self.regex.as_ref().is_some_and(|regex| regex.is_match(value));
        match self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Regexp => matches_regex(),
            MatchOp::NotRegexp => !matches_regex(),
        }
    }

    /// The compiled pattern of a regular-expression matcher.
    pub fn regex(&self) -> Option<&Regex> {
        self.regex.as_deref()
    }
}

impl PartialEq for LabelMatcher {
    fn eq(&self, other: &Self) -> bool {
        (self.op, &self.name, &self.value) == (other.op, &other.name, &other.value)
    }
}

impl fmt::Debug for LabelMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

/// Why a storage could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StorageError {
    /// What kind of failure it is.
    pub kind: StorageErrorKind,
    /// The reason, for the user.
    pub message: String,
}

/// Kinds of storage failures, as far as the answer to the user depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// It took too long.
    Timeout,
    /// The query was given up by its client.
    Canceled,
    /// A limit of the query (bytes, series, chunks) was reached.
    LimitReached,
    /// Part of the data cannot be reached just now.
    Unavailable,
    /// Anything else: damaged data, a bug.
    Internal,
}

impl StorageError {
    /// An error of `kind`.
    pub fn new(kind: StorageErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, StorageErrorKind::Timeout | StorageErrorKind::Unavailable)
    }
}
