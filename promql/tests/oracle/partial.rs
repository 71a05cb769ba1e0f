//! Queries computed in parts: random ones over random data, spread over places at random, give what a single engine
//! gives.

use gyre_promql::fragment::QueryTimes;
use gyre_promql::labels::Labels;
use gyre_promql::memory::MemoryStorage;
use gyre_promql::syntax::{ParserOptions, parse_expr};
use gyre_promql::{Engine, EngineOptions, QueryOptions};

use crate::generate::{Generator, breaks_ties};
use crate::places::{Ways, evaluate};
use crate::random::Random;
use crate::rounding::{
    Points, ROUNDING, adds_up_series, difference, engine_points, is_rounding, with_changed_sums,
};
use crate::{data, setting};

#[test]
fn random_queries_over_places_give_what_a_single_engine_gives() {
    let seed = setting("GYRE_FRAGMENTS_SEED", 20_261_124);
    let cases = setting("GYRE_FRAGMENTS_CASES", 3000);
    println!("GYRE_FRAGMENTS_SEED={seed}");
    let mut random = Random(seed);
    let mut ways = Ways::default();
    let (mut single, mut places) = (MemoryStorage::default(), Vec::new());
    let (mut with_points, mut rounded) = (0, 0);
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
        let query = if random.one_in(3) {
            crate::shared::query(&mut random, false)
        } else {
            let depth = 1 + random.below(4);
            Generator { random: &mut random, has_steps: false }.vector(depth)
        };
        if query.contains("limitk") || breaks_ties(&query) {
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
        let times = if random.one_in(2) {
            let end_ms = start_ms + random.below(12) as i64 * step_ms;
            QueryTimes::Range { start_ms, end_ms, step_ms }
        } else {
            QueryTimes::Instant { time_ms: start_ms }
        };
        let of_single = |query: &str| match times {
            QueryTimes::Range { start_ms, end_ms, step_ms } => {
                engine.range(&single, query, start_ms, end_ms, step_ms, &options)
            }
            QueryTimes::Instant { time_ms } => engine.instant(&single, query, time_ms, &options),
        };
        let expected = of_single(&query);
        let found = evaluate(&engine, &places, &query, times, &mut ways);
        let place = format!("case {case}: {query} at {times:?} over {} places", places.len());
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let (found, wanted) = (engine_points(&found.value), engine_points(&expected.value));
                with_points += usize::from(!wanted.is_empty());
                let expr = parse_expr(&query, &ParserOptions::all()).expect("a query that has an answer");
                let tolerance = if adds_up_series(&expr) { ROUNDING } else { 0.0 };
                if let Some(difference) = difference(&found, &wanted, tolerance) {
                    let changed = with_changed_sums(&query, &expr).map(|query| {
                        of_single(&query)
                            .map_or_else(|_| Points::new(), |changed| engine_points(&changed.value))
                    });
                    assert!(is_rounding(&found, &wanted, &changed), "{place}\n  {difference}");
                    rounded += 1;
                }
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
    println!("{ways:?}, {with_points} with values, {rounded} that rounding changes");
    assert!(with_points * 10 >= cases as usize * 4, "only {with_points} of {cases} queries have values");
}
