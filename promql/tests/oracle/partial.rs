//! Queries computed in parts: random ones over random data, spread over places at random, give what a single engine
//! gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use gyre_promql::fragment::QueryTimes;
use gyre_promql::labels::Labels;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::syntax::ParserOptions;
use gyre_promql::value::{Sample, SampleValue, Value};
use gyre_promql::{Engine, EngineOptions, QueryOptions};

use crate::generate::Generator;
use crate::places::{Ways, evaluate};
use crate::random::Random;
use crate::{data, setting};

/// Values by labels and time.
type Points = BTreeMap<(String, i64), String>;

/// How exactly two answers must agree.
#[derive(Clone, Copy)]
struct Exactness {
    /// To the last bit; sums depend on the order of the series.
    bits: bool,
    /// Of zeros of both signs any is the least.
    zero_sign: bool,
}

impl Exactness {
    fn of(query: &str) -> Self {
        let has_any = |names: &[&str]| names.iter().any(|name| query.contains(name));
        Self { bits: !has_any(&["sum", "avg", "std"]), zero_sign: !has_any(&["min", "max"]) }
    }

    fn text(self, value: &SampleValue) -> String {
        match value {
            SampleValue::Float(value) if value.is_nan() => "NaN".to_owned(),
            SampleValue::Float(value) if self.bits => {
                let value = if self.zero_sign { *value } else { value + 0.0 };
                format!("{:016x}", value.to_bits())
            }
            // A sum of nothing but what cancels is nothing but the error of rounding.
            SampleValue::Float(value) => format!("{:.9e}", if value.abs() < 1e-9 { 0.0 } else { *value }),
            SampleValue::Histogram(histogram) if self.bits => format!("{histogram:?}"),
            SampleValue::Histogram(histogram) => format!("histogram of schema {}", histogram.schema),
        }
    }

    fn points(self, value: &Value) -> Points {
        match value {
            Value::Scalar { timestamp_ms, value } => {
                [((String::new(), *timestamp_ms), self.text(&SampleValue::Float(*value)))].into()
            }
            Value::Vector(samples) => {
                let key = |sample: &Sample| (sample.labels.to_string(), sample.timestamp_ms);
                samples.iter().map(|sample| (key(sample), self.text(&sample.value))).collect()
            }
            Value::Matrix(series) => {
                let mut points = Points::new();
                for series in series {
                    let labels = series.labels.to_string();
                    for (time_ms, value) in series.floats() {
                        points.insert((labels.clone(), time_ms), self.text(&SampleValue::Float(value)));
                    }
                    for (time_ms, histogram) in series.histograms() {
                        let value = SampleValue::Histogram(Arc::clone(histogram));
                        points.insert((labels.clone(), *time_ms), self.text(&value));
                    }
                }
                points
            }
            Value::String { .. } => Points::new(),
        }
    }
}

#[test]
fn random_queries_over_places_give_what_a_single_engine_gives() {
    let seed = setting("GYRE_FRAGMENTS_SEED", 20_261_124);
    let cases = setting("GYRE_FRAGMENTS_CASES", 3000);
    println!("GYRE_FRAGMENTS_SEED={seed}");
    let mut random = Random(seed);
    let mut ways = Ways::default();
    let (mut single, mut places) = (MemoryStorage::default(), Vec::new());
    let mut with_points = 0;
    for case in 0..cases {
        if case % 50 == 0 {
            let count = 1 + random.below(5);
            places = vec![MemoryStorage::default(); count];
            single = MemoryStorage::default();
            for series in data::generate(&mut random) {
                let labels = Labels::from_pairs(&series.labels);
                let place = random.below(count);
                for (time_ms, value) in &series.samples {
                    places[place].append(&labels, *time_ms, value.to_engine());
                    single.append(&labels, *time_ms, value.to_engine());
                }
            }
        }
        let depth = 1 + random.below(4);
        let query = Generator { random: &mut random, has_steps: false }.vector(depth);
        if query.contains("limitk") {
            // Which series it takes depends on their order, which is the storage's own.
            continue;
        }
        let engine = Engine::new(EngineOptions {
            parser: ParserOptions::all(),
            delayed_name_removal: random.one_in(2),
            ..EngineOptions::default()
        });
        let start_ms = random.below(2_000_000) as i64;
        let step_ms = [15_000, 60_000, 113_000, 400_000][random.below(4)];
        let options = QueryOptions::default();
        let (times, expected) = if random.one_in(2) {
            let end_ms = start_ms + random.below(12) as i64 * step_ms;
            let times = QueryTimes::Range { start_ms, end_ms, step_ms };
            (times, engine.range(&single, query.as_str(), start_ms, end_ms, step_ms, &options))
        } else {
            let times = QueryTimes::Instant { time_ms: start_ms };
            (times, engine.instant(&single, query.as_str(), start_ms, &options))
        };
        let found = evaluate(&engine, &places, &query, times, &mut ways);
        let place = format!("case {case}: {query} at {times:?} over {} places", places.len());
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let exactness = Exactness::of(&query);
                let (found, wanted) = (exactness.points(&found.value), exactness.points(&expected.value));
                with_points += usize::from(!wanted.is_empty());
                assert_eq!(found, wanted, "{place}");
            }
            // Of several reasons to fail each may report its own.
            (Err(_), Err(_)) => {}
            (found, expected) => {
                let kind =
                    |result: Result<_, _>| result.map(|_| "an answer").map_err(|error| format!("{error}"));
                panic!("{place}: {:?}, not {:?}", kind(found), kind(expected));
            }
        }
    }
    println!("{ways:?}, {with_points} with values");
    assert!(with_points * 10 >= cases as usize * 4, "only {with_points} of {cases} queries have values");
}
