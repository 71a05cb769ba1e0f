//! The buckets of a histogram with their bounds.

use super::{FloatHistogram, upper_bound};

/// One bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether the lower bound belongs to the bucket.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to the bucket.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

impl Bucket {
    /// The share of the bucket's observations below `value`, which lies inside the bucket: by linear interpolation,
    /// or else by exponential interpolation.
    pub fn fraction_below(&self, value: f64, linear: bool) -> f64 {
        if linear {
            return (value - self.lower) / (self.upper - self.lower);
        }
        let log_lower = self.lower.abs().log2();
        let log_upper = self.upper.abs().log2();
        let log_value = value.abs().log2();
        if value > 0.0 {
            (log_value - log_lower) / (log_upper - log_lower)
        } else {
            1.0 - ((log_value - log_upper) / (log_lower - log_upper))
        }
    }
}

impl FloatHistogram {
    /// The buckets of positive observations (all buckets, with custom bounds), ascending.
    pub fn positive_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + Clone + '_ {
        self.positive.iter().map(|(index, count)| {
            let upper = upper_bound(index, self.schema, self.custom_bounds());
            let lower = upper_bound(index - 1, self.schema, self.custom_bounds());
            self.bucket(index, lower, upper, count)
        })
    }

    /// The buckets of negative observations, from the one next to zero downwards.
    pub fn negative_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + Clone + '_ {
        self.negative.iter().map(|(index, count)| {
            let lower = -upper_bound(index, self.schema, self.custom_bounds());
            let upper = -upper_bound(index - 1, self.schema, self.custom_bounds());
            self.bucket(index, lower, upper, count)
        })
    }

    /// The zero bucket.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// All buckets, ascending; the zero bucket if it is not empty. Bounds of neighbours of the zero bucket that
    /// reach into it are moved to its edge.
    pub fn all_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + Clone + '_ {
        let zero = (self.zero_count > 0.0).then(|| self.zero_bucket());
        let threshold = self.zero_threshold;
        let negative = self.negative_buckets().rev().map(move |mut bucket| {
            if bucket.upper < 0.0 && bucket.upper > -threshold {
                bucket.upper = -threshold;
            }
            bucket
        });
        let positive = self.positive_buckets().map(move |mut bucket| {
            if bucket.lower > 0.0 && bucket.lower < threshold {
                bucket.lower = threshold;
            }
            bucket
        });
        negative.chain(zero).chain(positive)
    }

    fn bucket(&self, index: i32, lower: f64, upper: f64, count: f64) -> Bucket {
        let (lower_inclusive, upper_inclusive) =
            if self.uses_custom_buckets() { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
        Bucket { lower, upper, lower_inclusive, upper_inclusive, count }
    }
}
