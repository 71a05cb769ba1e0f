//! Functions over windows: a range query, which goes from window to window, against an instant query for each of its
//! times, which knows one window only.

use gyre_promql::labels::Labels;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::syntax::ParserOptions;
use gyre_promql::value::{SampleValue, Value};
use gyre_promql::{Engine, EngineOptions, QueryOptions};

/// A small generator, so that a seed says all.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn value(&mut self, character: u64) -> f64 {
        let special = [f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -f64::MAX, 1e-300];
        match character {
            0 => self.below(5) as f64 - 2.0,
            1 if self.below(4) == 0 => special[self.below(special.len() as u64) as usize],
            2 => special[self.below(3) as usize],
            3 => special[3 + self.below(5) as usize],
            _ => (self.below(2_000_001) as f64 - 1e6) / 7.0,
        }
    }
}

const FUNCTIONS: [&str; 21] = [
    "rate(m[R])",
    "increase(m[R])",
    "delta(m[R])",
    "sum_over_time(m[R])",
    "avg_over_time(m[R])",
    "min_over_time(m[R])",
    "max_over_time(m[R])",
    "ts_of_min_over_time(m[R])",
    "ts_of_max_over_time(m[R])",
    "first_over_time(m[R])",
    "last_over_time(m[R])",
    "ts_of_first_over_time(m[R])",
    "ts_of_last_over_time(m[R])",
    "count_over_time(m[R])",
    "present_over_time(m[R])",
    "changes(m[R])",
    "resets(m[R])",
    "quantile_over_time(0, m[R])",
    "quantile_over_time(0.37, m[R])",
    "quantile_over_time(scalar(vector(time() % 3 / 2)), m[R])",
    "quantile_over_time(1.5, m[R])",
];

fn by_time(value: &Value) -> Vec<(i64, u64)> {
    // All NaN are one: which of them an operation gives is the processor's choice.
    let bits = |value: f64| if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
    match value {
        Value::Matrix(series) => {
            series.iter().flat_map(|series| series.floats()).map(|(t, v)| (t, bits(v))).collect()
        }
        Value::Vector(samples) => samples
            .iter()
            .map(|sample| match sample.value {
                SampleValue::Float(value) => (sample.timestamp_ms, bits(value)),
                SampleValue::Histogram(_) => panic!("there are no histograms"),
            })
            .collect(),
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn a_window_that_slides_gives_what_each_window_gives_alone() {
    let seed = std::env::var("GYRE_WINDOWS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x5eed);
    println!("GYRE_WINDOWS_SEED={seed}");
    let mut random = Random(seed);
    let engine = Engine::new(EngineOptions { parser: ParserOptions::all(), ..EngineOptions::default() });
    let mut points = 0;
    for round in 0..40 {
        let mut storage = MemoryStorage::default();
        let labels = Labels::from_pairs([("__name__", "m")]);
        let (character, mut time_ms) = (random.below(5), 0);
        let (gaps, jitter, rising) = (random.below(2) == 0, random.below(2) == 0, random.below(2) == 0);
        let mut before = 0.0;
        for _ in 0..200 {
            time_ms += 1_000 + if jitter { random.below(3) as i64 * 500 } else { 0 };
            if gaps && random.below(30) == 0 {
                // Longer than a window.
                time_ms += 200_000;
            }
            before = if rising { before + random.value(0).abs() } else { random.value(character) };
            storage.append(&labels, time_ms, SampleValue::Float(before));
        }
        let range_s = [1, 3, 20, 60, 150][random.below(5) as usize];
        let step_ms = [500, 1_000, 7_000, 30_000, 90_000][random.below(5) as usize];
        for function in FUNCTIONS {
            let query = function.replace("[R]", &format!("[{range_s}s]"));
            let options = QueryOptions::default();
            let range = engine.range(&storage, query.as_str(), 0, time_ms + 100_000, step_ms, &options);
            let found = by_time(&range.expect("the query is right").value);
            let mut expected = Vec::new();
            for time_ms in (0..=time_ms + 100_000).step_by(step_ms as usize) {
                let one = engine.instant(&storage, query.as_str(), time_ms, &options);
                expected.extend(by_time(&one.expect("the query is right").value));
            }
            assert_eq!(found, expected, "round {round}: {query} every {step_ms} ms");
            points += found.len();
        }
    }
    assert!(points > 10_000, "only {points} points were compared");
}
