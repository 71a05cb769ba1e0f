//! Prometheus's own test scripts, all of them, against the engine over a storage in memory.

mod corpus;
#[path = "shared/document.rs"]
mod document;

use std::sync::Arc;

use gyre_promql::memory::MemoryStorage;
use gyre_promql::testkit::{EngineTarget, FileReport, run_script, test_engine_options};
use gyre_promql::{Engine, EngineOptions, ScopedThreads};

/// Runs all scripts: a table of what came of them, and the names of those with failures. `None` without scripts.
fn run(new_target: impl Fn() -> EngineTarget) -> Option<(String, Vec<String>)> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/promqltest");
    let scripts = corpus::scripts(default)?;
    let mut total = FileReport::default();
    let mut incomplete = Vec::new();
    let mut table = String::from(
        "| file | evaluations | instant | range | re-runs | passed | failed |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut row = |name: &str, report: &FileReport| {
        let FileReport { evals, range_evals, passed, queries, .. } = report;
        let (instant, reruns, failed) = (evals - range_evals, queries - evals, evals - passed);
        let row =
            format!("| {name} | {evals} | {instant} | {range_evals} | {reruns} | {passed} | {failed} |\n");
        table.push_str(&row);
    };
    for (name, script) in scripts {
        let report = run_script(&script, &mut new_target()).unwrap_or_else(|error| panic!("{name}: {error}"));
        row(&name, &report);
        for failure in &report.failures {
            println!("{name}:{}: {}", failure.line, failure.reason);
        }
        if report.passed != report.evals {
            incomplete.push(name);
        }
        total.evals += report.evals;
        total.range_evals += report.range_evals;
        total.passed += report.passed;
        total.queries += report.queries;
    }
    row("total", &total);
    println!("{table}");
    assert!(total.evals > 0, "no evaluations");
    Some((table, incomplete))
}

#[test]
fn every_evaluation_of_the_corpus_passes_and_the_document_says_so() {
    let Some((table, incomplete)) = run(|| EngineTarget::new(Engine::new(test_engine_options()))) else {
        return;
    };
    assert!(incomplete.is_empty(), "files with failing evaluations: {incomplete:?}");
    document::compare("evaluations", &table);
}

#[test]
fn every_evaluation_of_the_corpus_passes_with_a_series_per_worker() {
    let run = run(|| {
        let workers = Arc::new(ScopedThreads { threads: 3 });
        let options = EngineOptions { workers, ..test_engine_options() };
        EngineTarget::with_storage(Engine::new(options), MemoryStorage::with_series_per_batch(1))
    });
    let Some((_, incomplete)) = run else { return };
    assert!(incomplete.is_empty(), "files with failing evaluations: {incomplete:?}");
}
