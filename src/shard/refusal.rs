//! Why samples are not stored, and what their sender is told.

use std::fmt;

use gyre_promql::gostd::quote;
use gyre_ring::TenantId;
use gyre_tsdb::CreateError;
use gyre_tsdb::labels::{Labels, METRIC_NAME};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::tenant::canonical::{LabelError, first_chars};

/// Why samples were not stored. The texts are Cortex's and Prometheus's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The label set is not allowed.
    #[error(transparent)]
    Labels(#[from] LabelError),
    /// Older than the tenant's window.
    #[error("too old sample")]
    TooOld,
    /// Older than the newest of its series, where late samples are not taken.
    #[error("out of order sample")]
    OutOfOrder,
    /// Too far ahead of the clock.
    #[error("timestamp too new: {t_ms} metric: {metric}")]
    TooNew {
        /// The sample's time.
        t_ms: i64,
        /// The metric's name, quoted.
        metric: String,
    },
    /// The time is taken by another value.
    #[error("duplicate sample for timestamp")]
    Conflict,
    /// A histogram whose schema is not known.
    #[error("invalid native histogram schema {schema} for metric: {series}. supported schema from -4 to 8")]
    HistogramSchema {
        /// The schema.
        schema: i32,
        /// The series, quoted.
        series: String,
    },
    /// A histogram that contradicts itself.
    #[error("invalid native histogram, validation err: {error}, metric: {series}")]
    HistogramInvalid {
        /// What is wrong.
        error: String,
        /// The series, quoted.
        series: String,
    },
    /// `max_native_histogram_buckets`, at any resolution.
    #[error("native histogram bucket count exceeded for metric (limit: {limit}) metric: {series}")]
    HistogramBuckets {
        /// The limit.
        limit: usize,
        /// The series, quoted.
        series: String,
    },
    /// A histogram larger than any real one.
    #[error(
        "native histogram sample size bytes exceeded for metric (actual: {actual}, limit: {limit}) metric: {series}"
    )]
    HistogramBytes {
        /// Bytes of its message.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
        /// The series, quoted.
        series: String,
    },
    /// `max_series_per_user`.
    #[error(
        "per-user series limit of {limit} exceeded, please contact administrator to raise it \
         (local limit: {limit} global limit: 0 actual local limit: {limit})"
    )]
    UserSeries {
        /// The limit.
        limit: u64,
    },
    /// `max_series_per_metric`.
    #[error(
        "per-metric series limit of {limit} exceeded for metric {metric}, please contact administrator to raise it \
         (local limit: {limit} global limit: 0 actual local limit: {limit})"
    )]
    MetricSeries {
        /// The limit.
        limit: u64,
        /// The metric's name.
        metric: String,
    },
    /// The shard can't hold more, or somebody made two label sets collide.
    #[error("cannot create series: {0}")]
    Create(CreateError),
}

impl Refusal {
    /// The value of the `reason` label of `cortex_discarded_samples_total`.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Labels(error) => error.reason(),
            Refusal::TooOld => "sample-too-old",
            Refusal::OutOfOrder => "sample-out-of-order",
            Refusal::TooNew { .. } => "too_far_in_future",
            Refusal::Conflict => "new-value-for-timestamp",
            Refusal::HistogramSchema { .. } => "native_histogram_invalid_schema",
            Refusal::HistogramInvalid { .. } => "native_histogram_invalid",
            Refusal::HistogramBuckets { .. } => "native_histogram_buckets_exceeded",
            Refusal::HistogramBytes { .. } => "native_histogram_sample_size_bytes_exceeded",
            Refusal::UserSeries { .. } => "per_user_series_limit",
            Refusal::MetricSeries { .. } => "per_metric_series_limit",
            Refusal::Create(_) => "series_not_created",
        }
    }

    /// What the sender of a sample is told: Cortex's form.
    pub(super) fn of_sample(&self, tenant: &TenantId, t_ms: i64, labels: &[u8]) -> String {
        if matches!(self, Refusal::TooNew { .. }) {
            return self.to_string();
        }
        let (time, series) = (GoTime(t_ms), SeriesText(labels));
        format!("user={tenant}: err: {self}. timestamp={time}, series={series}")
    }
}

/// A metric's name as errors quote it.
pub(super) fn metric_of(labels: &[u8]) -> String {
    let metric = Labels::parse(labels).ok().and_then(|labels| labels.get(METRIC_NAME)).unwrap_or_default();
    quote(first_chars(metric.as_bytes(), 200))
}

/// A series as Prometheus prints it, cut at a safe length.
struct SeriesText<'a>(&'a [u8]);

impl fmt::Display for SeriesText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARS_MAX: usize = 1000;
        let mut text = String::from("{");
        for (name, value) in Labels::parse(self.0).iter().flat_map(|labels| labels.iter()) {
            let comma = if text.len() > 1 { ", " } else { "" };
            text += &format!("{comma}{name}={}", quote(value.as_bytes()));
            if text.len() > CHARS_MAX {
                break;
            }
        }
        text.push('}');
        match text.char_indices().nth(CHARS_MAX) {
            Some((at, _)) => write!(f, "{}...", &text[..at]),
            None => f.write_str(&text),
        }
    }
}

/// A time as Go's RFC 3339 prints it in UTC, to the second; milliseconds where that leaves the calendar.
struct GoTime(i64);

impl fmt::Display for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000));
        match time.ok().and_then(|time| time.format(&Rfc3339).ok()) {
            Some(text) => f.write_str(&text),
            None => write!(f, "{}ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_go_prints_them() {
        for (t_ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_609_459_199_999, "2020-12-31T23:59:59Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (i64::MAX, "9223372036854775807ms"),
        ] {
            assert_eq!(GoTime(t_ms).to_string(), text);
        }
    }
}
