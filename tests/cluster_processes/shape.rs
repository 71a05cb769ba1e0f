//! The cluster changes its shape under load: a node comes, one goes, one dies for good. Nobody notices, and what segments held
//! that have ended is in blocks, once.

use std::process::Command;

use crate::cluster::{Cluster, Node, list};
use crate::load::Load;

/// Requests that are acknowledged between two steps.
const SOME: u64 = 150;

/// Waits until all segments that had ended by an epoch, or the newest, are closed at these nodes, and dropped.
fn wait_until_closed(cluster: &Cluster, nodes: &[usize], at_least: u64) {
    cluster.wait_for("what has ended is closed everywhere", || {
        let is_closed = |node: &usize| {
            let ring = cluster.nodes[*node].ring()?;
            let has_ended = list(&ring["segments"]).iter().any(|segment| !segment["ended"].is_null());
            (ring["closed_through"].as_u64()? >= at_least && !has_ended).then_some(())
        };
        nodes.iter().map(is_closed).collect::<Option<()>>()
    });
}

fn epoch(node: &Node) -> u64 {
    node.ring().unwrap()["epoch"].as_u64().unwrap()
}

/// Ends the load; all of it is there, bit-exact, through each of these nodes, before and after all heads became blocks, and
/// no block is damaged.
fn check_all(cluster: &Cluster, load: Load, nodes: &[usize]) {
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

#[test]
fn a_fourth_node_joins_under_load_and_what_ended_is_closed_and_sent_to_nobody() {
    let mut cluster = Cluster::new(4);
    for node in &mut cluster.nodes[..3] {
        node.start();
    }
    cluster.wait_for_members(3);
    let load = Load::start(&cluster, 0xa11);
    load.avoid(3);
    load.wait_for_acks(SOME);
    let before = epoch(&cluster.nodes[0]);

    cluster.nodes[3].start();
    cluster.nodes[3].wait_ready();
    load.allow(3);
    load.wait_for_acks(SOME);
    let all = [0, 1, 2, 3];
    wait_until_closed(&cluster, &all, before + 1);
    for node in &cluster.nodes {
        let problems = load.so_far().check_under_load(node.http);
        assert!(problems.is_empty(), "through {}: {problems:#?}", node.name);
    }
    load.wait_for_acks(SOME);
    check_all(&cluster, load, &all);
}

#[test]
fn a_tenant_splits_while_a_node_joins_and_queries_cover_both_generations() {
    let mut cluster = Cluster::new(4);
    let config = cluster.path("gyre.yaml");
    // The load has 48 series.
    std::fs::write(&config, "limits:\n  tenant_shard_series: 10\n").unwrap();
    let flags = [format!("--config.file={}", config.display())];
    cluster.nodes[..3].iter_mut().for_each(|node| node.start_with(&flags));
    cluster.wait_for_members(3);
    let load = Load::start(&cluster, 0x5911);
    load.avoid(3);
    load.wait_for_acks(SOME);
    cluster.nodes[3].start_with(&flags);
    cluster.nodes[3].wait_ready();
    load.allow(3);
    cluster.wait_for("it has shards enough", || {
        let ring = cluster.nodes[0].ring()?;
        (list(&ring["tenants"]).first()?["shards"].as_u64()? >= 8).then_some(())
    });
    for node in &cluster.nodes {
        let problems = load.so_far().check_under_load(node.http);
        assert!(problems.is_empty(), "through {}: {problems:#?}", node.name);
    }
    load.wait_for_acks(SOME);
    let all = [0, 1, 2, 3];
    wait_until_closed(&cluster, &all, epoch(&cluster.nodes[0]) - 1);
    load.wait_for_acks(SOME);
    check_all(&cluster, load, &all);
}

#[test]
fn a_node_is_drained_under_load_and_stops_and_nothing_is_missed() {
    let mut cluster = Cluster::start(4);
    let load = Load::start(&cluster, 0xd12a);
    load.wait_for_acks(SOME);
    let name = cluster.nodes[3].name.clone();
    let url = format!("--url=http://{}", cluster.nodes[3].http);
    let drain = std::thread::spawn(move || {
        Command::new(env!("CARGO_BIN_EXE_gyre")).args(["drain", &url]).output().unwrap()
    });
    cluster.wait_for("the others act without it", || {
        let ring = cluster.nodes[0].ring()?;
        list(&ring["members"]).iter().all(|member| member["node"] != name.as_str()).then_some(())
    });
    // A load balancer sends nothing to a node that is not ready.
    load.avoid(3);
    let output = drain.join().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("d: has left"), "{said}");
    assert!(cluster.nodes[3].wait_for_exit().success());
    load.wait_for_acks(SOME);
    let rest = [0, 1, 2];
    wait_until_closed(&cluster, &rest, 1);
    check_all(&cluster, load, &rest);
}

#[test]
fn a_node_that_stays_dead_is_replaced_by_the_others_and_may_come_back() {
    let mut cluster = Cluster::new(4);
    let flags = ["--cluster.replace-dead-after=2s".to_owned()];
    cluster.nodes.iter_mut().for_each(|node| node.start_with(&flags));
    cluster.wait_for_members(4);
    let load = Load::start(&cluster, 0xdead);
    load.wait_for_acks(SOME);
    load.avoid(1);
    cluster.nodes[1].kill();
    let rest = [0, 2, 3];
    cluster.wait_for("it is no member any more", || {
        let ring = cluster.nodes[0].ring()?;
        (list(&ring["members"]).len() == 3).then_some(())
    });
    let epoch = epoch(&cluster.nodes[0]);
    wait_until_closed(&cluster, &rest, epoch);
    load.wait_for_acks(SOME);

    cluster.nodes[1].start_with(&flags);
    cluster.wait_for_members(4);
    load.allow(1);
    load.wait_for_acks(SOME);
    check_all(&cluster, load, &[0, 1, 2, 3]);
}

#[test]
fn a_zone_is_lost_and_nothing_with_it_and_nobody_notices_through_the_others() {
    let mut cluster = Cluster::new(6);
    for (number, node) in cluster.nodes.iter_mut().enumerate() {
        node.start_with(&[format!("--node.zone=zone-{}", number % 3)]);
    }
    cluster.wait_for_members(6);
    let load = Load::start(&cluster, 0x20e5);
    load.wait_for_acks(SOME);
    let (lost, left) = ([2, 5], [0, 1, 3, 4]);
    lost.iter().for_each(|node| load.avoid(*node));
    lost.iter().for_each(|node| cluster.nodes[*node].kill());
    load.wait_for_acks(SOME);
    for node in left {
        let problems = load.so_far().check_under_load(cluster.nodes[node].http);
        assert!(problems.is_empty(), "through {}: {problems:#?}", cluster.nodes[node].name);
    }
    // What it held is held elsewhere too; the data directories are gone with the zone.
    for node in lost {
        cluster.nodes[node].wipe();
        cluster.nodes[node].start_with(&["--node.zone=zone-2".to_owned()]);
        cluster.nodes[node].wait_ready();
        load.allow(node);
    }
    load.wait_for_acks(SOME);
    check_all(&cluster, load, &[0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_node_that_only_reads_holds_no_heads_and_takes_any_request() {
    let mut cluster = Cluster::new(4);
    cluster.nodes[..3].iter_mut().for_each(Node::start);
    cluster.nodes[3].start_with(&["--node.roles=read".to_owned()]);
    let ring = cluster.wait_for_members(4);
    assert!(ring["members"][3]["share"].is_null(), "{ring}");
    let load = Load::start(&cluster, 0x4ead);
    load.wait_for_acks(SOME);
    let held = |node: &Node| list(&node.ring().unwrap()["segments"]).len();
    assert!(held(&cluster.nodes[0]) > 0);
    let problems = load.so_far().check_under_load(cluster.nodes[3].http);
    assert!(problems.is_empty(), "{problems:#?}");
    check_all(&cluster, load, &[0, 1, 2, 3]);
}

#[test]
fn a_node_that_is_killed_at_any_step_of_a_handoff_costs_nothing() {
    let mut cluster = Cluster::new(4);
    cluster.nodes[..3].iter_mut().for_each(Node::start);
    cluster.wait_for_members(3);
    let load = Load::start(&cluster, 0xc4a5);
    load.avoid(3);
    load.wait_for_acks(SOME);
    let mut is_fourth_here = false;
    for point in ["epoch-kept", "ship-while-dropping", "close-before-create", "close-before-drop"] {
        cluster.nodes[0].terminate();
        cluster.nodes[0].start_to_crash(point);
        cluster.nodes[0].wait_ready();
        let before = epoch(&cluster.nodes[1]);
        if is_fourth_here {
            let drained = cluster.nodes[3].connect().post_form("/drain", &[]).unwrap();
            assert_eq!(drained.status, 202);
        } else {
            cluster.nodes[3].start();
        }
        is_fourth_here = !is_fourth_here;
        cluster.nodes[0].wait_for_exit();
        cluster.nodes[0].start();
        cluster.nodes[0].wait_ready();
        wait_until_closed(&cluster, &[0, 1, 2], before + 1);
        if !is_fourth_here {
            assert!(cluster.nodes[3].wait_for_exit().success());
        }
        load.wait_for_acks(SOME);
    }
    check_all(&cluster, load, &[0, 1, 2]);
}

#[test]
fn a_handoff_waits_for_a_bucket_that_is_away_and_goes_on_when_it_is_back() {
    let mut cluster = Cluster::start(4);
    let load = Load::start(&cluster, 0xb0c4);
    load.wait_for_acks(SOME);
    load.avoid(3);
    let drained = cluster.nodes[3].connect().post_form("/drain", &[]).unwrap();
    assert_eq!(drained.status, 202);
    cluster.wait_for("the others act without it", || {
        (list(&cluster.nodes[0].ring()?["members"]).len() == 3).then_some(())
    });
    let (bucket, away) = (cluster.path("bucket"), cluster.path("away"));
    std::fs::rename(&bucket, &away).unwrap();
    std::fs::write(&bucket, "not a folder").unwrap();
    cluster.wait_for("the bucket is missed", || {
        let ring = cluster.nodes[0].ring()?;
        list(&ring["alarms"])
            .iter()
            .any(|alarm| alarm.as_str().unwrap().contains("object store"))
            .then_some(())
    });
    load.wait_for_acks(SOME);
    std::fs::remove_file(&bucket).unwrap();
    std::fs::rename(&away, &bucket).unwrap();
    assert!(cluster.nodes[3].wait_for_exit().success());
    let rest = [0, 1, 2];
    wait_until_closed(&cluster, &rest, 1);
    load.wait_for_acks(SOME);
    check_all(&cluster, load, &rest);
}
