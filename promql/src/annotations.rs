//! Warnings and infos that come with a result.
//!
//! The texts are Prometheus's; clients match on them. Annotations with the same text (position aside) are one, so a
//! query over a million series yields a handful. They are collected as data, not as text: the hot loops only hash a
//! small key, and the text is made once, at the end, when the query is at hand for positions.

use std::collections::HashMap;

use crate::gostd::{format_g, quote};
use crate::syntax::Span;

/// Something the user should know about a result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the texts in `message` say what each means")]
pub enum Annotation {
    InvalidRatio { ratio: FloatKey, cap: FloatKey },
    InvalidQuantile { quantile: FloatKey },
    BadBucketLabel { metric: String, label: String },
    MixedFloatsHistograms { metric: String },
    MixedFloatsHistogramsInAggregation,
    MixedClassicNativeHistograms { metric: String },
    NativeHistogramNotCounter { metric: String },
    NativeHistogramNotGauge { metric: String },
    MixedExponentialCustomHistograms { metric: String },
    IncompatibleBucketLayout { operator: &'static str },
    SortInRangeQuery,
    CounterResetCollision { operation: HistogramOperation },
    StartTimeOverlap { metric: String },
    Storage { message: String },
    PossibleNonCounter { metric: String },
    PossibleNonCounterLabel { metric: String, type_label: String },
    ForcedMonotonicity { metric: String },
    IncompatibleTypes { left: &'static str, operator: &'static str, right: &'static str },
    HistogramIgnoredInAggregation { aggregation: &'static str },
    HistogramIgnoredInMixedRange { metric: String },
    QuantileNanResult { metric: String },
    QuantileNanSkew { metric: String },
    FractionNans { metric: String },
    MismatchedCustomBuckets { operation: HistogramOperation },
}

/// A float as part of a key: two are the same if their bits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FloatKey(u64);

impl FloatKey {
    /// The float.
    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }

    fn text(self) -> String {
        format_g(self.value())
    }
}

impl From<f64> for FloatKey {
    fn from(value: f64) -> Self {
        // All NaNs print alike.
        Self(if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() })
    }
}

/// What histograms were combined for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HistogramOperation {
    /// `+`, and sums inside functions.
    Addition,
    /// `-`, and differences inside functions.
    Subtraction,
    /// Aggregations, over series and over time.
    Aggregation,
}

impl HistogramOperation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

/// Numbers that accumulate while an annotation repeats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detail {
    /// None.
    Plain,
    /// How often, if more than once.
    Count(u64),
    /// Where and when bucket counts had to be raised.
    Monotonicity(Monotonicity),
}

/// Details of [`Annotation::ForcedMonotonicity`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Monotonicity {
    /// First evaluation time, milliseconds.
    pub mint_ms: i64,
    /// Last evaluation time, milliseconds.
    pub maxt_ms: i64,
    /// Lowest upper bound of a raised bucket.
    pub bucket_min: f64,
    /// Highest upper bound of a raised bucket.
    pub bucket_max: f64,
    /// Largest difference made good.
    pub diff_max: f64,
    /// Number of samples.
    pub samples: u64,
}

impl Annotation {
    /// Whether this is an info rather than a warning.
    pub fn is_info(&self) -> bool {
        matches!(
            self,
            Self::PossibleNonCounter { .. }
                | Self::PossibleNonCounterLabel { .. }
                | Self::ForcedMonotonicity { .. }
                | Self::IncompatibleTypes { .. }
                | Self::HistogramIgnoredInAggregation { .. }
                | Self::HistogramIgnoredInMixedRange { .. }
                | Self::QuantileNanResult { .. }
                | Self::QuantileNanSkew { .. }
                | Self::FractionNans { .. }
                | Self::MismatchedCustomBuckets { .. }
        )
    }

    /// Prometheus's text, without class and position.
    fn message(&self) -> String {
        let q = |text: &str| quote(text.as_bytes());
        let for_metric = |text: &str, metric: &str| {
            if metric.is_empty() { text.to_owned() } else { format!("{text} for metric name {}", q(metric)) }
        };
        match self {
            Self::InvalidRatio { ratio, cap } => {
                let (ratio, cap) = (ratio.text(), cap.text());
                format!("ratio value should be between -1 and 1, got {ratio}, capping to {cap}")
            }
            Self::InvalidQuantile { quantile } => {
                format!("quantile value should be between 0 and 1, got {}", quantile.text())
            }
            Self::BadBucketLabel { metric, label } => for_metric(
                &format!("bucket label \"le\" is missing or has a malformed value of {}", q(label)),
                metric,
            ),
            Self::MixedFloatsHistograms { metric } => {
                format!("encountered a mix of histograms and floats for metric name {}", q(metric))
            }
            Self::MixedFloatsHistogramsInAggregation => {
                "encountered a mix of histograms and floats for aggregation".to_owned()
            }
            Self::MixedClassicNativeHistograms { metric } => {
                for_metric("vector contains a mix of classic and native histograms", metric)
            }
            Self::NativeHistogramNotCounter { metric } => {
                format!("this native histogram metric is not a counter: {}", q(metric))
            }
            Self::NativeHistogramNotGauge { metric } => {
                format!("this native histogram metric is not a gauge: {}", q(metric))
            }
            Self::MixedExponentialCustomHistograms { metric } => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}",
                q(metric)
            ),
            Self::IncompatibleBucketLayout { operator } => {
                format!("incompatible bucket layout encountered for binary operator {operator}")
            }
            Self::SortInRangeQuery => {
                "sort is ineffective for range queries since results are always ordered by labels".to_owned()
            }
            Self::CounterResetCollision { operation } => {
                format!("conflicting counter resets during histogram {}", operation.as_str())
            }
            Self::StartTimeOverlap { metric } => format!(
                "sample has start time that overlaps with previous sample timestamp for metric {}",
                q(metric)
            ),
            Self::Storage { message } => message.clone(),
            Self::PossibleNonCounter { metric } => format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                q(metric)
            ),
            Self::PossibleNonCounterLabel { metric, type_label } => format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {}: {}",
                q(type_label),
                q(metric)
            ),
            Self::ForcedMonotonicity { metric } => for_metric(
                "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)",
                metric,
            ),
            Self::IncompatibleTypes { left, operator, right } => format!(
                "incompatible sample types encountered for binary operator {}: {left} {operator} {right}",
                q(operator)
            ),
            Self::HistogramIgnoredInAggregation { aggregation } => {
                format!("ignored histogram in {aggregation} aggregation")
            }
            Self::HistogramIgnoredInMixedRange { metric } => format!(
                "ignored histograms in a range containing both floats and histograms for metric name {}",
                q(metric)
            ),
            Self::QuantileNanResult { metric } => {
                for_metric("input to histogram_quantile has NaN observations, result is NaN", metric)
            }
            Self::QuantileNanSkew { metric } => for_metric(
                "input to histogram_quantile has NaN observations, result is skewed higher",
                metric,
            ),
            Self::FractionNans { metric } => for_metric(
                "input to histogram_fraction has NaN observations, which are excluded from all fractions",
                metric,
            ),
            Self::MismatchedCustomBuckets { operation } => {
                format!("mismatched custom buckets were reconciled during {}", operation.as_str())
            }
        }
    }
}

/// A set of annotations in the order they first arose.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    entries: Vec<Entry>,
    by_annotation: HashMap<Annotation, usize>,
}

#[derive(Clone, Debug)]
struct Entry {
    annotation: Annotation,
    span: Span,
    detail: Detail,
}

impl Annotations {
    /// Adds an annotation; if it is there already, the position becomes the newer one.
    pub fn add(&mut self, annotation: Annotation, span: Span) {
        self.insert(Entry { annotation, span, detail: Detail::Plain });
    }

    /// Adds an annotation with numbers that accumulate.
    pub fn add_with_detail(&mut self, annotation: Annotation, span: Span, detail: Detail) {
        self.insert(Entry { annotation, span, detail });
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: Self) {
        if self.entries.is_empty() {
            *self = other;
            return;
        }
        for entry in other.entries {
            self.insert(entry);
        }
    }

    /// The same annotations of another place in the query.
    pub(crate) fn at(&self, span: Span) -> Self {
        let mut moved = self.clone();
        moved.entries.iter_mut().for_each(|entry| entry.span = span);
        moved
    }

    /// All annotations with position and details, in the order they first arose.
    pub fn iter(&self) -> impl Iterator<Item = (&Annotation, Span, Detail)> {
        self.entries.iter().map(|entry| (&entry.annotation, entry.span, entry.detail))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn insert(&mut self, entry: Entry) {
        let Some(&at) = self.by_annotation.get(&entry.annotation) else {
            self.by_annotation.insert(entry.annotation.clone(), self.entries.len());
            self.entries.push(entry);
            return;
        };
        let known = &mut self.entries[at];
        match (&mut known.detail, entry.detail) {
            (Detail::Count(count), Detail::Count(more)) => *count = count.saturating_add(more),
            (Detail::Monotonicity(known), Detail::Monotonicity(more)) => {
                known.mint_ms = known.mint_ms.min(more.mint_ms);
                known.maxt_ms = known.maxt_ms.max(more.maxt_ms);
                known.bucket_min = known.bucket_min.min(more.bucket_min);
                known.bucket_max = known.bucket_max.max(more.bucket_max);
                known.diff_max = known.diff_max.max(more.diff_max);
                known.samples = known.samples.saturating_add(more.samples);
            }
            _ => known.span = entry.span,
        }
    }

    /// The warnings and infos as texts with positions in `query`, at most `max` of each (0 for all); a last text
    /// tells how many were left out.
    pub fn texts(&self, query: &str, max: usize) -> (Vec<String>, Vec<String>) {
        let texts = |infos: bool, class: &str| {
            let all = self.entries.iter().filter(|entry| entry.annotation.is_info() == infos);
            let count = all.clone().count();
            let shown = if max == 0 { count } else { max.min(count) };
            let mut texts: Vec<String> = all.take(shown).map(|entry| entry.text(query)).collect();
            if shown < count {
                texts.push(format!("{} more {class} annotations omitted", count - shown));
            }
            texts
        };
        (texts(false, "warning"), texts(true, "info"))
    }
}

impl Entry {
    fn text(&self, query: &str) -> String {
        if let Annotation::Storage { message } = &self.annotation {
            return message.clone();
        }
        let class = if self.annotation.is_info() { "PromQL info" } else { "PromQL warning" };
        let detail = match self.detail {
            Detail::Plain | Detail::Count(0..=1) => String::new(),
            Detail::Count(count) => format!(" ({count} occurrences)"),
            Detail::Monotonicity(m) => format!(
                ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
                format_g(m.bucket_min),
                format_g(m.bucket_max),
                two_digits(m.diff_max),
                m.samples,
                rfc3339(m.mint_ms),
                rfc3339(m.maxt_ms)
            ),
        };
        format!("{class}: {}{detail} ({})", self.annotation.message(), self.span.start_position(query))
    }
}

/// Go's `%.2g`: two significant digits, in exponent form if the exponent is below -4 or above 1.
fn two_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format_g(value);
    }
    let scientific = format!("{value:.1e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..2).contains(&exponent) {
        // The rounded value is short, so that its shortest form has no more than the two digits.
        return format_g(scientific.parse().unwrap_or(value));
    }
    let digits = digits.strip_suffix(".0").unwrap_or(digits);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn rfc3339(timestamp_ms: i64) -> String {
    // Go truncates towards zero here.
    let civil = crate::exec::civil_time(timestamp_ms / 1000);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_is_kept_once_with_the_newest_position() {
        let mut annotations = Annotations::default();
        annotations.add(Annotation::SortInRangeQuery, Span::new(0, 1));
        annotations.add(Annotation::SortInRangeQuery, Span::new(4, 5));
        let (warnings, infos) = annotations.texts("sort(sort(a))", 10);
        let text = "PromQL warning: sort is ineffective for range queries since results are always ordered by labels (1:5)";
        assert_eq!((warnings, infos), (vec![text.to_owned()], vec![]));
    }

    #[test]
    fn texts_beyond_the_cap_are_counted() {
        let mut annotations = Annotations::default();
        for i in 0..13 {
            annotations.add(Annotation::PossibleNonCounter { metric: format!("m{i}") }, Span::new(0, 1));
        }
        let (_, infos) = annotations.texts("rate(a[1m])", 10);
        assert_eq!(infos.len(), 11);
        assert_eq!(infos[10], "3 more info annotations omitted");
    }

    #[test]
    fn differences_print_with_two_digits() {
        let printed: Vec<String> = [0.5, 0.25, 12.34, 123.0, 0.00001234, 99.9].map(two_digits).into();
        assert_eq!(printed, ["0.5", "0.25", "12", "1.2e+02", "1.2e-05", "1e+02"]);
    }
}
