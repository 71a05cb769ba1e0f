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
mod language;
mod target;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bench::http::Connection;
use bench::server::{Gyre, GyreCluster, ManagedFolder, Product, Server, clean_up_on_signals};
use gyre_promql::testkit::{FileReport, run_script};

use language::LanguageTarget;
use target::HttpTarget;

/// What Prometheus runs its scripts with: all that is experimental is on. The scripts begin in 1970, load later samples
/// before earlier ones, and have series without names.
const CONFIG: &str = "
enable_feature: \"promql-experimental-functions, promql-delayed-name-removal, promql-duration-expr, \
    promql-extended-range-selectors, promql-binop-fill-modifiers, use-start-timestamps\"
query: {max_samples: 10000}
limits: {out_of_order_time_window: 100y, enforce_metric_name: false}
";

/// Where the scripts are unless the variable says otherwise.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/promqltest");

fn config(folder: &ManagedFolder) -> PathBuf {
    let config = folder.path().join("gyre.yaml");
    fs::write(&config, CONFIG).expect("the folder is writable");
    config
}

fn start(folder: &ManagedFolder) -> bench::Result<Server> {
    clean_up_on_signals()?;
    let gyre = Gyre::committing(env!("CARGO_BIN_EXE_gyre").into()).with_config(config(folder));
    let product: Arc<dyn Product> = Arc::new(gyre);
    Server::start(&product, folder.path())
}

#[test]
fn the_program_passes_prometheus_scripts() -> bench::Result<()> {
    let folder = ManagedFolder::create_in(&std::env::temp_dir())?;
    let server = start(&folder)?;
    passes(&[server.address], Place::Heads)
}

#[test]
fn the_program_passes_prometheus_scripts_with_its_data_in_blocks() -> bench::Result<()> {
    let folder = ManagedFolder::create_in(&std::env::temp_dir())?;
    let server = start(&folder)?;
    passes(&[server.address], Place::Blocks)?;
    let text = Connection::new(server.address).get("/metrics", &[])?.into_text()?;
    let blocks = text.lines().find_map(|line| line.strip_prefix("gyre_ship_blocks_total "));
    let blocks: f64 = blocks.and_then(|count| count.parse().ok()).unwrap_or_default();
    println!("{blocks} blocks");
    assert!(blocks > 200.0 || corpus::scripts(CORPUS).is_none(), "only {blocks} blocks");
    Ok(())
}

/// Where the data is when it is asked for.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Heads,
    Blocks,
}

#[test]
fn three_nodes_pass_prometheus_scripts_as_one() -> bench::Result<()> {
    clean_up_on_signals()?;
    let folder = ManagedFolder::create_in(&std::env::temp_dir())?;
    let gyre = GyreCluster::new(env!("CARGO_BIN_EXE_gyre").into())?.with_config(config(&folder));
    let product: Arc<dyn Product> = Arc::new(gyre);
    let server = Server::start(&product, folder.path())?;
    let nodes = [vec![server.address], product.companion_addresses()].concat();
    passes(&nodes, Place::Heads)
}

#[test]
fn four_nodes_pass_prometheus_scripts_and_compute_for_each_other() -> bench::Result<()> {
    clean_up_on_signals()?;
    let folder = ManagedFolder::create_in(&std::env::temp_dir())?;
    let gyre = GyreCluster::of_four(env!("CARGO_BIN_EXE_gyre").into())?.with_config(config(&folder));
    let product: Arc<dyn Product> = Arc::new(gyre);
    let server = Server::start(&product, folder.path())?;
    let nodes = [vec![server.address], product.companion_addresses()].concat();
    passes(&nodes, Place::Heads)?;
    let mut fragments = 0.0;
    for node in &nodes {
        let text = Connection::new(*node).get("/metrics", &[])?.into_text()?;
        let line = text.lines().find_map(|line| line.strip_prefix("gyre_read_fragments_total "));
        fragments += line.and_then(|count| count.parse::<f64>().ok()).unwrap_or_default();
    }
    println!("{fragments} fragments for other nodes");
    // Where there are no scripts nothing was asked.
    assert!(fragments > 1_000.0 || corpus::scripts(CORPUS).is_none(), "only {fragments} fragments");
    Ok(())
}

fn passes(nodes: &[SocketAddr], place: Place) -> bench::Result<()> {
    let Some(scripts) = corpus::scripts(CORPUS) else { return Ok(()) };
    let mut total = FileReport::default();
    let mut wrong = Vec::new();
    println!("| script | evals | passed | queries |");
    println!("| --- | --- | --- | --- |");
    for (name, script) in scripts {
        if let Some(reason) = exclusions::of_script(&name) {
            println!("| {name} | not run: {reason} | | |");
            continue;
        }
        let mut target = HttpTarget::new(nodes.to_vec(), &name);
        if place == Place::Blocks {
            target = target.in_blocks();
        }
        let report = run_script(&script, &mut target).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("| {name} | {} | {} | {} |", report.evals, report.passed, report.queries);
        let failures = report.failures.iter();
        wrong.extend(failures.map(|failure| format!("{name}:{}: {}", failure.line, failure.reason)));
        total.evals += report.evals;
        total.passed += report.passed;
        total.queries += report.queries;
    }
    println!("| total | {} | {} | {} |", total.evals, total.passed, total.queries);
    assert!(wrong.is_empty(), "{} unlike Prometheus:\n{}", wrong.len(), wrong.join("\n"));
    assert!(total.evals > 2_000, "only {} evaluations", total.evals);
    Ok(())
}

#[test]
fn formatted_expressions_are_the_same_expressions() -> bench::Result<()> {
    let Some(scripts) = corpus::scripts(CORPUS) else { return Ok(()) };
    let folder = ManagedFolder::create_in(&std::env::temp_dir())?;
    let server = start(&folder)?;
    let mut target = LanguageTarget::new(&server);
    for (name, script) in scripts {
        run_script(&script, &mut target).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    println!("{} expressions", target.asked);
    assert!(target.problems.is_empty(), "{}", target.problems.join("\n"));
    assert!(target.asked > 2_000, "only {} expressions", target.asked);
    Ok(())
}
