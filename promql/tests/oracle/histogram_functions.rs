//! The naive evaluator's functions of single histograms.

use crate::histogram::{Bucket, Histogram};
use crate::over_time::Sum;

/// The value below which a share `q` of the observations lies; and what to tell about it.
pub fn quantile(q: f64, histogram: &Histogram) -> (f64, Option<&'static str>) {
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || q.is_nan() {
        return (f64::NAN, None);
    }
    let from_below = histogram.sum.is_nan() || q < 0.5;
    let mut buckets = histogram.buckets();
    if !from_below {
        buckets.reverse();
    }
    let mut rank = if from_below { q * histogram.count } else { (1.0 - q) * histogram.count };
    let mut bucket = Bucket { lower: 0.0, upper: 0.0, count: 0.0 };
    let mut seen = 0.0;
    let mut left = buckets.iter();
    for candidate in left.by_ref() {
        bucket = *candidate;
        if bucket.count == 0.0 {
            continue;
        }
        seen += bucket.count;
        if seen >= rank {
            break;
        }
    }
    if histogram.is_custom() {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, None);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        narrow_zero(histogram, &mut bucket);
    }
    seen = f64::min(seen, histogram.count);
    if seen < rank {
        return if histogram.sum.is_nan() { (f64::NAN, Some("quantile NaN")) } else { (bucket.upper, None) };
    }
    rank = if from_below { rank - (seen - bucket.count) } else { seen - rank };
    let mut note = None;
    if histogram.sum.is_nan() {
        seen += left.map(|bucket| bucket.count).sum::<f64>();
        if seen < histogram.count {
            note = Some("quantile skewed");
        }
    }
    let fraction = rank / bucket.count;
    if histogram.is_custom() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return (bucket.lower + (bucket.upper - bucket.lower) * fraction, note);
    }
    let (low, high) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    if bucket.lower > 0.0 {
        ((low + (high - low) * fraction).exp2(), note)
    } else {
        (-(high + (low - high) * (1.0 - fraction)).exp2(), note)
    }
}

/// A histogram without observations on one side has none in that half of its zero bucket.
fn narrow_zero(histogram: &Histogram, bucket: &mut Bucket) {
    if histogram.negative.is_empty() && !histogram.positive.is_empty() {
        bucket.lower = 0.0;
    } else if histogram.positive.is_empty() && !histogram.negative.is_empty() {
        bucket.upper = 0.0;
    }
}

fn share_below(bucket: &Bucket, value: f64, linear: bool) -> f64 {
    if linear {
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let (low, high) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
    let at = value.abs().log2();
    if value > 0.0 { (at - low) / (high - low) } else { 1.0 - (at - high) / (low - high) }
}

/// The share of observations between two values.
pub fn fraction(lower: f64, upper: f64, histogram: &Histogram) -> (f64, Option<&'static str>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let rank_of = |value: f64| -> Option<f64> {
        let mut rank = 0.0;
        for mut bucket in histogram.buckets() {
            let holds_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
            if holds_zero {
                narrow_zero(histogram, &mut bucket);
            }
            if bucket.lower >= value {
                return Some(rank);
            }
            if bucket.upper > value {
                let linear = histogram.is_custom() || holds_zero;
                return Some(if linear && bucket.lower == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + bucket.count * share_below(&bucket, value, linear)
                });
            }
            rank += bucket.count;
        }
        None
    };
    let mut total = histogram.count;
    let mut note = None;
    if histogram.sum.is_nan() {
        total = histogram.buckets().iter().map(|bucket| bucket.count).sum();
        if total < histogram.count {
            note = Some("fraction NaN");
        }
    }
    let capped = |rank: Option<f64>| rank.filter(|rank| *rank <= total).unwrap_or(total);
    ((capped(rank_of(upper)) - capped(rank_of(lower))) / histogram.count, note)
}

/// The variance, each observation taken for the middle of its bucket.
pub fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut sum = Sum::default();
    for bucket in histogram.buckets().iter().filter(|bucket| bucket.count != 0.0) {
        let middle = if histogram.is_custom() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let middle = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -middle } else { middle }
        };
        let delta = middle - mean;
        sum.add(bucket.count * delta * delta);
    }
    (sum.total + sum.lost) / histogram.count
}

/// What is left of a histogram below (`upper`) or above `bound`.
pub fn trimmed(histogram: &Histogram, bound: f64, upper: bool) -> Histogram {
    let mut result = histogram.clone();
    let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
    let linear = histogram.is_custom();
    for positive in [true, false] {
        let counts = if positive { &mut result.positive } else { &mut result.negative };
        for (&index, kept) in counts.iter_mut().filter(|(_, count)| **count != 0.0) {
            let bucket = if positive {
                histogram.positive_bucket(index, *kept)
            } else {
                histogram.negative_bucket(index, *kept)
            };
            let whole = if upper { bucket.upper <= bound } else { bucket.lower >= bound };
            let partly = if upper { bucket.lower < bound } else { bucket.upper > bound };
            let (left, middle) = if whole {
                (bucket.count, middle(bucket.lower, bucket.upper, positive, linear))
            } else if partly {
                split(&bucket, bound, upper, positive, linear)
            } else {
                changed = true;
                *kept = 0.0;
                continue;
            };
            count += left;
            sum += middle * left;
            changed |= left != *kept;
            *kept = left;
        }
    }
    let has = |counts: &crate::histogram::Counts| counts.values().any(|count| *count != 0.0);
    let (has_positive, has_negative) = (has(&histogram.positive), has(&histogram.negative));
    if histogram.zero > 0.0 {
        let low = if has_positive && !has_negative { 0.0 } else { -histogram.threshold };
        let high = if has_negative && !has_positive { 0.0 } else { histogram.threshold };
        let all = (1.0, (low + high) / 2.0);
        let (share, middle) = match (upper, bound <= low, bound >= high) {
            (true, true, _) => (0.0, 0.0),
            (true, false, true) => all,
            (true, false, false) => ((bound - low) / (high - low), (low + bound) / 2.0),
            (false, true, _) => all,
            (false, false, true) => (0.0, 0.0),
            (false, false, false) => ((high - bound) / (high - low), (bound + high) / 2.0),
        };
        // Of infinitely many observations nothing is left either.
        let left = if share == 0.0 { 0.0 } else { histogram.zero * share };
        changed |= left != histogram.zero;
        result.zero = left;
        sum += middle * left;
        count += left;
    }
    if !changed {
        return histogram.clone();
    }
    (result.count, result.sum) = (count, sum);
    result.compacted()
}

/// What is left of a bucket that the bound cuts, and its middle.
fn split(bucket: &Bucket, bound: f64, upper: bool, positive: bool, linear: bool) -> (f64, f64) {
    let finite = |value: f64| if value.is_infinite() { 0.0 } else { value };
    let &Bucket { lower: low, upper: high, count } = bucket;
    if low == f64::NEG_INFINITY {
        return match upper {
            true if bound >= high => (count, 0.0),
            true if bound > 0.0 && high > 0.0 && high != f64::INFINITY => (count * bound / high, bound / 2.0),
            true if high <= 0.0 => (count, bound),
            false if bound <= low => (count, 0.0),
            false if bound >= 0.0 && high > bound && high != f64::INFINITY => {
                (count * (1.0 - bound / high), (bound + high) / 2.0)
            }
            _ => (0.0, finite(high)),
        };
    }
    if high == f64::INFINITY {
        return if !upper && bound >= low { (count, bound) } else { (0.0, finite(low)) };
    }
    let below = if bound <= low {
        0.0
    } else if bound >= high {
        count
    } else {
        count * share_below(bucket, bound, linear)
    };
    if upper {
        (below, middle(low, bound, positive, linear))
    } else {
        (count - below, middle(bound, high, positive, linear))
    }
}

fn middle(low: f64, high: f64, positive: bool, linear: bool) -> f64 {
    match (low.is_infinite(), high.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if high > 0.0 => high / 2.0,
        (true, false) => high,
        (false, true) => low,
        _ if linear => (low + high) / 2.0,
        _ => {
            let middle = (low * high).abs().sqrt();
            if positive { middle } else { -middle }
        }
    }
}
