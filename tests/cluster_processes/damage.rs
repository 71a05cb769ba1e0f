//! Nodes whose logs were damaged while they were down: what they still have counts for nothing, and nothing waits for them.

use std::fs;

use crate::cluster::{Cluster, Node};
use crate::degraded::{try_ask, try_write};
use crate::ledger::Ledger;
use crate::load::Load;
use crate::reads::now_ms;
use crate::refusals::has;
use crate::replication::{STRETCH, finish, seed};

/// Changes a byte in the middle of each of a node's log files.
fn damage_log(node: &Node) {
    for lane in fs::read_dir(node.data.join("wal")).unwrap() {
        for file in fs::read_dir(lane.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
            fs::write(&path, bytes).unwrap();
        }
    }
}

#[test]
fn a_node_whose_log_was_damaged_is_not_counted_any_more_and_nothing_is_lost() {
    let mut cluster = Cluster::start(3);
    let load = Load::start(&cluster, seed());
    load.wait_for_acks(STRETCH);
    load.avoid(1);
    cluster.nodes[1].kill();
    damage_log(&cluster.nodes[1]);
    load.wait_for_acks(STRETCH);
    cluster.nodes[1].start();
    cluster.nodes[1].wait_ready();
    assert!(cluster.nodes[1].log().contains("write-ahead log is damaged"));
    load.allow(1);
    load.wait_for_acks(STRETCH);
    finish(&cluster, load);
}

/// Everything that was acknowledged is there, bit for bit, through this node.
fn has_all(ledger: &Ledger, node: &Node) {
    let problems = ledger.check(node.http);
    assert!(problems.is_empty(), "through {}:\n{}", node.name, problems.join("\n"));
}

#[test]
fn of_two_nodes_one_whose_log_was_damaged_stops_writes_until_the_next_epoch_and_no_longer() {
    let mut cluster = Cluster::new(3);
    cluster.nodes[..2].iter_mut().for_each(Node::start);
    cluster.wait_for_members(2);
    let load = Load::start(&cluster, seed());
    load.avoid(2);
    load.wait_for_acks(STRETCH);
    let (ledger, _) = load.stop();
    cluster.nodes[1].kill();
    damage_log(&cluster.nodes[1]);
    cluster.nodes[1].start();
    cluster.nodes[1].wait_ready();
    assert!(cluster.nodes[1].log().contains("write-ahead log is damaged"));

    cluster.nodes[..2].iter().for_each(|node| has_all(&ledger, node));
    let (status, text) = try_write(&cluster.nodes[0], "fake", now_ms());
    assert_eq!(status, 503, "{text}");
    has(&text, &["shard fake/", "b: refused"]);
    cluster.wait_for("a says which replica does not count", || {
        let ring = cluster.nodes[0].ring()?;
        (ring["under_replicated"][0]["replicas"][1]["state"] == "damaged").then_some(())
    });

    cluster.nodes[2].start();
    cluster.nodes[2].wait_ready();
    for node in &cluster.nodes {
        cluster.wait_for("the next epoch takes writes", || {
            (try_write(node, "fake", now_ms()).0 == 200).then_some(())
        });
        has_all(&ledger, node);
        let (status, answer) = try_ask(node, "fake", "query", &[("query", "count(requests_total)")]);
        assert_eq!((status, answer.get("warnings")), (200, None), "{answer}");
    }
}
