//! Two of the three replicas of what ends with a change are away before they have sealed it: its successors cannot be opened, so
//! that writes are refused until one of the two is back; then all goes on, and what was acknowledged is there.

use std::time::Duration;

use bench::http::Connection;

use super::check::{SOME, check_all, check_reads, epoch, wait_until_closed};
use super::tenants::{newest, placed};
use crate::cluster::{Cluster, Node, list};
use crate::degraded::{has_partial_warning, try_ask, try_write};
use crate::load::Load;
use crate::reads::{ask, encode, now_ms, some_series, write};
use crate::refusals::has;

/// Wants partial answers; other tenants do not.
const PARTIAL: &str = "partial";

fn epochs(cluster: &Cluster, nodes: &[usize]) -> Option<Vec<u64>> {
    nodes.iter().map(|node| cluster.nodes[*node].ring()?["epoch"].as_u64()).collect()
}

/// What a node answers while of three replicas one is there, which has sealed.
fn check_refused(node: &Node, whole: &str, now_ms: i64) {
    let shard = format!("shard {whole}/");
    let body = encode(some_series("more", now_ms));
    // It is tried for some seconds to have one of the two seal.
    let connection = Connection::new(node.http).with_timeout(Duration::from_secs(30));
    let answer = connection.with_tenant(whole).post_remote_write("/api/v1/push", &body).unwrap();
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 503, "through {}: {text}", node.name);
    has(&text, &[&shard, "earlier segments of the shard cannot be sealed"]);
    let time = (now_ms / 1000).to_string();
    let query = [("query", "count(requests_total)"), ("time", time.as_str())];
    let (status, answer) = try_ask(node, whole, "query", &query);
    assert_eq!(status, 503, "through {}: {answer}", node.name);
    has(answer["error"].as_str().unwrap(), &[&shard, "cannot be read"]);
    let (status, answer) = try_ask(node, PARTIAL, "query", &query);
    assert_eq!(status, 200, "through {}: {answer}", node.name);
    has_partial_warning(&answer);
    assert_eq!(answer["data"]["result"][0]["value"][1], "300", "{answer}");
}

#[test]
fn a_change_that_finds_two_of_three_old_replicas_away_goes_on_when_one_is_back() {
    let mut cluster = Cluster::new(4);
    let config = cluster.path("gyre.yaml");
    std::fs::write(&config, format!("overrides:\n  {PARTIAL}:\n    query_partial_data: true\n")).unwrap();
    let flags = [format!("--config.file={}", config.display())];
    cluster.nodes[..3].iter_mut().for_each(|node| node.start_with(&flags));
    cluster.wait_at_rest(3);
    let now_ms = now_ms();
    let tenants: Vec<String> = (0..20).map(|number| format!("tenant-{number}")).collect();
    for tenant in tenants.iter().map(String::as_str).chain([PARTIAL]) {
        write(&cluster.nodes[0], tenant, some_series("web", now_ms));
    }
    for node in &cluster.nodes[..3] {
        let answer = ask(node, PARTIAL, "query", &[("query", "count(requests_total)")]);
        assert_eq!(answer["data"]["result"][0]["value"][1], "300", "{answer}");
    }
    let load = Load::start(&cluster, 0x2a3a);
    load.avoid(3);
    load.wait_for_acks(SOME);
    cluster.wait_for("all replicas are alike", || {
        let ring = cluster.nodes[0].ring()?;
        (ring["health"]["shards_under_replicated"] == 0).then_some(())
    });

    // Both die when they have kept the change's document, and before they have sealed anything.
    let before = epoch(&cluster.nodes[0]);
    load.may_fail(true);
    [1, 2].iter().for_each(|node| cluster.arm(Some(*node), "epoch-kept"));
    cluster.nodes[3].start_with(&flags);
    let mut dead: Vec<usize> =
        (0..2).map(|_| cluster.wait_for_end("both die", |_| false).unwrap().0).collect();
    dead.sort_unstable();
    assert_eq!(dead, [1, 2]);
    dead.iter().for_each(|node| load.avoid(*node));
    cluster.nodes[3].wait_ready();
    cluster.wait_for("the others act upon it", || {
        epochs(&cluster, &[0, 3])?.iter().all(|epoch| *epoch == before + 1).then_some(())
    });
    // One all of whose shards are the new node's, too.
    let document = newest(&cluster);
    let has_moved = |tenant: &&String| placed(&document, tenant).iter().all(|nodes| nodes.contains("d"));
    let whole = tenants.iter().find(has_moved).expect("most shards change");
    check_refused(&cluster.nodes[0], whole, now_ms);
    check_refused(&cluster.nodes[3], whole, now_ms);

    let back = [0, 1, 3];
    cluster.nodes[1].start_with(&flags);
    cluster.nodes[1].wait_ready();
    for node in back {
        cluster.wait_for("writes are taken again", || {
            (try_write(&cluster.nodes[node], whole, now_ms).0 == 200).then_some(())
        });
    }
    load.allow(1);
    load.allow(3);
    load.may_fail(false);
    load.wait_for_acks(SOME);
    check_reads(&cluster, &load, &back);
    // Two of three are enough for that, too.
    wait_until_closed(&cluster, &back, before + 1);
    cluster.nodes[2].start_with(&flags);
    cluster.nodes[2].wait_ready();
    load.allow(2);
    load.wait_for_acks(SOME);
    let ring = cluster.nodes[0].ring().unwrap();
    assert_eq!(list(&ring["members"]).len(), 4);
    check_all(&cluster, load, &[0, 1, 2, 3]);
}
