//! A float and a histogram that come to have the same labels at the same time.
//!
//! Prometheus looks for duplicates in two ways. Where it evaluates step by step, all samples of a step must differ in
//! their labels. Where it changes whole series, it merges those of the same labels, floats and histograms apart, and so
//! lets one of each stand at the same time.

use std::sync::Arc;

use gyre_promql::histogram::FloatHistogram;
use gyre_promql::labels::Labels;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::syntax::ParserOptions;
use gyre_promql::value::{SampleValue, Value};
use gyre_promql::{Engine, EngineOptions, QueryError, QueryOptions};

const MINUTE: i64 = 60_000;
const SAME_LABELSET: &str = "vector cannot contain metrics with the same labelset";

/// `a{x="1",y="p"}` of floats, `b{x="1",y="q"}` of histograms.
fn storage() -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    let histogram = Arc::new(FloatHistogram { count: 1.0, zero_count: 1.0, ..FloatHistogram::default() });
    for time_ms in [MINUTE, 2 * MINUTE] {
        let of = |name: &str, y: &str| Labels::from_pairs([("__name__", name), ("x", "1"), ("y", y)]);
        storage.append(&of("a", "p"), time_ms, SampleValue::Float(1.0));
        storage.append(&of("b", "q"), time_ms, SampleValue::Histogram(Arc::clone(&histogram)));
    }
    storage
}

fn engine() -> Engine {
    Engine::new(EngineOptions { parser: ParserOptions::all(), ..EngineOptions::default() })
}

fn instant(query: &str) -> Result<Value, QueryError> {
    Ok(engine().instant(&storage(), query, MINUTE, &QueryOptions::default())?.value)
}

fn range(query: &str) -> Result<Value, QueryError> {
    let options = QueryOptions::default();
    Ok(engine().range(&storage(), query, MINUTE, 2 * MINUTE, MINUTE, &options)?.value)
}

#[test]
fn they_collide_where_samples_of_a_step_are_computed() {
    let relabelled = "label_replace({__name__=~\"a|b\"}, \"y\", \"same\", \"x\", \"1\")";
    for query in
        [format!("{relabelled} * 2"), format!("2 + {relabelled} * 2"), format!("{relabelled} / 1 > 0")]
    {
        for answer in [instant(&query), range(&query)] {
            let error = answer.expect_err(&query).to_string();
            assert!(error.contains(SAME_LABELSET), "{query}: {error}");
        }
    }
}

#[test]
fn they_may_stand_together_where_whole_series_are_changed() {
    for query in [
        "label_replace({__name__=~\"a|b\"} * 2, \"y\", \"same\", \"x\", \"1\")",
        "label_join({__name__=~\"a|b\"} * 2, \"y\", \"-\", \"x\", \"x\")",
        "-label_replace({__name__=~\"a|b\"}, \"y\", \"same\", \"x\", \"1\")",
    ] {
        // At one time only the histogram is shown, as it is looked for first.
        let Value::Vector(samples) = instant(query).expect(query) else { panic!("{query}: no vector") };
        assert_eq!(samples.len(), 1, "{query}: {samples:?}");
        assert!(matches!(samples[0].value, SampleValue::Histogram(_)), "{query}: {samples:?}");
        let Value::Matrix(series) = range(query).expect(query) else { panic!("{query}: no matrix") };
        assert_eq!(series.len(), 1, "{query}: {series:?}");
        assert_eq!((series[0].floats().count(), series[0].histograms().len()), (2, 2), "{query}: {series:?}");
    }
}
