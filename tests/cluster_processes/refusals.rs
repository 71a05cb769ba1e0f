//! Nodes that must not join: one line on standard error that names both sides, and a status that is not 0. The cluster
//! goes on.

use std::fs;

use crate::cluster::{Cluster, json, list};

/// A cluster of two, and a third node that does not run yet.
pub fn two_and_one() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.nodes[..2].iter_mut().for_each(crate::cluster::Node::start);
    cluster.wait_for_members(2);
    cluster
}

/// Checks that a line names all that it should.
pub fn has(said: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(said.contains(part), "{part:?} in {said}"));
}

fn cluster_id(cluster: &Cluster, bucket: &str) -> String {
    json(&cluster.path(bucket).join("cluster.json"))["cluster"].as_str().unwrap().to_owned()
}

#[test]
fn a_node_with_another_secret_is_refused_and_the_members_say_that_it_tried() {
    let mut cluster = two_and_one();
    fs::write(cluster.path("other-secret"), "another secret, just as long").unwrap();
    let other = format!("--cluster.secret-file={}", cluster.path("other-secret").display());
    cluster.nodes[2].start_with(&[other]);
    has(
        &cluster.nodes[2].wait_for_refusal(),
        &["know another secret than this node", "--cluster.secret-file"],
    );
    has(&cluster.nodes[0].log(), &["c at 127.0.0.1:", "does not know this cluster's secret"]);
    let ring = cluster.wait_for_members(2);
    assert_eq!(list(&ring["others"]).len(), 0, "nobody without the secret is shown as a node");
    // With the right one it is welcome, on the data directory that it has made.
    cluster.nodes[2].start();
    cluster.wait_for_members(3);

    let missing = format!("--cluster.secret-file={}", cluster.path("nowhere").display());
    cluster.nodes[2].kill();
    cluster.nodes[2].start_with(&[missing]);
    has(&cluster.nodes[2].wait_for_refusal(), &["cluster.secret-file: cannot read ", "nowhere"]);
}

#[test]
fn a_node_of_another_cluster_or_with_another_bucket_is_refused() {
    let mut cluster = two_and_one();
    let ours = cluster_id(&cluster, "bucket");
    // A bucket in which nobody has founded a cluster.
    let empty = format!("--storage.url=file://{}", cluster.path("empty").display());
    cluster.nodes[2].start_with(std::slice::from_ref(&empty));
    has(&cluster.nodes[2].wait_for_refusal(), &["empty belongs to no cluster", &ours]);

    // Another cluster's bucket.
    let mut others = Cluster::start(2);
    let theirs = cluster_id(&others, "bucket");
    let elsewhere = format!("--storage.url=file://{}", others.path("bucket").display());
    cluster.nodes[2].start_with(std::slice::from_ref(&elsewhere));
    has(&cluster.nodes[2].wait_for_refusal(), &[&ours, &theirs, "--gossip.join"]);

    // A member of another cluster, in front of this one's bucket.
    others.nodes[1].kill();
    let here = format!("--storage.url=file://{}", cluster.path("bucket").display());
    others.nodes[1].start_with(std::slice::from_ref(&here));
    has(&others.nodes[1].wait_for_refusal(), &[&ours, &theirs, "--data-dir"]);

    // A bucket that was emptied.
    cluster.nodes[1].kill();
    fs::rename(cluster.path("bucket/cluster.json"), cluster.path("kept.json")).unwrap();
    cluster.nodes[1].start();
    has(&cluster.nodes[1].wait_for_refusal(), &["belongs to no cluster", &ours]);
    fs::rename(cluster.path("kept.json"), cluster.path("bucket/cluster.json")).unwrap();
    cluster.nodes[1].start();
    cluster.wait_for_members(2);
}
