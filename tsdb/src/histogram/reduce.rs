//! Halving the resolution of an exponential histogram, so that it has fewer buckets.

use super::layout::spans_of;
use super::{Histogram, Kind, SCHEMA_MIN, Side};

impl Histogram {
    /// Halves the resolution until there are at most `max` buckets; false if that cannot be reached, also
    /// because bounds are custom. The histogram must be valid.
    pub fn reduce_to_buckets(&mut self, max: usize) -> bool {
        while self.buckets() > max {
            if self.schema <= SCHEMA_MIN {
                return false;
            }
            self.schema -= 1;
            self.positive = self.positive.halved(self.kind);
            self.negative = self.negative.halved(self.kind);
        }
        true
    }
}

impl Side {
    /// Bucket i of the finer schema lies in bucket ceil(i/2) of the coarser one.
    fn halved(&self, kind: Kind) -> Side {
        let mut indexes: Vec<i64> = Vec::new();
        let mut counts: Vec<u64> = Vec::new();
        for (index, count) in self.iter() {
            let index = ((index - 1) >> 1) + 1;
            match counts.last_mut() {
                Some(last) if indexes.last() == Some(&index) => *last = sum(kind, *last, count),
                _ => {
                    indexes.push(index);
                    counts.push(count);
                }
            }
        }
        Side { spans: spans_of(indexes.into_iter()), counts }
    }
}

fn sum(kind: Kind, a: u64, b: u64) -> u64 {
    match kind {
        Kind::Integer => a.wrapping_add(b),
        Kind::Float => (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Span;
    use super::*;

    #[test]
    fn buckets_that_meet_are_added_up() {
        let positive = Side { spans: vec![Span { offset: -1, length: 5 }], counts: vec![1, 2, 3, 4, 5] };
        let mut histogram = Histogram { schema: 3, count: 15, positive, ..Histogram::default() };
        assert!(histogram.reduce_to_buckets(3));
        // Indexes -1, 0 | 1, 2 | 3 of schema 3 are 0, 1, 2 of schema 2.
        let expected = Side { spans: vec![Span { offset: 0, length: 3 }], counts: vec![3, 7, 5] };
        assert_eq!((histogram.schema, &histogram.positive), (2, &expected));
    }

    #[test]
    fn the_coarsest_and_the_custom_schema_have_no_lower_one() {
        let positive = Side { spans: vec![Span { offset: 0, length: 3 }], counts: vec![1; 3] };
        for schema in [SCHEMA_MIN, super::super::CUSTOM_BUCKETS_SCHEMA] {
            let mut histogram = Histogram { schema, positive: positive.clone(), ..Histogram::default() };
            assert!(!histogram.reduce_to_buckets(2));
        }
    }
}
