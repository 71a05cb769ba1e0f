//! Whether a result is the expected one.

use super::script::{Eval, Expected, ExpectedSeries, Pattern};
use super::target::Evaluated;
use crate::almost_equal;
use crate::histogram::{Bucket, Buckets, FloatHistogram};
use crate::labels::Labels;
use crate::value::{Sample, SampleValue, Series, Value};

/// Relative error allowed of values.
const EPSILON: f64 = 1e-6;

/// What a value is compared as.
pub(super) enum Result<'v> {
    Scalar(f64),
    String(&'v str),
    Vector(Vec<(&'v Labels, SampleValue)>),
    Matrix(&'v [Series]),
}

impl<'v> Result<'v> {
    pub fn of(value: &'v Value) -> Self {
        match value {
            Value::Scalar { value, .. } => Self::Scalar(*value),
            Value::String { value, .. } => Self::String(value),
            Value::Vector(samples) => Self::Vector(
                samples.iter().map(|Sample { labels, value, .. }| (labels, value.clone())).collect(),
            ),
            Value::Matrix(series) => Self::Matrix(series),
        }
    }

    /// The samples of a range result at one time, as the instant result they should equal.
    pub fn at_time(series: &'v [Series], time_ms: i64, is_scalar: bool) -> Self {
        let mut samples = Vec::new();
        for series in series {
            let float = series.floats().find(|(time, _)| *time == time_ms);
            samples.extend(float.map(|(_, value)| (&series.labels, SampleValue::Float(value))));
            let histogram = series.histograms().iter().find(|(time, _)| *time == time_ms);
            samples
                .extend(histogram.map(|(_, value)| (&series.labels, SampleValue::Histogram(value.clone()))));
        }
        match samples.first() {
            Some((_, SampleValue::Float(value))) if is_scalar => Self::Scalar(*value),
            _ => Self::Vector(samples),
        }
    }
}

/// Checks warnings and infos.
pub(super) fn check_annotations(eval: &Eval, evaluated: &Evaluated) -> std::result::Result<(), String> {
    check_kind("warning", &eval.warn, &evaluated.warnings)?;
    check_kind("info", &eval.info, &evaluated.infos)
}

fn check_kind(kind: &str, expected: &Expected, actual: &[String]) -> std::result::Result<(), String> {
    if expected.none && !actual.is_empty() {
        return Err(format!("unexpected {kind}: {actual:?}"));
    }
    if expected.any && actual.is_empty() {
        return Err(format!("no {kind}"));
    }
    if expected.patterns.is_empty() {
        return Ok(());
    }
    let missing = |pattern: &&Pattern| !actual.iter().any(|text| pattern.matches(text));
    if let Some(pattern) = expected.patterns.iter().find(missing) {
        return Err(format!("no {kind} like {}, but {actual:?}", pattern.describe()));
    }
    match actual.iter().find(|text| !expected.patterns.iter().any(|pattern| pattern.matches(text))) {
        Some(text) => Err(format!("unexpected {kind} {text:?}")),
        None => Ok(()),
    }
}

/// Checks a value.
pub(super) fn check_value(
    eval: &Eval,
    result: &Result<'_>,
    buckets_alone: bool,
) -> std::result::Result<(), String> {
    match result {
        Result::String(text) if *text == eval.string => Ok(()),
        Result::String(text) => Err(format!("string {text:?} instead of {:?}", eval.string)),
        Result::Scalar(value) => match eval.scalar {
            None => Err("a scalar".to_owned()),
            Some(expected) if almost_equal(*value, expected, EPSILON) => Ok(()),
            Some(expected) => Err(format!("{value} instead of {expected}")),
        },
        Result::Vector(samples) => {
            if eval.scalar.is_some() {
                return Err("an instant vector instead of a scalar".to_owned());
            }
            check_vector(eval, samples, buckets_alone)
        }
        Result::Matrix(series) => {
            if eval.scalar.is_some() || eval.ordered {
                return Err("a range vector".to_owned());
            }
            check_matrix(eval, series, buckets_alone)
        }
    }
}

fn find<'e>(eval: &'e Eval, labels: &Labels) -> Option<(usize, &'e ExpectedSeries)> {
    // A series that is described twice counts as described last.
    eval.series.iter().enumerate().rev().find(|(_, series)| series.labels == *labels)
}

fn check_all_seen<'s>(
    eval: &Eval,
    seen: impl Iterator<Item = &'s Labels> + Clone,
) -> std::result::Result<(), String> {
    match eval.series.iter().find(|expected| seen.clone().all(|labels| *labels != expected.labels)) {
        Some(missing) => Err(format!("{} is missing", missing.labels)),
        None => Ok(()),
    }
}

fn check_vector(
    eval: &Eval,
    samples: &[(&Labels, SampleValue)],
    buckets_alone: bool,
) -> std::result::Result<(), String> {
    for (position, (labels, value)) in samples.iter().enumerate() {
        let Some((expected_position, expected)) = find(eval, labels) else {
            return Err(format!("unexpected {labels} {}", show(value)));
        };
        if eval.ordered && expected_position != position {
            return Err(format!(
                "{labels} at position {} instead of {}",
                position + 1,
                expected_position + 1
            ));
        }
        let Some((expected, hint_given)) = expected.first() else {
            return Err(format!("unexpected value of {labels}"));
        };
        check_sample(value, expected, hint_given, buckets_alone)
            .map_err(|error| format!("{labels}: {error}"))?;
    }
    check_all_seen(eval, samples.iter().map(|(labels, _)| *labels))
}

fn check_matrix(eval: &Eval, series: &[Series], buckets_alone: bool) -> std::result::Result<(), String> {
    if let Some(pair) = series.windows(2).find(|pair| pair[0].labels > pair[1].labels) {
        return Err(format!("{} is not sorted before {}", pair[0].labels, pair[1].labels));
    }
    for series in series {
        let Some((_, expected)) = find(eval, &series.labels) else {
            return Err(format!("unexpected {}", show_series(series)));
        };
        let mut floats = Vec::new();
        let mut histograms = Vec::new();
        for (i, value) in expected.values.iter().enumerate() {
            let time_ms = eval.start_ms + i as i64 * eval.step_ms;
            if time_ms > eval.end_ms {
                return Err(format!("{} points expected, more than there are steps", expected.values.len()));
            }
            match &value.value {
                Some(SampleValue::Float(float)) => floats.push((time_ms, *float)),
                Some(SampleValue::Histogram(histogram)) => {
                    histograms.push((time_ms, histogram, value.hint_given))
                }
                None => {}
            }
        }
        let actual: Vec<(i64, f64)> = series.floats().collect();
        let same_floats = actual.len() == floats.len()
            && actual.iter().zip(&floats).all(|(a, b)| a.0 == b.0 && almost_equal(a.1, b.1, EPSILON));
        if !same_floats {
            return Err(format!("{} instead of {floats:?}", show_series(series)));
        }
        let same_histograms = series.histograms().len() == histograms.len()
            && series.histograms().iter().zip(&histograms).all(
                |((time_ms, actual), (expected_ms, expected, hint))| {
                    time_ms == expected_ms && same_histogram(actual, expected, *hint, buckets_alone)
                },
            );
        if !same_histograms {
            return Err(format!("{} instead of {histograms:?}", show_series(series)));
        }
    }
    check_all_seen(eval, series.iter().map(|series| &series.labels))
}

fn check_sample(
    actual: &SampleValue,
    expected: &SampleValue,
    hint_given: bool,
    buckets_alone: bool,
) -> std::result::Result<(), String> {
    let same = match (actual, expected) {
        (SampleValue::Float(actual), SampleValue::Float(expected)) => {
            almost_equal(*actual, *expected, EPSILON)
        }
        (SampleValue::Histogram(actual), SampleValue::Histogram(expected)) => {
            same_histogram(actual, expected, hint_given, buckets_alone)
        }
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("{} instead of {}", show(actual), show(expected))) }
}

fn same_histogram(
    actual: &FloatHistogram,
    expected: &FloatHistogram,
    hint_given: bool,
    buckets_alone: bool,
) -> bool {
    if buckets_alone {
        return same_shown(actual, expected);
    }
    let (mut actual, mut expected) = (actual.clone(), expected.clone());
    actual.compact();
    expected.compact();
    let same_buckets = |a: &Buckets, b: &Buckets| {
        a.indexes() == b.indexes()
            && a.counts().iter().zip(b.counts()).all(|(a, b)| almost_equal(*a, *b, EPSILON))
    };
    actual.schema == expected.schema
        && almost_equal(actual.count, expected.count, EPSILON)
        && almost_equal(actual.sum, expected.sum, EPSILON)
        && (!expected.uses_custom_buckets() || actual.custom_bounds() == expected.custom_bounds())
        && actual.zero_threshold == expected.zero_threshold
        && almost_equal(actual.zero_count, expected.zero_count, EPSILON)
        && same_buckets(&actual.positive, &expected.positive)
        && same_buckets(&actual.negative, &expected.negative)
        && (!hint_given || actual.counter_reset == expected.counter_reset)
}

/// Whether two histograms are shown alike by an API: count, sum, and the buckets that are not empty.
fn same_shown(actual: &FloatHistogram, expected: &FloatHistogram) -> bool {
    let close = |a: f64, b: f64| almost_equal(a, b, EPSILON);
    let shown = |histogram: &FloatHistogram| -> Vec<Bucket> {
        histogram.all_buckets().filter(|bucket| bucket.count != 0.0).collect()
    };
    let (actual_buckets, expected_buckets) = (shown(actual), shown(expected));
    close(actual.count, expected.count)
        && close(actual.sum, expected.sum)
        && actual_buckets.len() == expected_buckets.len()
        && actual_buckets
            .iter()
            .zip(&expected_buckets)
            .all(|(a, b)| close(a.lower, b.lower) && close(a.upper, b.upper) && close(a.count, b.count))
}

fn show(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => value.to_string(),
        SampleValue::Histogram(histogram) => format!("{histogram:?}"),
    }
}

fn show_series(series: &Series) -> String {
    let floats: Vec<(i64, f64)> = series.floats().collect();
    format!("{} {floats:?} {:?}", series.labels, series.histograms())
}
