//! Pods come and go: one that has stopped, and is in blocks, costs nothing any more, and is still there for who asks.

use std::process::Stdio;

use serde_json::Value;

use crate::node::{STEP_MS, flush, in_order, listings, now_ms, wait_for};
use crate::remote_write::TimeSeries;
use crate::series::series;
use crate::server::Server;

const HOUR_MS: i64 = 3_600_000;
const PODS: usize = 60;
const STEPS: i64 = 20;

/// The pods of one release, with samples until a time.
fn pods(release: usize, until_ms: i64) -> Vec<TimeSeries> {
    let samples: Vec<(i64, f64)> =
        (0..STEPS).map(|step| (until_ms - (STEPS - step) * STEP_MS, (step * 3) as f64)).collect();
    let pod = |pod: usize| {
        let name = format!("pod-{release}-{pod}");
        series(&[("__name__", "requests_total"), ("pod", &name)], &samples)
    };
    (0..PODS).map(pod).collect()
}

fn steady(until_ms: i64) -> Vec<TimeSeries> {
    vec![series(&[("__name__", "steady")], &[(until_ms, 1.0)])]
}

/// What a node says about the last hours, in order.
fn everything(node: &Server, now_ms: i64) -> Vec<Value> {
    let time = (now_ms / 1000).to_string();
    let mut answers =
        vec![node.query("requests_total[6h]", &time), node.query("count_over_time(steady[6h])", &time)];
    answers.extend(listings(node, now_ms, 6));
    in_order(answers)
}

#[test]
fn a_tenant_at_its_limit_goes_on_when_its_old_pods_are_in_blocks() {
    for limit in ["max_series_per_user: 80", "max_series_per_metric: 80"] {
        let folder = tempfile::tempdir().unwrap();
        let (data, config) = (folder.path().join("data"), folder.path().join("gyre.yaml"));
        std::fs::write(&config, format!("limits: {{{limit}}}\n")).unwrap();
        let flag = format!("--config.file={}", config.display());
        let start = || Server::start_at(&data, &[&flag], Stdio::null());
        let node = start();
        let now_ms = now_ms();
        assert_eq!(node.write(pods(1, now_ms - 3 * HOUR_MS)).status, 200);
        assert_eq!(node.write(steady(now_ms)).status, 200);
        let refused = node.write(pods(2, now_ms));
        assert_eq!(refused.status, 400);
        assert!(refused.text().contains("80"), "{}", refused.text());
        let before = everything(&node, now_ms);

        flush(&node);
        let removed = || node.metric("gyre_head_series_removed_total").filter(|removed| *removed > 0.0);
        assert_eq!(removed(), Some(PODS as f64), "{limit}");
        assert_eq!(everything(&node, now_ms), before, "{limit}: nobody can tell");
        let written = node.write(pods(2, now_ms));
        assert_eq!(written.status, 200, "{limit}: {}", written.text());
        let with_both = everything(&node, now_ms);
        assert_eq!(with_both[3].as_array().unwrap().len(), 2 * PODS);

        // Killed. The log names both, and there is no snapshot.
        drop(node);
        let node = start();
        assert_eq!(everything(&node, now_ms), with_both, "{limit}: after a crash");
        assert!(node.terminate().success());
        let node = start();
        assert_eq!(everything(&node, now_ms), with_both, "{limit}: from a snapshot");
        flush(&node);
        assert_eq!(everything(&node, now_ms), with_both, "{limit}: from blocks");
    }
}

#[test]
fn pods_that_come_back_are_the_same_series_to_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start = || Server::start_at(&data, &[], Stdio::null());
    let now_ms = now_ms();
    let mut node = start();
    for (turn, ago) in [330, 190, 70].into_iter().enumerate() {
        let until_ms = now_ms - ago * STEP_MS;
        assert_eq!(node.write(pods(1, until_ms)).status, 200);
        assert_eq!(node.write(steady(until_ms + HOUR_MS + STEP_MS)).status, 200);
        let before = everything(&node, now_ms);
        flush(&node);
        wait_for("the pods are forgotten", || {
            node.metric("gyre_head_series_removed_total").filter(|n| *n > 0.0)
        });
        assert_eq!(everything(&node, now_ms), before, "in turn {turn}");
        // Killed. The log has the pods as they were and as they were made again.
        drop(node);
        node = start();
        assert_eq!(everything(&node, now_ms), before, "in turn {turn}, after a crash");
    }
    let time = (now_ms / 1000).to_string();
    let counts = node.query("count(count_over_time(requests_total[6h]) == 60)", &time);
    assert_eq!(counts[0]["value"][1], PODS.to_string(), "{counts}");
}
