//! Scaling, adding and subtracting histograms.
//!
//! Two histograms are brought to a common layout first: the lower of two exponential resolutions, a zero bucket wide
//! enough for both that ends at a bucket bound of both, or the custom bounds that both have.

use super::custom::{add_mismatched, intersect_bounds};
use super::{CounterReset, FloatHistogram};
use crate::kahan::kahan_add;

/// An exponential histogram met one with custom buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct IncompatibleSchemas;

/// What a caller may want to warn about after combining two histograms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Combined {
    /// One had a counter reset, the other explicitly none.
    pub counter_reset_collision: bool,
    /// Custom bounds differed, and the result has only those that both had.
    pub bounds_reconciled: bool,
}

/// What rounding lost while histograms were added up, parallel to the fields of their sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compensation {
    zero_count: f64,
    count: f64,
    sum: f64,
    positive: Vec<f64>,
    negative: Vec<f64>,
}

impl Compensation {
    /// No loss yet for the sum that `histogram` starts.
    pub fn new(histogram: &FloatHistogram) -> Self {
        Self {
            positive: vec![0.0; histogram.positive.len()],
            negative: vec![0.0; histogram.negative.len()],
            ..Self::default()
        }
    }

    /// The loss as a histogram of its own, to be added to another sum. `sum` is the one it belongs to.
    pub fn to_histogram(&self, sum: &FloatHistogram) -> FloatHistogram {
        let mut lost = sum.clone();
        (lost.zero_count, lost.count, lost.sum) = (self.zero_count, self.count, self.sum);
        lost.positive.counts_mut().copy_from_slice(&self.positive);
        lost.negative.counts_mut().copy_from_slice(&self.negative);
        lost
    }

    /// Multiplies everything.
    pub fn mul(&mut self, factor: f64) {
        self.each(|value| *value *= factor);
    }

    /// Divides everything.
    pub fn div(&mut self, divisor: f64) {
        self.each(|value| *value /= divisor);
    }

    /// Every value: of the zero bucket, the count, the sum, positive and negative buckets.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        let fields = [self.zero_count, self.count, self.sum];
        fields.into_iter().chain(self.positive.iter().copied()).chain(self.negative.iter().copied())
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut f64> {
        let fields = [&mut self.zero_count, &mut self.count, &mut self.sum];
        fields.into_iter().chain(&mut self.positive).chain(&mut self.negative)
    }

    fn each(&mut self, change: impl Fn(&mut f64)) {
        self.values_mut().for_each(change);
    }
}

impl FloatHistogram {
    /// Multiplies all counts and the sum. A negative factor makes the histogram a gauge.
    pub fn mul(&mut self, factor: f64) -> &mut Self {
        self.each_value(|value| *value *= factor);
        if factor < 0.0 {
            self.counter_reset = CounterReset::Gauge;
        }
        self
    }

    /// Divides all counts and the sum. A negative divisor makes the histogram a gauge; zero removes the buckets.
    pub fn div(&mut self, divisor: f64) -> &mut Self {
        if divisor == 0.0 {
            self.positive.clear();
            self.negative.clear();
        }
        self.each_value(|value| *value /= divisor);
        if divisor < 0.0 {
            self.counter_reset = CounterReset::Gauge;
        }
        self
    }

    fn each_value(&mut self, change: impl Fn(&mut f64)) {
        let fields = [&mut self.zero_count, &mut self.count, &mut self.sum];
        let buckets = self.positive.counts_mut().iter_mut().chain(self.negative.counts_mut());
        fields.into_iter().chain(buckets).for_each(change);
    }

    /// A copy at the lower resolution `schema`. The hint is lost unless the schema stays.
    pub fn at_schema(&self, schema: i32) -> Self {
        if schema >= self.schema || self.uses_custom_buckets() {
            return self.clone();
        }
        Self {
            counter_reset: CounterReset::Unknown,
            schema,
            positive: self.positive.reduced(self.schema, schema),
            negative: self.negative.reduced(self.schema, schema),
            ..self.clone()
        }
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) -> Result<Combined, IncompatibleSchemas> {
        self.combine(other, 1.0)
    }

    /// Subtracts `other`. The hint is set as for an addition; the `-` operator makes the result a gauge.
    pub fn sub(&mut self, other: &Self) -> Result<Combined, IncompatibleSchemas> {
        self.combine(other, -1.0)
    }

    fn combine(&mut self, other: &Self, sign: f64) -> Result<Combined, IncompatibleSchemas> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let mut combined =
            Combined { counter_reset_collision: self.combine_counter_reset(other), bounds_reconciled: false };
        if !self.uses_custom_buckets() {
            let (other_zero_count, _) = self.reconcile_zero_buckets(other, None);
            self.zero_count += sign * other_zero_count;
        }
        self.count += sign * other.count;
        self.sum += sign * other.sum;

        if self.uses_custom_buckets() {
            if self.custom_bounds() == other.custom_bounds() {
                self.positive.add(&other.positive, sign, self.schema, self.zero_threshold);
            } else {
                combined.bounds_reconciled = true;
                let bounds = intersect_bounds(self.custom_bounds(), other.custom_bounds());
                (self.positive, _) = add_mismatched(self, None, other, sign < 0.0, &bounds);
                self.custom_values = Some(bounds.into());
            }
            return Ok(combined);
        }

        if other.schema < self.schema {
            self.positive = self.positive.reduced(self.schema, other.schema);
            self.negative = self.negative.reduced(self.schema, other.schema);
            self.schema = other.schema;
        }
        if other.schema > self.schema {
            let positive = other.positive.reduced(other.schema, self.schema);
            let negative = other.negative.reduced(other.schema, self.schema);
            self.positive.add(&positive, sign, self.schema, self.zero_threshold);
            self.negative.add(&negative, sign, self.schema, self.zero_threshold);
        } else {
            self.positive.add(&other.positive, sign, self.schema, self.zero_threshold);
            self.negative.add(&other.negative, sign, self.schema, self.zero_threshold);
        }
        Ok(combined)
    }

    /// Adds `other` with compensated sums; `compensation` belongs to `self` and starts as [`Compensation::new`].
    pub fn kahan_add(
        &mut self,
        other: &Self,
        compensation: &mut Compensation,
    ) -> Result<Combined, IncompatibleSchemas> {
        if self.uses_custom_buckets() != other.uses_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let mut combined =
            Combined { counter_reset_collision: self.combine_counter_reset(other), bounds_reconciled: false };
        let c = compensation;
        if !self.uses_custom_buckets() {
            let (zero_count, zero_compensation) = self.reconcile_zero_buckets(other, Some(c));
            (self.zero_count, c.zero_count) = kahan_add(zero_count, self.zero_count, c.zero_count);
            (self.zero_count, c.zero_count) = kahan_add(zero_compensation, self.zero_count, c.zero_count);
        }
        (self.count, c.count) = kahan_add(other.count, self.count, c.count);
        (self.sum, c.sum) = kahan_add(other.sum, self.sum, c.sum);

        if self.uses_custom_buckets() {
            if self.custom_bounds() == other.custom_bounds() {
                self.positive.kahan_add(
                    &mut c.positive,
                    &other.positive,
                    None,
                    self.schema,
                    self.zero_threshold,
                );
            } else {
                combined.bounds_reconciled = true;
                let bounds = intersect_bounds(self.custom_bounds(), other.custom_bounds());
                (self.positive, c.positive) = add_mismatched(self, Some(&c.positive), other, false, &bounds);
                self.custom_values = Some(bounds.into());
            }
            return Ok(combined);
        }

        if other.schema < self.schema {
            let (from, to) = (self.schema, other.schema);
            (self.positive, c.positive) = self.positive.reduced_with_compensation(&c.positive, from, to);
            (self.negative, c.negative) = self.negative.reduced_with_compensation(&c.negative, from, to);
            self.schema = to;
        }
        let (schema, threshold) = (self.schema, self.zero_threshold);
        if other.schema > schema {
            let reduce = |buckets: &super::Buckets| {
                buckets.reduced_with_compensation(&vec![0.0; buckets.len()], other.schema, schema)
            };
            let (positive, lost) = reduce(&other.positive);
            self.positive.kahan_add(&mut c.positive, &positive, Some(&lost), schema, threshold);
            let (negative, lost) = reduce(&other.negative);
            self.negative.kahan_add(&mut c.negative, &negative, Some(&lost), schema, threshold);
        } else {
            self.positive.kahan_add(&mut c.positive, &other.positive, None, schema, threshold);
            self.negative.kahan_add(&mut c.negative, &other.negative, None, schema, threshold);
        }
        Ok(combined)
    }

    /// Adds what rounding lost, at the end of a compensated sum.
    pub fn add_compensation(&mut self, compensation: &Compensation) {
        self.zero_count += compensation.zero_count;
        self.count += compensation.count;
        self.sum += compensation.sum;
        for (count, lost) in self.positive.counts_mut().iter_mut().zip(&compensation.positive) {
            *count += lost;
        }
        for (count, lost) in self.negative.counts_mut().iter_mut().zip(&compensation.negative) {
            *count += lost;
        }
    }

    /// Sets the hint for the combination with `other`; returns whether the hints contradict each other.
    fn combine_counter_reset(&mut self, other: &Self) -> bool {
        use CounterReset::{Gauge, Unknown};
        let (own, others) = (self.counter_reset, other.counter_reset);
        if own == others || own == Gauge {
            return false;
        }
        if others == Gauge {
            self.counter_reset = Gauge;
            return false;
        }
        self.counter_reset = Unknown;
        own != Unknown && others != Unknown
    }

    /// Widens the zero bucket of `self` until it fits both histograms. Returns the zero count `other` would have with
    /// the same width, and what rounding lost of it.
    fn reconcile_zero_buckets(
        &mut self,
        other: &Self,
        mut compensation: Option<&mut Compensation>,
    ) -> (f64, f64) {
        let mut other_count = other.zero_count;
        let mut other_threshold = other.zero_threshold;
        let mut other_lost = 0.0;
        // Each round widens one of the two, perhaps beyond the other; NaN thresholds end it.
        while let Some(order) =
            self.zero_threshold.partial_cmp(&other_threshold).filter(|order| order.is_ne())
        {
            if order.is_gt() {
                (other_count, other_threshold, other_lost) =
                    other.zero_count_for_threshold(self.zero_threshold, None);
            } else {
                let (count, threshold, lost) =
                    self.zero_count_for_threshold(other_threshold, compensation.as_deref());
                self.zero_count = count;
                self.zero_threshold = threshold;
                if let Some(compensation) = compensation.as_deref_mut() {
                    compensation.zero_count = lost;
                }
                self.empty_buckets_in_zero_bucket(compensation.as_deref_mut());
            }
        }
        (other_count, other_lost)
    }

    /// The zero count with a zero bucket of the larger width `threshold`, the width itself (moved up to the end of a
    /// populated bucket it would cut), and what rounding lost.
    pub(super) fn zero_count_for_threshold(
        &self,
        mut threshold: f64,
        compensation: Option<&Compensation>,
    ) -> (f64, f64, f64) {
        let initial_lost = compensation.map_or(0.0, |c| c.zero_count);
        if threshold <= self.zero_threshold {
            return (self.zero_count, self.zero_threshold, initial_lost);
        }
        'widen: loop {
            let (mut count, mut lost) = (self.zero_count, initial_lost);
            for (i, bucket) in self.positive_buckets().enumerate() {
                if bucket.lower >= threshold {
                    break;
                }
                (count, lost) = kahan_add(bucket.count, count, lost);
                if let Some(c) = compensation {
                    (count, lost) = kahan_add(c.positive[i], count, lost);
                }
                if bucket.upper > threshold {
                    if bucket.count != 0.0 {
                        threshold = bucket.upper;
                    }
                    break;
                }
            }
            for (i, bucket) in self.negative_buckets().enumerate() {
                if bucket.upper <= -threshold {
                    break;
                }
                (count, lost) = kahan_add(bucket.count, count, lost);
                if let Some(c) = compensation {
                    (count, lost) = kahan_add(c.negative[i], count, lost);
                }
                if bucket.lower < -threshold {
                    if bucket.count != 0.0 {
                        // The positive side was measured against a narrower bucket: start over.
                        threshold = -bucket.lower;
                        continue 'widen;
                    }
                    break;
                }
            }
            return (count, threshold, lost);
        }
    }

    fn empty_buckets_in_zero_bucket(&mut self, compensation: Option<&mut Compensation>) {
        let threshold = self.zero_threshold;
        let positive = self.positive_buckets().take_while(|bucket| bucket.lower < threshold).count();
        let negative = self.negative_buckets().take_while(|bucket| bucket.upper > -threshold).count();
        self.positive.counts_mut()[..positive].fill(0.0);
        self.negative.counts_mut()[..negative].fill(0.0);
        if let Some(c) = compensation {
            c.positive[..positive].fill(0.0);
            c.negative[..negative].fill(0.0);
            self.positive.compact(Some(&mut c.positive));
            self.negative.compact(Some(&mut c.negative));
        } else {
            self.compact();
        }
    }
}
