//! Quantiles and fractions of native histograms.

use crate::annotations::Annotation;
use crate::histogram::{Bucket, FloatHistogram};

type MakeAnnotation = fn(String) -> Annotation;

/// The quantile: by exponential interpolation within an exponential bucket, linear within the zero bucket and custom
/// buckets.
///
/// NaN observations are counted but in no bucket; they are taken to be larger than everything else.
pub(super) fn histogram_quantile(quantile: f64, histogram: &FloatHistogram) -> (f64, Option<MakeAnnotation>) {
    if quantile < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if quantile > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || quantile.is_nan() {
        return (f64::NAN, None);
    }
    let has_nan = histogram.sum.is_nan();
    // The upper half is counted from above, which loses less.
    let forward = has_nan || quantile < 0.5;
    let mut rank = if forward { quantile * histogram.count } else { (1.0 - quantile) * histogram.count };
    let buckets = histogram.all_buckets();
    let (found, rest) = if forward { find(buckets, rank) } else { (find(buckets.rev(), rank).0, 0.0) };
    // If there is no bucket at all, an empty one at zero stands for it.
    let none = Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
    let (mut bucket, mut count) = found.unwrap_or((none, 0.0));
    let custom = histogram.uses_custom_buckets();
    if !custom && bucket.lower < 0.0 && bucket.upper > 0.0 {
        // Without observations on one side the zero bucket is taken to be on the other.
        if histogram.negative.is_empty() && !histogram.positive.is_empty() {
            bucket.lower = 0.0;
        } else if histogram.positive.is_empty() && !histogram.negative.is_empty() {
            bucket.upper = 0.0;
        }
    } else if custom {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return (bucket.upper, None);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return (bucket.lower, None);
        }
    }
    if count > histogram.count {
        count = histogram.count;
    }
    if count < rank {
        return at_end(bucket, has_nan);
    }
    rank = if forward { rank - (count - bucket.count) } else { count - rank };
    let skewed: Option<MakeAnnotation> = (has_nan && count + rest < histogram.count)
        .then_some(|metric| Annotation::QuantileNanSkew { metric });
    let fraction = rank / bucket.count;
    if custom || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
        return (bucket.lower + (bucket.upper - bucket.lower) * fraction, skewed);
    }
    let log_lower = bucket.lower.abs().log2();
    let log_upper = bucket.upper.abs().log2();
    let value = if bucket.lower > 0.0 {
        (log_lower + (log_upper - log_lower) * fraction).exp2()
    } else {
        -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
    };
    (value, skewed)
}

/// The rank lies beyond all buckets.
fn at_end(last: Bucket, has_nan: bool) -> (f64, Option<MakeAnnotation>) {
    if has_nan {
        (f64::NAN, Some(|metric| Annotation::QuantileNanResult { metric }))
    } else {
        (last.upper, None)
    }
}

/// The bucket that reaches `rank` (else the last one seen) and the count up to it; and the count of those behind it.
fn find(mut buckets: impl Iterator<Item = Bucket>, rank: f64) -> (Option<(Bucket, f64)>, f64) {
    let mut found: Option<(Bucket, f64)> = None;
    let mut count = 0.0;
    for bucket in buckets.by_ref() {
        if bucket.count == 0.0 {
            found = Some((bucket, count));
            continue;
        }
        count += bucket.count;
        found = Some((bucket, count));
        if count >= rank {
            break;
        }
    }
    let rest = buckets.map(|bucket| bucket.count).sum();
    (found, rest)
}

/// The share of observations between two values.
pub(super) fn histogram_fraction(
    lower: f64,
    upper: f64,
    histogram: &FloatHistogram,
) -> (f64, Option<MakeAnnotation>) {
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, None);
    }
    let (mut lower_rank, mut upper_rank) = (None, None);
    let mut rank = 0.0;
    let mut total = 0.0;
    for mut bucket in histogram.all_buckets() {
        total += bucket.count;
        if lower_rank.is_some() && upper_rank.is_some() {
            // Only the total is still of interest.
            continue;
        }
        let is_zero_bucket = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if is_zero_bucket {
            if histogram.negative.is_empty() && !histogram.positive.is_empty() {
                bucket.lower = 0.0;
            } else if histogram.positive.is_empty() && !histogram.negative.is_empty() {
                bucket.upper = 0.0;
            }
        }
        let linear = histogram.uses_custom_buckets() || is_zero_bucket;
        let rank_of = |value: f64| {
            if bucket.lower >= value {
                Some(rank)
            } else if bucket.upper > value {
                Some(if linear && bucket.lower == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    rank + bucket.count * bucket.fraction_below(value, linear)
                })
            } else {
                None
            }
        };
        lower_rank = lower_rank.or_else(|| rank_of(lower));
        upper_rank = upper_rank.or_else(|| rank_of(upper));
        rank += bucket.count;
    }
    let mut annotation: Option<MakeAnnotation> = None;
    let count = if histogram.sum.is_nan() {
        if total < histogram.count {
            annotation = Some(|metric| Annotation::FractionNans { metric });
        }
        total
    } else {
        histogram.count
    };
    let capped = |rank: Option<f64>| rank.map_or(count, |rank| if rank > count { count } else { rank });
    ((capped(upper_rank) - capped(lower_rank)) / histogram.count, annotation)
}
