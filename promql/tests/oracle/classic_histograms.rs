//! The naive evaluator's arithmetic of classic histograms: upper bounds and cumulative counts.

/// The quantile of a classic histogram.
pub fn bucket_quantile(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) || buckets.len() < 2 {
        return f64::NAN;
    }
    raise(&mut buckets);
    let last = buckets.len() - 1;
    let total = buckets[last].1;
    if total == 0.0 {
        return f64::NAN;
    }
    let rank = q * total;
    let at = buckets[..last].iter().position(|(_, count)| *count >= rank).unwrap_or(last);
    if at == last {
        return buckets[last - 1].0;
    }
    if at == 0 && buckets[0].0 <= 0.0 {
        return buckets[0].0;
    }
    let (low, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    let (high, upto) = buckets[at];
    low + (high - low) * ((rank - below) / (upto - below))
}

/// The share of a classic histogram's observations between two values.
pub fn bucket_fraction(lower: f64, upper: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
        return f64::NAN;
    }
    let total = buckets[buckets.len() - 1].1;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let rank_of = |value: f64| {
        let mut below = 0.0;
        let mut low = if buckets[0].0 > 0.0 { 0.0 } else { f64::NEG_INFINITY };
        for &(high, upto) in &buckets {
            if low >= value {
                return below;
            }
            if value < high {
                return if low == f64::NEG_INFINITY {
                    upto
                } else {
                    below + (upto - below) * (value - low) / (high - low)
                };
            }
            below = upto;
            low = high;
        }
        total
    };
    (rank_of(upper).min(total) - rank_of(lower).min(total)) / total
}

/// Makes counts rise from bucket to bucket.
fn raise(buckets: &mut [(f64, f64)]) {
    for i in 1..buckets.len() {
        let (before, now) = (buckets[i - 1].1, buckets[i].1);
        let same = (before - now).abs() / (before.abs() + now.abs()) < 1e-12;
        if now < before || (now != before && same) {
            buckets[i].1 = before;
        }
    }
}
