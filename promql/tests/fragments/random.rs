//! Random queries over random data, spread over places at random.

use gyre_promql::fragment::QueryTimes;
use gyre_promql::labels::Labels;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::syntax::ParserOptions;
use gyre_promql::value::{SampleValue, Value};
use gyre_promql::{Engine, EngineOptions, QueryOptions};

use crate::data::{self, Random};
use crate::generate::Generator;
use crate::{Points, Ways};

/// Values to the last bit, but for sums, of which twelve digits are shown.
fn points(value: &Value, exact: bool) -> Points {
    let text = |value: f64| {
        if value.is_nan() {
            "NaN".to_owned()
        } else if exact {
            format!("{:016x}", value.to_bits())
        } else {
            // A sum of nothing but what cancels is nothing but the error of rounding.
            format!("{:.9e}", if value.abs() < 1e-9 { 0.0 } else { value })
        }
    };
    match value {
        Value::Scalar { timestamp_ms, value } => [((String::new(), *timestamp_ms), text(*value))].into(),
        Value::Vector(samples) => samples
            .iter()
            .map(|sample| match sample.value {
                SampleValue::Float(value) => ((sample.labels.to_string(), sample.timestamp_ms), text(value)),
                SampleValue::Histogram(_) => panic!("there are no histograms"),
            })
            .collect(),
        Value::Matrix(series) => {
            let points = series.iter().flat_map(|series| {
                let labels = series.labels.to_string();
                series.floats().map(move |(time, value)| ((labels.clone(), time), value))
            });
            points.map(|(key, value)| (key, text(value))).collect()
        }
        Value::String { .. } => Points::new(),
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
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
                for &(time_ms, value) in &series.samples {
                    places[place].append(&labels, time_ms, SampleValue::Float(value));
                    single.append(&labels, time_ms, SampleValue::Float(value));
                }
            }
        }
        let depth = 1 + random.below(4);
        let query = Generator { random: &mut random }.vector(depth);
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
        let found = crate::evaluate(&engine, &places, &query, times, &mut ways);
        let place = format!("case {case}: {query} at {times:?} over {} places", places.len());
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let exact = !["sum", "avg", "std"].iter().any(|name| query.contains(name));
                let (found, wanted) = (points(&found.value, exact), points(&expected.value, exact));
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
