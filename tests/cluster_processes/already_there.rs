//! Nodes that are somebody who is there already: an id or a data directory is in use twice.

use std::fs;
use std::process::Command;

use crate::cluster::list;
use crate::refusals::{has, two_and_one};

#[test]
fn a_second_node_with_an_id_of_a_member_that_lives_is_refused() {
    let mut cluster = two_and_one();
    let before = cluster.wait_at_rest(2);
    let id = "--node.id=a".to_owned();
    cluster.nodes[2].start_with(std::slice::from_ref(&id));
    cluster.nodes[2].wait_unready("waiting to hear whether another node has this node's id");
    cluster.nodes[2].wait_unready("which has this node's id, is taken for dead");
    has(&cluster.nodes[2].wait_for_refusal(), &["node id a is taken: 127.0.0.1:", "use another --node.id"]);
    has(&cluster.nodes[0].log(), &["calls itself node a too"]);
    cluster.wait_for("it is forgotten", || {
        let ring = cluster.nodes[0].ring()?;
        assert_eq!((&ring["epoch"], &ring["members"][0]["incarnation"]), {
            (&before["epoch"], &before["members"][0]["incarnation"])
        });
        list(&ring["alarms"]).is_empty().then_some(())
    });
}

#[test]
fn a_copy_of_a_members_data_directory_does_not_join() {
    let mut cluster = two_and_one();
    let copy = cluster.path("copy");
    fs::create_dir(&copy).unwrap();
    let parts = ["node.json", "cluster"].map(|part| cluster.nodes[1].data.join(part));
    assert!(Command::new("cp").arg("-r").args(&parts).arg(&copy).status().unwrap().success());
    let copy = format!("--data-dir={}", copy.display());
    cluster.nodes[2].start_with(std::slice::from_ref(&copy));
    has(&cluster.nodes[2].wait_for_refusal(), &["lists this data directory as node b, this node is c"]);
    // Under its own id it may be the node itself, moved; while the original lives it is not let in.
    cluster.nodes[2].start_with(&[copy, "--node.id=b".to_owned()]);
    cluster.nodes[2].wait_unready("which has this node's id, is taken for dead");
    cluster.nodes[2].kill();
    let original = cluster.nodes[1].rpc.to_string();
    cluster.wait_for("the original is the one that counts", || {
        let gossip = cluster.nodes[0].ring()?["members"][1]["gossip"].clone();
        (gossip["alive"] == true && gossip["address"] == *original).then_some(())
    });
    let ring = cluster.nodes[1].ring().unwrap();
    has(ring["alarms"][0].as_str().unwrap(), &["this data directory has been started 3 times", "or copied"]);
}
