//! Native histograms: values of samples that hold a whole distribution.
//!
//! A [`FloatHistogram`] is Prometheus's, exponential (schemas -4 to 8) or with custom bounds (schema -53, "NHCB"),
//! with float counts: integer histograms are converted on the way in. Results are compared with Prometheus's field
//! by field, so the order of float operations follows its algorithms.
//!
//! What may go wrong: histograms come from outside and may be inconsistent. [`FloatHistogram::validate`] is for the
//! way in; the arithmetic here never panics on one that was not validated, it merely gives a useless answer.

mod arithmetic;
mod bounds;
mod buckets;
mod custom;
mod iter;
mod reset;
mod text;
mod trim;

use std::sync::Arc;

pub use arithmetic::{Combined, Compensation, IncompatibleSchemas};
pub use bounds::{
    EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MIN, exponential_upper_bound, is_exponential_schema,
    upper_bound,
};
pub use buckets::{Buckets, Span};
pub use iter::Bucket;

/// The schema of histograms with custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;

/// What is known about a counter reset between a histogram and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterReset {
    /// To be found out by comparing both.
    #[default]
    Unknown,
    /// There was a reset.
    Reset,
    /// There was none.
    NotReset,
    /// The histogram is a gauge; the question does not arise.
    Gauge,
}

/// A native histogram with float counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    /// Relation to the previous histogram of the series.
    pub counter_reset: CounterReset,
    /// Bucket layout: -4 to 8 exponential, [`CUSTOM_BUCKETS_SCHEMA`] custom.
    pub schema: i32,
    /// Half the width of the zero bucket. Unused with custom buckets.
    pub zero_threshold: f64,
    /// Observations in the zero bucket. Unused with custom buckets.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations; also carries the stale marker.
    pub sum: f64,
    /// Buckets of positive observations, or all buckets of a custom schema.
    pub positive: Buckets,
    /// Buckets of negative observations, by absolute value.
    pub negative: Buckets,
    /// Upper bounds of a custom schema, without the last (+Inf). Shared, never changed.
    pub custom_values: Option<Arc<[f64]>>,
}

/// Why a histogram is inconsistent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidHistogram {
    /// Neither exponential nor custom.
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got schema {0}"
    )]
    Schema(i32),
    /// A count below zero.
    #[error("histogram's observation count is negative: {0}")]
    NegativeCount(f64),
    /// A bucket with a count below zero.
    #[error("histogram has a bucket whose observation count is negative: {0}")]
    NegativeBucketCount(f64),
    /// Custom bounds that do not increase, are NaN or end in +Inf.
    #[error("histogram custom bounds must be finite and in strictly increasing order")]
    CustomBounds,
    /// More buckets than bounds.
    #[error("histogram custom bounds are too few")]
    CustomBoundsTooFew,
    /// Fields that a custom schema must not have.
    #[error("custom buckets: must have no zero bucket and no negative buckets")]
    CustomWithExponentialFields,
    /// Custom bounds with an exponential schema.
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialWithCustomBounds,
}

/// Whether `schema` is the one of custom bucket bounds.
pub fn is_custom_buckets_schema(schema: i32) -> bool {
    schema == CUSTOM_BUCKETS_SCHEMA
}

impl FloatHistogram {
    /// Whether the bucket bounds are given by [`FloatHistogram::custom_values`].
    pub fn uses_custom_buckets(&self) -> bool {
        is_custom_buckets_schema(self.schema)
    }

    /// The custom bounds; empty for exponential histograms.
    pub fn custom_bounds(&self) -> &[f64] {
        self.custom_values.as_deref().unwrap_or(&[])
    }

    /// Whether this stands for the end of a series.
    pub fn is_stale_marker(&self) -> bool {
        crate::value::is_stale_nan(self.sum)
    }

    /// Removes empty buckets.
    pub fn compact(&mut self) -> &mut Self {
        self.positive.compact(None);
        self.negative.compact(None);
        self
    }

    /// Whether both hold the same data, float fields by bit pattern. The counter reset hint does not count; an empty
    /// bucket is not the same as none, so compact both first if that should not matter.
    pub fn same_data(&self, other: &Self) -> bool {
        self.schema == other.schema
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && (!self.uses_custom_buckets() || self.custom_bounds() == other.custom_bounds())
            && self.zero_threshold == other.zero_threshold
            && self.zero_count.to_bits() == other.zero_count.to_bits()
            && self.negative.same_as(&other.negative)
            && self.positive.same_as(&other.positive)
    }

    /// What the histogram counts for against a limit on samples: one per 16 bytes of Prometheus's representation.
    pub fn size_in_samples(&self) -> usize {
        let spans = self.positive.span_count() + self.negative.span_count();
        let floats = self.positive.len() + self.negative.len() + self.custom_bounds().len();
        (168 + 8 * (spans + floats) + 8) / 16
    }

    /// Bytes held, shared bounds not counted.
    pub fn size_bytes(&self) -> usize {
        size_of::<Self>() + 12 * (self.positive.len() + self.negative.len())
    }

    /// Whether a count or the sum is infinite, as after adding up too much.
    pub fn has_overflow(&self) -> bool {
        let fields = [self.zero_count, self.count, self.sum];
        let all = fields
            .iter()
            .chain(self.positive.counts())
            .chain(self.negative.counts())
            .chain(self.custom_bounds());
        all.into_iter().any(|value| value.is_infinite())
    }

    /// Checks counts, layout and the fields the schema allows.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        if self.uses_custom_buckets() {
            self.validate_custom()?;
        } else if !is_exponential_schema(self.schema) {
            return Err(InvalidHistogram::Schema(self.schema));
        } else if self.custom_values.is_some() {
            return Err(InvalidHistogram::ExponentialWithCustomBounds);
        }
        let buckets = [self.zero_count];
        let buckets = buckets.iter().chain(self.positive.counts()).chain(self.negative.counts());
        if let Some(&count) = buckets.into_iter().find(|&&count| count < 0.0) {
            return Err(InvalidHistogram::NegativeBucketCount(count));
        }
        if self.count < 0.0 {
            return Err(InvalidHistogram::NegativeCount(self.count));
        }
        Ok(())
    }

    fn validate_custom(&self) -> Result<(), InvalidHistogram> {
        let bounds = self.custom_bounds();
        let increasing = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        if !increasing || bounds.iter().any(|bound| bound.is_nan()) || bounds.last() == Some(&f64::INFINITY) {
            return Err(InvalidHistogram::CustomBounds);
        }
        let in_range = |&index: &i32| usize::try_from(index).is_ok_and(|index| index <= bounds.len());
        if !self.positive.indexes().iter().all(in_range) {
            return Err(InvalidHistogram::CustomBoundsTooFew);
        }
        if self.zero_count != 0.0 || self.zero_threshold != 0.0 || !self.negative.is_empty() {
            return Err(InvalidHistogram::CustomWithExponentialFields);
        }
        Ok(())
    }
}
