//! What nodes know of each other's completeness, for `/ring` and alerts.

use std::sync::Arc;
use std::time::Duration;

use gyre::cluster::health::{HealthStatus, ReplicaState, SegmentStatus, segments};
use gyre::replica::messages::{APPEND, PULL};

use crate::replicas::some_series;
use crate::rig::{Rig, TestNode, documents, run, tenant, within};

fn look(node: &TestNode) -> (Vec<SegmentStatus>, HealthStatus) {
    let (state, tenants) = (node.replicas.cluster.state(), [tenant()].into());
    let status = segments(&state, &tenants, node.replicas.as_ref()).collect();
    (status, HealthStatus::of(&state, &tenants, node.replicas.as_ref()))
}

/// Repairs a node's replicas until it sees what is waited for.
async fn repair_until(node: &TestNode, is_seen: impl Fn(&[SegmentStatus], &HealthStatus) -> bool) {
    let repair = tokio::spawn(Arc::clone(&node.replicas).repair());
    let seen = async {
        loop {
            let (segments, health) = look(node);
            if is_seen(&segments, &health) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(seen).await;
    repair.abort();
}

fn state_on(segment: &SegmentStatus, node: &str) -> ReplicaState {
    segment.replicas.iter().find(|replica| replica.node == node).unwrap().state
}

#[test]
fn a_replica_that_missed_batches_is_behind_here_and_there_until_it_has_them() {
    run(async {
        let rig = Rig::start(&["a", "b", "c"], &documents(&[&["a", "b", "c"]])).await;
        rig["c"].gate.close(&[APPEND]);
        rig["a"].gate.close(&[PULL]);
        rig["b"].gate.close(&[PULL]);
        rig["a"].write(some_series(1_000, 0.0)).await;
        rig["c"].missing_from(&rig["a"]);
        let is_c = |replica: &gyre::cluster::health::ReplicaStatus| replica.node == "c";
        for (name, missing) in [("a", 0), ("c", 1)] {
            // A pull hangs, and with it what comes after: one segment of four is enough to see.
            repair_until(&rig[name], |segments, health| {
                let behind =
                    segments.iter().filter_map(|segment| segment.replicas.iter().find(|r| is_c(r))?.behind);
                let is_seen = behind.clone().any(|behind| behind.batches == 1 && behind.unobtainable == 0);
                is_seen && health.missing_batches >= missing && health.shards_under_replicated > 0
            })
            .await;
            let (segments, _) = look(&rig[name]);
            let segment = segments.iter().find(|segment| segment.under_replicated).unwrap();
            for replica in &segment.replicas {
                assert_eq!(
                    replica.state == ReplicaState::Behind,
                    is_c(replica),
                    "as {name} sees it: {segment:?}"
                );
            }
        }
        rig["a"].gate.open();
        rig["b"].gate.open();
        for name in ["c", "a"] {
            repair_until(&rig[name], |_, health| {
                *health == HealthStatus { shards: 4, ..HealthStatus::default() }
            })
            .await;
        }
    });
}

#[test]
fn batches_that_no_log_has_any_more_are_told_apart() {
    run(async {
        let rig = Rig::start(&["a", "b", "c"], &documents(&[&["a", "b", "c"]])).await;
        rig["c"].gate.close(&[APPEND]);
        rig["a"].write(some_series(1_000, 0.0)).await;
        rig["a"].damage_log();
        rig["a"].write(some_series(2_000, 0.0)).await;
        rig["c"].missing_from(&rig["a"]);
        rig.see_all_but(&["b"]);
        repair_until(&rig["c"], |_, health| health.unobtainable_batches == 1 && health.missing_batches == 2)
            .await;
        let (segments, _) = look(&rig["c"]);
        let behind = segments.iter().filter(|segment| state_on(segment, "c") == ReplicaState::Behind);
        assert_eq!(behind.count(), 1, "the other three got all: {segments:?}");
        assert!(segments.iter().all(|segment| state_on(segment, "b") == ReplicaState::Away), "b is not seen");
    });
}
