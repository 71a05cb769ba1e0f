//! Nodes are restarted in order, as `docs/operations/scaling.md` says: zone by zone, and one by one with other settings.

use std::process::Command;
use std::thread;

use super::check::{SOME, check_all, check_reads};
use crate::cluster::{Cluster, Node, list};
use crate::load::Load;

/// Waits until `gyre status` says that all is well, as a node sees it.
fn wait_until_all_is_well(cluster: &Cluster, node: &Node) {
    let url = format!("--url=http://{}", node.http);
    cluster.wait_for("all is well", || {
        let output = Command::new(env!("CARGO_BIN_EXE_gyre")).args(["status", &url]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        said.lines().any(|line| line.starts_with("all is well")).then_some(())
    });
}

/// Stops these nodes at once, and starts them again; the load turns away from them.
fn restart(cluster: &mut Cluster, load: &Load, nodes: &[usize], flags: impl Fn(usize) -> Vec<String>) {
    nodes.iter().for_each(|node| load.avoid(*node));
    thread::scope(|scope| {
        for (number, node) in cluster.nodes.iter_mut().enumerate() {
            if nodes.contains(&number) {
                scope.spawn(|| assert!(node.terminate().success()));
            }
        }
    });
    load.wait_for_acks(SOME / 3);
    nodes.iter().for_each(|node| cluster.nodes[*node].start_with(&flags(*node)));
    nodes.iter().for_each(|node| cluster.nodes[*node].wait_ready());
    nodes.iter().for_each(|node| wait_until_all_is_well(cluster, &cluster.nodes[*node]));
    nodes.iter().for_each(|node| load.allow(*node));
}

#[test]
fn zone_by_zone_all_nodes_are_restarted_under_load_and_no_request_fails() {
    let mut cluster = Cluster::new(6);
    let zone = |node: usize| vec![format!("--node.zone=zone-{}", node % 3)];
    for (number, node) in cluster.nodes.iter_mut().enumerate() {
        node.start_with(&zone(number));
    }
    cluster.wait_for_members(6);
    let load = Load::start(&cluster, 0x20e);
    load.wait_for_acks(SOME);
    for first in 0..3 {
        restart(&mut cluster, &load, &[first, first + 3], zone);
        check_reads(&cluster, &load, &[0, 1, 2, 3, 4, 5]);
    }
    load.wait_for_acks(SOME);
    check_all(&cluster, load, &[0, 1, 2, 3, 4, 5]);
}

/// How many shards the load's tenant has had, by document.
fn counts(cluster: &Cluster) -> Vec<u64> {
    let count = |document: &serde_json::Value| {
        document["tenants"]["fake"].as_u64().or(document["shards_per_tenant"].as_u64()).unwrap()
    };
    cluster.documents().iter().map(count).collect()
}

#[test]
fn a_tenant_has_the_shards_that_it_was_given_on_a_cluster_that_runs_more_or_fewer() {
    let mut cluster = Cluster::new(3);
    let config = cluster.path("gyre.yaml");
    let limit =
        |text: &str| std::fs::write(&config, format!("limits:\n  tenant_shard_series: {text}")).unwrap();
    let flags = |_| vec![format!("--config.file={}", config.display())];
    limit("0\n");
    cluster.nodes.iter_mut().for_each(|node| node.start_with(&flags(0)));
    cluster.wait_for_members(3);
    let load = Load::start(&cluster, 0x5a4d);
    load.wait_for_acks(SOME);
    let begin = *counts(&cluster).last().unwrap();
    let (more, fewer) = (begin * 2, begin / 2);
    // Its 48 series would be too many for each number of shards, if it had not been given one.
    for wanted in [more, fewer] {
        limit(&format!("1\noverrides:\n  fake:\n    tenant_shards: {wanted}\n"));
        (0..3).for_each(|node| restart(&mut cluster, &load, &[node], flags));
        cluster.wait_for("it has as many as it was given", || {
            (*counts(&cluster).last()? == wanted).then_some(())
        });
        // Closed, too: nothing is about to change.
        let ring = cluster.wait_at_rest(3);
        assert_eq!(list(&cluster.nodes[0].ring().unwrap()["tenants"])[0]["shards"], wanted, "{ring}");
        check_reads(&cluster, &load, &[0, 1, 2]);
    }
    let counts = counts(&cluster);
    assert_eq!((counts.iter().max(), counts.iter().min()), (Some(&more), Some(&fewer)), "{counts:?}");
    load.wait_for_acks(SOME);
    check_all(&cluster, load, &[0, 1, 2]);
}
