//! Calls of the Prometheus query API and their answers, in a form that can be compared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::http::Connection;
use crate::server::Server;

/// A label set of a result.
pub type Labels = BTreeMap<String, String>;

/// One point of a result.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// Its value; the API keeps all of a float's bits but a NaN's payload.
    pub value: f64,
}

/// A successful answer's data.
#[derive(Debug, Clone)]
pub enum Data {
    /// A scalar, vector or matrix (the type's name first), as points of label sets.
    Series(String, BTreeMap<Labels, Vec<Point>>),
    /// Label names or values.
    Strings(Vec<String>),
    /// What `/api/v1/series` lists.
    LabelSets(BTreeSet<Labels>),
}

impl Data {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        match self {
            Data::Series(_, series) => series.is_empty(),
            Data::Strings(strings) => strings.is_empty(),
            Data::LabelSets(sets) => sets.is_empty(),
        }
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// `/api/v1/query` at a time.
    Instant {
        /// PromQL.
        expr: String,
        /// Evaluation time.
        at_ms: i64,
    },
    /// `/api/v1/query_range`, ends included.
    Range {
        /// PromQL.
        expr: String,
        /// First evaluation time.
        start_ms: i64,
        /// Last evaluation time.
        end_ms: i64,
        /// Between two evaluations.
        step_ms: i64,
    },
    /// `/api/v1/label/<label>/values`.
    LabelValues {
        /// Label name.
        label: String,
        /// Selector.
        matching: String,
        /// Start of the time range.
        start_ms: i64,
        /// End of the time range.
        end_ms: i64,
    },
    /// `/api/v1/series`.
    Series {
        /// Selector.
        matching: String,
        /// Start of the time range.
        start_ms: i64,
        /// End of the time range.
        end_ms: i64,
    },
}

/// Milliseconds as the decimal seconds that the API takes.
pub fn seconds(timestamp_ms: i64) -> String {
    format!("{}.{:03}", timestamp_ms.div_euclid(1_000), timestamp_ms.rem_euclid(1_000))
}

impl Call {
    /// Sends it; the raw body of a successful answer.
    pub fn send(&self, server: &Server, connection: &mut Connection) -> Result<String> {
        self.send_with_stats(server, connection, "")
    }

    /// Sends it, a query with this `stats` parameter; the raw body of a successful answer.
    pub fn send_with_stats(
        &self,
        server: &Server,
        connection: &mut Connection,
        stats: &str,
    ) -> Result<String> {
        let answer = match self {
            Call::Instant { expr, at_ms } => {
                let parameters = [("query", expr.as_str()), ("time", &seconds(*at_ms)), ("stats", stats)];
                server.query(connection, "/api/v1/query", &parameters)?
            }
            Call::Range { expr, start_ms, end_ms, step_ms } => {
                let parameters = [
                    ("query", expr.as_str()),
                    ("start", &seconds(*start_ms)),
                    ("end", &seconds(*end_ms)),
                    ("step", &seconds(*step_ms)),
                    ("stats", stats),
                ];
                server.query(connection, "/api/v1/query_range", &parameters)?
            }
            Call::LabelValues { label, matching, start_ms, end_ms } => {
                let path = format!("{}/api/v1/label/{label}/values", server.product.query_prefix());
                let (start, end) = (seconds(*start_ms), seconds(*end_ms));
                let mut parameters = vec![("match[]", matching.as_str()), ("start", &start), ("end", &end)];
                parameters.extend_from_slice(server.product.query_parameters());
                connection.get(&path, &parameters)?
            }
            Call::Series { matching, start_ms, end_ms } => {
                let (start, end) = (seconds(*start_ms), seconds(*end_ms));
                let parameters = [("match[]", matching.as_str()), ("start", &start), ("end", &end)];
                server.query(connection, "/api/v1/series", &parameters)?
            }
        };
        answer.into_text()
    }

    /// Sends it and reads the answer.
    pub fn ask(&self, server: &Server, connection: &mut Connection) -> Result<Data> {
        parse(&self.send(server, connection)?)
    }
}

/// The value of an instant query with one result, None if it is empty.
pub fn instant_value(
    server: &Server,
    connection: &mut Connection,
    expr: &str,
    at_ms: i64,
) -> Result<Option<f64>> {
    match (Call::Instant { expr: expr.to_owned(), at_ms }).ask(server, connection)? {
        Data::Series(_, series) if series.len() <= 1 => {
            Ok(series.values().next().and_then(|points| points.first()).map(|point| point.value))
        }
        other => Err(Error::malformed(format!("the answer to {expr}"), format!("not one value: {other:?}"))),
    }
}

/// Reads the JSON envelope of a successful answer.
pub fn parse(body: &str) -> Result<Data> {
    let malformed = |problem: &str| {
        let start: String = body.chars().take(200).collect();
        Error::malformed("a query's answer", format!("{problem}: {start}"))
    };
    let envelope: Value = serde_json::from_str(body).map_err(|error| malformed(&error.to_string()))?;
    if envelope["status"] != "success" {
        return Err(malformed("not a success"));
    }
    match &envelope["data"] {
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let mut strings: Vec<String> =
                items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            strings.sort_unstable();
            Ok(Data::Strings(strings))
        }
        Value::Array(items) => {
            let sets = items.iter().map(labels).collect::<Option<_>>();
            Ok(Data::LabelSets(sets.ok_or_else(|| malformed("a label set that is none"))?))
        }
        data => {
            let kind = data["resultType"].as_str().ok_or_else(|| malformed("no resultType"))?;
            let series = series(kind, &data["result"]).ok_or_else(|| malformed("a bad result"))?;
            Ok(Data::Series(kind.to_owned(), series))
        }
    }
}

fn labels(value: &Value) -> Option<Labels> {
    let pairs = value.as_object()?.iter();
    pairs.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

fn point(value: &Value) -> Option<Point> {
    let [time, text] = value.as_array()?.as_slice() else { return None };
    let timestamp_ms = (time.as_f64()? * 1_000.0).round() as i64;
    Some(Point { timestamp_ms, value: text.as_str()?.parse().ok()? })
}

fn series(kind: &str, result: &Value) -> Option<BTreeMap<Labels, Vec<Point>>> {
    if kind == "scalar" {
        return Some(BTreeMap::from([(Labels::new(), vec![point(result)?])]));
    }
    let mut series = BTreeMap::new();
    for item in result.as_array()? {
        let points = match kind {
            "vector" => vec![point(&item["value"])?],
            _ => item["values"].as_array()?.iter().map(point).collect::<Option<_>>()?,
        };
        // A label set twice in one result is a bug of the server.
        if series.insert(labels(&item["metric"])?, points).is_some() {
            return None;
        }
    }
    Some(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_matrices_scalars_and_lists_are_read() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"a":"1"},"value":[1700000000.123,"+Inf"]}]}}"#;
        let Data::Series(kind, series) = parse(vector).unwrap() else { panic!("not series") };
        assert_eq!(kind, "vector");
        let (labels, points) = series.first_key_value().unwrap();
        assert_eq!(labels["a"], "1");
        assert_eq!((points[0].timestamp_ms, points[0].value), (1_700_000_000_123, f64::INFINITY));

        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{},"values":[[1,"0.1"],[2,"NaN"]]}]}}"#;
        let Data::Series(_, series) = parse(matrix).unwrap() else { panic!("not series") };
        assert_eq!(series[&Labels::new()].len(), 2);

        let list = r#"{"status":"success","data":["b","a"]}"#;
        assert!(matches!(parse(list).unwrap(), Data::Strings(list) if list == ["a", "b"]));
        let sets = r#"{"status":"success","data":[{"a":"b"}]}"#;
        assert!(matches!(parse(sets).unwrap(), Data::LabelSets(sets) if sets.len() == 1));
    }

    #[test]
    fn errors_and_duplicate_series_are_refused() {
        let error = r#"{"status":"error","errorType":"execution","error":"no"}"#;
        assert!(parse(error).unwrap_err().to_string().contains("not a success"));
        let twice = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{},"value":[1,"1"]},{"metric":{},"value":[1,"1"]}]}}"#;
        assert!(parse(twice).is_err());
    }
}
