//! Several workers give the answers of one.

use std::sync::Arc;

use gyre_promql::labels::Labels;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::value::{SampleValue, Value};
use gyre_promql::{Engine, EngineOptions, QueryOptions, ScopedThreads};

/// Six batches of series, so that several workers have something to do.
fn storage() -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    for series in 0..6000u32 {
        let (pod, le, job) =
            (format!("p{series}"), ["0.1", "1", "+Inf"][series as usize % 3], format!("j{}", series / 3 % 7));
        let pairs = [("__name__", "m_bucket"), ("job", job.as_str()), ("le", le), ("pod", pod.as_str())];
        let labels = Labels::from_pairs(pairs);
        for step in 0..4 {
            // Whole numbers: sums are exact in any order.
            let value = f64::from(series % 100 * (1 + series % 3) + step * 10);
            storage.append(&labels, i64::from(step) * 60_000, SampleValue::Float(value));
        }
    }
    storage
}

type Line = (String, Vec<(i64, f64)>);

fn sorted(value: Value) -> Vec<Line> {
    let mut lines: Vec<Line> = match value {
        Value::Vector(samples) => {
            let float = |value: &SampleValue| match value {
                SampleValue::Float(float) => *float,
                SampleValue::Histogram(_) => panic!("there are no histograms here"),
            };
            samples
                .iter()
                .map(|s| (format!("{:?}", s.labels), vec![(s.timestamp_ms, float(&s.value))]))
                .collect()
        }
        Value::Matrix(series) => {
            series.iter().map(|s| (format!("{:?}", s.labels), s.floats().collect())).collect()
        }
        other => vec![(format!("{other:?}"), Vec::new())],
    };
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    lines
}

/// Equal, but for the last digits of sums, which depend on the order of summing.
fn assert_same(one: Value, many: Value, query: &str) {
    let (one, many) = (sorted(one), sorted(many));
    assert_eq!(one.len(), many.len(), "{query}");
    for ((labels, points), (other_labels, other_points)) in one.iter().zip(&many) {
        assert_eq!(labels, other_labels, "{query}");
        assert_eq!(points.len(), other_points.len(), "{query} {labels}");
        for ((t, v), (other_t, other_v)) in points.iter().zip(other_points) {
            let close =
                v == other_v || (v - other_v).abs() <= 1e-12 * v.abs() || (v.is_nan() && other_v.is_nan());
            assert!(t == other_t && close, "{query} {labels} at {t}: {v} and {other_v} at {other_t}");
        }
    }
}

#[test]
fn every_aggregation_gives_the_same_whatever_the_number_of_workers() {
    let storage = storage();
    let engine = |threads| {
        let workers = Arc::new(ScopedThreads { threads });
        Engine::new(EngineOptions { workers, ..EngineOptions::default() })
    };
    let (one, many) = (engine(1), engine(4));
    let options = QueryOptions::default();
    let inputs = ["m_bucket", "rate(m_bucket[3m])", "m_bucket{job!=\"j1\"} * 2"];
    let aggregations = [
        "sum",
        "avg",
        "count",
        "min",
        "max",
        "group",
        "stddev",
        "stdvar",
        "topk(3,",
        "bottomk(2,",
        "quantile(0.9,",
        "count_values(\"v\",",
        "limitk(2,",
    ];
    let mut queries: Vec<String> = Vec::new();
    for input in inputs {
        for aggregation in aggregations {
            for grouping in ["", " by (job)", " by (job, le)", " without (pod)", " by (absent)"] {
                let (op, param) = aggregation
                    .split_once('(')
                    .map_or((aggregation, String::new()), |(op, rest)| (op, rest.to_owned()));
                queries.push(format!("{op}{grouping} ({param} {input})"));
            }
        }
        queries.push(format!("histogram_quantile(0.9, {input})"));
        queries.push(format!("histogram_quantile(0.9, sum by (le, job) ({input}))"));
        queries.push(input.to_owned());
        queries.push(format!("absent({input})"));
        queries.push(format!("{input} and on (job) m_bucket{{job=\"j2\"}}"));
        queries.push(format!("sum by (job) ({input}) / on (job) group_right sum by (job, le) ({input})"));
    }
    let mut evaluated = 0;
    for query in &queries {
        // Which of equal values these show is not defined.
        let any_of_equals = ["topk", "bottomk", "limitk"].iter().any(|op| query.starts_with(op));
        let range = |engine: &Engine| engine.range(&storage, query.as_str(), 0, 240_000, 30_000, &options);
        match (range(&one), range(&many)) {
            (Ok(one), Ok(many)) if any_of_equals => {
                assert_eq!(sorted(one.value).len().min(1), sorted(many.value).len().min(1), "{query}");
            }
            (Ok(one), Ok(many)) => assert_same(one.value, many.value, query),
            (Err(one), Err(many)) => {
                assert_eq!(one.to_string(), many.to_string(), "{query}");
                continue;
            }
            (one, many) => panic!("{query}: {:?} and {:?}", one.map(|_| ()), many.map(|_| ())),
        }
        evaluated += 1;
    }
    assert!(evaluated * 10 > queries.len() * 8, "{evaluated} of {} queries have an answer", queries.len());
    let count = many.instant(&storage, "count(m_bucket)", 60_000, &options).unwrap().value;
    assert_eq!(sorted(count), [("{}".to_owned(), vec![(60_000, 6000.0)])]);
}
