//! Sums of many histograms, with what rounding loses.

use gyre_promql::histogram::exponential_upper_bound;

use crate::histogram::{Added, Counts, Histogram, shared_bounds};
use crate::over_time::Sum;

/// A compensated sum of histograms.
pub struct HistogramSum {
    value: Histogram,
    lost: Histogram,
    /// Whether there is more than the first.
    added: bool,
}

impl HistogramSum {
    pub fn new(first: &Histogram) -> Self {
        let lost =
            Histogram { positive: Counts::new(), negative: Counts::new(), ..first.scaled(|_| 0.0, false) };
        Self { value: first.clone(), lost, added: false }
    }

    /// Changes the layout to one that holds `other`, too. `None` if there is none.
    fn prepare(&mut self, other: &Histogram) -> Option<Added> {
        if self.value.is_custom() != other.is_custom() {
            return None;
        }
        let collision = self.value.combine_hints(other);
        let hint = self.value.hint;
        let mut added = Added { collision, reconciled: false };
        if self.value.is_custom() {
            if self.value.bounds != other.bounds {
                added.reconciled = true;
                let bounds = shared_bounds(&self.value.bounds, &other.bounds);
                self.value = self.value.with_bounds(&bounds);
                self.lost = self.lost.with_bounds(&bounds);
            }
        } else {
            // What was lost of buckets that the zero bucket swallows is swallowed with them.
            let before = self.value.threshold;
            self.value.reconcile_zero(other);
            if self.value.threshold != before {
                (self.lost.zero, _) = self.lost.widened_zero(self.value.threshold);
                self.lost.threshold = self.value.threshold;
                let (own, schema) = (self.value.threshold, self.value.schema);
                let outside = |index: &i32| exponential_upper_bound(*index - 1, schema) >= own;
                self.lost.positive.retain(|index, _| outside(index));
                self.lost.negative.retain(|index, _| outside(index));
            }
            if other.schema < self.value.schema {
                self.value = self.value.at_schema(other.schema);
                self.lost = self.lost.at_schema(other.schema);
            }
        }
        self.value.hint = hint;
        Some(added)
    }

    /// `other` in the layout of `target`, which [`HistogramSum::prepare`] has made to fit.
    fn aligned(&self, other: &Histogram, target: &Histogram) -> Histogram {
        if other.is_custom() {
            return if other.bounds == target.bounds {
                other.clone()
            } else {
                other.with_bounds(&target.bounds)
            };
        }
        let zero = if other.threshold == target.threshold {
            other.zero
        } else {
            other.widened_zero(target.threshold).0
        };
        let mut aligned = other.at_schema(target.schema);
        aligned.zero = zero;
        let outside = |index: &i32| exponential_upper_bound(*index, target.schema) > target.threshold;
        aligned.positive.retain(|index, _| outside(index));
        aligned.negative.retain(|index, _| outside(index));
        aligned
    }

    pub fn add(&mut self, other: &Histogram) -> Option<Added> {
        let added = self.prepare(other)?;
        let aligned = self.aligned(other, &self.value);
        let inc = |total: &mut f64, lost: &mut f64, value: f64| {
            let mut sum = Sum { total: *total, lost: *lost };
            sum.add(value);
            (*total, *lost) = (sum.total, sum.lost);
        };
        self.added = true;
        let Self { value, lost, .. } = self;
        inc(&mut value.zero, &mut lost.zero, aligned.zero);
        inc(&mut value.count, &mut lost.count, other.count);
        inc(&mut value.sum, &mut lost.sum, other.sum);
        let sides = [
            (&mut value.positive, &mut lost.positive, &aligned.positive),
            (&mut value.negative, &mut lost.negative, &aligned.negative),
        ];
        for (value, lost, others) in sides {
            for (&index, &count) in others {
                inc(value.entry(index).or_insert(0.0), lost.entry(index).or_insert(0.0), count);
            }
        }
        Some(added)
    }

    pub fn divided(&self, divisor: f64) -> Self {
        Self { value: self.value.divided(divisor), lost: self.lost.divided(divisor), added: self.added }
    }

    pub fn total(self) -> Histogram {
        let Self { mut value, lost, added } = self;
        if !added {
            // Adding nothing would turn -0 into 0.
            return value;
        }
        value.zero += lost.zero;
        value.count += lost.count;
        value.sum += lost.sum;
        for (value, lost) in [(&mut value.positive, &lost.positive), (&mut value.negative, &lost.negative)] {
            for (index, lost) in lost {
                *value.entry(*index).or_insert(0.0) += lost;
            }
        }
        value
    }
}

impl Histogram {
    /// `self + sign * other`; `None` if one has custom buckets and the other has not.
    pub fn plus(&self, other: &Self, sign: f64) -> Option<(Self, Added)> {
        let mut sum = HistogramSum::new(self);
        let added = sum.prepare(other)?;
        let aligned = sum.aligned(other, &sum.value);
        let mut plain = sum.value;
        if !plain.is_custom() {
            plain.zero += sign * aligned.zero;
        }
        plain.count += sign * other.count;
        plain.sum += sign * other.sum;
        for (own, others) in
            [(&mut plain.positive, &aligned.positive), (&mut plain.negative, &aligned.negative)]
        {
            for (&index, &count) in others {
                let count = sign * count;
                own.entry(index).and_modify(|total| *total += count).or_insert(count);
            }
        }
        if added.reconciled {
            plain.positive.retain(|_, count| *count != 0.0);
        }
        Some((plain, added))
    }
}
