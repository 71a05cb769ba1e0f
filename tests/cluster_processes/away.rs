//! Two nodes away at a time: of three, which stops everything, and of four, which stops the shards that had two replicas
//! there and no others.

use crate::cluster::{Cluster, Node, list};
use crate::degraded::{try_ask, try_write};
use crate::load::Load;
use crate::reads::{now_ms, some_series, write};
use crate::refusals::has;
use crate::replication::{STRETCH, seed};

#[test]
fn two_of_three_nodes_are_killed_at_once_and_when_they_are_back_nothing_acknowledged_is_missing() {
    let mut cluster = Cluster::start(3);
    let load = Load::start(&cluster, seed());
    load.wait_for_acks(STRETCH);
    // With requests on their way.
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    let (ledger, failures) = load.stop();
    for failure in failures {
        let is_expected = ["answered 503", "node 1", "node 2"].iter().any(|part| failure.contains(part));
        assert!(is_expected, "{failure}");
    }
    cluster.nodes[1].start();
    cluster.nodes[2].start();
    cluster.wait_for_members(3);
    for node in &cluster.nodes {
        let problems = ledger.check(node.http);
        assert!(problems.is_empty(), "through {}:\n{}", node.name, problems.join("\n"));
    }
}

/// Shards of a tenant that had two replicas on two nodes.
fn hit(ring: &serde_json::Value, tenant: &str, away: [&str; 2]) -> bool {
    let segments = list(&ring["segments"]).iter();
    let mut open = segments.filter(|segment| {
        segment["ended"].is_null() && segment["segment"].as_str().unwrap().starts_with(&format!("{tenant}/"))
    });
    open.any(|segment| {
        let replicas = list(&segment["replicas"]).iter();
        replicas.filter(|replica| away.contains(&replica["node"].as_str().unwrap())).count() == 2
    })
}

#[test]
fn with_two_of_four_nodes_down_only_shards_that_had_two_replicas_there_stop() {
    let mut cluster = Cluster::start(4);
    let tenants: Vec<String> = (0..24).map(|number| format!("tenant-{number}")).collect();
    let now_ms = now_ms();
    for tenant in &tenants {
        write(&cluster.nodes[0], tenant, some_series("web", now_ms));
    }
    let ring = cluster.nodes[0].ring().unwrap();
    let (hit, spared): (Vec<&String>, Vec<&String>) =
        tenants.iter().partition(|tenant| hit(&ring, tenant, ["c", "d"]));
    assert!(!hit.is_empty() && !spared.is_empty(), "placement spreads tenants: {hit:?}, {spared:?}");
    cluster.nodes[2..].iter_mut().for_each(Node::kill);

    let time = (now_ms / 1000).to_string();
    let query = [("query", "count(requests_total)"), ("time", time.as_str())];
    for node in &cluster.nodes[..2] {
        for tenant in &spared {
            let (status, text) = try_write(node, tenant, now_ms);
            assert_eq!(status, 200, "{tenant} through {}: {text}", node.name);
            let (status, answer) = try_ask(node, tenant, "query", &query);
            assert_eq!((status, answer.get("warnings")), (200, None), "{tenant}: {answer}");
            assert_eq!(answer["data"]["result"][0]["value"][1], "600", "{tenant}: {answer}");
        }
        let (status, text) = try_write(node, hit[0], now_ms);
        assert_eq!(status, 503, "{} through {}: {text}", hit[0], node.name);
        has(&text, &[&format!("shard {}/", hit[0])]);
        let (status, answer) = try_ask(node, hit[0], "query", &query);
        assert_eq!(status, 503, "{answer}");
    }
    cluster.nodes[2..].iter_mut().for_each(Node::start);
    cluster.nodes[2..].iter().for_each(Node::wait_ready);
    for node in &cluster.nodes {
        for tenant in &tenants {
            cluster.wait_for("all tenants are whole again", || {
                let (status, answer) = try_ask(node, tenant, "query", &query);
                let count = answer["data"]["result"][0]["value"][1].as_str()?.parse::<u32>().ok()?;
                (status == 200 && answer.get("warnings").is_none() && count >= 300).then_some(())
            });
        }
    }
}
