//! Prometheus's own test scripts, all of them, against the engine over a storage in memory.

use std::fs;
use std::path::PathBuf;

use gyre_promql::Engine;
use gyre_promql::testkit::{EngineTarget, FileReport, run_script, test_engine_options};

/// Files whose evaluations do not all pass yet.
const INCOMPLETE: &[&str] = &[];

fn corpus() -> PathBuf {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/promqltest");
    std::env::var_os("GYRE_PROMQLTEST_DIR").map_or(default, PathBuf::from)
}

#[test]
fn every_evaluation_of_the_corpus_passes() {
    let folder = corpus();
    let Ok(entries) = fs::read_dir(&folder) else {
        let reason = format!("skipped: no promqltest corpus in {}", folder.display());
        assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none(), "{reason}");
        println!("{reason}");
        return;
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .collect();
    files.sort();
    let mut total = FileReport::default();
    let mut incomplete = Vec::new();
    println!("| file | evals | passed | queries |");
    println!("| --- | --- | --- | --- |");
    for path in &files {
        let name = path.file_stem().expect("a file name").to_string_lossy().into_owned();
        let script = fs::read_to_string(path).expect("a script can be read");
        let mut target = EngineTarget::new(Engine::new(test_engine_options()));
        let report = run_script(&script, &mut target).unwrap_or_else(|error| panic!("{name}: {error}"));
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
    assert_eq!(incomplete, INCOMPLETE, "files with failing evaluations");
    assert!(total.evals > 0, "no evaluations in {}", folder.display());
}
