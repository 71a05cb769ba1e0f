//! Bytes of fragments and partial results that are not as they should be.

use gyre_promql::fragment::{Fragment, PartialResult, QueryTimes};
use gyre_promql::labels::Labels;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::syntax::ParserOptions;
use gyre_promql::value::SampleValue;
use gyre_promql::{Engine, EngineOptions, QueryOptions};

use crate::places::Ways;
use crate::random::Random;

fn places() -> Vec<MemoryStorage> {
    let mut places = vec![MemoryStorage::default(); 2];
    for i in 0..6usize {
        let labels = Labels::from_pairs([("__name__", "m"), ("i", &i.to_string())]);
        for step in 0..10 {
            places[i % 2].append(&labels, step * 15_000, SampleValue::Float(step as f64 * 0.1));
        }
    }
    places
}

#[test]
fn damaged_bytes_are_an_error_or_an_answer_but_never_a_panic() {
    let seed = std::env::var("GYRE_FRAGMENTS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    println!("GYRE_FRAGMENTS_SEED={seed}");
    let mut random = Random(seed);
    let options = EngineOptions { parser: ParserOptions::all(), ..EngineOptions::default() };
    let engine = Engine::new(options);
    let times = QueryTimes::Range { start_ms: 0, end_ms: 150_000, step_ms: 15_000 };
    let (mut refused, mut merged) = (0, 0);
    for query in [
        "m",
        "sum by (i) (rate(m[1m]))",
        "avg(m)",
        "min(m) + max(m) + count(m) + group(m)",
        "topk(2, m)",
        "rate({__name__=~\"m|n\"}[1m])",
        "quantile_over_time(scalar(m{i=\"0\"}), m[1m])",
    ] {
        let split = engine.split(query, times, &QueryOptions::default()).expect("the query is right");
        let whole = crate::places::parts(&engine, &places(), &split, &mut Ways::default()).expect("no limit");
        for _ in 0..1500 {
            let mut parts = whole.clone();
            let fragment = random.below(parts.len());
            let place = random.below(2);
            let mut bytes = parts[fragment][place].as_bytes().to_vec();
            match random.below(4) {
                0 => bytes.truncate(random.below(bytes.len() + 1)),
                1 => bytes.extend((0..1 + random.below(20)).map(|_| random.next() as u8)),
                _ => {
                    for _ in 0..1 + random.below(4) {
                        let at = random.below(bytes.len());
                        bytes[at] = if random.one_in(2) { 0xff } else { random.next() as u8 };
                    }
                }
            }
            let Ok(damaged) = PartialResult::from_bytes(bytes) else {
                refused += 1;
                continue;
            };
            parts[fragment][place] = damaged;
            match engine.merge(&split, &parts, &QueryOptions::default()) {
                Ok(_) => merged += 1,
                Err(_) => refused += 1,
            }
        }
    }
    println!("{refused} refused, {merged} merged");
    assert!(refused > 1000, "{refused} refused, {merged} merged");
}

#[test]
fn damaged_fragments_are_refused_or_evaluated() {
    let engine = Engine::new(EngineOptions { parser: ParserOptions::all(), ..EngineOptions::default() });
    let times = QueryTimes::Instant { time_ms: 60_000 };
    let split = engine.split("sum(m)", times, &QueryOptions::default()).expect("the query is right");
    let bytes = split.fragments()[0].to_bytes();
    for cut in 0..bytes.len() {
        assert!(Fragment::from_bytes(&bytes[..cut]).is_err(), "{cut}");
    }
    let mut random = Random(3);
    for _ in 0..3000 {
        let mut bytes = bytes.clone();
        let at = random.below(bytes.len());
        bytes[at] = random.next() as u8;
        if let Ok(fragment) = Fragment::from_bytes(&bytes) {
            let options =
                QueryOptions { timeout: Some(std::time::Duration::from_secs(5)), ..QueryOptions::default() };
            let _ = engine.evaluate_fragment(&places()[0], &fragment, &options);
        }
    }
}

#[test]
fn another_version_is_refused() {
    let engine = Engine::new(EngineOptions::default());
    let times = QueryTimes::Instant { time_ms: 60_000 };
    let split = engine.split("sum(m)", times, &QueryOptions::default()).expect("the query is right");
    let fragment = &split.fragments()[0];
    let result =
        engine.evaluate_fragment(&places()[0], fragment, &QueryOptions::default()).expect("no limit");
    for (bytes, kind) in [(fragment.to_bytes(), "fragment"), (result.as_bytes().to_vec(), "partial result")] {
        let mut other = bytes;
        other[4] = 99;
        let error = match kind {
            "fragment" => Fragment::from_bytes(&other).map(|_| ()),
            _ => PartialResult::from_bytes(other).map(|_| ()),
        };
        assert_eq!(error.expect_err(kind).to_string(), "has another version");
    }
    let none = engine.merge(&split, &[], &QueryOptions::default()).expect_err("nothing to merge");
    assert_eq!(none.to_string(), "partial results of 0 fragments, not of 1");
}
