//! What must be true after any change of shape.

use std::process::Command;

use crate::cluster::{Cluster, Node, list};
use crate::load::Load;

/// Requests that are acknowledged between two steps.
pub const SOME: u64 = 150;

/// Whether all segments that had ended by an epoch, or the newest, are closed at a node, and dropped.
pub fn is_closed(cluster: &Cluster, node: usize, at_least: u64) -> bool {
    cluster.nodes[node].ring().is_some_and(|ring| {
        let has_ended = list(&ring["segments"]).iter().any(|segment| !segment["ended"].is_null());
        ring["closed_through"].as_u64().is_some_and(|closed| closed >= at_least) && !has_ended
    })
}

/// Waits for that, at all of these nodes.
pub fn wait_until_closed(cluster: &Cluster, nodes: &[usize], at_least: u64) {
    cluster.wait_for("what has ended is closed everywhere", || {
        nodes.iter().all(|node| is_closed(cluster, *node, at_least)).then_some(())
    });
}

pub fn epoch(node: &Node) -> u64 {
    node.ring().unwrap()["epoch"].as_u64().unwrap()
}

/// What was acknowledged until now is there through each of these nodes, while more is written.
pub fn check_reads(cluster: &Cluster, load: &Load, nodes: &[usize]) {
    for node in nodes {
        let problems = load.so_far().check_under_load(cluster.nodes[*node].http);
        assert!(problems.is_empty(), "through {}: {problems:#?}", cluster.nodes[*node].name);
    }
}

/// Ends the load; all of it is there, bit-exact, through each of these nodes, before and after all heads became blocks, and
/// no block is damaged.
pub fn check_all(cluster: &Cluster, load: Load, nodes: &[usize]) {
    let (ledger, failures) = load.stop();
    assert!(failures.is_empty(), "{} requests failed: {failures:?}", failures.len());
    let check = || {
        for node in nodes {
            let problems = ledger.check(cluster.nodes[*node].http);
            assert!(problems.is_empty(), "through {}: {problems:#?}", cluster.nodes[*node].name);
        }
    };
    check();
    for node in nodes {
        let answer = cluster.nodes[*node].connect().get("/flush", &[]).unwrap();
        assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
    }
    check();
    verify(cluster);
    let problems = dump(cluster).map(|dump| ledger.check_dump(&dump)).unwrap_or_default();
    assert!(problems.is_empty(), "promtool: {problems:#?}");
}

/// What promtool reads in the bucket's blocks; `None`: it is not installed.
fn dump(cluster: &Cluster) -> Option<String> {
    if Command::new("promtool").arg("--version").output().is_err() {
        let why = "skipped: promtool is not installed";
        assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none_or(|value| value != "1"), "{why}");
        println!("{why}");
        return None;
    }
    let out = cluster.path("exported");
    let url = format!("--storage.url=file://{}", cluster.path("bucket").display());
    let export = ["blocks", "export", "--tenant=fake", &url];
    let output = Command::new(env!("CARGO_BIN_EXE_gyre")).args(export).arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new("promtool").args(["tsdb", "dump"]).arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn verify(cluster: &Cluster) {
    let url = format!("--storage.url=file://{}", cluster.path("bucket").display());
    let output =
        Command::new(env!("CARGO_BIN_EXE_gyre")).args(["blocks", "verify", "--json", &url]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("\"block\""), "nothing was verified: {text}");
}
