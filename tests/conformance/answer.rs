//! The API's JSON, read back into values.

use std::sync::Arc;

use gyre_promql::gostd::parse_float;
use gyre_promql::histogram::{Buckets, CUSTOM_BUCKETS_SCHEMA, FloatHistogram};
use gyre_promql::labels::Labels;
use gyre_promql::testkit::Evaluated;
use gyre_promql::value::{Sample, SampleValue, Series, Value};
use serde_json::Value as Json;

/// The resolutions that native histograms have.
const SCHEMAS: std::ops::RangeInclusive<i32> = -4..=8;

/// What an answer says, or its error's text.
pub fn read(body: &[u8]) -> Result<Evaluated, String> {
    let json: Json = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
    if json["status"] != "success" {
        let text = json["error"].as_str().ok_or_else(|| format!("no error text in {json}"))?;
        // Tells the parameter; the rest is what the engine says.
        return Err(text.strip_prefix("invalid parameter \"query\": ").unwrap_or(text).to_owned());
    }
    let texts = |key: &str| -> Vec<String> {
        let list = json[key].as_array().into_iter().flatten();
        list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let value = value(&json["data"]).ok_or_else(|| format!("unexpected data: {}", json["data"]))?;
    Ok(Evaluated { value, warnings: texts("warnings"), infos: texts("infos") })
}

fn value(data: &Json) -> Option<Value> {
    let result = &data["result"];
    match data["resultType"].as_str()? {
        "scalar" => {
            let (timestamp_ms, value) = float(result)?;
            Some(Value::Scalar { timestamp_ms, value })
        }
        "string" => Some(Value::String {
            timestamp_ms: milliseconds(&result[0])?,
            value: result[1].as_str()?.to_owned(),
        }),
        "vector" => result.as_array()?.iter().map(sample).collect::<Option<_>>().map(Value::Vector),
        "matrix" => result.as_array()?.iter().map(series).collect::<Option<_>>().map(Value::Matrix),
        _ => None,
    }
}

fn sample(json: &Json) -> Option<Sample> {
    let labels = labels(&json["metric"])?;
    if let Some(pair) = json.get("value") {
        let (timestamp_ms, value) = float(pair)?;
        return Some(Sample { labels, timestamp_ms, value: SampleValue::Float(value) });
    }
    let (timestamp_ms, histogram) = histogram(json.get("histogram")?)?;
    Some(Sample { labels, timestamp_ms, value: SampleValue::Histogram(histogram) })
}

fn series(json: &Json) -> Option<Series> {
    let list = |key: &str| json[key].as_array().into_iter().flatten();
    let floats: Vec<(i64, f64)> = list("values").map(float).collect::<Option<_>>()?;
    let histograms = list("histograms").map(histogram).collect::<Option<_>>()?;
    let (times, values) = floats.into_iter().unzip();
    Some(Series::listed(labels(&json["metric"])?, times, values, histograms))
}

fn labels(json: &Json) -> Option<Labels> {
    let pairs: Option<Vec<(&str, &str)>> =
        json.as_object()?.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect();
    pairs.map(Labels::from_pairs)
}

fn milliseconds(json: &Json) -> Option<i64> {
    Some((json.as_f64()? * 1000.0).round() as i64)
}

fn number(json: &Json) -> Option<f64> {
    parse_float(json.as_str()?).ok()
}

fn float(pair: &Json) -> Option<(i64, f64)> {
    Some((milliseconds(&pair[0])?, number(&pair[1])?))
}

/// A histogram that has the buckets of the answer. Its resolution is guessed from them: those of an exponential one
/// have bounds whose ratio is the same and a root of two.
fn histogram(pair: &Json) -> Option<(i64, Arc<FloatHistogram>)> {
    let body = &pair[1];
    let mut histogram = FloatHistogram {
        count: number(&body["count"])?,
        sum: number(&body["sum"])?,
        ..FloatHistogram::default()
    };
    let mut buckets = Vec::new();
    for bucket in body["buckets"].as_array().into_iter().flatten() {
        let (lower, upper, count) = (number(&bucket[1])?, number(&bucket[2])?, number(&bucket[3])?);
        if bucket[0] == 3 && lower == -upper {
            (histogram.zero_threshold, histogram.zero_count) = (upper, count);
        } else {
            buckets.push((lower, upper, count));
        }
    }
    let fits = |schema: &i32| buckets.iter().all(|&bucket| exponential_index(bucket, *schema).is_some());
    match SCHEMAS.into_iter().find(fits) {
        Some(schema) => {
            histogram.schema = schema;
            let (negative, positive): (Vec<_>, Vec<_>) =
                buckets.into_iter().partition(|bucket| bucket.0 < 0.0);
            let index = |bucket| exponential_index(bucket, schema);
            for bucket in positive {
                histogram.positive.push(index(bucket)?, bucket.2);
            }
            for bucket in negative.into_iter().rev() {
                histogram.negative.push(index(bucket)?, bucket.2);
            }
        }
        None => {
            let (bounds, positive) = custom(&buckets);
            histogram.schema = CUSTOM_BUCKETS_SCHEMA;
            histogram.custom_values = Some(bounds.into());
            histogram.positive = positive;
        }
    }
    Some((milliseconds(&pair[0])?, Arc::new(histogram)))
}

/// The number of a bucket, if it is one of this schema: bucket `i` reaches up to `2^(i / 2^schema)`.
fn exponential_index((lower, upper, _): (f64, f64, f64), schema: i32) -> Option<i32> {
    let (near, far) = if lower < 0.0 { (-upper, -lower) } else { (lower, upper) };
    if !(near > 0.0 && far.is_finite()) {
        return None;
    }
    let per_octave = f64::from(schema).exp2();
    let close = |bound: f64| {
        let index = bound.log2() * per_octave;
        ((index - index.round()).abs() < 1e-6).then_some(index.round())
    };
    // The largest finite number stands for the bound beyond it.
    let upper_index = if far == f64::MAX { (1024.0 * per_octave).ceil() } else { close(far)? };
    (close(near)? + 1.0 == upper_index).then_some(upper_index as i32)
}

/// Bounds and buckets of a histogram with custom ones; where the answer left out empty buckets there is one.
fn custom(buckets: &[(f64, f64, f64)]) -> (Vec<f64>, Buckets) {
    let mut bounds: Vec<f64> = Vec::new();
    let mut positive = Buckets::with_capacity(buckets.len());
    for &(lower, upper, count) in buckets {
        if lower.is_finite() && bounds.last() != Some(&lower) {
            bounds.push(lower);
        }
        positive.push(bounds.len() as i32, count);
        if upper.is_finite() {
            bounds.push(upper);
        }
    }
    (bounds, positive)
}
