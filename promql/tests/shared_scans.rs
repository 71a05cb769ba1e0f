//! Series that a query names several times are read once, and nothing else changes by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gyre_promql::fragment::{Merged, PartialResult, QueryTimes};
use gyre_promql::labels::Labels;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::storage::{SampleBuffer, SelectRequest, SeriesBatch, SeriesSet, Storage, StorageError};
use gyre_promql::syntax::ParserOptions;
use gyre_promql::value::SampleValue;
use gyre_promql::{Engine, EngineOptions, QueryOptions, QueryResult, ScopedThreads};

const MINUTE: i64 = 60_000;
const SERIES: usize = 3000;

/// `a_total` and `b_bucket`, an hour of each.
fn storage() -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    for series in 0..SERIES {
        let (i, job, le) = (series.to_string(), format!("j{}", series % 5), ["1", "5", "+Inf"][series % 3]);
        let a = Labels::from_pairs([("__name__", "a_total"), ("i", &i), ("job", &job)]);
        let b = Labels::from_pairs([("__name__", "b_bucket"), ("i", &i), ("job", &job), ("le", le)]);
        for minute in 0..60 {
            let value = ((series % 7 + 1) * minute) as f64;
            storage.append(&a, minute as i64 * MINUTE, SampleValue::Float(value));
            storage.append(&b, minute as i64 * MINUTE, SampleValue::Float(value * (1 + series % 3) as f64));
        }
    }
    storage
}

/// Counts what is asked of a storage.
struct Counting {
    storage: MemoryStorage,
    selects: AtomicUsize,
    reads: AtomicUsize,
}

impl Storage for Counting {
    fn select<'a>(
        &'a self,
        request: &SelectRequest<'_>,
    ) -> Result<Box<dyn SeriesSet<'a> + 'a>, StorageError> {
        self.selects.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(CountingSet { set: self.storage.select(request)?, reads: &self.reads }))
    }
}

struct CountingSet<'a> {
    set: Box<dyn SeriesSet<'a> + 'a>,
    reads: &'a AtomicUsize,
}

impl<'a> SeriesSet<'a> for CountingSet<'a> {
    fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch + 'a>>, StorageError> {
        let batch = self.set.next_batch()?;
        Ok(batch.map(|batch| Box::new(CountingBatch { batch, reads: self.reads }) as Box<dyn SeriesBatch>))
    }
}

struct CountingBatch<'a> {
    batch: Box<dyn SeriesBatch + 'a>,
    reads: &'a AtomicUsize,
}

impl SeriesBatch for CountingBatch<'_> {
    fn len(&self) -> usize {
        self.batch.len()
    }

    fn labels(&mut self, series: usize) -> Labels {
        self.batch.labels(series)
    }

    fn read(
        &mut self,
        series: usize,
        mint_ms: i64,
        maxt_ms: i64,
        buffer: &mut SampleBuffer,
    ) -> Result<(), StorageError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.batch.read(series, mint_ms, maxt_ms, buffer)
    }
}

fn engine(change: impl FnOnce(&mut EngineOptions)) -> Engine {
    let mut options = EngineOptions { parser: ParserOptions::all(), ..EngineOptions::default() };
    change(&mut options);
    Engine::new(options)
}

fn run(engine: &Engine, storage: &dyn Storage, query: &str) -> Result<QueryResult, String> {
    let options = QueryOptions { count_samples: true, ..QueryOptions::default() };
    engine
        .range(storage, query, 10 * MINUTE, 50 * MINUTE, MINUTE, &options)
        .map_err(|error| format!("{query}: {error}"))
}

/// What each query reads: listings of series, and series of 3,000 a metric.
const QUERIES: &[(&str, usize, usize)] = &[
    ("a_total / a_total", 1, 1),
    ("a_total > bool 1 and a_total", 1, 1),
    ("a_total * 2 - a_total", 1, 1),
    ("sum(rate(a_total[5m])) / count(rate(a_total[5m]))", 1, 1),
    ("sum by (job) (a_total) / on (job) avg by (job) (a_total) * on (job) max by (job) (a_total)", 1, 1),
    ("stddev(a_total) + quantile(0.9, a_total) + group(a_total)", 1, 1),
    ("rate(a_total[5m]) / rate(a_total[10m])", 1, 1),
    ("a_total - a_total offset 5m", 1, 1),
    ("topk(3, a_total) or on () sum(a_total)", 1, 1),
    ("absent(a_total) or sum(a_total)", 1, 1),
    ("sum(a_total) / scalar(count(a_total))", 1, 1),
    ("a_total{job=\"j1\",i!=\"3\"} / a_total{i!=\"3\",job=\"j1\"}", 1, 0),
    (
        "histogram_quantile(0.5, sum by (le) (rate(b_bucket[5m]))) / histogram_quantile(0.9, sum by (le) (rate(b_bucket[5m])))",
        1,
        1,
    ),
    ("sum(rate(a_total[5m])) / sum(rate(b_bucket[5m])) + max(a_total) - min(b_bucket)", 2, 2),
    ("max_over_time(sum(a_total)[5m:1m]) / sum(a_total)", 1, 1),
    ("sum(a_total) / sum(a_total @ end())", 1, 1),
    // Some of the series are among all.
    ("sum(rate(a_total{job=\"j1\"}[5m])) / sum(rate(a_total[5m])) > 0", 1, 1),
    ("sum(a_total{job=~\"j.\",i!=\"7\"}) / sum(a_total{i!=\"8\"}) + on () count(a_total)", 1, 1),
    ("sum(a_total{job=\"j1\"}) / sum(a_total{job=\"j2\"})", 2, 0),
    ("sum(rate(a_total{job=\"j1\"}[20m])) / sum(rate(a_total[5m]))", 2, 0),
    // Of times that have nothing in common each is read by itself.
    ("sum(a_total) / sum(a_total offset 2h)", 2, 2),
    ("sum(a_total) or topk(3, a_total) or on () bottomk(1, a_total) or absent(a_total)", 1, 1),
    ("sum(a_total) * scalar(a_total{i=\"1\"}) or count_values(\"v\", a_total)", 1, 1),
];

#[test]
fn series_that_a_query_names_several_times_are_read_once() {
    let storage = Counting { storage: storage(), selects: AtomicUsize::new(0), reads: AtomicUsize::new(0) };
    for threads in [1, 3] {
        let engine = engine(|options| options.workers = Arc::new(ScopedThreads { threads }));
        for &(query, selects, metrics) in QUERIES {
            run(&engine, &storage, query).unwrap();
            assert_eq!(storage.selects.swap(0, Ordering::Relaxed), selects, "{query}");
            let reads = storage.reads.swap(0, Ordering::Relaxed);
            if metrics > 0 {
                assert_eq!(reads, metrics * SERIES, "{query}");
            }
        }
    }
}

#[test]
fn no_more_than_sixteen_places_in_a_query_share_a_pass() {
    let storage = Counting { storage: storage(), selects: AtomicUsize::new(0), reads: AtomicUsize::new(0) };
    let query = vec!["sum(a_total)"; 33].join(" + ");
    run(&engine(|_| {}), &storage, &query).unwrap();
    assert_eq!(storage.selects.load(Ordering::Relaxed), 3);
}

#[test]
fn each_place_reads_series_once_that_a_query_in_parts_names_several_times() {
    let storage = Counting { storage: storage(), selects: AtomicUsize::new(0), reads: AtomicUsize::new(0) };
    let (engine, options) = (engine(|_| {}), QueryOptions::default());
    let times = QueryTimes::Range { start_ms: 10 * MINUTE, end_ms: 50 * MINUTE, step_ms: MINUTE };
    for &(query, selects, metrics) in QUERIES {
        let split = engine.split(query, times, &options).unwrap();
        let parts: Vec<Vec<PartialResult>> = split
            .fragments()
            .iter()
            .map(|fragment| vec![engine.evaluate_fragment(&storage, fragment, &options).unwrap()])
            .collect();
        assert_eq!(storage.selects.swap(0, Ordering::Relaxed), selects, "{query}");
        let reads = storage.reads.swap(0, Ordering::Relaxed);
        if metrics > 0 {
            assert_eq!(reads, metrics * SERIES, "{query}");
        }
        let Merged::Result(merged) = engine.merge(&split, &parts, &options).unwrap() else {
            panic!("{query}: the samples are wanted");
        };
        let whole = run(&engine, &storage.storage, query).unwrap();
        assert_eq!(format!("{:?}", merged.value), format!("{:?}", whole.value), "{query}");
        assert_eq!(merged.annotations.texts(query, 0), whole.annotations.texts(query, 0), "{query}");
    }
}

/// The query as it is, and with each selector another one by a matcher that matches everything, so that nothing can be
/// shared. Both are of the same length.
fn unlike(query: &str) -> [String; 2] {
    [true, false].map(|same| {
        let mut number = 0;
        let mut out = String::new();
        for (at, part) in query.split("_total").enumerate() {
            out.push_str(part);
            if at + 1 < query.split("_total").count() {
                number += 1;
                out.push_str(&format!("_total{{n{}=\"\"}}", if same { 0 } else { number }));
            }
        }
        out.replace("\"\"}{", "\"\",")
    })
}

#[test]
fn answers_and_counts_are_those_of_a_query_that_shares_nothing() {
    let storage = storage();
    let engine = engine(|_| {});
    for &(query, ..) in QUERIES.iter().filter(|(query, ..)| !query.contains("b_bucket")) {
        let [shared, apart] = unlike(query);
        let (shared, apart) =
            (run(&engine, &storage, &shared).unwrap(), run(&engine, &storage, &apart).unwrap());
        assert_eq!(format!("{:?}", shared.value), format!("{:?}", apart.value), "{query}");
        assert_eq!(shared.stats.samples_per_step, apart.stats.samples_per_step, "{query}");
        assert!(apart.stats.samples_per_step.iter().any(|count| *count > 0), "{query}");
    }
}

#[test]
fn each_place_in_the_query_gets_its_own_annotations() {
    let mut storage = MemoryStorage::default();
    for minute in 0..10 {
        storage.append(
            &Labels::from_pairs([("__name__", "gauge")]),
            minute * MINUTE,
            SampleValue::Float(minute as f64),
        );
    }
    // The same text is one annotation, of the place that came last.
    let query = "sum(rate(gauge[5m])) / count(rate(gauge[5m]))";
    let result = engine(|_| {}).instant(&storage, query, 9 * MINUTE, &QueryOptions::default()).unwrap();
    let (_, infos) = result.annotations.texts(query, 0);
    assert_eq!(infos.len(), 1, "{infos:?}");
    assert!(infos[0].ends_with("(1:35)"), "{infos:?}");
}

#[test]
fn aggregations_of_the_same_series_hold_only_their_groups() {
    let storage = storage();
    let engine = engine(|_| {});
    let query = "sum by (job) (rate(a_total[5m])) / on (job) count by (job) (rate(a_total[5m]))";
    let result = run(&engine, &storage, query).unwrap();
    // Three rows for each of five groups, two aggregations and their quotient, of 41 steps; not 3,000 rows.
    let row = 41 * 17;
    assert!(result.stats.bytes_peak < 5 * 3 * 2 * row, "{:?}", result.stats);
}

#[test]
fn a_query_that_shares_fails_at_no_limit_that_it_would_not_reach_otherwise() {
    let storage = storage();
    for &(query, ..) in QUERIES.iter().filter(|(query, ..)| !query.contains("b_bucket")) {
        let [shared, apart] = unlike(query);
        let unlimited = run(&engine(|_| {}), &storage, &apart).unwrap();
        let (samples_max, bytes_max) = (unlimited.stats.samples_peak, unlimited.stats.bytes_peak);
        let limited = engine(|options| (options.samples_max, options.bytes_max) = (samples_max, bytes_max));
        let answer = run(&limited, &storage, &shared).unwrap();
        assert_eq!(format!("{:?}", answer.value), format!("{:?}", unlimited.value), "{query}");
        assert_eq!(answer.stats.samples_per_step, unlimited.stats.samples_per_step, "{query}");
        assert!(answer.stats.bytes_peak <= bytes_max && answer.stats.samples_peak <= samples_max, "{query}");
    }
}
