//! A tenant touches three nodes a shard at most, and harms nobody on the others, whatever it does.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use gyre_ring::{EpochDocument, Role, ShardIndex, TenantId};
use serde_json::Value;

use crate::cluster::{Cluster, Node};
use crate::degraded::{try_ask, try_write};
use crate::reads::{encode, now_ms, some_series};

/// Each has two shards.
const NODES: usize = 8;

/// The newest document in the bucket.
pub fn newest(cluster: &Cluster) -> EpochDocument {
    let newest = cluster.documents().pop().unwrap();
    EpochDocument::parse(newest.to_string().as_bytes()).unwrap()
}

/// The nodes on which each of a tenant's shards is to lie.
pub fn placed(document: &EpochDocument, tenant: &str) -> Vec<BTreeSet<String>> {
    let (tenant, placement) = (TenantId::new(tenant).unwrap(), document.placement(Role::Write));
    let count = document.shard_count(&tenant);
    let nodes = |index| placement.of(&tenant, count, ShardIndex(index)).into_iter();
    (0..count.get()).map(|index| nodes(index).map(|member| member.node.to_string()).collect()).collect()
}

/// Whether a node's log has something of a tenant.
fn has_logged(node: &Node, tenant: &str) -> bool {
    let lanes = std::fs::read_dir(node.data.join("wal")).unwrap().map(|lane| lane.unwrap().path());
    let files = lanes.flat_map(|lane| std::fs::read_dir(lane).unwrap()).map(|file| file.unwrap().path());
    let prefix = format!("{tenant}/");
    files.filter(|file| file.is_file()).any(|file| {
        let bytes = std::fs::read(file).unwrap();
        bytes.windows(prefix.len()).any(|some| some == prefix.as_bytes())
    })
}

fn check_whole(node: &Node, tenant: &str, now_ms: i64, series: u32) {
    let (status, text) = try_write(node, tenant, now_ms);
    assert_eq!(status, 200, "{tenant} through {}: {text}", node.name);
    let time = (now_ms / 1000).to_string();
    let query = [("query", "count(requests_total)"), ("time", time.as_str())];
    let (status, answer) = try_ask(node, tenant, "query", &query);
    assert_eq!((status, answer.get("warnings")), (200, None), "{tenant} through {}: {answer}", node.name);
    assert_eq!(answer["data"]["result"][0]["value"][1], Value::from(series.to_string()), "{answer}");
}

#[test]
fn a_tenant_that_floods_or_whose_nodes_are_stopped_harms_nobody_who_shares_none_of_them() {
    let mut cluster = Cluster::new(NODES);
    let config = cluster.path("gyre.yaml");
    let names = |kind: &str| (0..300).map(|number| format!("{kind}-{number}-end")).collect::<Vec<_>>();
    let (noisy, quiet) = (names("noisy"), names("quiet"));
    // One write has 900 samples.
    let limit =
        |name: &String| format!("  {name}:\n    ingestion_rate: 100\n    ingestion_burst_size: 1000\n");
    let limits = "overrides:\n".to_owned() + &noisy.iter().map(limit).collect::<String>();
    std::fs::write(&config, limits).unwrap();
    let flags = [format!("--config.file={}", config.display())];
    cluster.nodes.iter_mut().for_each(|node| node.start_with(&flags));
    cluster.wait_for_members(NODES);

    let document = newest(&cluster);
    let all_of = |tenant: &str| placed(&document, tenant).into_iter().flatten().collect::<BTreeSet<String>>();
    let apart = noisy.iter().find_map(|noisy| {
        let nodes = all_of(noisy);
        let is_apart = |quiet: &&String| all_of(quiet).is_disjoint(&nodes);
        Some((noisy, nodes.clone(), quiet.iter().find(is_apart)?))
    });
    let (noisy, on_noisy, quiet) = apart.expect("of so many some lie apart");
    let now_ms = now_ms();
    check_whole(&cluster.nodes[0], quiet, now_ms, 300);

    let is_over = AtomicBool::new(false);
    let refused = thread::scope(|scope| {
        let flood = cluster.nodes.iter().map(|node| {
            let (body, is_over) = (encode(some_series("more", now_ms)), &is_over);
            scope.spawn(move || {
                let mut connection = node.connect().with_tenant(noisy);
                let mut refused = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let answer = connection.post_remote_write("/api/v1/push", &body).unwrap();
                    assert!([200, 429].contains(&answer.status), "{}", answer.status);
                    refused += u64::from(answer.status == 429);
                }
                refused
            })
        });
        let flood: Vec<_> = flood.collect();
        let end = End(&is_over);
        for _ in 0..5 {
            cluster.nodes.iter().for_each(|node| check_whole(node, quiet, now_ms, 300));
        }
        drop(end);
        flood.into_iter().map(|flood| flood.join().unwrap()).sum::<u64>()
    });
    assert!(refused > 0, "it was no flood");

    // Three nodes a shard at most have seen any of it, and these are the ones that the document says.
    for tenant in [noisy, quiet] {
        let nodes = cluster.nodes.iter().filter(|node| has_logged(node, tenant));
        let nodes: BTreeSet<String> = nodes.map(|node| node.name.clone()).collect();
        assert!(nodes.len() <= 3 * placed(&document, tenant).len(), "{tenant}: {nodes:?}");
        assert_eq!(nodes, all_of(tenant), "{tenant}");
    }

    // So busy that they do not answer at all.
    let (busy, others): (Vec<&Node>, Vec<&Node>) =
        cluster.nodes.iter().partition(|node| on_noisy.contains(&node.name));
    busy.iter().for_each(|node| node.pause());
    others.iter().for_each(|node| check_whole(node, quiet, now_ms, 300));
    let (status, _) = try_ask(others[0], noisy, "query", &[("query", "count(requests_total)")]);
    assert_eq!(status, 503, "its own nodes are away");
    busy.iter().for_each(|node| node.resume());
}

/// Ends the flood, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
