//! The engine against a second, naive evaluator: random queries over random data must give the same.
//!
//! `GYRE_ORACLE_CASES` sets the number of queries (default 3,000), `GYRE_ORACLE_SEED` repeats a run.

mod calls;
mod data;
mod generate;
mod naive;
mod operators;
mod over_time;

use std::collections::BTreeMap;
use std::sync::Arc;

use data::{Random, Series};
use generate::Generator;
use gyre_promql::labels::Labels;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::syntax::{Expr, ParserOptions, parse_expr};
use gyre_promql::value::{SampleValue, Value};
use gyre_promql::{Engine, EngineOptions, QueryOptions, ScopedThreads};
use naive::Naive;

/// Values by labels and time.
type Points = BTreeMap<(String, i64), f64>;

fn load(data: &[Series], series_per_batch: usize) -> MemoryStorage {
    let mut storage = MemoryStorage::with_series_per_batch(series_per_batch);
    for series in data {
        let labels = Labels::from_pairs(&series.labels);
        for &(time, value) in &series.samples {
            storage.append(&labels, time, SampleValue::Float(value));
        }
    }
    storage
}

fn engine_points(value: &Value) -> Points {
    let mut points = Points::new();
    match value {
        Value::Scalar { timestamp_ms, value } => {
            points.insert((String::new(), *timestamp_ms), *value);
        }
        Value::Vector(samples) => {
            for sample in samples {
                if let SampleValue::Float(value) = sample.value {
                    points.insert((sample.labels.to_string(), sample.timestamp_ms), value);
                }
            }
        }
        Value::Matrix(series) => {
            for series in series {
                let labels = series.labels.to_string();
                points.extend(series.floats().map(|(time, value)| ((labels.clone(), time), value)));
            }
        }
        Value::String { .. } => {}
    }
    points
}

fn naive_points(values: &[naive::Value], times: &[i64]) -> Points {
    let mut points = Points::new();
    for (value, &time) in values.iter().zip(times) {
        if let naive::Value::Vector(samples) = value {
            for sample in samples {
                points.insert((Labels::from_pairs(&sample.labels).to_string(), time), sample.value);
            }
        }
    }
    points
}

/// Equal to the last bits: the engine may sum in another order than the naive evaluator, where labels say so.
fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits()
        || a == b
        || (a.is_nan() && b.is_nan())
        || (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

fn difference(engine: &Points, naive: &Points) -> Option<String> {
    for (key, value) in engine {
        match naive.get(key) {
            None => return Some(format!("{key:?}: {value}, which should not be there")),
            Some(expected) if !same(*value, *expected) => {
                return Some(format!("{key:?}: {value}, not {expected}"));
            }
            Some(_) => {}
        }
    }
    let missing = naive.iter().find(|(key, _)| !engine.contains_key(*key));
    missing.map(|(key, value)| format!("{key:?}: {value} is missing"))
}

/// Counts the functions, operators and modifiers in a query.
fn count(expr: &Expr, uses: &mut BTreeMap<String, usize>) {
    let mut used = |name: &str| *uses.entry(name.to_owned()).or_default() += 1;
    match expr {
        Expr::Call(call) => used(call.func.name()),
        Expr::Aggregate(aggregate) => used(aggregate.op.as_str()),
        Expr::Binary(binary) => used(binary.op.as_str()),
        Expr::Unary(unary) => used(&format!("unary {}", unary.op.as_str())),
        Expr::Subquery(subquery) => {
            used("[:]");
            if subquery.at.is_some() {
                used("[:] @");
            }
        }
        Expr::Vector(selector) => {
            if selector.at.is_some() {
                used("@");
            }
            if !selector.offset.is_zero() {
                used("offset");
            }
        }
        _ => {}
    }
    expr.children().for_each(|child| count(child, uses));
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn random_queries_give_what_a_naive_evaluator_gives() {
    let seed = setting("GYRE_ORACLE_SEED", 20_261_122);
    let cases = setting("GYRE_ORACLE_CASES", 3000);
    println!("GYRE_ORACLE_SEED={seed}");
    let mut random = Random(seed);
    let mut uses = BTreeMap::new();
    let (mut succeeded, mut with_points) = (0, 0);
    let mut data = data::generate(&mut random);
    let mut storages = [load(&data, 1000), load(&data, 3)];
    for case in 0..cases {
        if case % 50 == 0 {
            data = data::generate(&mut random);
            storages = [load(&data, 1000), load(&data, 3)];
        }
        let depth = 1 + random.below(4);
        let query = Generator { random: &mut random }.vector(depth);
        let expr =
            parse_expr(&query, &ParserOptions::all()).unwrap_or_else(|error| panic!("{query}: {error}"));
        count(&expr, &mut uses);
        // Where `or` joins series of the same labels at different times, Prometheus lets the first decide about the
        // name of all; the naive evaluator, which sees one time only, cannot.
        let delayed_name_removal = random.one_in(2) && !query.contains(" or ");
        let is_range = random.one_in(2);
        let start_ms = random.below(2_000_000) as i64;
        let step_ms = [15_000, 60_000, 113_000, 400_000][random.below(4)];
        let end_ms = if is_range { start_ms + random.below(12) as i64 * step_ms + 1000 } else { start_ms };
        let mut times: Vec<i64> = vec![start_ms];
        while is_range && times[times.len() - 1] + step_ms <= end_ms {
            times.push(times[times.len() - 1] + step_ms);
        }
        let several_workers = random.one_in(8);
        let engine = Engine::new(EngineOptions {
            parser: ParserOptions::all(),
            delayed_name_removal,
            workers: Arc::new(ScopedThreads { threads: if several_workers { 3 } else { 1 } }),
            ..EngineOptions::default()
        });
        let storage = &storages[usize::from(several_workers)];
        let options = QueryOptions::default();
        let actual = if is_range {
            engine.range(storage, query.as_str(), start_ms, end_ms, step_ms, &options)
        } else {
            engine.instant(storage, query.as_str(), start_ms, &options)
        };
        let naive = Naive { data: &data, start_ms, end_ms, delayed_name_removal };
        let expected = naive.query(&expr, &times);
        let place = format!(
            "case {case}: {query}\n  from {start_ms} to {end_ms} step {step_ms}, delayed name removal {delayed_name_removal}, several workers {several_workers}"
        );
        match (actual, expected) {
            (Ok(actual), Ok(expected)) => {
                succeeded += 1;
                let (actual, expected) = (engine_points(&actual.value), naive_points(&expected, &times));
                with_points += u64::from(!expected.is_empty());
                if let Some(difference) = difference(&actual, &expected) {
                    panic!("{place}\n  {difference}");
                }
            }
            // Of several reasons to fail each may report its own.
            (Err(_), Err(_)) => {}
            (Ok(_), Err(expected)) => panic!("{place}\n  should fail: {expected}"),
            (Err(actual), Ok(_)) => panic!("{place}\n  fails: {actual}"),
        }
    }
    println!("{cases} queries, {succeeded} succeeded, {with_points} with values; used: {uses:?}");
    assert!(succeeded * 10 >= cases * 6, "only {succeeded} of {cases} queries succeed");
    assert!(with_points * 10 >= cases * 4, "only {with_points} of {cases} queries have values");
}
