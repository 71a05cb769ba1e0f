//! Bucket counts of one side of a histogram, as a sparse list.
//!
//! Prometheus's formats describe which buckets exist by spans (gap, length); arithmetic is simpler and no slower on a
//! sorted list of indexes. An index in the list with a count of zero is a bucket that exists and is empty, which
//! matters when histograms are compared; [`Buckets::compact`] removes those.

use super::bounds::{exponential_upper_bound, is_exponential_schema};
use crate::kahan::kahan_add;

/// A run of adjacent buckets, as in Prometheus's exposition and chunk formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Gap to the previous span, or, of the first span, the index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// Sorted bucket indexes and their (absolute) counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    indexes: Vec<i32>,
    counts: Vec<f64>,
}

impl Buckets {
    /// Buckets laid out by `spans`. Missing counts are zero, surplus counts are dropped: validate before.
    pub fn from_spans(spans: &[Span], counts: &[f64]) -> Self {
        let mut buckets = Self::with_capacity(counts.len());
        let mut counts = counts.iter();
        let mut index = 0i32;
        for span in spans {
            index = index.wrapping_add(span.offset);
            for _ in 0..span.length {
                let Some(&count) = counts.next() else { return buckets };
                buckets.push(index, count);
                index = index.wrapping_add(1);
            }
        }
        buckets
    }

    /// Empty, with room for `capacity` buckets.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { indexes: Vec::with_capacity(capacity), counts: Vec::with_capacity(capacity) }
    }

    /// Appends a bucket; `index` must be above the last one.
    pub fn push(&mut self, index: i32, count: f64) {
        debug_assert!(self.indexes.last().is_none_or(|&last| last < index));
        self.indexes.push(index);
        self.counts.push(count);
    }

    /// The layout as spans, without empty ones.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut next = 0;
        for &index in &self.indexes {
            match spans.last_mut() {
                Some(span) if index == next => span.length += 1,
                _ => spans.push(Span { offset: index - next, length: 1 }),
            }
            next = index + 1;
        }
        spans
    }

    /// Number of spans the layout needs.
    pub fn span_count(&self) -> usize {
        let gaps = self.indexes.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count();
        if self.indexes.is_empty() { 0 } else { gaps + 1 }
    }

    /// The counts, in the order of the indexes.
    pub fn counts(&self) -> &[f64] {
        &self.counts
    }

    /// The counts, to be changed in place.
    pub fn counts_mut(&mut self) -> &mut [f64] {
        &mut self.counts
    }

    /// The indexes, ascending.
    pub fn indexes(&self) -> &[i32] {
        &self.indexes
    }

    /// Number of buckets, empty ones included.
    pub fn len(&self) -> usize {
        self.indexes.len()
    }

    /// Whether there are no buckets.
    pub fn is_empty(&self) -> bool {
        self.indexes.is_empty()
    }

    /// `(index, count)`, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, f64)> + Clone + '_ {
        self.indexes.iter().copied().zip(self.counts.iter().copied())
    }

    /// Removes all buckets.
    pub fn clear(&mut self) {
        self.indexes.clear();
        self.counts.clear();
    }

    /// Whether layout and counts are the same, counts by bit pattern.
    pub fn same_as(&self, other: &Self) -> bool {
        self.indexes == other.indexes
            && self.counts.iter().zip(&other.counts).all(|(a, b)| a.to_bits() == b.to_bits())
    }

    /// Removes empty buckets. With `compensation` (parallel to the counts) a bucket is empty if both are zero.
    pub fn compact(&mut self, mut compensation: Option<&mut Vec<f64>>) {
        let is_empty = |counts: &[f64], compensation: Option<&Vec<f64>>, at: usize| {
            counts[at] == 0.0 && compensation.is_none_or(|values| values[at] == 0.0)
        };
        if (0..self.len()).all(|at| !is_empty(&self.counts, compensation.as_deref(), at)) {
            return;
        }
        let mut kept = 0;
        for at in 0..self.len() {
            if is_empty(&self.counts, compensation.as_deref(), at) {
                continue;
            }
            self.indexes[kept] = self.indexes[at];
            self.counts[kept] = self.counts[at];
            if let Some(values) = compensation.as_deref_mut() {
                values[kept] = values[at];
            }
            kept += 1;
        }
        self.indexes.truncate(kept);
        self.counts.truncate(kept);
        if let Some(values) = compensation {
            values.truncate(kept);
        }
    }

    /// The same observations at the lower resolution `to`.
    pub fn reduced(&self, from: i32, to: i32) -> Self {
        let mut reduced = Self::with_capacity(self.len());
        for (index, count) in self.iter() {
            let index = index_at_schema(index, from, to);
            if reduced.indexes.last() == Some(&index) {
                if let Some(last) = reduced.counts.last_mut() {
                    *last += count;
                }
            } else {
                reduced.push(index, count);
            }
        }
        reduced
    }

    /// [`Buckets::reduced`] with compensated sums; `compensation` is parallel to the counts, as is the returned one.
    pub fn reduced_with_compensation(&self, compensation: &[f64], from: i32, to: i32) -> (Self, Vec<f64>) {
        let mut reduced = Self::with_capacity(self.len());
        let mut reduced_compensation: Vec<f64> = Vec::with_capacity(self.len());
        for ((index, count), &extra) in self.iter().zip(compensation) {
            let index = index_at_schema(index, from, to);
            if reduced.indexes.last() == Some(&index) {
                let last = reduced.len() - 1;
                let (sum, rest) = kahan_add(count, reduced.counts[last], reduced_compensation[last]);
                (reduced.counts[last], reduced_compensation[last]) = kahan_add(extra, sum, rest);
            } else {
                reduced.push(index, count);
                reduced_compensation.push(extra);
            }
        }
        (reduced, reduced_compensation)
    }

    /// Adds `sign * other`. Leading buckets of `other` that end at or below `threshold` (they are part of the zero
    /// bucket) are left out.
    pub fn add(&mut self, other: &Self, sign: f64, schema: i32, threshold: f64) {
        let skipped = other.leading_below(schema, threshold);
        if self.indexes[..] == other.indexes[skipped..] {
            for (count, other) in self.counts.iter_mut().zip(&other.counts[skipped..]) {
                *count += sign * other;
            }
            return;
        }
        let mut sum = Self::with_capacity(self.len() + other.len() - skipped);
        let mut at = 0;
        for (index, count) in other.iter().skip(skipped) {
            while at < self.len() && self.indexes[at] < index {
                sum.push(self.indexes[at], self.counts[at]);
                at += 1;
            }
            if at < self.len() && self.indexes[at] == index {
                sum.push(index, self.counts[at] + sign * count);
                at += 1;
            } else {
                sum.push(index, sign * count);
            }
        }
        sum.indexes.extend_from_slice(&self.indexes[at..]);
        sum.counts.extend_from_slice(&self.counts[at..]);
        *self = sum;
    }

    /// [`Buckets::add`] with compensated sums. `compensation` is parallel to the counts and stays so;
    /// `other_compensation` to those of `other`.
    pub fn kahan_add(
        &mut self,
        compensation: &mut Vec<f64>,
        other: &Self,
        other_compensation: Option<&[f64]>,
        schema: i32,
        threshold: f64,
    ) {
        let skipped = other.leading_below(schema, threshold);
        let mut sum = Self::with_capacity(self.len() + other.len() - skipped);
        let mut sum_compensation = Vec::with_capacity(sum.indexes.capacity());
        let mut at = 0;
        for (i, (index, count)) in other.iter().enumerate().skip(skipped) {
            let extra = other_compensation.map_or(0.0, |values| values[i]);
            while at < self.len() && self.indexes[at] < index {
                sum.push(self.indexes[at], self.counts[at]);
                sum_compensation.push(compensation[at]);
                at += 1;
            }
            if at < self.len() && self.indexes[at] == index {
                let (mut value, mut rest) = kahan_add(count, self.counts[at], compensation[at]);
                if extra != 0.0 {
                    (value, rest) = kahan_add(extra, value, rest);
                }
                sum.push(index, value);
                sum_compensation.push(rest);
                at += 1;
            } else {
                sum.push(index, count);
                sum_compensation.push(extra);
            }
        }
        sum.indexes.extend_from_slice(&self.indexes[at..]);
        sum.counts.extend_from_slice(&self.counts[at..]);
        sum_compensation.extend_from_slice(&compensation[at..]);
        *self = sum;
        *compensation = sum_compensation;
    }

    fn leading_below(&self, schema: i32, threshold: f64) -> usize {
        if !is_exponential_schema(schema) {
            return 0;
        }
        self.indexes.iter().take_while(|&&index| exponential_upper_bound(index, schema) <= threshold).count()
    }
}

/// The bucket of schema `to` that contains bucket `index` of the finer schema `from`.
pub fn index_at_schema(index: i32, from: i32, to: i32) -> i32 {
    ((index - 1) >> (from - to)) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(i32, f64)]) -> Buckets {
        let mut buckets = Buckets::default();
        for &(index, count) in pairs {
            buckets.push(index, count);
        }
        buckets
    }

    #[test]
    fn spans_and_indexes_describe_the_same_layout() {
        let spans = [Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }];
        let laid_out = Buckets::from_spans(&spans, &[1.0, 2.0, 3.0]);
        assert_eq!(laid_out, buckets(&[(-2, 1.0), (-1, 2.0), (3, 3.0)]));
        assert_eq!(laid_out.spans(), spans);
        assert_eq!(laid_out.span_count(), 2);
        let with_empty_span =
            [Span { offset: 1, length: 1 }, Span { offset: 1, length: 0 }, Span { offset: 1, length: 1 }];
        assert_eq!(Buckets::from_spans(&with_empty_span, &[1.0, 2.0]), buckets(&[(1, 1.0), (4, 2.0)]));
    }

    #[test]
    fn adding_merges_layouts() {
        let mut sum = buckets(&[(0, 1.0), (2, 2.0)]);
        sum.add(&buckets(&[(-1, 5.0), (2, 1.0), (4, 7.0)]), -1.0, 0, 0.0);
        assert_eq!(sum, buckets(&[(-1, -5.0), (0, 1.0), (2, 1.0), (4, -7.0)]));
    }

    #[test]
    fn halving_the_resolution_merges_pairs_that_end_at_even_indexes() {
        let reduced = buckets(&[(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]).reduced(1, 0);
        assert_eq!(reduced, buckets(&[(0, 1.0), (1, 5.0), (2, 4.0)]));
    }
}
