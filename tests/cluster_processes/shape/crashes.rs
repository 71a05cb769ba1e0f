//! Nodes are killed at every step of a change, and of the uploads that it brings: those that stay, the one that comes or goes,
//! and whoever proposes. One is down at a time, and no request fails.

use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use super::check::{SOME, check_all, epoch, is_closed, wait_until_closed};
use crate::cluster::{Cluster, Node, list};
use crate::load::Load;

/// The node that comes and goes. The four before it stay.
const MOVING: usize = 4;

/// Changes that may pass until somebody has come to all places: whose turn an upload is depends on names.
const TRIES_MAX: usize = 4;

/// Who is killed.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    /// The first that comes to the place.
    Any,
    /// This node, which stays.
    Staying(usize),
    /// The node that comes or goes.
    Moving,
    /// Who was killed before.
    Same,
}

#[derive(Clone, Copy, PartialEq)]
enum Change {
    Join,
    Drain,
}

type Kill = (Who, &'static str);

struct Scene {
    cluster: Cluster,
    load: Load,
    flags: [String; 1],
    /// Who was killed last.
    last: Option<usize>,
    begun: Instant,
}

impl Scene {
    /// Four nodes and a tenant with enough shards that each node has something to do at each step.
    fn new(seed: u64) -> Self {
        let mut cluster = Cluster::new(MOVING + 1);
        let config = cluster.path("gyre.yaml");
        std::fs::write(&config, "limits:\n  tenant_shards: 16\n").unwrap();
        let flags = [format!("--config.file={}", config.display())];
        cluster.nodes[..MOVING].iter_mut().for_each(|node| node.start_with(&flags));
        cluster.wait_at_rest(MOVING);
        let load = Load::start(&cluster, seed);
        load.avoid(MOVING);
        Scene { cluster, load, flags, last: None, begun: Instant::now() }
    }

    /// Waits until the node that is to die has; false: the change was over before.
    fn kill(&mut self, (who, point): Kill, is_over: impl Fn(&Cluster) -> bool) -> bool {
        let ended = self.cluster.wait_for_end(point, is_over);
        // One that leaves stops by itself in the end.
        let Some((number, status)) = ended.filter(|(_, status)| !status.success()) else { return false };
        let node = &mut self.cluster.nodes[number];
        let log = node.log();
        assert_eq!(status.signal(), Some(6), "{} ended with {status} before {point}\n{log}", node.name);
        assert!(log.lines().any(|line| line == format!("crash point {point}")), "{log}");
        match who {
            Who::Any => {}
            Who::Staying(expected) => assert_eq!(number, expected),
            Who::Moving => assert_eq!(number, MOVING),
            Who::Same => assert!(self.last.is_none_or(|last| last == number)),
        }
        println!("{:.1?}: {} was killed at {point}", self.begun.elapsed(), node.name);
        self.last = Some(number);
        true
    }

    fn arm(&self, (who, point): Kill) -> Option<usize> {
        let node = match who {
            Who::Any => None,
            Who::Staying(node) => Some(node),
            Who::Moving => Some(MOVING),
            Who::Same => self.last,
        };
        self.cluster.arm(node, point);
        node
    }

    /// Starts the one that was killed again, and waits until it serves, unless it is to die before that, or leaves.
    fn restart(&mut self, is_awaited: bool) {
        let last = self.last.expect("somebody was killed");
        self.cluster.nodes[last].start_with(&self.flags);
        if is_awaited {
            self.cluster.nodes[last].wait_ready();
        }
    }

    /// One change, in which nodes are killed at these places, one after the other. Gives those that nobody came to.
    fn change(&mut self, change: Change, kills: &[Kill]) -> Vec<Kill> {
        let before = epoch(&self.cluster.nodes[0]);
        let is_over = |cluster: &Cluster| {
            let nodes = if change == Change::Join { 0..=MOVING } else { 0..=MOVING - 1 };
            let has_gone = change == Change::Join || !cluster.nodes[MOVING].runs();
            has_gone && nodes.into_iter().all(|node| is_closed(cluster, node, before + 1))
        };
        self.last = None;
        let mut armed = kills.first().map(|kill| self.arm(*kill));
        match change {
            Change::Join => self.cluster.nodes[MOVING].start_with(&self.flags),
            Change::Drain => {
                self.load.avoid(MOVING);
                // It may die before it answers.
                drop(self.cluster.nodes[MOVING].connect().post_form("/drain", &[]));
            }
        }
        let mut left = kills;
        'kills: while let Some((kill, rest)) = left.split_first() {
            while !self.kill(*kill, is_over) {
                if self.cluster.disarm(armed.flatten()) {
                    break 'kills;
                }
                // Somebody is about to die.
            }
            left = rest;
            // Only whoever is down already may die while it is.
            let is_same = rest.first().is_some_and(|(who, _)| *who == Who::Same);
            if is_same {
                armed = rest.first().map(|next| self.arm(*next));
            }
            let has_left = kill.1 == "left-noted";
            if !has_left {
                let leaves = change == Change::Drain && self.last == Some(MOVING);
                self.restart(!is_same && !leaves);
            }
            if !is_same {
                armed = rest.first().map(|next| self.arm(*next));
            }
        }
        match change {
            Change::Join => {
                self.cluster.nodes[MOVING].wait_ready();
                wait_until_closed(&self.cluster, &[0, 1, 2, 3, MOVING], before + 1);
                self.load.allow(MOVING);
            }
            Change::Drain => {
                wait_until_closed(&self.cluster, &[0, 1, 2, 3], before + 1);
                if self.cluster.nodes[MOVING].runs() {
                    assert!(self.cluster.nodes[MOVING].wait_for_exit().success());
                }
            }
        }
        println!("{:.1?}: the change is over", self.begun.elapsed());
        self.load.wait_for_acks(SOME);
        left.to_vec()
    }

    /// Changes of this kind until somebody was killed at each of these places.
    fn go_through(&mut self, change: Change, kills: &[Kill]) {
        let mut left = kills.to_vec();
        for attempt in 0..TRIES_MAX {
            if attempt > 0 {
                let back = if change == Change::Join { Change::Drain } else { Change::Join };
                self.change(back, &[]);
            }
            left = self.change(change, &left);
            if left.is_empty() {
                return;
            }
        }
        panic!("nobody comes to {}", left[0].1);
    }
}

#[test]
fn nodes_that_are_killed_at_any_step_of_a_handoff_or_an_upload_cost_nothing() {
    use Change::{Drain, Join};
    use Who::{Any, Moving, Same, Staying};
    let mut scene = Scene::new(0xc4a5);

    // A split is proposed by one of those that stay.
    let before = epoch(&scene.cluster.nodes[0]);
    scene.cluster.arm(None, "epoch-created");
    assert!(scene.kill((Any, "epoch-created"), |_| false));
    scene.restart(true);
    wait_until_closed(&scene.cluster, &[0, 1, 2, 3], before + 1);

    for (change, kills) in [
        (
            Join,
            &[
                (Moving, "epoch-created"),
                (Same, "epoch-kept"),
                (Same, "activate-others-sealed"),
                (Any, "ship-after-cut"),
                (Same, "upload-begin"),
                // Of the document that closes.
                (Moving, "epoch-kept"),
            ][..],
        ),
        (
            Drain,
            &[
                (Moving, "leave-noted"),
                (Same, "epoch-created"),
                (Same, "epoch-kept"),
                (Same, "seal-begin"),
                (Same, "seal-durable"),
                (Same, "upload-after-chunks"),
                (Any, "close-before-create"),
                (Any, "epoch-created"),
                (Moving, "close-before-drop"),
                (Moving, "left-before-note"),
            ],
        ),
        (
            Join,
            &[
                (Staying(0), "epoch-kept"),
                (Same, "seal-begin"),
                (Same, "seal-in-memory"),
                (Any, "upload-after-index"),
                (Same, "upload-after-meta"),
                (Same, "ship-after-announce"),
                (Same, "ship-after-note"),
                (Same, "ship-while-dropping"),
                (Any, "close-before-drop"),
            ],
        ),
        (
            Drain,
            &[
                (Staying(1), "activate-others-sealed"),
                (Any, "ship-after-upload"),
                (Moving, "ship-after-announce"),
                (Moving, "ship-after-note"),
                (Moving, "ship-while-dropping"),
                (Moving, "left-noted"),
            ],
        ),
    ] {
        scene.go_through(change, kills);
    }
    check_all(&scene.cluster, scene.load, &[0, 1, 2, 3]);
}

#[test]
fn whoever_leaves_a_dead_node_out_is_killed_as_it_does_so_and_it_is_left_out_all_the_same() {
    let mut cluster = Cluster::new(5);
    let flags = ["--cluster.replace-dead-after=2s".to_owned()];
    cluster.nodes.iter_mut().for_each(|node| node.start_with(&flags));
    cluster.wait_at_rest(5);
    let load = Load::start(&cluster, 0xdead2);
    load.wait_for_acks(SOME);
    // Two are away for a moment, and with them two replicas of some shards.
    load.may_fail(true);
    load.avoid(MOVING);
    cluster.arm(None, "epoch-created");
    cluster.nodes[MOVING].kill();
    let (proposer, status) = cluster.wait_for_end("epoch-created", |_| false).unwrap();
    assert_eq!(status.signal(), Some(6), "{status}");
    cluster.nodes[proposer].start_with(&flags);
    cluster.nodes[proposer].wait_ready();
    let rest = [0, 1, 2, 3];
    cluster.wait_for("it is no member any more, for all", || {
        let members = |node: &Node| Some(list(&node.ring()?["members"]).len());
        rest.iter().all(|node| members(&cluster.nodes[*node]) == Some(4)).then_some(())
    });
    load.wait_for_acks(SOME);
    load.may_fail(false);
    load.wait_for_acks(SOME);
    let left_out = epoch(&cluster.nodes[0]);
    wait_until_closed(&cluster, &rest, left_out);
    load.wait_for_acks(SOME);
    check_all(&cluster, load, &rest);
}
