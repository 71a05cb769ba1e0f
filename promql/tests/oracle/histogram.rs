//! Histograms of the naive evaluator: maps from bucket index to count, and arithmetic as the definitions say.
//!
//! Only the bounds of exponential buckets come from the crate: they are a table, not an evaluation.

use std::collections::BTreeMap;

use gyre_promql::histogram::{
    Buckets, CUSTOM_BUCKETS_SCHEMA, CounterReset, FloatHistogram, exponential_upper_bound,
};

pub type Counts = BTreeMap<i32, f64>;

/// A native histogram as plain data. A bucket with count 0 exists.
#[derive(Clone, Debug)]
pub struct Histogram {
    pub hint: CounterReset,
    pub schema: i32,
    pub threshold: f64,
    pub zero: f64,
    pub count: f64,
    pub sum: f64,
    pub positive: Counts,
    pub negative: Counts,
    /// Bounds of a custom schema.
    pub bounds: Vec<f64>,
}

/// What to warn about after an addition.
#[derive(Default)]
pub struct Added {
    pub collision: bool,
    pub reconciled: bool,
}

/// One bucket with its bounds.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub count: f64,
}

impl Histogram {
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    pub fn upper(&self, index: i32) -> f64 {
        if self.is_custom() {
            return match usize::try_from(index) {
                Ok(at) => self.bounds.get(at).copied().unwrap_or(f64::INFINITY),
                Err(_) => f64::NEG_INFINITY,
            };
        }
        exponential_upper_bound(index, self.schema)
    }

    pub fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        Bucket { lower: self.upper(index - 1), upper: self.upper(index), count }
    }

    pub fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        Bucket { lower: -self.upper(index), upper: -self.upper(index - 1), count }
    }

    /// All buckets from the lowest to the highest, the zero bucket if it has anything.
    pub fn buckets(&self) -> Vec<Bucket> {
        let mut all = Vec::new();
        for (&index, &count) in self.negative.iter().rev() {
            let mut bucket = self.negative_bucket(index, count);
            if bucket.upper < 0.0 && bucket.upper > -self.threshold {
                bucket.upper = -self.threshold;
            }
            all.push(bucket);
        }
        if self.zero > 0.0 {
            all.push(Bucket { lower: -self.threshold, upper: self.threshold, count: self.zero });
        }
        for (&index, &count) in &self.positive {
            let mut bucket = self.positive_bucket(index, count);
            if bucket.lower > 0.0 && bucket.lower < self.threshold {
                bucket.lower = self.threshold;
            }
            all.push(bucket);
        }
        all
    }

    pub fn compacted(mut self) -> Self {
        self.positive.retain(|_, count| *count != 0.0);
        self.negative.retain(|_, count| *count != 0.0);
        self
    }

    pub fn scaled(&self, change: impl Fn(f64) -> f64, negative: bool) -> Self {
        let counts = |counts: &Counts| counts.iter().map(|(&i, &count)| (i, change(count))).collect();
        Self {
            hint: if negative { CounterReset::Gauge } else { self.hint },
            zero: change(self.zero),
            count: change(self.count),
            sum: change(self.sum),
            positive: counts(&self.positive),
            negative: counts(&self.negative),
            ..self.clone()
        }
    }

    pub fn times(&self, factor: f64) -> Self {
        self.scaled(|value| value * factor, factor < 0.0)
    }

    pub fn divided(&self, divisor: f64) -> Self {
        let mut result = self.scaled(|value| value / divisor, divisor < 0.0);
        if divisor == 0.0 {
            result.positive.clear();
            result.negative.clear();
        }
        result
    }

    pub fn at_schema(&self, schema: i32) -> Self {
        if self.is_custom() || schema >= self.schema {
            return self.clone();
        }
        let shift = self.schema - schema;
        let merged = |counts: &Counts| {
            let mut merged = Counts::new();
            for (&index, &count) in counts {
                // Bucket i ends at base^i: the wider one that holds it ends at or after that.
                let wider = (index + (1 << shift) - 1).div_euclid(1 << shift);
                merged.entry(wider).and_modify(|total| *total += count).or_insert(count);
            }
            merged
        };
        Self {
            hint: CounterReset::Unknown,
            schema,
            positive: merged(&self.positive),
            negative: merged(&self.negative),
            ..self.clone()
        }
    }

    /// The count of a zero bucket that reaches to `threshold`, or as far beyond as needed not to cut a bucket.
    pub fn widened_zero(&self, mut threshold: f64) -> (f64, f64) {
        loop {
            let mut zero = self.zero;
            let mut cut = None;
            let sides = [&self.positive, &self.negative];
            for counts in sides {
                for (&index, &count) in counts {
                    let bucket = self.positive_bucket(index, count);
                    if bucket.lower >= threshold {
                        break;
                    }
                    zero += count;
                    if bucket.upper > threshold {
                        if count != 0.0 {
                            cut = Some(bucket.upper);
                        }
                        break;
                    }
                }
                if cut.is_some() {
                    break;
                }
            }
            match cut {
                Some(wider) => threshold = wider,
                None => return (zero, threshold),
            }
        }
    }

    /// Brings the zero buckets of both to one width: that of `self` may grow. The zero count of `other` at that width.
    pub fn reconcile_zero(&mut self, other: &Self) -> f64 {
        let (mut zero, mut threshold) = (other.zero, other.threshold);
        while threshold != self.threshold {
            if self.threshold > threshold {
                (zero, threshold) = other.widened_zero(self.threshold);
            }
            if threshold > self.threshold {
                (self.zero, self.threshold) = self.widened_zero(threshold);
                let (own, schema) = (self.threshold, self.schema);
                let outside = |index: &i32| exponential_upper_bound(*index - 1, schema) >= own;
                self.positive.retain(|index, _| outside(index));
                self.negative.retain(|index, _| outside(index));
                *self = self.clone().compacted();
            }
        }
        zero
    }

    pub fn combine_hints(&mut self, other: &Self) -> bool {
        use CounterReset as C;
        let (own, others) = (self.hint, other.hint);
        if own == others || own == C::Gauge {
            return false;
        }
        if others == C::Gauge {
            self.hint = C::Gauge;
            return false;
        }
        self.hint = C::Unknown;
        own != C::Unknown && others != C::Unknown
    }

    /// As `count_values` writes it; for counts and bounds that print alike with and without an exponent.
    pub fn text(&self) -> String {
        let mut text = format!("{{count:{}, sum:{}", self.count, go(self.sum));
        let mut bucket = |open: &str, bucket: Bucket, close: &str| {
            if bucket.count != 0.0 {
                let Bucket { lower, upper, count } = bucket;
                text.push_str(&format!(", {open}{},{}{close}:{count}", go(lower), go(upper)));
            }
        };
        for (&index, &count) in self.negative.iter().rev() {
            bucket("[", self.negative_bucket(index, count), ")");
        }
        bucket("[", Bucket { lower: -self.threshold, upper: self.threshold, count: self.zero }, "]");
        for (&index, &count) in &self.positive {
            let open = if self.is_custom() && index == 0 { "[" } else { "(" };
            bucket(open, self.positive_bucket(index, count), "]");
        }
        text + "}"
    }

    pub fn same(&self, other: &Self) -> bool {
        let same_counts = |a: &Counts, b: &Counts| {
            a.len() == b.len() && a.iter().zip(b).all(|((i, a), (j, b))| i == j && a.to_bits() == b.to_bits())
        };
        self.schema == other.schema
            && self.bounds == other.bounds
            && self.threshold == other.threshold
            && self.zero.to_bits() == other.zero.to_bits()
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && same_counts(&self.positive, &other.positive)
            && same_counts(&self.negative, &other.negative)
    }

    /// Whether the counter was reset since `before`.
    pub fn is_reset_since(&self, before: &Self) -> bool {
        match self.hint {
            CounterReset::Reset => return true,
            CounterReset::NotReset => return false,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
        if self.count < before.count || self.is_custom() && !before.is_custom() {
            return true;
        }
        if self.is_custom() && self.bounds != before.bounds {
            let bounds = shared_bounds(&self.bounds, &before.bounds);
            let (now, then) = (self.with_bounds(&bounds), before.with_bounds(&bounds));
            return (0..=bounds.len() as i32).any(|index| {
                let get = |histogram: &Self| histogram.positive.get(&index).copied().unwrap_or(0.0);
                get(&now) < get(&then)
            });
        }
        if self.schema > before.schema || self.threshold < before.threshold {
            return true;
        }
        if !self.is_custom() {
            let (zero, threshold) = before.widened_zero(self.threshold);
            if threshold != self.threshold || self.zero < zero {
                return true;
            }
        }
        let before = before.at_schema(self.schema);
        let vanished = |now: &Counts, then: &Counts| {
            then.iter().any(|(index, &then)| {
                let inside =
                    !self.is_custom() && self.threshold > 0.0 && self.upper(*index) <= self.threshold;
                !inside && now.get(index).map_or(then != 0.0, |&now| now < then)
            })
        };
        vanished(&self.positive, &before.positive) || vanished(&self.negative, &before.negative)
    }

    pub fn with_bounds(&self, bounds: &[f64]) -> Self {
        let mut mapped = Counts::new();
        for (&index, &count) in &self.positive {
            let upper = self.upper(index);
            let at = bounds.iter().position(|&bound| bound >= upper).unwrap_or(bounds.len());
            *mapped.entry(at as i32).or_insert(0.0) += count;
        }
        Self { positive: mapped, bounds: bounds.to_vec(), ..self.clone() }
    }

    /// As the engine takes it in.
    pub fn to_engine(&self) -> FloatHistogram {
        let buckets = |counts: &Counts| {
            let mut buckets = Buckets::default();
            counts.iter().for_each(|(&index, &count)| buckets.push(index, count));
            buckets
        };
        FloatHistogram {
            counter_reset: self.hint,
            schema: self.schema,
            zero_threshold: self.threshold,
            zero_count: self.zero,
            count: self.count,
            sum: self.sum,
            positive: buckets(&self.positive),
            negative: buckets(&self.negative),
            custom_values: self.is_custom().then(|| self.bounds.clone().into()),
        }
    }

    pub fn of_engine(histogram: &FloatHistogram) -> Self {
        Self {
            hint: histogram.counter_reset,
            schema: histogram.schema,
            threshold: histogram.zero_threshold,
            zero: histogram.zero_count,
            count: histogram.count,
            sum: histogram.sum,
            positive: histogram.positive.iter().collect(),
            negative: histogram.negative.iter().collect(),
            bounds: histogram.custom_values.as_deref().unwrap_or(&[]).to_vec(),
        }
    }
}

/// A number as Go prints it.
fn go(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        _ => value.to_string(),
    }
}

pub fn shared_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().copied().filter(|bound| b.contains(bound)).collect()
}
