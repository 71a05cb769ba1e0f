//! Blocks in a cluster: one replica's is enough for all, and whoever reads knows of it in time.

use std::collections::BTreeSet;

use gyre::archive::TenantBlocks;
use gyre::cluster::store::{Bucket, StorageUrl};
use gyre_ring::TenantId;
use serde_json::Value;

use crate::cluster::{Cluster, Node};
use crate::reads::{ask, now_ms, some_series, write};

pub fn flush(node: &Node) {
    let answer = node.connect().get("/flush", &[]).unwrap();
    assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
}

/// The names of a tenant's blocks, and the samples in all of them.
fn listed(cluster: &Cluster, tenant: &str) -> (BTreeSet<String>, u64) {
    let bucket = Bucket::open(&StorageUrl::File(cluster.path("bucket")), std::path::Path::new("")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tenant = TenantId::new(tenant).unwrap();
    let list = runtime.block_on(TenantBlocks::load(&bucket, &tenant)).unwrap();
    let samples = list.blocks().values().map(|block| block.meta.stats.num_samples).sum();
    (list.blocks().keys().map(ToString::to_string).collect(), samples)
}

fn count(node: &Node, tenant: &str, now_ms: i64) -> Value {
    let time = (now_ms / 1000 + 1).to_string();
    let query = "sum by (app) (count_over_time(requests_total[5m]))";
    ask(node, tenant, "query", &[("query", query), ("time", &time)])["data"]["result"].take()
}

#[test]
fn one_replicas_block_is_enough_for_all_three() {
    let mut cluster = Cluster::start(3);
    let now_ms = now_ms();
    write(&cluster.nodes[0], "acme", some_series("web", now_ms));
    write(&cluster.nodes[1], "acme", some_series("api", now_ms));
    let right = count(&cluster.nodes[0], "acme", now_ms);
    assert_eq!(right.as_array().unwrap().len(), 2, "{right}");
    // All batches are at all three.
    let is_alike = || {
        let status = cluster.nodes[2].ring()?;
        (status["health"]["shards_under_replicated"].as_u64() == Some(0)).then_some(())
    };
    cluster.wait_for("all replicas are alike", is_alike);
    flush(&cluster.nodes[0]);
    let (blocks, samples) = listed(&cluster, "acme");
    assert_eq!(samples, 2 * 300 * 3);
    for node in &cluster.nodes {
        assert_eq!(count(node, "acme", now_ms), right, "{}", node.name);
    }
    for node in &cluster.nodes {
        flush(node);
    }
    assert_eq!(listed(&cluster, "acme"), (blocks, samples), "nobody has uploaded it again");
    for node in &cluster.nodes {
        assert_eq!(count(node, "acme", now_ms), right, "{}", node.name);
    }
    cluster.nodes[0].kill();
    for node in &cluster.nodes[1..] {
        assert_eq!(count(node, "acme", now_ms), right, "{}", node.name);
    }
}

/// What a node says about labels of the last minutes, of all series or of some.
fn listing(node: &Node, tenant: &str, (path, of_some): (&str, bool), now_ms: i64) -> Value {
    let (start, end) = ((now_ms / 1000 - 300).to_string(), (now_ms / 1000 + 1).to_string());
    let mut parameters = vec![("start", start.as_str()), ("end", end.as_str())];
    if of_some {
        parameters.push(("match[]", r#"{pod=~"pod-1.*"}"#));
    }
    ask(node, tenant, path, &parameters)["data"].take()
}

#[test]
fn a_node_whose_list_is_old_lists_labels_that_others_have_dropped() {
    let cluster = Cluster::start(4);
    let now_ms = now_ms();
    let questions = [
        ("series", true),
        ("labels", false),
        ("labels", true),
        ("label/pod/values", false),
        ("label/pod/values", true),
    ];
    // Each question finds out by itself, so each is about a tenant of its own.
    for (turn, question) in questions.into_iter().enumerate() {
        let tenant = format!("tenant-{turn}");
        write(&cluster.nodes[turn % 4], &tenant, some_series("web", now_ms));
        let right = listing(&cluster.nodes[0], &tenant, question, now_ms);
        assert!(right.as_array().unwrap().len() > 2, "{right}");
        for node in &cluster.nodes {
            assert_eq!(listing(node, &tenant, question, now_ms), right, "{question:?} at {}", node.name);
        }
        for node in &cluster.nodes {
            flush(node);
            for node in &cluster.nodes {
                assert_eq!(listing(node, &tenant, question, now_ms), right, "{question:?} at {}", node.name);
            }
        }
    }
}

#[test]
fn a_node_whose_list_is_old_learns_of_blocks_from_those_that_have_dropped_what_is_in_them() {
    let cluster = Cluster::start(4);
    let now_ms = now_ms();
    for round in 0..4 {
        let tenant = format!("tenant-{round}");
        write(&cluster.nodes[round], &tenant, some_series("web", now_ms));
        // Each node has a list without blocks now.
        let right = count(&cluster.nodes[0], &tenant, now_ms);
        for node in &cluster.nodes {
            assert_eq!(count(node, &tenant, now_ms), right, "{}", node.name);
        }
        for node in &cluster.nodes {
            flush(node);
            for node in &cluster.nodes {
                assert_eq!(count(node, &tenant, now_ms), right, "{}", node.name);
            }
        }
    }
}
