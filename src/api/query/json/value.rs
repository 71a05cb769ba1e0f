//! Label sets, samples, vectors and matrices.

use super::number::{write_scalar_value, write_timestamp_ms, write_value};
use super::text::{write_html_safe_string, write_string};
use gyre_promql::value::{Sample, SampleValue, Series, Value};

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
    if let SampleValue::Float(value) = sample.value {
        out.extend_from_slice(b",\"value\":");
        write_point(out, sample.timestamp_ms, value);
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
