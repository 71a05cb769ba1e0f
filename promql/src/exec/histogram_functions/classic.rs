//! Quantiles and fractions of classic histograms.

/// A bucket: observations up to its bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub bound: f64,
    pub count: f64,
}

/// Counts that went down towards higher bounds and were raised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ForcedMonotonicity {
    pub bucket_min: f64,
    pub bucket_max: f64,
    pub diff_max: f64,
}

/// Relative difference between neighbouring counts that is taken for a rounding error.
const SMALL_DELTA_TOLERANCE: f64 = 1e-12;

/// The quantile, by linear interpolation within a bucket, and what had to be mended. There is at least one bucket.
///
/// NaN without a bucket up to +Inf, with a single bucket, or without observations.
pub(super) fn bucket_quantile(quantile: f64, buckets: &mut Vec<Bucket>) -> (f64, Option<ForcedMonotonicity>) {
    if quantile.is_nan() {
        return (f64::NAN, None);
    }
    if quantile < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if quantile > 1.0 {
        return (f64::INFINITY, None);
    }
    if !sort_and_coalesce(buckets) {
        return (f64::NAN, None);
    }
    let forced = ensure_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, forced);
    }
    let mut rank = quantile * observations;
    // The first bucket that reaches the rank; counts ascend, but may be NaN.
    let at = partition(last, |at| buckets[at].count >= rank);
    let value = if at == last {
        buckets[last - 1].bound
    } else if at == 0 && buckets[0].bound <= 0.0 {
        buckets[0].bound
    } else {
        let Bucket { bound: end, mut count } = buckets[at];
        let mut start = 0.0;
        if at > 0 {
            start = buckets[at - 1].bound;
            count -= buckets[at - 1].count;
            rank -= buckets[at - 1].count;
        }
        start + (end - start) * (rank / count)
    };
    (value, forced)
}

/// The share of observations between two values.
pub(super) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if !sort_and_coalesce(buckets) {
        return f64::NAN;
    }
    let count = buckets[buckets.len() - 1].count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets, count) - rank_of(lower, buckets, count)) / count
}

/// Observations below `value`.
fn rank_of(value: f64, buckets: &[Bucket], count: f64) -> f64 {
    let mut rank = 0.0;
    let mut start = if buckets[0].bound <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for bucket in buckets {
        if start >= value {
            return capped(rank, count);
        }
        if bucket.bound > value {
            let interpolated = if start == f64::NEG_INFINITY {
                bucket.count
            } else {
                rank + (bucket.count - rank) * (value - start) / (bucket.bound - start)
            };
            return capped(interpolated, count);
        }
        rank = bucket.count;
        start = bucket.bound;
    }
    count
}

fn capped(rank: f64, count: f64) -> f64 {
    if rank > count { count } else { rank }
}

/// Sorts by bound and adds up buckets with the same bound. Whether there is a last bucket for everything.
fn sort_and_coalesce(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|a, b| a.bound.partial_cmp(&b.bound).unwrap_or(std::cmp::Ordering::Equal));
    if buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.bound == kept.bound;
        if same {
            kept.count += next.count;
        }
        same
    });
    true
}

/// Raises counts that are below those of lower bounds: silently if the difference is a rounding error.
fn ensure_monotonic(buckets: &mut [Bucket]) -> Option<ForcedMonotonicity> {
    let mut forced: Option<ForcedMonotonicity> = None;
    let mut previous = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == previous {
            continue;
        }
        if almost_equal(previous, count, SMALL_DELTA_TOLERANCE) {
            bucket.count = previous;
        } else if count < previous {
            bucket.count = previous;
            let forced = forced.get_or_insert(ForcedMonotonicity {
                bucket_min: f64::INFINITY,
                bucket_max: f64::NEG_INFINITY,
                diff_max: 0.0,
            });
            forced.bucket_min = forced.bucket_min.min(bucket.bound);
            forced.bucket_max = forced.bucket_max.max(bucket.bound);
            forced.diff_max = forced.diff_max.max(previous - count);
        } else {
            previous = count;
        }
    }
    forced
}

/// Whether two numbers differ by less than `epsilon`, relative to their sum. All NaNs are equal, except that a stale
/// marker equals only another one.
pub(crate) fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    use crate::value::is_stale_nan;
    if is_stale_nan(a) || is_stale_nan(b) {
        return is_stale_nan(a) && is_stale_nan(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let sum = a.abs() + b.abs();
    let difference = (a - b).abs();
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

/// The first index below `len` for which `holds`, if it holds from some index on; else `len`.
fn partition(len: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = (low + high) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs.iter().map(|&(bound, count)| Bucket { bound, count }).collect()
    }

    #[test]
    fn a_quantile_is_interpolated_within_its_bucket() {
        let all = [(1.0, 10.0), (0.5, 5.0), (f64::INFINITY, 10.0)];
        assert_eq!(bucket_quantile(0.75, &mut buckets(&all)), (0.75, None));
        assert_eq!(bucket_quantile(1.0, &mut buckets(&all)), (1.0, None));
    }

    #[test]
    fn falling_counts_are_raised_and_reported() {
        let (value, forced) =
            bucket_quantile(0.5, &mut buckets(&[(1.0, 4.0), (2.0, 2.0), (3.0, 1.0), (f64::INFINITY, 8.0)]));
        assert_eq!(value, 1.0);
        assert_eq!(forced, Some(ForcedMonotonicity { bucket_min: 2.0, bucket_max: 3.0, diff_max: 3.0 }));
    }

    #[test]
    fn without_a_bucket_for_everything_there_is_no_quantile() {
        assert!(bucket_quantile(0.5, &mut buckets(&[(1.0, 4.0), (2.0, 8.0)])).0.is_nan());
        assert!(bucket_fraction(0.0, 1.0, &mut buckets(&[(1.0, 4.0)])).is_nan());
    }
}
