//! Admission of one native histogram: from its message to what is stored, or why it is not.
//!
//! The order of the checks, their reasons and their texts are Cortex's; what a valid histogram is, is
//! Prometheus's ([`Histogram::validate`]).

use gyre_tsdb::histogram::{CUSTOM_BUCKETS_SCHEMA, Histogram, SCHEMA_MAX, SCHEMA_MIN};

use super::append::Refusal;
use crate::api::push::histogram::decode;
use crate::tenant::canonical::quote_series;

/// Bytes of one histogram's message. Cortex's default of `-validation.max-native-histogram-size-bytes`.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;

/// A histogram that may be stored.
pub(super) struct Admitted {
    pub(super) t_ms: i64,
    pub(super) histogram: Histogram,
    /// Whether it has fewer buckets than were sent.
    pub(super) is_reduced: bool,
}

/// Decodes a message and checks all but the time. `buckets_max` of 0 is no limit.
pub(super) fn admit(message: &[u8], buckets_max: usize, labels: &[u8]) -> Result<Admitted, Refusal> {
    if message.len() > MESSAGE_BYTES_MAX {
        let (actual, limit) = (message.len(), MESSAGE_BYTES_MAX);
        return Err(Refusal::HistogramBytes { actual, limit, series: quote_series(labels) });
    }
    let invalid = |error: String| Refusal::HistogramInvalid { error, series: quote_series(labels) };
    // The request was scanned by the same rules, so a fault is not expected here.
    let (t_ms, mut histogram) = decode(message).map_err(|error| invalid(error.fault.to_string()))?;
    if histogram.is_stale() {
        // What else it says does not count.
        histogram = Histogram { counter_reset: histogram.counter_reset, ..Histogram::stale(histogram.kind) };
    }
    let schema = histogram.schema;
    if schema != CUSTOM_BUCKETS_SCHEMA && !(SCHEMA_MIN..=SCHEMA_MAX).contains(&schema) {
        return Err(Refusal::HistogramSchema { schema, series: quote_series(labels) });
    }
    histogram.validate().map_err(|error| invalid(error.to_string()))?;
    if buckets_max > 0 && !histogram.reduce_to_buckets(buckets_max) {
        return Err(Refusal::HistogramBuckets { limit: buckets_max, series: quote_series(labels) });
    }
    histogram.check_size().map_err(|error| invalid(error.to_string()))?;
    Ok(Admitted { t_ms, is_reduced: histogram.schema != schema, histogram })
}
