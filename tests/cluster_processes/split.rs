//! Networks that are cut: each side says what it cannot cover, whoever has two of three goes on, and nothing that was
//! acknowledged is missing afterwards.

use serde_json::Value;

use crate::cluster::{Cluster, Node, list};
use crate::degraded::{try_ask, try_write};
use crate::load::Load;
use crate::reads::{metric, now_ms};
use crate::refusals::has;
use crate::replication::{STRETCH, finish, seed};

/// Three nodes on a network that can be cut, unless this machine does not allow it.
fn three() -> Option<Cluster> {
    let mut cluster = match Cluster::on_a_network(3) {
        Ok(cluster) => cluster,
        Err(problem) => {
            let why = format!("skipped: cannot make network namespaces: {problem}");
            assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none_or(|value| value != "1"), "{why}");
            println!("{why}");
            return None;
        }
    };
    cluster.nodes.iter_mut().for_each(Node::start);
    cluster.wait_for_members(3);
    Some(cluster)
}

/// Waits until a node says that so many shards lack a replica.
fn wait_for_health(cluster: &Cluster, node: &Node, shards: u64) -> Value {
    cluster.wait_for("a node notices who is there", || {
        let ring = node.ring()?;
        (ring["health"]["shards_under_replicated"] == shards).then_some(ring)
    })
}

fn check_reads(load: &Load, nodes: &[Node]) {
    for node in nodes {
        let problems = load.so_far().check_under_load(node.http);
        assert!(problems.is_empty(), "through {}:\n{}", node.name, problems.join("\n"));
    }
}

#[test]
fn a_split_leaves_two_nodes_at_work_and_the_third_says_what_it_cannot_cover() {
    let Some(cluster) = three() else { return };
    let load = Load::start(&cluster, seed());
    load.wait_for_acks(STRETCH);
    load.avoid(2);
    for node in 0..2 {
        cluster.network().cut(node, 2);
        cluster.network().cut(2, node);
    }
    load.wait_for_acks(STRETCH);
    check_reads(&load, &cluster.nodes[..2]);

    let alone = &cluster.nodes[2];
    let (status, text) = try_write(alone, "fake", now_ms());
    assert_eq!(status, 503, "{text}");
    has(&text, &["shard fake/", "2 of its replicas must have a write on disk", "a: ", "b: "]);
    let (status, answer) = try_ask(alone, "fake", "query", &[("query", "count(load)")]);
    assert_eq!((status, &answer["errorType"]), (503, &Value::from("unavailable")), "{answer}");
    has(answer["error"].as_str().unwrap(), &["shard fake/", "cannot be read"]);

    for (node, away) in [(0, &["c"][..]), (1, &["c"]), (2, &["a", "b"])] {
        let node = &cluster.nodes[node];
        let ring = wait_for_health(&cluster, node, 2);
        for segment in list(&ring["under_replicated"]) {
            let replicas = list(&segment["replicas"]).iter();
            let is_away: Vec<&str> = replicas
                .filter(|replica| replica["state"] == "away")
                .map(|replica| replica["node"].as_str().unwrap())
                .collect();
            assert_eq!(is_away, away, "as {} sees it: {segment}", node.name);
        }
        assert_eq!(metric(node, "gyre_under_replicated_shards "), 2.0);
    }
    check_reads(&load, &cluster.nodes[..2]);

    for node in 0..2 {
        cluster.network().mend(node, 2);
        cluster.network().mend(2, node);
    }
    for node in &cluster.nodes {
        wait_for_health(&cluster, node, 0);
    }
    // Its connections find out in their own time.
    cluster.wait_for("the third takes writes again", || {
        (try_write(&cluster.nodes[2], "fake", now_ms()).0 == 200).then_some(())
    });
    load.allow(2);
    load.wait_for_acks(STRETCH);
    finish(&cluster, load);
}

#[test]
fn two_nodes_that_cannot_talk_to_each_other_both_work_with_the_third() {
    let Some(cluster) = three() else { return };
    let load = Load::start(&cluster, seed());
    load.wait_for_acks(STRETCH);
    cluster.network().cut(0, 1);
    load.wait_for_acks(STRETCH);
    check_reads(&load, &cluster.nodes);
    load.wait_for_acks(STRETCH);
    cluster.network().mend(0, 1);
    load.wait_for_acks(STRETCH);
    finish(&cluster, load);
}
