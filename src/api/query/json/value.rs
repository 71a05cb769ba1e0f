//! Label sets, samples, vectors and matrices.

use gyre_promql::value::{Sample, SampleValue, Series, Value};

use super::histogram::write_histogram;
use super::number::{write_scalar_value, write_timestamp_ms, write_value};
use super::text::{write_html_safe_string, write_string};

/// Writes the `data` of a query.
pub fn write(out: &mut Vec<u8>, value: &Value) {
    let mut begin = |kind: &str| {
        out.extend_from_slice(b"{\"resultType\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"result\":");
    };
    match value {
        Value::Scalar { timestamp_ms, value } => {
            begin("scalar");
            write_pair(out, *timestamp_ms, |out| write_scalar_value(out, *value));
        }
        Value::String { timestamp_ms, value } => {
            begin("string");
            write_pair(out, *timestamp_ms, |out| write_html_safe_string(out, value));
        }
        Value::Vector(samples) => {
            begin("vector");
            write_list(out, samples, write_sample);
        }
        Value::Matrix(series) => {
            begin("matrix");
            write_list(out, series, write_series);
        }
    }
    out.push(b'}');
}

fn write_sample(out: &mut Vec<u8>, sample: &Sample) {
    out.extend_from_slice(b"{\"metric\":");
    write_label_set(out, sample.labels.iter());
    match &sample.value {
        SampleValue::Float(value) => {
            out.extend_from_slice(b",\"value\":");
            write_point(out, sample.timestamp_ms, *value);
        }
        SampleValue::Histogram(histogram) => {
            out.extend_from_slice(b",\"histogram\":");
            write_pair(out, sample.timestamp_ms, |out| write_histogram(out, histogram));
        }
    }
    out.push(b'}');
}

fn write_series(out: &mut Vec<u8>, series: &Series) {
    out.extend_from_slice(b"{\"metric\":");
    write_label_set(out, series.labels.iter());
    // A series of histograms alone has no such key, and neither has one of nothing.
    let mut separator: &[u8] = b",\"values\":[";
    for (t_ms, value) in series.floats() {
        out.extend_from_slice(separator);
        separator = b",";
        write_point(out, t_ms, value);
    }
    if separator == b"," {
        out.push(b']');
    }
    if !series.histograms().is_empty() {
        out.extend_from_slice(b",\"histograms\":");
        write_list(out, series.histograms(), |out, (t_ms, histogram)| {
            write_pair(out, *t_ms, |out| write_histogram(out, histogram));
        });
    }
    out.push(b'}');
}

/// Writes `[1435781451.781,"1"]`.
pub fn write_point(out: &mut Vec<u8>, t_ms: i64, value: f64) {
    write_pair(out, t_ms, |out| write_value(out, value));
}

fn write_pair(out: &mut Vec<u8>, t_ms: i64, write_second: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'[');
    write_timestamp_ms(out, t_ms);
    out.push(b',');
    write_second(out);
    out.push(b']');
}

/// Writes a label set as an object, in its own order.
pub fn write_labels<N: AsRef<str>, V: AsRef<str>>(out: &mut Vec<u8>, labels: &[(N, V)]) {
    write_label_set(out, labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())));
}

fn write_label_set<'a>(out: &mut Vec<u8>, labels: impl Iterator<Item = (&'a str, &'a str)>) {
    out.push(b'{');
    for (position, (name, value)) in labels.enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_string(out, value);
    }
    out.push(b'}');
}

/// Writes an array.
pub fn write_list<T>(out: &mut Vec<u8>, items: &[T], mut write_item: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_item(out, item);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gyre_promql::histogram::FloatHistogram;
    use gyre_promql::labels::Labels;

    use super::*;

    fn data(value: &Value) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    fn sample(labels: &[(&str, &str)], timestamp_ms: i64, value: SampleValue) -> Sample {
        Sample { labels: Labels::from_pairs(labels.iter().copied()), timestamp_ms, value }
    }

    // Forms of Prometheus's documentation of its HTTP API. Matrices are tested over HTTP, where they are made.
    #[test]
    fn scalars_and_strings_are_pairs() {
        assert_eq!(
            data(&Value::Scalar { timestamp_ms: 1_000, value: 0.333 }),
            r#"{"resultType":"scalar","result":[1,"0.333"]}"#
        );
        assert_eq!(
            data(&Value::String { timestamp_ms: 1_001, value: "a<b".to_owned() }),
            r#"{"resultType":"string","result":[1.001,"a\u003cb"]}"#
        );
    }

    #[test]
    fn vectors_are_lists_of_series_with_one_value_each() {
        assert_eq!(data(&Value::Vector(vec![])), r#"{"resultType":"vector","result":[]}"#);
        let labels = [("__name__", "up"), ("job", "a\"<b>")];
        let histogram = SampleValue::Histogram(Arc::new(FloatHistogram::default()));
        assert_eq!(
            data(&Value::Vector(vec![
                sample(&labels, 1_435_781_451_781, SampleValue::Float(1.0)),
                sample(&[], 0, SampleValue::Float(f64::NAN)),
                sample(&[], 0, histogram),
            ])),
            concat!(
                r#"{"resultType":"vector","result":["#,
                r#"{"metric":{"__name__":"up","job":"a\"<b>"},"value":[1435781451.781,"1"]},"#,
                r#"{"metric":{},"value":[0,"NaN"]},"#,
                r#"{"metric":{},"histogram":[0,{"count":"0","sum":"0"}]}]}"#
            )
        );
    }
}
