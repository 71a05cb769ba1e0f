//! Histograms as text: the form Prometheus prints (label values of `count_values`, error texts).

use std::fmt;

use super::{Bucket, FloatHistogram};
use crate::gostd::format_g;

impl fmt::Display for FloatHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", format_g(self.count), format_g(self.sum))?;
        let zero = (self.zero_count != 0.0).then(|| self.zero_bucket());
        for bucket in self.negative_buckets().rev().chain(zero).chain(self.positive_buckets()) {
            if bucket.count != 0.0 {
                write!(f, ", {bucket}")?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let opening = if self.lower_inclusive { '[' } else { '(' };
        let closing = if self.upper_inclusive { ']' } else { ')' };
        let (lower, upper) = (format_g(self.lower), format_g(self.upper));
        write!(f, "{opening}{lower},{upper}{closing}:{}", format_g(self.count))
    }
}
