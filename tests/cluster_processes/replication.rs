//! Three real processes that are one: under load a node is killed, paused, slow, wiped, and all are restarted one by one. What
//! is asked of the nodes that live never fails, and every acknowledged sample comes back bit-exact through every node.
//!
//! `GYRE_CHAOS_SEED` repeats a run's choices (not its timing).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bench::stream::now_ms;

use crate::cluster::Cluster;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::reads::metric;

/// Acknowledged requests that make up a stretch of load.
pub const STRETCH: u64 = 150;

pub fn seed() -> u64 {
    let given = std::env::var("GYRE_CHAOS_SEED").ok();
    let seed =
        given.map_or_else(|| now_ms() as u64, |text| text.parse().expect("GYRE_CHAOS_SEED is a number"));
    println!("GYRE_CHAOS_SEED={seed}");
    seed
}

/// Ends the load and reads everything back through every node.
pub fn finish(cluster: &Cluster, load: Load) -> Ledger {
    let (ledger, failures) = load.stop();
    assert!(
        failures.is_empty(),
        "{} requests failed, among them\n{}",
        failures.len(),
        failures[..failures.len().min(5)].join("\n")
    );
    assert!(ledger.acked_samples() > 0, "nothing was tested");
    for node in &cluster.nodes {
        let problems = ledger.check(node.http);
        assert!(problems.is_empty(), "through {}:\n{}", node.name, problems.join("\n"));
    }
    ledger
}

#[test]
fn a_node_that_is_killed_under_load_costs_nothing() {
    let mut cluster = Cluster::start(3);
    let load = Load::start(&cluster, seed());
    load.wait_for_acks(STRETCH);
    load.avoid(1);
    cluster.nodes[1].kill();
    load.wait_for_acks(STRETCH);
    cluster.nodes[1].start();
    cluster.nodes[1].wait_ready();
    load.allow(1);
    load.wait_for_acks(STRETCH);
    finish(&cluster, load);
}

#[test]
fn a_node_that_is_paused_under_load_costs_nothing() {
    let cluster = Cluster::start(3);
    let load = Load::start(&cluster, seed());
    load.wait_for_acks(STRETCH);
    load.avoid(2);
    cluster.nodes[2].pause();
    load.wait_for_acks(STRETCH);
    let so_far = load.so_far();
    for node in &cluster.nodes[..2] {
        let problems = so_far.check_under_load(node.http);
        assert!(problems.is_empty(), "through {} while c is paused:\n{}", node.name, problems.join("\n"));
    }
    cluster.nodes[2].resume();
    load.allow(2);
    load.wait_for_acks(STRETCH);
    finish(&cluster, load);
}

#[test]
fn a_node_that_is_slow_is_waited_for_by_nobody() {
    let cluster = Cluster::start(3);
    let load = Load::start(&cluster, seed());
    load.wait_for_acks(STRETCH);
    load.avoid(2);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = End(&is_over);
        scope.spawn(|| {
            // Alive for the others, and mostly not there.
            while !is_over.load(Ordering::SeqCst) {
                cluster.nodes[2].pause();
                thread::sleep(Duration::from_millis(400));
                cluster.nodes[2].resume();
                thread::sleep(Duration::from_millis(50));
            }
        });
        load.wait_for_acks(STRETCH);
        for node in &cluster.nodes[..2] {
            let slow = || metric(node, "gyre_read_retries_total{reason=\"slow\"}");
            let before = slow();
            cluster.wait_for("a read asks another one beside it", || {
                let problems = load.so_far().check_under_load(node.http);
                assert!(
                    problems.is_empty(),
                    "through {} while c is slow:\n{}",
                    node.name,
                    problems.join("\n")
                );
                (slow() > before).then_some(())
            });
        }
    });
    load.allow(2);
    load.wait_for_acks(STRETCH);
    finish(&cluster, load);
}

/// Ends what goes on beside a test, also when the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_node_that_lost_its_disk_under_load_costs_nothing() {
    let mut cluster = Cluster::start(3);
    let load = Load::start(&cluster, seed());
    load.wait_for_acks(STRETCH);
    load.avoid(0);
    cluster.nodes[0].kill();
    cluster.nodes[0].wipe();
    load.wait_for_acks(STRETCH);
    cluster.nodes[0].start();
    cluster.wait_for_members(3);
    load.allow(0);
    load.wait_for_acks(STRETCH);
    finish(&cluster, load);
}

#[test]
fn all_nodes_are_restarted_one_by_one_under_load_and_no_client_that_tries_twice_notices() {
    let mut cluster = Cluster::start(3);
    let load = Load::start(&cluster, seed());
    load.wait_for_acks(STRETCH);
    for number in 0..3 {
        let status = cluster.nodes[number].terminate();
        assert!(status.success(), "{} ended with {status}", cluster.nodes[number].name);
        load.wait_for_acks(STRETCH / 3);
        cluster.nodes[number].start();
        cluster.nodes[number].wait_ready();
        load.wait_for_acks(STRETCH / 3);
    }
    finish(&cluster, load);
}
