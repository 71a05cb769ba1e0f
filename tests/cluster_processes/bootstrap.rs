//! Nodes become one cluster in whatever order they start, and stay one when some of them die, pause or lose their disk.

use std::net::{SocketAddr, TcpStream};
use std::thread;

use serde_json::Value;

use crate::cluster::{Cluster, json, list};

/// The documents in the bucket follow one another without a gap; returns the newest.
fn newest_document(cluster: &Cluster) -> Value {
    let documents = cluster.documents();
    for (number, document) in (1u64..).zip(&documents) {
        assert_eq!(document["epoch"], number);
    }
    documents.last().unwrap().clone()
}

fn names(members: &Value) -> Vec<&str> {
    list(members).iter().map(|member| member["node"].as_str().unwrap()).collect()
}

fn check_cluster_of_three(cluster: &Cluster) {
    let ring = cluster.wait_at_rest(3);
    assert_eq!(names(&ring["members"]), ["a", "b", "c"]);
    assert_eq!((list(&ring["others"]).len(), list(&ring["alarms"]).len()), (0, 0));
    let newest = newest_document(cluster);
    assert_eq!(newest["epoch"], ring["epoch"]);
    assert_eq!(names(&newest["members"]), ["a", "b", "c"]);
    let share: f64 = list(&ring["members"]).iter().map(|member| member["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-9, "the shares are {share} in all");
    for member in list(&ring["members"]) {
        let gossip = &member["gossip"];
        assert_eq!((&gossip["alive"], &gossip["ready"]), (&Value::Bool(true), &Value::Bool(true)));
        assert_eq!(gossip["epoch"], ring["epoch"]);
    }
    // All act upon the same documents, durably.
    for node in &cluster.nodes {
        let copy = format!("cluster/epochs/{:020}.json", newest["epoch"].as_u64().unwrap());
        assert_eq!(json(&node.data.join(copy)), newest, "node {}", node.name);
    }
}

#[test]
fn three_nodes_that_start_at_once_are_one_cluster() {
    check_cluster_of_three(&Cluster::start(3));
}

#[test]
fn three_nodes_that_start_one_by_one_in_any_order_are_one_cluster() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    thread::scope(|scope| {
        for order in orders {
            scope.spawn(move || {
                let mut cluster = Cluster::new(3);
                let [first, second, third] = order;
                cluster.nodes[first].start();
                // HTTP is up before there is a cluster: for readiness, the ring and metrics, and for nothing else.
                cluster.nodes[first].wait_unready("starting: waiting to hear of other nodes");
                let ring = cluster.nodes[first].ring().unwrap();
                assert_eq!((&ring["cluster"], &ring["epoch"]), (&Value::Null, &Value::from(0)));
                let mut connection = cluster.nodes[first].connect();
                assert_eq!(connection.get("/metrics", &[]).unwrap().status, 200);
                let query = connection.get("/prometheus/api/v1/query", &[("query", "1")]).unwrap();
                assert_eq!(query.status, 503);
                assert!(String::from_utf8_lossy(&query.body).starts_with("starting: waiting to hear"));
                let write = connection.post_remote_write("/api/v1/push", &[0]).unwrap();
                assert_eq!(write.status, 503);
                cluster.nodes[second].start();
                cluster.wait_for_members(2);
                cluster.nodes[third].start();
                check_cluster_of_three(&cluster);
            });
        }
    });
}

#[test]
fn a_dead_or_paused_member_stays_one_and_a_wiped_one_comes_back_as_another() {
    let mut cluster = Cluster::start(3);
    let before = cluster.wait_at_rest(3);
    let seen = |cluster: &Cluster, alive: bool| {
        cluster.wait_for("gossip notices", || {
            let ring = cluster.nodes[0].ring()?;
            (ring["members"][2]["gossip"]["alive"] == alive).then_some(ring)
        })
    };
    // A pause moves nothing.
    cluster.nodes[2].pause();
    let paused = seen(&cluster, false);
    assert_eq!((&paused["epoch"], names(&paused["members"])), (&before["epoch"], vec!["a", "b", "c"]));
    cluster.nodes[2].resume();
    assert_eq!(seen(&cluster, true)["epoch"], before["epoch"]);

    // Nor does a death, if the disk comes back.
    cluster.nodes[2].kill();
    seen(&cluster, false);
    cluster.nodes[2].start();
    let after = cluster.wait_for_members(3);
    assert_eq!(after, before, "addresses and shares too");

    // Without its disk it is somebody else.
    cluster.nodes[2].kill();
    cluster.nodes[2].wipe();
    cluster.nodes[2].start();
    cluster.nodes[2].wait_ready();
    cluster.wait_for("all know the new one", || {
        let rings: Vec<Value> = cluster.nodes.iter().map(|node| node.ring()).collect::<Option<_>>()?;
        let is_new = |ring: &Value| ring["members"][2]["incarnation"] != before["members"][2]["incarnation"];
        rings.iter().all(is_new).then_some(())
    });
    // It is a member by one document, and what ended with that is closed by another.
    let wiped = cluster.wait_at_rest(3);
    assert_eq!(wiped["epoch"].as_u64(), before["epoch"].as_u64().map(|epoch| epoch + 2));
    assert_eq!(names(&wiped["members"]), ["a", "b", "c"]);
    let own = &json(&cluster.nodes[2].data.join("node.json"))["incarnation"];
    assert_eq!(wiped["members"][2]["incarnation"], *own);
    assert!(cluster.nodes[0].log().contains("came back with an empty data directory"));

    // All stop in order, and come back without each other's help: nothing that they agreed on is forgotten.
    for node in &mut cluster.nodes {
        assert_eq!(node.terminate().code(), Some(0));
    }
    cluster.nodes.iter_mut().for_each(crate::cluster::Node::start);
    let again = cluster.wait_at_rest(3);
    assert_eq!((&again["epoch"], &again["members"][2]["incarnation"]), (&wiped["epoch"], own));
}

#[test]
fn a_node_that_waits_for_others_stops_when_it_is_told_to() {
    let mut cluster = Cluster::new(2);
    cluster.nodes[0].start();
    cluster.nodes[0].wait_unready("starting: waiting to hear of other nodes");
    assert_eq!(cluster.nodes[0].terminate().code(), Some(0));
    cluster.nodes.iter_mut().for_each(crate::cluster::Node::start);
    cluster.wait_for_members(2);
}

#[test]
fn a_node_that_listens_on_all_addresses_is_reached_by_the_others() {
    let mut cluster = Cluster::new(2);
    let everywhere = cluster.nodes[0].everywhere();
    cluster.nodes[0].start_with(&everywhere);
    cluster.nodes[1].start();
    let ring = cluster.wait_for_members(2);
    let address: SocketAddr = ring["members"][0]["gossip"]["address"].as_str().unwrap().parse().unwrap();
    assert!(!address.ip().is_unspecified());
    assert_eq!(address.port(), cluster.nodes[0].rpc.port());
    assert!(TcpStream::connect(address).is_ok(), "that is where it serves other nodes");
}

#[test]
fn zones_are_shown_and_a_new_one_is_a_new_epoch() {
    let mut cluster = Cluster::new(2);
    cluster.nodes[0].start_with(&["--node.zone=west".to_owned()]);
    cluster.nodes[1].start_with(&["--node.zone=east".to_owned()]);
    let zones = |ring: &Value| -> Vec<String> {
        list(&ring["members"]).iter().map(|member| member["zone"].as_str().unwrap().to_owned()).collect()
    };
    let before = cluster.wait_at_rest(2);
    assert_eq!(zones(&before), ["west", "east"]);
    cluster.nodes[1].kill();
    cluster.nodes[1].start_with(&["--node.zone=north".to_owned()]);
    cluster.wait_for("all know the new zone", || {
        let rings: Vec<Value> = cluster.nodes.iter().map(|node| node.ring()).collect::<Option<_>>()?;
        rings.iter().all(|ring| zones(ring) == ["west", "north"]).then_some(())
    });
    let after = cluster.wait_at_rest(2);
    assert_eq!(after["epoch"].as_u64(), before["epoch"].as_u64().map(|epoch| epoch + 2));
}
