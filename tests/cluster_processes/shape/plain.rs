//! A node comes, one goes, one dies for good, a zone is lost, a tenant splits.

use std::process::Command;

use super::check::{SOME, check_all, check_reads, epoch, wait_until_closed};
use crate::cluster::{Cluster, Node, list};
use crate::load::Load;

#[test]
fn a_fourth_node_joins_under_load_and_what_ended_is_closed() {
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
    check_reads(&cluster, &load, &[0, 1, 2, 3]);
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
    check_reads(&cluster, &load, &[0, 1, 2, 3]);
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
    check_reads(&cluster, &load, &left);
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
    check_reads(&cluster, &load, &[3]);
    check_all(&cluster, load, &[0, 1, 2, 3]);
}
