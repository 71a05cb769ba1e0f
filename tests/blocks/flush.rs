//! What a node holds becomes blocks, and nobody who asks can tell.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::node::{
    STEP_MS, STEPS, blocks, everything, flush, now_ms, samples, start_to_die, total, write, written,
};
use crate::remote_write::TimeSeries;
use crate::series::series;
use crate::server::{Response, Server, gyre};

/// Each crash of a flush, and whether a block is listed then.
const CRASHES: [(&str, bool); 9] = [
    ("ship-after-cut", false),
    ("upload-begin", false),
    ("upload-after-chunks", false),
    ("upload-after-index", false),
    ("upload-after-meta", true),
    ("ship-after-upload", true),
    ("ship-after-announce", true),
    ("ship-after-note", true),
    ("ship-while-dropping", true),
];

#[test]
fn what_is_flushed_is_answered_from_blocks_as_it_was_from_memory_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let until_ms = now_ms();
    let all = samples(until_ms);
    let node = Server::start_at(&data, &[], Stdio::null());
    write(&node, &all);
    let before = everything(&node, until_ms);
    flush(&node);
    assert_eq!(everything(&node, until_ms), before);
    let shipped = blocks(&data);
    assert_eq!(total(&shipped), written(&all), "each sample is in one block");
    flush(&node);
    assert_eq!(blocks(&data), shipped, "there is nothing more");
    assert!(node.terminate().success());

    let node = Server::start_at(&data, &[], Stdio::null());
    assert_eq!(everything(&node, until_ms), before);
    // What is written after it goes on where the blocks end.
    let later = [(until_ms + STEP_MS, 1.5)];
    assert_eq!(
        node.write(vec![series(&[("__name__", "requests_total"), ("pod", "pod-3")], &later)]).status,
        200
    );
    flush(&node);
    let count = node
        .query("count_over_time(requests_total{pod=\"pod-3\"}[4h])", &format!("{}", until_ms / 1000 + 60));
    assert_eq!(count[0]["value"][1], (STEPS + 1).to_string(), "{count}");
}

#[test]
fn a_node_that_dies_at_any_step_of_a_flush_neither_loses_nor_doubles_anything() {
    let until_ms = now_ms();
    let all = samples(until_ms);
    for (point, is_listed) in CRASHES {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let node = start_to_die(&data, point);
        write(&node, &all);
        let before = everything(&node, until_ms);
        assert_eq!(node.send("POST", "/flush", &[], &[]).status, 0, "{point}: it has died");
        drop(node);
        // Windows are shipped side by side, and it dies with the first that comes there.
        assert_eq!(!blocks(&data).is_empty(), is_listed, "{point}");

        let node = Server::start_at(&data, &[], Stdio::null());
        assert_eq!(everything(&node, until_ms), before, "{point}: after the crash");
        flush(&node);
        assert_eq!(everything(&node, until_ms), before, "{point}: after another flush");
        assert_eq!(total(&blocks(&data)), written(&all), "{point}: each sample is in one block");
    }
}

#[test]
fn late_samples_of_a_window_that_was_flushed_become_another_block() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let until_ms = now_ms();
    std::fs::create_dir_all(&data).unwrap();
    let config = folder.path().join("gyre.yaml");
    std::fs::write(&config, "limits:\n  out_of_order_time_window: 6h\n").unwrap();
    let config = format!("--config.file={}", config.display());
    let node = Server::start_at(&data, &[&config], Stdio::null());
    let labels = [("__name__", "requests_total"), ("pod", "pod-1")];
    let at = |step: i64| until_ms - (STEPS - step) * STEP_MS;
    let even: Vec<(i64, f64)> = (0..STEPS).step_by(2).map(|step| (at(step), step as f64)).collect();
    let odd: Vec<(i64, f64)> = (1..STEPS).step_by(2).map(|step| (at(step), step as f64)).collect();
    assert_eq!(node.write(vec![series(&labels, &even)]).status, 200);
    flush(&node);
    assert_eq!(node.write(vec![series(&labels, &odd)]).status, 200);
    let all = || node.query("requests_total[4h]", &format!("{}", until_ms / 1000))[0]["values"].clone();
    let expected: Vec<Value> =
        (0..STEPS).map(|step| serde_json::json!([at(step) as f64 / 1000.0, step.to_string()])).collect();
    let same = |found: Value| {
        let found = found.as_array().unwrap().clone();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!((found[0].as_f64(), &found[1]), (expected[0].as_f64(), &expected[1]));
        }
    };
    same(all());
    let before = blocks(&data).len();
    flush(&node);
    same(all());
    assert!(blocks(&data).len() > before);
    assert_eq!(total(&blocks(&data)), STEPS as u64);
}

#[test]
fn a_listing_that_is_sent_slowly_has_the_series_of_a_window_that_is_dropped_meanwhile() {
    const SERIES: usize = 4000;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let until_ms = now_ms();
    let node = Server::start_at(&data, &[], Stdio::null());
    // More bytes than the sockets between take.
    let long = |number: usize, letter: &str| format!("{number}-{}", letter.repeat(1800));
    for some in (0..SERIES).collect::<Vec<_>>().chunks(500) {
        let of = |number: &usize| {
            let values = ["a", "b", "c"].map(|letter| long(*number, letter));
            let labels = [("__name__", "m"), ("a", &*values[0]), ("b", &*values[1]), ("c", &*values[2])];
            series(&labels, &[(until_ms, 1.0)])
        };
        assert_eq!(node.write(some.iter().map(of).collect()).status, 200);
    }
    let mut listing = node.connect();
    let (start, end) = (until_ms / 1000 - 60, until_ms / 1000 + 60);
    let path = format!("/prometheus/api/v1/series?match[]=m&start={start}&end={end}");
    let request = format!("GET {path} HTTP/1.1\r\nHost: gyre\r\nConnection: close\r\n\r\n");
    listing.write_all(request.as_bytes()).unwrap();
    // It has begun.
    assert_eq!(listing.peek(&mut [0]).unwrap(), 1);
    flush(&node);
    assert!(!blocks(&data).is_empty());
    let response = Response::read(&mut listing);
    assert_eq!(response.status, 200);
    assert_eq!(response.json()["data"].as_array().map(Vec::len), Some(SERIES));
}

#[test]
fn a_node_flushes_when_it_stops_if_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let until_ms = now_ms();
    let all = samples(until_ms);
    let node = Server::start_at(&data, &["--blocks.flush-on-shutdown=true"], Stdio::null());
    write(&node, &all);
    assert!(node.terminate().success());
    assert_eq!(total(&blocks(&data)), written(&all));
}

#[test]
fn promtool_finds_in_the_bucket_what_was_written_sample_by_sample() {
    if Command::new("promtool").arg("--version").output().is_err() {
        assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none(), "promtool is not installed");
        eprintln!("skipped: promtool is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let until_ms = now_ms();
    let node = Server::start_at(&data, &[], Stdio::null());
    let mut all = samples(until_ms);
    all.retain(|series| series.histograms.is_empty());
    write(&node, &all);
    flush(&node);
    let url = format!("--storage.url=file://{}/bucket", data.display());
    let out = folder.path().join("exported");
    let exported =
        gyre(&["blocks", "export", "--tenant=fake", &url, out.to_str().unwrap()]).output().unwrap();
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let dumped = Command::new("promtool").args(["tsdb", "dump"]).arg(&out).output().unwrap();
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let dumped = String::from_utf8(dumped.stdout).unwrap();
    let mut found: Vec<(String, i64, f64)> = dumped
        .lines()
        .map(|line| {
            let (labels, rest) = line.rsplit_once("} ").unwrap();
            let (value, time) = rest.split_once(' ').unwrap();
            let pod = labels.split("pod=\"").nth(1).unwrap().split('"').next().unwrap();
            (pod.to_owned(), time.parse().unwrap(), value.parse().unwrap())
        })
        .collect();
    let label = |series: &TimeSeries| {
        let pod = series.labels.iter().find(|label| label.name == b"pod").unwrap();
        String::from_utf8(pod.value.clone()).unwrap()
    };
    let of = |series: &TimeSeries| {
        let name = label(series);
        series
            .samples
            .iter()
            .map(move |sample| (name.clone(), sample.timestamp, sample.value))
            .collect::<Vec<_>>()
    };
    let mut expected: Vec<(String, i64, f64)> = all.iter().flat_map(of).collect();
    let order = |a: &(String, i64, f64), b: &(String, i64, f64)| (&a.0, a.1).cmp(&(&b.0, b.1));
    found.sort_by(order);
    expected.sort_by(order);
    assert_eq!(found, expected);
}
