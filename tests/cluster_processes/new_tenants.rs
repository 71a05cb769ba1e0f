//! A tenant that comes while a node is down: nothing of it was there to be sealed ahead of time.

use serde_json::Value;

use crate::cluster::{Cluster, list};
use crate::reads::{ask, now_ms, some_series, write};

/// Waits until every node knows what the others host, up to the newest epoch.
fn wait_until_settled(cluster: &Cluster) {
    for node in &cluster.nodes {
        cluster.wait_for("it knows what the others host", || {
            let ring = node.ring()?;
            list(&ring["members"]).iter().all(|member| member["settled"] == ring["epoch"]).then_some(())
        });
    }
}

#[test]
fn new_tenants_are_served_whichever_node_is_down_and_whoever_was_restarted() {
    let mut cluster = Cluster::start(3);
    wait_until_settled(&cluster);
    let now_ms = now_ms();
    let time = (now_ms / 1000).to_string();
    let query = [("query", "count(requests_total)"), ("time", time.as_str())];
    for down in 0..3 {
        cluster.nodes[down].kill();
        let others = [(down + 1) % 3, (down + 2) % 3];
        for writer in others {
            let tenant = format!("while-{down}-is-down-by-{writer}");
            write(&cluster.nodes[writer], &tenant, some_series("web", now_ms));
            for reader in others {
                let answer = ask(&cluster.nodes[reader], &tenant, "query", &query);
                assert_eq!(answer["data"]["result"][0]["value"][1], Value::from("300"), "{answer}");
                assert_eq!(answer.get("warnings"), None);
            }
        }
        cluster.nodes[down].start();
        cluster.nodes[down].wait_ready();
        wait_until_settled(&cluster);
    }
}
