//! Label sets, samples, vectors and matrices.

use super::number::{write_scalar_value, write_timestamp_ms, write_value};
use super::text::{write_html_safe_string, write_string};
use crate::node::QueryValue;

/// Writes the `data` of a query.
pub fn write(out: &mut Vec<u8>, value: &QueryValue) {
    let mut begin = |kind: &str| {
        out.extend_from_slice(b"{\"resultType\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"result\":");
    };
    match value {
        QueryValue::Scalar(t_ms, value) => {
            begin("scalar");
            write_pair(out, *t_ms, |out| write_scalar_value(out, *value));
        }
        QueryValue::String(t_ms, text) => {
            begin("string");
            write_pair(out, *t_ms, |out| write_html_safe_string(out, text));
        }
        QueryValue::Vector(samples) => {
            begin("vector");
            write_list(out, samples, |out, (labels, t_ms, value)| {
                out.extend_from_slice(b"{\"metric\":");
                write_labels(out, labels);
                out.extend_from_slice(b",\"value\":");
                write_point(out, *t_ms, *value);
                out.push(b'}');
            });
        }
        QueryValue::Matrix(series) => {
            begin("matrix");
            write_list(out, series, |out, (labels, points)| {
                out.extend_from_slice(b"{\"metric\":");
                write_labels(out, labels);
                // A series of histograms alone has no such key, and neither has one of nothing.
                if !points.is_empty() {
                    out.extend_from_slice(b",\"values\":");
                    write_list(out, points, |out, (t_ms, value)| write_point(out, *t_ms, *value));
                }
                out.push(b'}');
            });
        }
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
    out.push(b'{');
    for (position, (name, value)) in labels.iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write_string(out, name.as_ref());
        out.push(b':');
        write_string(out, value.as_ref());
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
    use super::*;

    fn data(value: &QueryValue) -> String {
        let mut out = Vec::new();
        write(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    // Documents of Prometheus's documentation of its HTTP API, and of its encoder's tests.
    #[test]
    fn each_kind_of_value_has_prometheus_form() {
        assert_eq!(
            data(&QueryValue::Scalar(1_000, 0.333)),
            r#"{"resultType":"scalar","result":[1,"0.333"]}"#
        );
        assert_eq!(
            data(&QueryValue::String(1_001, "a<b".to_owned())),
            r#"{"resultType":"string","result":[1.001,"a\u003cb"]}"#
        );
        assert_eq!(data(&QueryValue::Vector(vec![])), r#"{"resultType":"vector","result":[]}"#);
        let up = labels(&[("__name__", "up"), ("job", "a\"<b>")]);
        assert_eq!(
            data(&QueryValue::Vector(vec![(up.clone(), 1_435_781_451_781, 1.0), (vec![], 0, f64::NAN)])),
            concat!(
                r#"{"resultType":"vector","result":["#,
                r#"{"metric":{"__name__":"up","job":"a\"<b>"},"value":[1435781451.781,"1"]},"#,
                r#"{"metric":{},"value":[0,"NaN"]}]}"#
            )
        );
        assert_eq!(
            data(&QueryValue::Matrix(vec![(up, vec![(1_000, 1.0), (1_500, 0.5)])])),
            concat!(
                r#"{"resultType":"matrix","result":["#,
                r#"{"metric":{"__name__":"up","job":"a\"<b>"},"values":[[1,"1"],[1.500,"0.5"]]}]}"#
            )
        );
    }
}
