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

/// Queries that would run for many minutes, each in a loop of its own kind.
const ENDLESS: [&str; 8] = [
    "sum_over_time((vector(time()) + 1)[5d:1s])",
    "quantile_over_time(0.5, vector(time())[5d:1s])",
    "stddev_over_time(vector(time())[5d:1s])",
    "deriv(vector(time() % 7)[5d:1s])",
    "double_exponential_smoothing(vector(time())[5d:1s], 0.5, 0.5)",
    "mad_over_time(vector(time() % 7)[5d:1s])",
    // A reset at every second, each of which counts in every window.
    "increase((vector(-time()))[5d:1s])",
    "max_over_time(avg_over_time(vector(time())[5d:1s])[5d:1s])",
];

#[test]
fn a_query_stops_inside_the_loop_that_takes_its_time() {
    let storage = MemoryStorage::default();
    for query in ENDLESS {
        let options = QueryOptions { timeout: Some(Duration::from_millis(50)), ..QueryOptions::default() };
        let error = engine(|_| {}).range(&storage, query, 0, 1_000_000_000, 1000, &options).expect_err(query);
        assert_eq!(error.kind, QueryErrorKind::Timeout, "{query}");
    }
    for query in ENDLESS {
        let cancel = CancelToken::default();
        let options = QueryOptions { cancel: cancel.clone(), ..QueryOptions::default() };
        // The left operand is read first, so that the cancellation comes once evaluation is under way.
        let query = format!("absent(nothing) * {query}");
        let error = engine(|_| {})
            .range(&CancelsWhenRead(cancel), query.as_str(), 0, 1_000_000_000, 1000, &options)
            .expect_err(&query);
        assert_eq!(error.kind, QueryErrorKind::Canceled, "{query}");
    }
}

/// An empty storage; whoever reads from it is canceled.
struct CancelsWhenRead(CancelToken);

impl Storage for CancelsWhenRead {
    fn select<'a>(
        &'a self,
        request: &SelectRequest<'_>,
    ) -> Result<Box<dyn SeriesSet<'a> + 'a>, StorageError> {
        self.0.cancel();
        // An empty storage's answer borrows nothing from it.
        static EMPTY: std::sync::LazyLock<MemoryStorage> = std::sync::LazyLock::new(MemoryStorage::default);
        EMPTY.select(request)
    }
}

#[test]
fn a_join_of_everything_with_everything_stops_too() {
    let mut storage = MemoryStorage::default();
    for i in 0..30_000 {
        let labels =
            Labels::from_pairs([("__name__", if i % 2 == 0 { "a" } else { "b" }), ("i", &i.to_string())]);
        storage.append(&labels, 0, SampleValue::Float(0.0));
    }
    let options = QueryOptions { timeout: Some(Duration::from_millis(200)), ..QueryOptions::default() };
    let error = engine(|_| {}).instant(&storage, "a * on () group_left () b", 0, &options).expect_err("late");
    assert_eq!(error.kind, QueryErrorKind::Timeout);
}

#[test]
fn a_subquery_of_more_steps_than_memory_is_refused() {
    let storage = MemoryStorage::default();
    for query in
        ["sum_over_time(vector(1)[100y:1ms])", "max_over_time(m_total[100y:1ms])", "vector(time())[100y:1ms]"]
    {
        let error =
            engine(|_| {}).instant(&storage, query, 0, &QueryOptions::default()).expect_err("too much");
        assert_eq!(error.kind, QueryErrorKind::Execution, "{query}: {error}");
        assert!(error.to_string().contains("the limit on bytes per query"), "{query}: {error}");
    }
}

#[test]
fn series_of_one_name_that_differ_in_type_become_the_same_with_the_name() {
    let mut storage = MemoryStorage::default();
    for (kind, value) in [("counter", 1.0), ("gauge", 2.0)] {
        let labels = Labels::from_pairs([("__name__", "m"), ("__type__", kind), ("job", "a")]);
        (0..5).for_each(|step| storage.append(&labels, step * MINUTE, SampleValue::Float(value)));
    }
    for query in ["sum by (job) (rate(m[5m]))", "rate(m[5m])", "sum without (x) (m * 2)", "m * 2"] {
        let error = engine(|_| {})
            .instant(&storage, query, 4 * MINUTE, &QueryOptions::default())
            .expect_err("two series with the same labels");
        assert_eq!(error.to_string(), "vector cannot contain metrics with the same labelset", "{query}");
    }
    let sum = engine(|_| {}).instant(&storage, "sum(m)", 4 * MINUTE, &QueryOptions::default());
    let sum = sum.expect("nothing loses its name before the sum").value;
    assert!(matches!(&sum, Value::Vector(sum) if sum[0].value == SampleValue::Float(3.0)), "{sum:?}");
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
