//! Detection of counter resets between two histograms of a series.

use super::buckets::index_at_schema;
use super::{Buckets, CounterReset, FloatHistogram, custom, exponential_upper_bound, is_exponential_schema};

impl FloatHistogram {
    /// Whether the counter was reset between `previous` and this histogram.
    ///
    /// A hint decides. Without one, a reset is any count that went down, a populated bucket that vanished, a higher
    /// resolution, or a zero bucket that shrank or now cuts a populated bucket: none of those can happen otherwise.
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.counter_reset {
            CounterReset::Reset => return true,
            CounterReset::NotReset => return false,
            // A gauge is not expected here; if one comes, it is treated as a counter (callers warn).
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() {
            if !previous.uses_custom_buckets() {
                return true;
            }
            if self.custom_bounds() != previous.custom_bounds() {
                return custom::has_reset(self, previous);
            }
        } else if previous.uses_custom_buckets() {
            return true;
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        let (previous_zero_count, threshold, _) =
            previous.zero_count_for_threshold(self.zero_threshold, None);
        if threshold != self.zero_threshold || self.zero_count < previous_zero_count {
            return true;
        }
        self.side_has_reset(&self.positive, &previous.positive, previous.schema)
            || self.side_has_reset(&self.negative, &previous.negative, previous.schema)
    }

    fn side_has_reset(&self, current: &Buckets, previous: &Buckets, previous_schema: i32) -> bool {
        let mut current =
            MergedBuckets::new(current, self.schema, self.schema, self.zero_threshold).peekable();
        for (index, count) in MergedBuckets::new(previous, previous_schema, self.schema, self.zero_threshold)
        {
            while current.next_if(|(candidate, _)| *candidate < index).is_some() {}
            let now = match current.peek() {
                Some((candidate, now)) if *candidate == index => *now,
                _ if count != 0.0 => return true,
                _ => continue,
            };
            if now < count {
                return true;
            }
        }
        false
    }
}

/// Buckets at a lower resolution, without those inside the zero bucket.
struct MergedBuckets<'a> {
    buckets: &'a Buckets,
    from: i32,
    to: i32,
    zero_threshold: f64,
    at: usize,
}

impl<'a> MergedBuckets<'a> {
    fn new(buckets: &'a Buckets, from: i32, to: i32, zero_threshold: f64) -> Self {
        Self { buckets, from, to, zero_threshold, at: 0 }
    }

    fn target_index(&self, at: usize) -> i32 {
        let index = self.buckets.indexes()[at];
        if self.from == self.to { index } else { index_at_schema(index, self.from, self.to) }
    }
}

impl Iterator for MergedBuckets<'_> {
    type Item = (i32, f64);

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.buckets.len() {
            let index = self.target_index(self.at);
            let mut count = 0.0;
            while self.at < self.buckets.len() && self.target_index(self.at) == index {
                count += self.buckets.counts()[self.at];
                self.at += 1;
            }
            let in_zero_bucket = self.zero_threshold != 0.0
                && is_exponential_schema(self.to)
                && exponential_upper_bound(index, self.to) <= self.zero_threshold;
            if !in_zero_bucket {
                return Some((index, count));
            }
        }
        None
    }
}
