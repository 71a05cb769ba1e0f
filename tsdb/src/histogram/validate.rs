//! What a histogram must fulfil to be stored. The rules and the texts are Prometheus's.

use super::layout::indexes;
use super::{CUSTOM_BUCKETS_SCHEMA, Histogram, Kind, SCHEMA_MAX, SCHEMA_MIN, Side, Span};
use crate::chunk::histogram::SAMPLE_BYTES_MAX;

/// Why a histogram is not stored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// Neither exponential nor custom.
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom \
         buckets, got schema {0}"
    )]
    Schema(i32),
    /// Something is wrong with one side.
    #[error("{0} side: {1}")]
    Side(&'static str, InvalidSide),
    /// Something is wrong with the layout of a custom schema.
    #[error("custom buckets: {0}")]
    Custom(InvalidSide),
    /// Custom bounds that do not ascend.
    #[error(
        "custom buckets: previous bound is {0:.6} and current is {1:.6}: histogram custom bounds must be in strictly \
         increasing order"
    )]
    BoundsOrder(f64, f64),
    /// A custom bound that is not a number.
    #[error("custom buckets: histogram custom bounds must not be NaN")]
    BoundIsNan,
    /// The bound that is implied was given.
    #[error(
        "custom buckets: last +Inf bound must not be explicitly defined: histogram custom bounds must be finite"
    )]
    BoundIsInfinite,
    /// More buckets than bounds.
    #[error(
        "custom buckets: only {0} custom bounds defined which is insufficient to cover total span length of {1}: \
         histogram custom bounds are too few"
    )]
    TooFewBounds(usize, u64),
    /// A field that a custom schema does not have.
    #[error("custom buckets: must {0}")]
    CustomField(&'static str),
    /// Custom bounds with an exponential schema.
    #[error("histogram with exponential schema must not have custom bounds")]
    UnexpectedBounds,
    /// A count below zero.
    #[error("observation count is {0}: histogram's observation count is negative")]
    NegativeCount(f64),
    /// Observations in the zero bucket below zero.
    #[error(
        "zero bucket has observation count of {0}: histogram has a bucket whose observation count is negative"
    )]
    NegativeZeroCount(f64),
    /// Count and buckets differ.
    #[error(
        "{0} observations found in buckets, but the Count field is {1}: histogram's observation count should equal \
         the number of observations found in the buckets (in absence of NaN)"
    )]
    CountMismatch(u64, u64),
    /// More in the buckets than the count, which may exceed them by observations that were not numbers.
    #[error(
        "{0} observations found in buckets, but the Count field is {1}: histogram's observation count should be at \
         least the number of observations found in the buckets"
    )]
    CountTooSmall(u64, u64),
    /// Larger than a chunk can be.
    #[error(
        "histogram is too large: it may take {0} bytes encoded, and at most {SAMPLE_BYTES_MAX} are allowed"
    )]
    TooLarge(usize),
}

/// Why a side's layout or counts are not stored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidSide {
    /// Spans that overlap.
    #[error("span number {0} with offset {1}: histogram has a span whose offset is negative")]
    NegativeOffset(usize, i32),
    /// Spans and counts do not go together.
    #[error(
        "spans need {0} buckets, have {1} buckets: histogram spans specify different number of buckets than provided"
    )]
    SpansMismatch(u64, usize),
    /// A bucket's count below zero.
    #[error(
        "bucket number {0} has observation count of {1}: histogram has a bucket whose observation count is negative"
    )]
    NegativeBucket(usize, f64),
    /// A bucket no float falls into; Prometheus has no such rule.
    #[error("histogram has a bucket whose index is out of range: {0}")]
    IndexOutOfRange(i64),
}

impl Histogram {
    /// Checks everything that storing and querying rely on but the [size](Self::check_size). A stale marker is
    /// always valid.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.is_stale() {
            return Ok(());
        }
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            self.validate_custom()?;
        } else if (SCHEMA_MIN..=SCHEMA_MAX).contains(&self.schema) {
            check_layout(&self.positive).map_err(|error| Invalid::Side("positive", error))?;
            check_layout(&self.negative).map_err(|error| Invalid::Side("negative", error))?;
            self.check_counts(&self.negative).map_err(|error| Invalid::Side("negative", error))?;
            if self.kind == Kind::Float && self.kind.value(self.zero_count) < 0.0 {
                return Err(Invalid::NegativeZeroCount(self.kind.value(self.zero_count)));
            }
            if !self.bounds.is_empty() {
                return Err(Invalid::UnexpectedBounds);
            }
        } else {
            return Err(Invalid::Schema(self.schema));
        }
        if self.kind == Kind::Float && self.kind.value(self.count) < 0.0 {
            return Err(Invalid::NegativeCount(self.kind.value(self.count)));
        }
        self.check_counts(&self.positive).map_err(|error| Invalid::Side("positive", error))?;
        self.check_sum_of_buckets()
    }

    /// Checks that a chunk can hold it.
    pub fn check_size(&self) -> Result<(), Invalid> {
        let bytes = self.chunk_bytes_max();
        if bytes > SAMPLE_BYTES_MAX { Err(Invalid::TooLarge(bytes)) } else { Ok(()) }
    }

    fn validate_custom(&self) -> Result<(), Invalid> {
        if self.bounds.iter().any(|bound| bound.is_nan()) {
            return Err(Invalid::BoundIsNan);
        }
        if let Some(pair) = self.bounds.windows(2).find(|pair| pair[1] <= pair[0]) {
            return Err(Invalid::BoundsOrder(pair[0], pair[1]));
        }
        if self.bounds.last() == Some(&f64::INFINITY) {
            return Err(Invalid::BoundIsInfinite);
        }
        let spans = &self.positive.spans;
        if let Some(first) = spans.first().filter(|span| span.offset < 0) {
            return Err(Invalid::Custom(InvalidSide::NegativeOffset(1, first.offset)));
        }
        check_layout(&self.positive).map_err(Invalid::Custom)?;
        let reach: u64 = spans.iter().map(|span| u64::from(span.length) + span.offset.max(0) as u64).sum();
        if self.bounds.len() as u64 + 1 < reach {
            return Err(Invalid::TooFewBounds(self.bounds.len(), reach));
        }
        if !self.kind.is_zero(self.zero_count) {
            return Err(Invalid::CustomField("have zero count of 0"));
        }
        if self.zero_threshold != 0.0 {
            return Err(Invalid::CustomField("have zero threshold of 0"));
        }
        if !self.negative.spans.is_empty() {
            return Err(Invalid::CustomField("not have negative spans"));
        }
        if !self.negative.counts.is_empty() {
            return Err(Invalid::CustomField("not have negative buckets"));
        }
        Ok(())
    }

    fn check_counts(&self, side: &Side) -> Result<(), InvalidSide> {
        let count = |word: u64| match self.kind {
            // Counts were added up from deltas, which may have gone below zero.
            Kind::Integer => word as i64 as f64,
            Kind::Float => f64::from_bits(word),
        };
        match side.counts.iter().position(|word| count(*word) < 0.0) {
            Some(at) => Err(InvalidSide::NegativeBucket(at + 1, count(side.counts[at]))),
            None => Ok(()),
        }
    }

    /// Float counts may differ from their sum by rounding, so only integers are checked.
    fn check_sum_of_buckets(&self) -> Result<(), Invalid> {
        if self.kind == Kind::Float {
            return Ok(());
        }
        let counts = self.positive.counts.iter().chain(&self.negative.counts);
        let found = counts.fold(self.zero_count, |sum, count| sum.wrapping_add(*count));
        if f64::from_bits(self.sum).is_nan() {
            if found > self.count {
                return Err(Invalid::CountTooSmall(found, self.count));
            }
        } else if found != self.count {
            return Err(Invalid::CountMismatch(found, self.count));
        }
        Ok(())
    }

    /// No sample of this layout is longer in a chunk, layout included.
    pub(crate) fn chunk_bytes_max(&self) -> usize {
        let spans = self.positive.spans.len() + self.negative.spans.len();
        96 + 10 * self.buckets() + 16 * spans + 9 * self.bounds.len()
    }
}

fn check_layout(side: &Side) -> Result<(), InvalidSide> {
    let later = side.spans.iter().enumerate().skip(1);
    if let Some((at, span)) = later.clone().find(|(_, span)| span.offset < 0) {
        return Err(InvalidSide::NegativeOffset(at + 1, span.offset));
    }
    let needed: u64 = side.spans.iter().map(|span| u64::from(span.length)).sum();
    if needed != side.counts.len() as u64 {
        return Err(InvalidSide::SpansMismatch(needed, side.counts.len()));
    }
    check_range(&side.spans)
}

/// The engine's indexes have 32 bits.
fn check_range(spans: &[Span]) -> Result<(), InvalidSide> {
    let (first, last) = (indexes(spans).next(), indexes(spans).last());
    match [first, last].into_iter().flatten().find(|index| i32::try_from(*index).is_err()) {
        Some(index) => Err(InvalidSide::IndexOutOfRange(index)),
        None => Ok(()),
    }
}
