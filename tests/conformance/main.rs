//! Prometheus's own test scripts for PromQL, run against the program: series go in through remote write, questions
//! and answers through the HTTP API, and what lies between is what a user gets.
//!
//! The scripts are looked for in `GYRE_PROMQLTEST_DIR`.

#[path = "../../promql/tests/corpus/mod.rs"]
mod corpus;
#[path = "../support/remote_write.rs"]
mod remote_write;

mod answer;
mod exclusions;
mod target;

use std::fs;
use std::sync::Arc;

use bench::server::{Gyre, ManagedFolder, Product, Server, clean_up_on_signals};
use gyre_promql::testkit::{FileReport, run_script};

use target::HttpTarget;

/// What Prometheus runs its scripts with: all that is experimental is on. The scripts begin in 1970, load later samples
/// before earlier ones, and have series without names.
const CONFIG: &str = "
enable_feature: \"promql-experimental-functions, promql-delayed-name-removal, promql-duration-expr, \
    promql-extended-range-selectors, promql-binop-fill-modifiers, use-start-timestamps\"
query: {max_samples: 10000}
limits: {out_of_order_time_window: 100y, enforce_metric_name: false}
";

#[test]
fn the_program_passes_prometheus_scripts() -> bench::Result<()> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/promqltest");
    let Some(scripts) = corpus::scripts(default) else { return Ok(()) };
    clean_up_on_signals()?;
    let folder = ManagedFolder::create_in(&std::env::temp_dir())?;
    let config = folder.path().join("gyre.yaml");
    fs::write(&config, CONFIG).expect("the folder is writable");
    let gyre = Gyre::committing(env!("CARGO_BIN_EXE_gyre").into()).with_config(config);
    let product: Arc<dyn Product> = Arc::new(gyre);
    let server = Server::start(&product, folder.path())?;
    let mut total = FileReport::default();
    let mut wrong = Vec::new();
    println!("| file | evals | passed | excluded | queries |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, script) in scripts {
        if let Some(reason) = exclusions::of_file(&name) {
            println!("| {name} | | | all: {reason} | |");
            continue;
        }
        let mut target = HttpTarget::new(&server, &name);
        let report = run_script(&script, &mut target).unwrap_or_else(|error| panic!("{name}: {error}"));
        let excluded = exclusions::evals_of(&name);
        if report.failures.len() != excluded {
            wrong.push(format!(
                "{name}: {} evaluations fail, {excluded} are expected to",
                report.failures.len()
            ));
            let reasons = report.failures.iter();
            wrong.extend(reasons.map(|failure| format!("{name}:{}: {}", failure.line, failure.reason)));
        }
        println!("| {name} | {} | {} | {excluded} | {} |", report.evals, report.passed, report.queries);
        total.evals += report.evals;
        total.passed += report.passed;
        total.queries += report.queries;
    }
    println!("| total | {} | {} | | {} |", total.evals, total.passed, total.queries);
    assert!(wrong.is_empty(), "{} unlike Prometheus:\n{}", wrong.len(), wrong.join("\n"));
    assert!(total.evals > 1_000, "only {} evaluations", total.evals);
    Ok(())
}
