//! A replica that was away gets what it missed from one that has forgotten some of the series in it.

use std::path::Path;

use serde_json::Value;

use crate::blocks::flush;
use crate::cluster::{Cluster, json, list};
use crate::degraded::try_ask;
use crate::reads::{ask, metric, now_ms, some_series, write};
use crate::shape::outages::{bring_back, take_away};

const HOUR_MS: i64 = 3_600_000;

/// The blocks that a node's replicas name to readers, durably.
fn named_blocks(folder: &Path) -> Vec<Value> {
    let mut named = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            named.append(&mut named_blocks(&path));
        } else if path.ends_with("released.json") {
            named.extend(list(&json(&path)["blocks"]).iter().cloned());
        }
    }
    named
}

#[test]
fn a_replica_knows_which_blocks_have_what_a_pull_left_out() {
    let mut cluster = Cluster::start(3);
    let now_ms = now_ms();
    write(&cluster.nodes[0], "fake", some_series("before", now_ms - 3 * HOUR_MS - 60_000));
    cluster.nodes[2].kill();
    // In one request, so that what is left out is a part of each batch.
    let mut old = some_series("old", now_ms - 3 * HOUR_MS);
    old.extend(some_series("steady", now_ms - 3 * HOUR_MS));
    write(&cluster.nodes[0], "fake", old);
    write(&cluster.nodes[0], "fake", some_series("steady", now_ms));
    for node in &cluster.nodes[..2] {
        flush(node);
        assert_eq!(
            metric(node, "gyre_head_series_removed_total"),
            600.0,
            "{} has forgotten the old",
            node.name
        );
    }
    let time = (now_ms / 1000 + 1).to_string();
    let question = [("query", "sum by (app) (count_over_time(requests_total[4h]))"), ("time", time.as_str())];
    let right = ask(&cluster.nodes[0], "fake", "query", &question)["data"].take();
    assert_eq!(right["result"].as_array().unwrap().len(), 3, "{right}");

    // It starts without any list of blocks, and gets everything from the others' logs.
    take_away(&cluster);
    cluster.nodes[2].start();
    cluster.wait_for("it has pulled what it missed", || {
        let lacking = &cluster.nodes[2].ring()?["health"]["shards_under_replicated"];
        (cluster.nodes[2].log().contains("pulled missing batches") && *lacking == 0).then_some(())
    });
    // It has dropped nothing itself, and could not have.
    let window = (now_ms - 3 * HOUR_MS).div_euclid(2 * HOUR_MS);
    let named = named_blocks(&cluster.nodes[2].data);
    assert!(named.iter().any(|block| block["window"] == window), "{named:?}");
    for restarts in [false, true] {
        if restarts {
            cluster.nodes[2].kill();
            cluster.nodes[2].start();
            cluster.nodes[2].wait_ready();
        }
        let (status, answer) = try_ask(&cluster.nodes[2], "fake", "query", &question);
        assert_eq!(status, 500, "nobody has the old without the bucket: {answer}");
        assert!(answer["error"].as_str().unwrap().contains("block"), "{answer}");
    }
    bring_back(&cluster);
    cluster.wait_for("it answers again", || {
        (try_ask(&cluster.nodes[2], "fake", "query", &question).0 == 200).then_some(())
    });
    cluster.nodes[0].kill();
    for node in &cluster.nodes[1..] {
        assert_eq!(ask(node, "fake", "query", &question)["data"], right, "{}", node.name);
    }
}
