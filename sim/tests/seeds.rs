//! The simulation in the test suite: seeds with all rules, directed scenarios, and each planted bug.
//!
//! `GYRE_SIM_SEEDS` sets the number of seeds (default 200), `SEED` runs one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use gyre_sim::Conduct;
use gyre_sim::directed::scenarios;
use gyre_sim::planted::PLANTED;
use gyre_sim::run;

/// A planted bug must be caught within so many seeds.
const SEEDS_TO_CATCH_MAX: u64 = 50;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Does something with all items, as many at a time as there are cores.
fn on_all_cores<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

#[test]
fn no_seed_breaks_a_promise() {
    let seeds: Vec<u64> = match setting("SEED") {
        Some(seed) => vec![seed],
        None => (1..=setting("GYRE_SIM_SEEDS").unwrap_or(200)).collect(),
    };
    let broken = Mutex::new(Vec::new());
    on_all_cores(&seeds, |seed| {
        let problem = match run(*seed, Conduct::ALL) {
            Err(broken) => format!("SEED={seed}: {}: {}", broken.invariant, broken.what),
            Ok(report) if report.writes < 1000 || report.faults < 20 || report.dropped_windows == 0 => {
                format!("SEED={seed} does too little: {report:?}")
            }
            Ok(_) => return,
        };
        broken.lock().expect("nobody panics with it").push(problem);
    });
    let broken = broken.into_inner().expect("nobody panics with it");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn directed_scenarios_end_well() {
    let play = |scenario: gyre_sim::directed::Scenario| {
        let broken = (scenario.play)(Conduct::ALL)?;
        Some(format!("{}: {}: {}", scenario.name, broken.invariant, broken.what))
    };
    let broken: Vec<String> = scenarios().filter_map(play).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_seed_repeats() {
    assert_eq!(run(7, Conduct::ALL), run(7, Conduct::ALL));
}

#[test]
fn every_planted_bug_is_caught() {
    let missed = Mutex::new(Vec::new());
    on_all_cores(PLANTED, |planted| {
        let directed = scenarios()
            .find_map(|scenario| Some((scenario.name.to_owned(), (scenario.play)(planted.conduct)?)));
        let random = || {
            let mut seeds = 1..=SEEDS_TO_CATCH_MAX;
            seeds.find_map(|seed| Some((format!("SEED={seed}"), run(seed, planted.conduct).err()?)))
        };
        match directed.or_else(random) {
            Some((by, broken)) => {
                println!("{}: {by}: {}: {}", planted.name, broken.invariant, broken.what);
            }
            None => missed.lock().expect("nobody panics with it").push(planted.name),
        }
    });
    let missed = missed.into_inner().expect("nobody panics with it");
    assert!(missed.is_empty(), "not caught within {SEEDS_TO_CATCH_MAX} seeds: {missed:?}");
}
