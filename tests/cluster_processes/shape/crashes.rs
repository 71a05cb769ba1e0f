//! Nodes are killed at the steps of a handoff.

use super::check::{SOME, check_all, epoch, wait_until_closed};
use crate::cluster::{Cluster, Node};
use crate::load::Load;

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
