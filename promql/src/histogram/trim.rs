//! The trim operators: what is left of a histogram below or above a value.

use super::{Bucket, FloatHistogram};

/// Which observations a trim keeps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// `</`: those below the value.
    Below,
    /// `>/`: those above the value.
    Above,
}

impl FloatHistogram {
    /// Keeps the observations below `value`, interpolating within the bucket it falls into. Count and sum are
    /// estimated anew from the buckets if anything was cut off.
    pub fn trim_above(&mut self, value: f64) {
        self.trim(value, Keep::Below);
    }

    /// Keeps the observations above `value`.
    pub fn trim_below(&mut self, value: f64) {
        self.trim(value, Keep::Above);
    }

    fn trim(&mut self, value: f64, keep: Keep) {
        let is_custom = self.uses_custom_buckets();
        let mut total = Total::default();
        let positive: Vec<Bucket> = self.positive_buckets().collect();
        let has_positive =
            total.trim_side(self.positive.counts_mut(), &positive, value, keep, true, is_custom);
        let negative: Vec<Bucket> = self.negative_buckets().collect();
        let has_negative =
            total.trim_side(self.negative.counts_mut(), &negative, value, keep, false, is_custom);
        if self.zero_count > 0.0 {
            let (kept, midpoint) =
                trim_zero_bucket(self.zero_bucket(), value, has_negative, has_positive, keep);
            if self.zero_count != kept {
                self.zero_count = kept;
                total.trimmed = true;
            }
            total.sum += midpoint * kept;
            total.count += kept;
        }
        if total.trimmed {
            self.count = total.count;
            self.sum = total.sum;
            self.compact();
        }
    }
}

#[derive(Default)]
struct Total {
    count: f64,
    sum: f64,
    trimmed: bool,
}

impl Total {
    /// Trims the buckets of one side; returns whether it had observations.
    fn trim_side(
        &mut self,
        counts: &mut [f64],
        buckets: &[Bucket],
        value: f64,
        keep: Keep,
        is_positive: bool,
        is_custom: bool,
    ) -> bool {
        let mut populated = false;
        for (count, bucket) in counts.iter_mut().zip(buckets) {
            if bucket.count == 0.0 {
                continue;
            }
            populated = true;
            let (keeps_all, is_cut) = match keep {
                Keep::Below => (bucket.upper <= value, bucket.lower < value),
                Keep::Above => (bucket.lower >= value, bucket.upper > value),
            };
            if keeps_all {
                self.count += bucket.count;
                self.sum += midpoint(bucket.lower, bucket.upper, is_positive, is_custom) * bucket.count;
            } else if is_cut {
                let (kept, midpoint) = trim_bucket(bucket, value, keep, is_positive, is_custom);
                self.count += kept;
                self.sum += midpoint * kept;
                if *count != kept {
                    *count = kept;
                    self.trimmed = true;
                }
            } else {
                *count = 0.0;
                self.trimmed = true;
            }
        }
        populated
    }
}

/// The observations kept of a bucket that contains `value`, and the value that stands for them.
fn trim_bucket(bucket: &Bucket, value: f64, keep: Keep, is_positive: bool, is_custom: bool) -> (f64, f64) {
    if bucket.lower == f64::NEG_INFINITY || bucket.upper == f64::INFINITY {
        return trim_infinite_bucket(bucket, value, keep);
    }
    let below = if value <= bucket.lower {
        0.0
    } else if value >= bucket.upper {
        bucket.count
    } else {
        bucket.count * bucket.fraction_below(value, is_custom)
    };
    match keep {
        Keep::Below => (below, midpoint(bucket.lower, value, is_positive, is_custom)),
        Keep::Above => (bucket.count - below, midpoint(value, bucket.upper, is_positive, is_custom)),
    }
}

/// A bucket without a finite lower or upper bound: nothing is known about the distribution inside, so it is kept or
/// dropped whole, unless its lower bound can be taken as zero.
fn trim_infinite_bucket(bucket: &Bucket, value: f64, keep: Keep) -> (f64, f64) {
    let finite_or_zero = |bound: f64| if bound.is_infinite() { 0.0 } else { bound };
    if bucket.lower == f64::NEG_INFINITY {
        let upper = bucket.upper;
        return match keep {
            Keep::Below if value >= upper => (bucket.count, 0.0),
            Keep::Below if value > 0.0 && upper > 0.0 && upper != f64::INFINITY => {
                (bucket.count * value / upper, value / 2.0)
            }
            Keep::Below if upper <= 0.0 => (bucket.count, value),
            Keep::Above if value <= bucket.lower => (bucket.count, 0.0),
            Keep::Above if value >= 0.0 && upper > value && upper != f64::INFINITY => {
                (bucket.count * (1.0 - value / upper), (value + upper) / 2.0)
            }
            _ => (0.0, finite_or_zero(upper)),
        };
    }
    match keep {
        Keep::Above if value >= bucket.lower => (bucket.count, value),
        _ => (0.0, finite_or_zero(bucket.lower)),
    }
}

fn trim_zero_bucket(
    bucket: Bucket,
    value: f64,
    has_negative: bool,
    has_positive: bool,
    keep: Keep,
) -> (f64, f64) {
    let upper = if has_negative && !has_positive { 0.0 } else { bucket.upper };
    let lower = if has_positive && !has_negative { 0.0 } else { bucket.lower };
    let whole = (bucket.count, (lower + upper) / 2.0);
    match keep {
        Keep::Below if value <= lower => (0.0, 0.0),
        Keep::Below if value >= upper => whole,
        Keep::Below => (bucket.count * ((value - lower) / (upper - lower)), (lower + value) / 2.0),
        Keep::Above if value <= lower => whole,
        Keep::Above if value >= upper => (0.0, 0.0),
        Keep::Above => (bucket.count * ((upper - value) / (upper - lower)), (value + upper) / 2.0),
    }
}

/// The value that stands for the observations between two bounds: the arithmetic mean of custom buckets, the
/// geometric mean of exponential ones.
fn midpoint(lower: f64, upper: f64, is_positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => return 0.0,
        (true, false) => return if upper > 0.0 { upper / 2.0 } else { upper },
        (false, true) => return lower,
        (false, false) => {}
    }
    if linear {
        return (lower + upper) / 2.0;
    }
    let mean = (lower * upper).abs().sqrt();
    if is_positive { mean } else { -mean }
}
