//! The engine's interface: queries, limits, cancellation, errors, workers.

use std::sync::Arc;
use std::time::Duration;

use gyre_promql::histogram::{Buckets, CUSTOM_BUCKETS_SCHEMA, FloatHistogram};
use gyre_promql::labels::Labels;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::storage::{SelectRequest, SeriesSet, Storage, StorageError, StorageErrorKind};
use gyre_promql::syntax::ParserOptions;
use gyre_promql::value::{SampleValue, Value};
use gyre_promql::{
    CancelToken, Engine, EngineOptions, QueryErrorKind, QueryOptions, QueryResult, ScopedThreads,
};

const MINUTE: i64 = 60_000;

/// `m{i="0"}`, `m{i="1"}`, ...: counters over an hour, some with resets and gaps.
fn counters(series: usize) -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    for i in 0..series {
        let labels =
            Labels::from_pairs([("__name__", "m_total"), ("i", &i.to_string()), ("g", &(i % 7).to_string())]);
        let mut value = 0.0;
        for step in 0..60 {
            if (step + i) % 23 == 0 {
                continue;
            }
            // No two series have the same value: which of equals `topk` chooses is nobody's promise.
            let own = 1e-7 * (i + 1) as f64;
            value = if (step * 31 + i) % 37 == 0 { own } else { value + own + 0.1 * (i % 10) as f64 };
            storage.append(
                &labels,
                step as i64 * MINUTE + (i as i64 * 7919) % 50_000,
                SampleValue::Float(value),
            );
        }
    }
    storage
}

fn engine(change: impl FnOnce(&mut EngineOptions)) -> Engine {
    let mut options = EngineOptions { parser: ParserOptions::all(), ..EngineOptions::default() };
    change(&mut options);
    Engine::new(options)
}

fn texts(result: &QueryResult) -> Vec<String> {
    match &result.value {
        Value::Matrix(series) => series
            .iter()
            .map(|series| {
                let points: Vec<String> = series.floats().map(|(t, v)| format!("{t}:{v:.9e}")).collect();
                format!("{} {}", series.labels, points.join(" "))
            })
            .collect(),
        Value::Vector(samples) => samples.iter().map(|sample| format!("{sample:?}")).collect(),
        other => vec![format!("{other:?}")],
    }
}

#[test]
fn several_workers_compute_what_one_computes() {
    let storage = counters(5000);
    let serial = engine(|_| {});
    let parallel = engine(|options| options.workers = Arc::new(ScopedThreads { threads: 4 }));
    for query in [
        "m_total",
        "sum by (g) (rate(m_total[5m]))",
        "avg by (g) (m_total)",
        "min(m_total) or max(m_total) * 2",
        "count by (g) (m_total > 1)",
        "stddev by (g) (m_total)",
        "quantile by (g) (0.9, m_total)",
        "topk by (g) (3, m_total)",
        "bottomk(4, rate(m_total[10m]))",
        "limitk(3, m_total)",
        "limit_ratio(0.1, m_total)",
        "count_values(\"v\", round(m_total))",
        "group by (g) (m_total)",
        "absent(m_total)",
        "scalar(m_total{i=\"3\"})",
        "max_over_time(rate(m_total[5m])[20m:2m])",
        "m_total / on (i) m_total",
        "label_replace(m_total, \"j\", \"$1\", \"i\", \"(.*)\")",
    ] {
        let run = |engine: &Engine| {
            engine.range(&storage, query, 0, 60 * MINUTE, 90_000, &QueryOptions::default()).expect(query)
        };
        let (expected, actual) = (texts(&run(&serial)), texts(&run(&parallel)));
        assert!(!expected.is_empty() || query.starts_with("absent"), "{query}");
        assert!(
            expected == actual,
            "{query}: {} series, {} with several workers",
            expected.len(),
            actual.len()
        );
    }
}

#[test]
fn a_query_over_many_series_holds_only_its_groups() {
    let storage = counters(3000);
    let result = engine(|_| {})
        .range(&storage, "sum by (g) (rate(m_total[5m]))", 0, 60 * MINUTE, MINUTE, &QueryOptions::default())
        .expect("a sum");
    assert!(result.stats.bytes_peak < 7 * 61 * 64, "{:?}", result.stats);
    assert_eq!(result.stats.series_read, 3000);
}

#[test]
fn limits_are_errors_that_name_themselves() {
    let storage = counters(200);
    let few_samples = engine(|options| options.samples_max = 1000);
    let error = few_samples
        .range(&storage, "m_total", 0, 60 * MINUTE, MINUTE, &QueryOptions::default())
        .expect_err("too many samples");
    assert_eq!(error.kind, QueryErrorKind::Execution);
    assert_eq!(
        error.to_string(),
        "query processing would load too many samples into memory in query execution"
    );
    let few_bytes = engine(|options| options.bytes_max = 10_000);
    let error = few_bytes
        .range(&storage, "m_total", 0, 60 * MINUTE, MINUTE, &QueryOptions::default())
        .expect_err("too many bytes");
    assert!(error.to_string().contains("10000 bytes"), "{error}");
}

#[test]
fn a_canceled_or_late_query_ends() {
    let storage = counters(10);
    let cancel = CancelToken::default();
    cancel.cancel();
    let options = QueryOptions { cancel, ..QueryOptions::default() };
    let error = engine(|_| {}).instant(&storage, "m_total", 0, &options).expect_err("canceled");
    assert_eq!((error.kind, error.kind.error_type()), (QueryErrorKind::Canceled, "canceled"));
    assert_eq!(error.to_string(), "query was canceled in expression evaluation");

    let options = QueryOptions { timeout: Some(Duration::ZERO), ..QueryOptions::default() };
    let error = engine(|_| {}).instant(&storage, "m_total", 0, &options).expect_err("late");
    assert_eq!((error.kind, error.kind.error_type()), (QueryErrorKind::Timeout, "timeout"));
    assert_eq!(error.to_string(), "query timed out in expression evaluation");
}

#[test]
fn a_range_query_must_be_a_scalar_or_an_instant_vector() {
    let storage = MemoryStorage::default();
    for (query, found) in [("m_total[5m]", "range vector"), ("\"text\"", "string")] {
        let error = engine(|_| {})
            .range(&storage, query, 0, MINUTE, MINUTE, &QueryOptions::default())
            .expect_err("a wrong type");
        assert_eq!(error.kind, QueryErrorKind::BadData);
        let text =
            format!("invalid expression type \"{found}\" for range query, must be Scalar or instant Vector");
        assert_eq!(error.to_string(), text);
    }
}

/// A storage that fails or warns.
struct Broken(StorageErrorKind);

impl Storage for Broken {
    fn select<'a>(&'a self, _: &SelectRequest<'_>) -> Result<Box<dyn SeriesSet<'a> + 'a>, StorageError> {
        Err(StorageError::new(self.0, "shard 3 is away"))
    }
}

#[test]
fn a_failing_storage_fails_the_query_with_its_kind() {
    for (kind, expected) in [
        (StorageErrorKind::Timeout, QueryErrorKind::Timeout),
        (StorageErrorKind::LimitReached, QueryErrorKind::Execution),
        (StorageErrorKind::Unavailable, QueryErrorKind::Internal),
    ] {
        let error = engine(|_| {})
            .instant(&Broken(kind), "sum(m_total)", 0, &QueryOptions::default())
            .expect_err("a broken storage");
        assert_eq!((error.kind, error.to_string().as_str()), (expected, "expanding series: shard 3 is away"));
    }
}

#[test]
fn names_are_dropped_at_once_unless_told_to_wait() {
    let mut storage = MemoryStorage::default();
    for (name, value) in [("a", 1.0), ("b", 2.0)] {
        storage.append(&Labels::from_pairs([("__name__", name), ("x", "1")]), 0, SampleValue::Float(value));
    }
    let run = |delayed: bool, query: &str| {
        let engine = engine(|options| options.delayed_name_removal = delayed);
        let result = engine.instant(&storage, query, 0, &QueryOptions::default());
        result.map(|result| texts(&result).len()).map_err(|error| error.to_string())
    };
    let same = Err("vector cannot contain metrics with the same labelset".to_owned());
    let names = "{__name__=~\"a|b\"}";
    assert_eq!(run(false, &format!("abs({names})")), same);
    assert_eq!(run(true, &format!("abs({names})")), same);
    assert_eq!(run(false, &format!("sum(rate({names}[5m]))")), Ok(0));
    assert_eq!(run(false, &format!("sum by (__name__) (abs({names}))")), same);
    assert_eq!(run(true, &format!("sum by (__name__) (abs({names}))")), same);
    assert_eq!(run(true, &format!("count(abs({names}))")), Ok(1));
    assert_eq!(
        run(true, &format!("label_replace(abs({names}), \"n\", \"$1\", \"__name__\", \"(.*)\")")),
        Ok(2)
    );
    assert_eq!(run(false, &format!("count(last_over_time({names}[5m]))")), Ok(1));
    assert_eq!(run(false, &format!("count_over_time({names}[5m])")), same);
}

#[test]
fn series_that_become_one_at_different_times_are_merged() {
    let mut storage = MemoryStorage::default();
    for (name, from, to) in [("a", 0, 10), ("b", 20, 30)] {
        for minute in from..to {
            let labels = Labels::from_pairs([("__name__", name)]);
            storage.append(&labels, minute * MINUTE, SampleValue::Float(minute as f64));
        }
    }
    for delayed in [false, true] {
        let engine = engine(|options| options.delayed_name_removal = delayed);
        let run =
            |query: &str| engine.range(&storage, query, 0, 30 * MINUTE, MINUTE, &QueryOptions::default());
        let Value::Matrix(series) = run("-{__name__=~\"a|b\"}").expect("merged").value else {
            panic!("not a matrix")
        };
        assert_eq!(series.len(), 1, "delayed {delayed}");
        assert_eq!(series[0].float_count(), 14 + 11, "five minutes of lookback after the first");
        let sum = run("sum(abs({__name__=~\"a|b\"}))").expect("a sum");
        assert_eq!(texts(&sum).len(), 1);
    }
}

#[test]
fn the_result_of_an_instant_query_keeps_the_order_of_sort() {
    let storage = counters(30);
    let result = engine(|_| {})
        .instant(&storage, "sort_desc(m_total) * 2", 30 * MINUTE, &QueryOptions::default())
        .expect("a sorted vector");
    let Value::Vector(samples) = result.value else { panic!("not a vector") };
    let values: Vec<f64> = samples
        .iter()
        .map(|sample| match sample.value {
            SampleValue::Float(value) => value,
            SampleValue::Histogram(_) => panic!("a histogram"),
        })
        .collect();
    assert!(values.len() > 20 && values.is_sorted_by(|a, b| a >= b), "{values:?}");
}

/// One histogram for each of the label values.
fn histograms(all: &[FloatHistogram]) -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    for (i, histogram) in all.iter().enumerate() {
        let labels = Labels::from_pairs([("__name__", "h"), ("i", &i.to_string())]);
        storage.append(&labels, MINUTE, SampleValue::Histogram(Arc::new(histogram.clone())));
    }
    storage
}

/// A histogram with custom buckets up to these bounds, and one observation in the first.
fn custom(bounds: &[f64]) -> FloatHistogram {
    let mut positive = Buckets::default();
    positive.push(0, 1.0);
    FloatHistogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 1.0,
        sum: 0.5,
        positive,
        custom_values: Some(bounds.into()),
        ..FloatHistogram::default()
    }
}

#[test]
fn bounds_that_were_reconciled_are_reported_even_if_the_sum_fails_later() {
    let exponential = FloatHistogram { count: 1.0, zero_count: 1.0, ..FloatHistogram::default() };
    let storage = histograms(&[custom(&[1.0, 2.0]), custom(&[1.0, 3.0]), exponential]);
    for query in ["sum(h)", "avg(h)"] {
        let result = engine(|_| {}).instant(&storage, query, MINUTE, &QueryOptions::default());
        let result = result.expect("annotations do not fail a query");
        let (warnings, infos) = result.annotations.texts(query, 0);
        assert!(
            warnings[0].contains("a mix of histograms with exponential and custom buckets"),
            "{warnings:?}"
        );
        assert!(infos[0].contains("mismatched custom buckets were reconciled"), "{infos:?}");
        assert!(matches!(&result.value, Value::Vector(samples) if samples.is_empty()));
    }
}

#[test]
fn the_lowest_quantile_of_a_histogram_with_nothing_but_nan_is_skewed_and_not_missed() {
    let storage = histograms(&[FloatHistogram { count: 1.0, sum: f64::NAN, ..FloatHistogram::default() }]);
    let query = "histogram_quantile(0, h)";
    let result = engine(|_| {}).instant(&storage, query, MINUTE, &QueryOptions::default());
    let (warnings, infos) = result.expect("it can be computed").annotations.texts(query, 0);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(infos[0].contains("result is skewed higher"), "{infos:?}");
}

#[test]
fn a_float_and_a_histogram_of_the_same_labels_collide_where_an_operator_drops_names() {
    let mut storage = MemoryStorage::default();
    let histogram = FloatHistogram { count: 1.0, zero_count: 1.0, ..FloatHistogram::default() };
    let of = |name: &str| Labels::from_pairs([("__name__", name), ("x", "1")]);
    storage.append(&of("a"), MINUTE, SampleValue::Float(1.0));
    storage.append(&of("b"), MINUTE, SampleValue::Histogram(Arc::new(histogram)));
    let run = |query: &str| engine(|_| {}).instant(&storage, query, MINUTE, &QueryOptions::default());
    let error = run("{__name__=~\"a|b\"} * 2").expect_err("two series become one").to_string();
    assert!(error.contains("vector cannot contain metrics with the same labelset"), "{error}");
    // Prometheus merges what a sign leaves as whole series, floats and histograms apart.
    assert!(run("-{__name__=~\"a|b\"}").is_ok());
}
