//! Prometheus's own test scripts, all of them, against the engine over a storage in memory.

mod corpus;

use std::sync::Arc;

use gyre_promql::memory::MemoryStorage;
use gyre_promql::testkit::{EngineTarget, FileReport, run_script, test_engine_options};
use gyre_promql::{Engine, EngineOptions, ScopedThreads};

/// Runs all scripts, prints a table, and returns the names of those with failures.
fn run(new_target: impl Fn() -> EngineTarget) -> Vec<String> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/promqltest");
    let Some(scripts) = corpus::scripts(default) else { return Vec::new() };
    let mut total = FileReport::default();
    let mut incomplete = Vec::new();
    println!("| file | evals | passed | queries |");
    println!("| --- | --- | --- | --- |");
    for (name, script) in scripts {
        let report = run_script(&script, &mut new_target()).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("| {name} | {} | {} | {} |", report.evals, report.passed, report.queries);
        for failure in &report.failures {
            println!("{name}:{}: {}", failure.line, failure.reason);
        }
        if report.passed != report.evals {
            incomplete.push(name);
        }
        total.evals += report.evals;
        total.passed += report.passed;
        total.queries += report.queries;
    }
    println!("| total | {} | {} | {} |", total.evals, total.passed, total.queries);
    assert!(total.evals > 0, "no evaluations");
    incomplete
}

#[test]
fn every_evaluation_of_the_corpus_passes() {
    let incomplete = run(|| EngineTarget::new(Engine::new(test_engine_options())));
    assert!(incomplete.is_empty(), "files with failing evaluations: {incomplete:?}");
}

#[test]
fn every_evaluation_of_the_corpus_passes_with_a_series_per_worker() {
    let incomplete = run(|| {
        let workers = Arc::new(ScopedThreads { threads: 3 });
        let options = EngineOptions { workers, ..test_engine_options() };
        EngineTarget::with_storage(Engine::new(options), MemoryStorage::with_series_per_batch(1))
    });
    assert!(incomplete.is_empty(), "files with failing evaluations: {incomplete:?}");
}
