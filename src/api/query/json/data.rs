//! The `data` of a query, written some at a time: series by series, and long series in several parts.

use std::vec::IntoIter;

use gyre_promql::value::{Sample, Series, Value};

use super::value::{SeriesWriter, write_sample, write_scalar, write_text};
use crate::api::query::stream::{Data, SendingShare};

/// The value of a query and what follows it.
pub struct QueryData {
    state: State,
    result: Parts,
    /// What comes behind the result, from its comma on.
    behind: Vec<u8>,
    /// Given back when all is sent.
    _share: Option<SendingShare>,
}

enum State {
    Begin,
    First,
    Further,
}

enum Parts {
    /// A scalar or a string.
    Single(Value),
    Vector(IntoIter<Sample>),
    Matrix {
        series: IntoIter<Series>,
        open: Option<SeriesWriter>,
    },
    Done,
}

impl QueryData {
    /// A value, followed by `behind`: nothing, or more keys with a comma in front.
    pub fn new(value: Value, behind: Vec<u8>, share: Option<SendingShare>) -> Self {
        let result = match value {
            Value::Vector(samples) => Parts::Vector(samples.into_iter()),
            Value::Matrix(series) => Parts::Matrix { series: series.into_iter(), open: None },
            single => Parts::Single(single),
        };
        Self { state: State::Begin, result, behind, _share: share }
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        let (kind, bracket) = match &self.result {
            Parts::Single(Value::String { .. }) => ("string", ""),
            Parts::Single(_) | Parts::Done => ("scalar", ""),
            Parts::Vector(_) => ("vector", "["),
            Parts::Matrix { .. } => ("matrix", "["),
        };
        out.extend_from_slice(b"{\"resultType\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"result\":");
        out.extend_from_slice(bracket.as_bytes());
        self.state = State::First;
    }

    fn separate(&mut self, out: &mut Vec<u8>) {
        if matches!(self.state, State::Further) {
            out.push(b',');
        }
        self.state = State::Further;
    }

    fn end(&mut self, out: &mut Vec<u8>, bracket: &[u8]) {
        out.extend_from_slice(bracket);
        out.append(&mut self.behind);
        out.push(b'}');
        self.result = Parts::Done;
    }
}

impl Data for QueryData {
    fn write_some(&mut self, out: &mut Vec<u8>) -> bool {
        if matches!(self.state, State::Begin) {
            self.begin(out);
        }
        match &mut self.result {
            Parts::Single(value) => {
                match value {
                    Value::String { timestamp_ms, value } => write_text(out, *timestamp_ms, value),
                    Value::Scalar { timestamp_ms, value } => write_scalar(out, *timestamp_ms, *value),
                    Value::Vector(_) | Value::Matrix(_) => {}
                }
                self.end(out, b"");
                false
            }
            Parts::Vector(samples) => {
                let Some(sample) = samples.next() else {
                    self.end(out, b"]");
                    return false;
                };
                self.separate(out);
                write_sample(out, &sample);
                true
            }
            Parts::Matrix { series, open } => {
                if let Some(writer) = open {
                    if !writer.write_some(out) {
                        *open = None;
                    }
                    return true;
                }
                let Some(next) = series.next() else {
                    self.end(out, b"]");
                    return false;
                };
                *open = Some(SeriesWriter::new(next));
                self.separate(out);
                true
            }
            Parts::Done => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gyre_promql::histogram::FloatHistogram;
    use gyre_promql::labels::Labels;
    use gyre_promql::value::SampleValue;

    use super::*;

    fn data(value: Value) -> String {
        let mut out = Vec::new();
        let mut data = QueryData::new(value, Vec::new(), None);
        while data.write_some(&mut out) {}
        String::from_utf8(out).unwrap()
    }

    fn sample(labels: &[(&str, &str)], timestamp_ms: i64, value: SampleValue) -> Sample {
        Sample { labels: Labels::from_pairs(labels.iter().copied()), timestamp_ms, value }
    }

    // Forms of Prometheus's documentation of its HTTP API.
    #[test]
    fn scalars_and_strings_are_pairs() {
        assert_eq!(
            data(Value::Scalar { timestamp_ms: 1_000, value: 0.333 }),
            r#"{"resultType":"scalar","result":[1,"0.333"]}"#
        );
        assert_eq!(
            data(Value::String { timestamp_ms: 1_001, value: "a<b".to_owned() }),
            r#"{"resultType":"string","result":[1.001,"a\u003cb"]}"#
        );
    }

    #[test]
    fn vectors_are_lists_of_series_with_one_value_each() {
        assert_eq!(data(Value::Vector(vec![])), r#"{"resultType":"vector","result":[]}"#);
        let labels = [("__name__", "up"), ("job", "a\"<b>")];
        let histogram = SampleValue::Histogram(Arc::new(FloatHistogram::default()));
        assert_eq!(
            data(Value::Vector(vec![
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

    #[test]
    fn a_long_series_is_written_in_several_parts_that_make_one_whole() {
        let times: Vec<i64> = (0..2_500).map(|i| i * 1000).collect();
        let values: Vec<f64> = (0..2_500).map(f64::from).collect();
        let histograms = vec![(7, Arc::new(FloatHistogram::default())); 70];
        let labels = Labels::from_pairs([("__name__", "m")]);
        let series = Series::listed(labels, times, values, histograms);
        let empty = Series::listed(Labels::empty(), vec![], vec![], vec![]);
        let mut whole = Vec::new();
        let mut data = QueryData::new(Value::Matrix(vec![series, empty]), b",\"stats\":{}".to_vec(), None);
        let mut longest = 0;
        loop {
            let before = whole.len();
            let is_more = data.write_some(&mut whole);
            longest = longest.max(whole.len() - before);
            if !is_more {
                break;
            }
        }
        let json: serde_json::Value = serde_json::from_slice(&whole).unwrap();
        let result = &json["result"];
        assert_eq!(result[0]["metric"]["__name__"], "m");
        let points = result[0]["values"].as_array().unwrap();
        for (i, point) in points.iter().enumerate() {
            assert_eq!(point, &serde_json::json!([i, i.to_string()]));
        }
        assert_eq!(points.len(), 2_500);
        assert_eq!(result[0]["histograms"].as_array().unwrap().len(), 70);
        assert_eq!(result[1], serde_json::json!({"metric": {}}));
        assert_eq!(json["stats"], serde_json::json!({}));
        assert!(longest < whole.len() / 2, "{longest} of {}", whole.len());
    }
}
