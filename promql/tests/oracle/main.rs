//! The engine against a second, naive evaluator: random queries over random data must give the same.
//!
//! `GYRE_ORACLE_CASES` sets the number of queries (default 3,000), `GYRE_ORACLE_SEED` repeats a run.

mod aggregations;
mod calls;
mod choices;
mod classic_histograms;
mod data;
mod dates;
mod generate;
mod histogram;
mod histogram_data;
mod histogram_functions;
mod histogram_sum;
mod naive;
mod notes;
mod operators;
mod over_time;
mod partial;
#[path = "../shared/places.rs"]
mod places;
mod random;
mod ranges;
mod rounding;
mod shared;
mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;

use data::Series;
use generate::{Generator, breaks_ties};
use gyre_promql::labels::Labels;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::syntax::ast::Cardinality;
use gyre_promql::syntax::{DurationValue, Expr, Function, ParserOptions, VectorSelector, parse_expr};
use gyre_promql::value::{SampleValue, Value};
use gyre_promql::{Engine, EngineOptions, QueryOptions, ScopedThreads};
use naive::{Naive, Notes, Val};
use random::Random;
use rounding::{
    Points, ROUNDING, adds_up_series, difference, engine_points, is_rounding, of_engine, with_changed_sums,
};

fn load(data: &[Series], series_per_batch: usize) -> MemoryStorage {
    let mut storage = MemoryStorage::with_series_per_batch(series_per_batch);
    for series in data {
        let labels = Labels::from_pairs(&series.labels);
        for (time, value) in &series.samples {
            storage.append(&labels, *time, value.to_engine());
        }
    }
    storage
}

impl Val {
    fn to_engine(&self) -> SampleValue {
        match self {
            Val::Float(value) => SampleValue::Float(*value),
            Val::Histogram(histogram) => SampleValue::Histogram(Arc::new(histogram.to_engine())),
        }
    }
}

fn naive_points(values: &[naive::Value], times: &[i64]) -> Points {
    let mut points = Points::new();
    for (value, &time) in values.iter().zip(times) {
        match value {
            naive::Value::Scalar(value) => {
                points.insert((String::new(), time), Val::Float(*value));
            }
            naive::Value::Vector(samples) => {
                for sample in samples {
                    let labels = Labels::from_pairs(&sample.labels).to_string();
                    points.insert((labels, time), sample.value.clone());
                }
            }
        }
    }
    points
}

/// Counts the functions, operators and modifiers in a query.
fn count(expr: &Expr, uses: &mut BTreeMap<String, usize>) {
    let mut used = |name: &str| *uses.entry(name.to_owned()).or_default() += 1;
    let offset = |offset: &DurationValue, used: &mut dyn FnMut(&str)| match offset {
        DurationValue::FixedNs(0) => {}
        DurationValue::FixedNs(ns) if *ns < 0 => used("negative offset"),
        DurationValue::FixedNs(_) => used("offset"),
        DurationValue::Expr(_) => used("offset expression"),
    };
    let selector = |selector: &VectorSelector, used: &mut dyn FnMut(&str)| {
        selector.at.iter().for_each(|_| used("@"));
        selector.extended.iter().for_each(|extended| used(extended.as_str()));
        offset(&selector.offset, used);
    };
    match expr {
        Expr::Call(call) => used(call.func.name()),
        Expr::Aggregate(aggregate) => {
            used(aggregate.op.as_str());
            if aggregate.without || !aggregate.grouping.is_empty() {
                used(if aggregate.without { "without" } else { "by" });
            }
        }
        Expr::Binary(binary) => {
            used(binary.op.as_str());
            if binary.return_bool {
                used("bool");
            }
            if let Some(matching) = &binary.matching {
                match matching.cardinality {
                    Cardinality::ManyToOne => used("group_left"),
                    Cardinality::OneToMany => used("group_right"),
                    _ => {}
                }
                for (name, is_used) in [
                    ("on", matching.on),
                    ("ignoring", !matching.on && !matching.labels.is_empty()),
                    ("group labels", !matching.include.is_empty()),
                    ("fill", matching.fill_left.is_some() || matching.fill_right.is_some()),
                ] {
                    if is_used {
                        used(name);
                    }
                }
            }
        }
        Expr::Unary(unary) => used(&format!("unary {}", unary.op.as_str())),
        Expr::Subquery(subquery) => {
            used("[:]");
            subquery.at.iter().for_each(|_| used("[:] @"));
        }
        Expr::Vector(vector) => selector(vector, &mut used),
        Expr::Matrix(matrix) => {
            selector(&matrix.selector, &mut used);
            if matrix.range.fixed_ns().is_none() {
                used("range expression");
            }
        }
        _ => {}
    }
    expr.children().for_each(|child| count(child, uses));
}

/// Whether the result of a sort at one time is sorted, NaN last either way.
fn is_in_order(expr: &Expr, value: &Value) -> bool {
    let (Expr::Call(call), Value::Vector(samples)) = (expr, value) else { return true };
    let descending = match call.func {
        Function::Sort => false,
        Function::SortDesc => true,
        _ => return true,
    };
    let values: Vec<f64> = samples.iter().filter_map(|sample| of_engine(&sample.value).float()).collect();
    values.windows(2).all(|pair| match (pair[0], pair[1]) {
        (_, next) if next.is_nan() => true,
        (value, next) => {
            if descending {
                value >= next
            } else {
                value <= next
            }
        }
    })
}

/// Where the layout of histograms changes while they are added up, the naive evaluator compensates in another order.
fn adds_up_histograms(query: &str) -> bool {
    let any = |names: &[&str]| names.iter().any(|name| query.contains(name));
    any(&["sum_over_time", "avg_over_time"]) && any(&["nh", "ng", "nc", "mix", "h_bucket"])
}

/// Histograms whose buckets nobody asks for are read without them, and then only the count shows a reset of a gauge. The
/// naive evaluator always has the buckets.
fn misses_resets_of_gauges(query: &str) -> bool {
    let any = |names: &[&str]| names.iter().any(|name| query.contains(name));
    any(&["histogram_count", "histogram_sum", "histogram_avg"])
        && query.contains("ng")
        && any(&["rate(", "increase(", "resets("])
}

/// What must be used beside all functions.
const OPERATORS: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "atan2",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "</",
    ">/",
    "and",
    "or",
    "unless",
    "unary -",
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "quantile",
    "count_values",
    "limitk",
    "limit_ratio",
];
const MODIFIERS: &[&str] = &[
    "@",
    "offset",
    "negative offset",
    "offset expression",
    "[:]",
    "[:] @",
    "range expression",
    "anchored",
    "smoothed",
    "bool",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "group labels",
    "fill",
    "by",
    "without",
];

/// After so many differences the run ends.
const FAILURES_SHOWN: usize = 20;

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
    let (mut succeeded, mut with_points, mut skipped) = (0, 0, 0);
    let mut failures: Vec<String> = Vec::new();
    let mut data = data::generate(&mut random);
    let mut storages = [load(&data, 1000), load(&data, 3)];
    for case in 0..cases {
        if case % 50 == 0 {
            data = data::generate(&mut random);
            storages = [load(&data, 1000), load(&data, 3)];
        }
        let delayed_name_removal = random.one_in(2);
        let is_range = random.one_in(2);
        let start_ms = random.below(2_000_000) as i64 - if random.one_in(6) { 400_000 } else { 0 };
        let step_ms = [15_000, 60_000, 113_000, 400_000][random.below(4)];
        let end_ms = if is_range { start_ms + random.below(12) as i64 * step_ms + 1000 } else { start_ms };
        let mut times: Vec<i64> = vec![start_ms];
        while is_range && times[times.len() - 1] + step_ms <= end_ms {
            times.push(times[times.len() - 1] + step_ms);
        }
        let depth = 1 + random.below(4);
        let query = Generator { random: &mut random, has_steps: start_ms != end_ms }.vector(depth);
        if misses_resets_of_gauges(&query) {
            skipped += 1;
            continue;
        }
        let expr =
            parse_expr(&query, &ParserOptions::all()).unwrap_or_else(|error| panic!("{query}: {error}"));
        count(&expr, &mut uses);
        // Where `or` joins series of the same labels at different times, Prometheus lets the first decide about the
        // name of all; the naive evaluator, which sees one time only, cannot.
        let delayed_name_removal = delayed_name_removal && !query.contains(" or ");
        let several_workers = random.one_in(8) && !breaks_ties(&query);
        let engine = Engine::new(EngineOptions {
            parser: ParserOptions::all(),
            delayed_name_removal,
            workers: Arc::new(ScopedThreads { threads: if several_workers { 3 } else { 1 } }),
            ..EngineOptions::default()
        });
        let storage = &storages[usize::from(several_workers)];
        let options = QueryOptions::default();
        let run = |query: &str| {
            if is_range {
                engine.range(storage, query, start_ms, end_ms, step_ms, &options)
            } else {
                engine.instant(storage, query, start_ms, &options)
            }
        };
        let actual = run(&query);
        let naive =
            Naive { data: &data, start_ms, end_ms, step_ms, delayed_name_removal, notes: Notes::default() };
        let expected = naive.query(&expr, &times);
        if ["histogram_count", "histogram_sum", "histogram_avg"].iter().any(|name| query.contains(name)) {
            // Where buckets are not needed, histograms are read without them, and with hints about resets.
            naive.notes.forgives("counter reset collision");
            naive.notes.forgives("mismatched custom buckets");
        }
        let place = format!(
            "case {case}: {query}\n  from {start_ms} to {end_ms} step {step_ms}, delayed name removal {delayed_name_removal}, several workers {several_workers}"
        );
        let tolerance = if adds_up_series(&expr) || adds_up_histograms(&query) { ROUNDING } else { 0.0 };
        match (actual, expected) {
            (Ok(actual), Ok(expected)) => {
                succeeded += 1;
                let (warnings, infos) = actual.annotations.texts(&query, 0);
                let texts: Vec<String> = warnings.into_iter().chain(infos).collect();
                if let Some(difference) = naive.notes.difference(&texts) {
                    failures.push(format!("{place}\n  {difference}"));
                }
                if !is_in_order(&expr, &actual.value) {
                    failures.push(format!("{place}\n  is not in order: {:?}", actual.value));
                }
                let (actual, expected) = (engine_points(&actual.value), naive_points(&expected, &times));
                with_points += u64::from(!expected.is_empty());
                if let Some(difference) = difference(&actual, &expected, tolerance) {
                    let changed = with_changed_sums(&query, &expr).map(|query| {
                        run(&query).map_or_else(|_| Points::new(), |answer| engine_points(&answer.value))
                    });
                    if tolerance == 0.0 || !is_rounding(&actual, &expected, &changed) {
                        failures.push(format!("{place}\n  {difference}"));
                    }
                }
            }
            // Of several reasons to fail each may report its own.
            (Err(_), Err(_)) => {}
            (Ok(_), Err(expected)) if expected == naive::FLOAT_BESIDE_HISTOGRAM => {}
            (Ok(_), Err(expected)) => failures.push(format!("{place}\n  should fail: {expected}")),
            (Err(actual), Ok(_)) => failures.push(format!("{place}\n  fails: {actual}")),
        }
        if failures.len() >= FAILURES_SHOWN {
            break;
        }
    }
    assert!(failures.is_empty(), "with GYRE_ORACLE_SEED={seed}:\n{}", failures.join("\n"));
    println!(
        "{cases} queries, {skipped} not compared, {succeeded} succeeded, {with_points} with values; used: {uses:?}"
    );
    if cases >= 3000 {
        let operators = OPERATORS.iter().chain(MODIFIERS).copied();
        let functions = Function::ALL.iter().map(|function| function.name());
        let unused: Vec<&str> = functions.chain(operators).filter(|name| !uses.contains_key(*name)).collect();
        assert!(unused.is_empty(), "never used: {unused:?}");
    }
    assert!(succeeded * 10 >= cases * 6, "only {succeeded} of {cases} queries succeed");
    assert!(with_points * 10 >= cases * 4, "only {with_points} of {cases} queries have values");
}
