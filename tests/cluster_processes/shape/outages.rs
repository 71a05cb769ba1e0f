//! The bucket goes away in the middle of a change, or before it: writes and reads go on through all nodes, the alarm is shown,
//! and what ended is closed when it is back.
//!
//! "In the middle" is when nodes act upon the change's document, and before what ended with it is closed. Each change has a
//! cluster of its own: what was closed is in the bucket alone, and nobody reads it while that is away.

use std::os::unix::fs::symlink;

use super::check::{SOME, check_all, check_reads, epoch, wait_until_closed};
use crate::cluster::{Cluster, Node, list};
use crate::load::Load;

/// Takes the bucket away from all nodes: what is in its place can be neither read nor written nor listed.
pub fn take_away(cluster: &Cluster) {
    let broken = cluster.path("broken");
    std::fs::create_dir(&broken).unwrap();
    for name in ["cluster.json", "epochs", "fake"] {
        symlink(name, broken.join(name)).unwrap();
    }
    swap(cluster, "bucket", "away");
    swap(cluster, "broken", "bucket");
}

pub fn bring_back(cluster: &Cluster) {
    swap(cluster, "bucket", "broken");
    swap(cluster, "away", "bucket");
    std::fs::remove_dir_all(cluster.path("broken")).unwrap();
}

fn swap(cluster: &Cluster, from: &str, to: &str) {
    let (from, to) = (cluster.path(from), cluster.path(to));
    // A node may make a folder where none is, and put something there, before it finds that it is the wrong one.
    while std::fs::rename(&from, &to).is_err() {
        std::fs::remove_dir_all(&to).unwrap();
    }
}

/// Waits until a node has the alarm that the bucket is away.
fn wait_for_alarm(cluster: &Cluster, node: &Node) {
    cluster.wait_for("the alarm comes", || {
        let ring = node.ring()?;
        let mut alarms = list(&ring["alarms"]).iter().filter_map(|alarm| alarm.as_str());
        alarms.any(|alarm| alarm.contains("the object store does not answer")).then_some(())
    });
}

/// Without the bucket everything goes on through these nodes, which say so, and nothing is closed.
fn goes_on_without(cluster: &Cluster, load: &Load, nodes: &[usize]) {
    nodes.iter().for_each(|node| wait_for_alarm(cluster, &cluster.nodes[*node]));
    load.wait_for_acks(SOME);
    check_reads(cluster, load, nodes);
    for node in nodes {
        let ring = cluster.nodes[*node].ring().unwrap();
        assert!(ring["closed_through"].as_u64().unwrap() + 1 < ring["epoch"].as_u64().unwrap(), "{ring}");
    }
}

/// Waits until these nodes act upon a document with so many members.
fn wait_for_document(cluster: &Cluster, nodes: &[usize], members: usize) {
    cluster.wait_for("all act upon the change", || {
        let count = |node: &usize| Some(list(&cluster.nodes[*node].ring()?["members"]).len());
        nodes.iter().all(|node| count(node) == Some(members)).then_some(())
    });
}

/// Waits until what has ended is closed, and checks everything through these nodes.
fn end(cluster: &Cluster, load: Load, nodes: &[usize]) {
    wait_until_closed(cluster, nodes, epoch(&cluster.nodes[0]) - 1);
    load.wait_for_acks(SOME);
    check_all(cluster, load, nodes);
}

#[test]
fn a_split_goes_on_when_a_bucket_that_was_away_is_back_and_so_does_a_node_that_waited_for_it_to_join() {
    let mut cluster = Cluster::new(4);
    let config = cluster.path("gyre.yaml");
    std::fs::write(&config, "limits:\n  tenant_shards: 4\n").unwrap();
    let flags = [format!("--config.file={}", config.display())];
    cluster.nodes[..3].iter_mut().for_each(|node| node.start_with(&flags));
    cluster.wait_at_rest(3);
    let load = Load::start(&cluster, 0x5b0c);
    load.avoid(3);
    // The tenant begins with two shards.
    let old = [0, 1, 2];
    cluster.wait_for("all act upon the split", || {
        let shards =
            |node: &usize| list(&cluster.nodes[*node].ring()?["tenants"]).first()?["shards"].as_u64();
        old.iter().all(|node| shards(node) == Some(4)).then_some(())
    });
    take_away(&cluster);
    cluster.nodes[3].start_with(&flags);
    cluster.nodes[3].wait_unready("waiting for the object store");
    goes_on_without(&cluster, &load, &old);
    assert_eq!(cluster.nodes[3].readiness().unwrap().0, 503);
    bring_back(&cluster);
    cluster.nodes[3].wait_ready();
    load.allow(3);
    let all = [0, 1, 2, 3];
    wait_for_document(&cluster, &all, 4);
    end(&cluster, load, &all);
}

#[test]
fn a_join_goes_on_when_a_bucket_that_went_away_is_back() {
    let mut cluster = Cluster::new(4);
    cluster.nodes[..3].iter_mut().for_each(Node::start);
    cluster.wait_at_rest(3);
    let load = Load::start(&cluster, 0x101b0c);
    load.avoid(3);
    load.wait_for_acks(SOME);
    cluster.nodes[3].start();
    let all = [0, 1, 2, 3];
    wait_for_document(&cluster, &all, 4);
    take_away(&cluster);
    cluster.nodes[3].wait_ready();
    load.allow(3);
    goes_on_without(&cluster, &load, &all);
    bring_back(&cluster);
    end(&cluster, load, &all);
}

#[test]
fn what_a_dead_node_held_is_closed_when_a_bucket_that_went_away_is_back() {
    let mut cluster = Cluster::new(4);
    let flags = ["--cluster.replace-dead-after=2s".to_owned()];
    cluster.nodes.iter_mut().for_each(|node| node.start_with(&flags));
    cluster.wait_at_rest(4);
    let load = Load::start(&cluster, 0xdeb0c);
    load.wait_for_acks(SOME);
    load.avoid(1);
    cluster.nodes[1].kill();
    let left = [0, 2, 3];
    wait_for_document(&cluster, &left, 3);
    take_away(&cluster);
    goes_on_without(&cluster, &load, &left);
    bring_back(&cluster);
    end(&cluster, load, &left);
}

#[test]
fn what_a_lost_zone_held_is_closed_when_a_bucket_that_went_away_is_back() {
    let mut cluster = Cluster::new(6);
    for (number, node) in cluster.nodes.iter_mut().enumerate() {
        let zone = format!("--node.zone=zone-{}", number % 3);
        node.start_with(&[zone, "--cluster.replace-dead-after=3s".to_owned()]);
    }
    cluster.wait_at_rest(6);
    let load = Load::start(&cluster, 0x20b0c);
    load.wait_for_acks(SOME);
    let (lost, left) = ([2, 5], [0, 1, 3, 4]);
    lost.iter().for_each(|node| load.avoid(*node));
    lost.iter().for_each(|node| cluster.nodes[*node].kill());
    wait_for_document(&cluster, &left, 4);
    take_away(&cluster);
    goes_on_without(&cluster, &load, &left);
    bring_back(&cluster);
    end(&cluster, load, &left);
}

#[test]
fn a_drain_waits_for_a_bucket_that_is_away_and_goes_on_when_it_is_back() {
    let mut cluster = Cluster::start(4);
    let load = Load::start(&cluster, 0xb0c4);
    load.wait_for_acks(SOME);
    load.avoid(3);
    let drained = cluster.nodes[3].connect().post_form("/drain", &[]).unwrap();
    assert_eq!(drained.status, 202);
    let rest = [0, 1, 2];
    // Until it stops the one that has left is asked, too.
    let all = [0, 1, 2, 3];
    wait_for_document(&cluster, &all, 3);
    take_away(&cluster);
    goes_on_without(&cluster, &load, &all);
    bring_back(&cluster);
    assert!(cluster.nodes[3].wait_for_exit().success());
    wait_until_closed(&cluster, &rest, 1);
    load.wait_for_acks(SOME);
    check_all(&cluster, load, &rest);
}
