//! Reading series once that a query names several times changes nothing: random queries against the same ones whose
//! selectors all differ, by matchers that match everything.

use std::sync::Arc;

use gyre_promql::syntax::{Expr, ParserOptions, parse_expr};
use gyre_promql::{Engine, EngineOptions, QueryError, QueryOptions, QueryResult, ScopedThreads};

use crate::generate::{Generator, breaks_ties};
use crate::random::Random;
use crate::rounding::{
    Points, ROUNDING, adds_up_series, difference, engine_points, is_rounding, with_changed_sums,
};
use crate::{data, load, setting};

/// Adds a matcher to each selector: the same one to all, or to each another. Both texts are of the same length, so that
/// positions agree.
fn marked(query: &str, expr: &Expr, each_another: bool) -> String {
    let mut starts = Vec::new();
    find_selectors(expr, &mut starts);
    starts.sort_unstable();
    let mut marked = query.to_owned();
    for (number, &start) in starts.iter().enumerate().rev() {
        let number = if each_another { number } else { 0 };
        let name_end = query[start..]
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .map_or(query.len(), |at| start + at);
        if query[name_end..].starts_with('{') {
            marked.insert_str(name_end + 1, &format!("n{number:03}=\"\","));
        } else {
            marked.insert_str(name_end, &format!("{{n{number:03}=\"\"}}"));
        }
    }
    marked
}

fn find_selectors(expr: &Expr, starts: &mut Vec<usize>) {
    match expr {
        Expr::Vector(selector) => starts.push(selector.span.start as usize),
        Expr::Matrix(matrix) => starts.push(matrix.selector.span.start as usize),
        _ => {}
    }
    expr.children().for_each(|child| find_selectors(child, starts));
}

/// A query that is likely to name the same series more than once.
pub fn query(random: &mut Random, has_steps: bool) -> String {
    let mut vector = |depth| Generator { random: &mut *random, has_steps }.vector(depth);
    let (a, b) = (vector(1), vector(2));
    let joins = [
        format!("({a}) + ({a})"),
        format!("sum by (x) ({a}) / on (x) count by (x) ({a})"),
        format!("({a}) and ({b}) or ({a})"),
        format!("({a}) unless ({a}) * 2"),
        format!("max by (x, y) ({a}) - on (x, y) min by (x, y) ({a}) + on (x, y) avg by (x, y) ({b})"),
        format!("histogram_quantile(0.5, {a}) or histogram_quantile(0.9, {a})"),
        format!("max_over_time(({a})[5m:1m]) or sum by (x) ({b}) or topk(100, {a})"),
        format!("label_replace({a}, \"y\", \"p\", \"x\", \"1\") or last_over_time(({a})[2m:1m] @ end())"),
        format!("stddev by (y) ({a}) or quantile by (y) (0.5, {a}) or stdvar by (x) ({b})"),
        format!("({a}) * scalar(sum({a})) or absent({b})"),
    ];
    joins[random.below(joins.len())].clone()
}

#[test]
fn queries_that_share_selectors_give_what_those_that_share_none_give() {
    let seed = setting("GYRE_SHARED_SEED", 20_261_125);
    let cases = setting("GYRE_SHARED_CASES", 3000);
    println!("GYRE_SHARED_SEED={seed}");
    let mut random = Random(seed);
    let mut storages = [load(&[], 1000), load(&[], 3)];
    let (mut succeeded, mut saved, mut more, mut rounded, mut squeezed) = (0, 0, 0, 0, 0);
    for case in 0..cases {
        if case % 50 == 0 {
            let data = data::generate(&mut random);
            storages = [load(&data, 1000), load(&data, 3)];
        }
        let start_ms = random.below(2_000_000) as i64;
        let step_ms = [15_000, 60_000, 113_000, 400_000][random.below(4)];
        let steps = if random.one_in(2) { 1 + random.below(12) as i64 } else { 0 };
        let query = query(&mut random, steps > 0);
        let expr =
            parse_expr(&query, &ParserOptions::all()).unwrap_or_else(|error| panic!("{query}: {error}"));
        let several_workers = random.one_in(8) && !breaks_ties(&query);
        let storage = &storages[usize::from(several_workers)];
        let settings = EngineOptions {
            parser: ParserOptions::all(),
            delayed_name_removal: random.one_in(2),
            workers: Arc::new(ScopedThreads { threads: if several_workers { 3 } else { 1 } }),
            ..EngineOptions::default()
        };
        let engine = Engine::new(settings.clone());
        let options = QueryOptions { count_samples: true, ..QueryOptions::default() };
        let run_in = |engine: &Engine, query: &str| match steps {
            0 => engine.instant(storage, query, start_ms, &options),
            steps => engine.range(storage, query, start_ms, start_ms + steps * step_ms, step_ms, &options),
        };
        let run = |query: &str| run_in(&engine, query);
        let (shared_query, apart_query) = (marked(&query, &expr, false), marked(&query, &expr, true));
        let (shared, apart) = (run(&shared_query), run(&apart_query));
        let place = format!(
            "case {case}: {shared_query}\n  from {start_ms}, {steps} steps of {step_ms}, several workers {several_workers}"
        );
        let (shared, apart) = match (shared, apart) {
            (Ok(shared), Ok(apart)) => (shared, apart),
            (shared, apart) => {
                let message =
                    |result: Result<QueryResult, QueryError>| result.map_err(|error| error.to_string());
                let (shared, apart) = (message(shared), message(apart));
                if several_workers {
                    // Which of the series that are at fault is named is chance.
                    assert!(shared.is_err() && apart.is_err(), "{place}: {shared:?} and {apart:?}");
                } else {
                    assert_eq!(shared.map(drop), apart.map(drop), "{place}");
                }
                continue;
            }
        };
        succeeded += 1;
        saved += u64::from(shared.stats.samples_read < apart.stats.samples_read);
        more += u64::from(shared.stats.samples_read > apart.stats.samples_read);
        assert_eq!(shared.stats.samples_per_step, apart.stats.samples_per_step, "{place}");
        if !several_workers {
            assert_eq!(
                shared.annotations.texts(&shared_query, 0),
                apart.annotations.texts(&apart_query, 0),
                "{place}"
            );
            assert_eq!(format!("{:?}", shared.value), format!("{:?}", apart.value), "{place}");
            if random.one_in(3) {
                // With no more memory than is needed without sharing, whatever is shared is given up.
                let limited = Engine::new(EngineOptions {
                    samples_max: apart.stats.samples_peak,
                    bytes_max: apart.stats.bytes_peak,
                    ..settings
                });
                // A single row may already be more than that.
                if run_in(&limited, &apart_query).is_ok() {
                    let found =
                        run_in(&limited, &shared_query).unwrap_or_else(|error| panic!("{place}: {error}"));
                    assert_eq!(format!("{:?}", found.value), format!("{:?}", apart.value), "{place}");
                    assert_eq!(found.stats.samples_per_step, apart.stats.samples_per_step, "{place}");
                    squeezed += 1;
                }
            }
            continue;
        }
        // Who of several workers adds up what is chance, and what they note follows from it.
        let (shared, apart) = (engine_points(&shared.value), engine_points(&apart.value));
        let tolerance = if adds_up_series(&expr) { ROUNDING } else { 0.0 };
        if let Some(difference) = difference(&shared, &apart, tolerance) {
            let changed = with_changed_sums(&query, &expr).map(|query| {
                run(&query).map_or_else(|_| Points::new(), |changed| engine_points(&changed.value))
            });
            assert!(is_rounding(&shared, &apart, &changed), "{place}\n  {difference}");
            rounded += 1;
        }
    }
    println!(
        "{cases} queries, {succeeded} succeeded, {saved} read less, {more} more, {rounded} that rounding changes, {squeezed} also in no more memory"
    );
    // Where series must be merged on the way, all is read again.
    assert!(more * 100 <= cases, "{more} of {cases} queries read more");
    assert!(saved * 10 >= cases * 3, "only {saved} of {cases} queries share anything");
}
