//! What a node holds becomes blocks, and nobody who asks can tell.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::histograms::{histogram_series, integers};
use crate::remote_write::TimeSeries;
use crate::series::series;
use crate::server::{Server, gyre};

const STEP_MS: i64 = 60_000;

/// Three hours: two windows at least, and three mostly.
const STEPS: i64 = 180;

/// More than are gone through at once.
const PODS: usize = 1300;

/// Each crash of a flush, and whether the block is listed then.
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

pub fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis() as i64 / STEP_MS * STEP_MS
}

/// Samples of all kinds until a time. Most series have few.
pub fn samples(until_ms: i64) -> Vec<TimeSeries> {
    let at = |step: i64| until_ms - (STEPS - step) * STEP_MS;
    let mut all = Vec::new();
    for pod in 0..PODS {
        let name = format!("pod-{pod}");
        let every = if pod < 50 { 1 } else { 45 };
        let value = |step: i64| f64::from_bits(0x3ff0_0000_0000_0000 + (step * 7919 + pod as i64) as u64);
        let own: Vec<(i64, f64)> =
            (0..STEPS).filter(|step| step % every == 0).map(|step| (at(step), value(step))).collect();
        all.push(series(&[("__name__", "requests_total"), ("pod", &name)], &own));
    }
    let counts = |step: i64| [step as u64 + 1, 2 * step as u64 + 3, 5];
    let own = (0..STEPS).map(|step| integers(at(step), -1, &counts(step), step as f64 * 1.5)).collect();
    all.push(histogram_series(&[("__name__", "latency")], own));
    all
}

/// Everything of a node, bit by bit as far as JSON tells.
pub fn everything(node: &Server, until_ms: i64) -> Vec<Value> {
    let time = format!("{}", until_ms / 1000);
    let mut answers: Vec<Value> = [
        "requests_total[4h]",
        "latency[4h]",
        "requests_total",
        "count(count_over_time(requests_total[4h]))",
        "rate(latency[10m] offset 1h)",
        "max_over_time(requests_total{pod=\"pod-3\"}[2h])",
    ]
    .map(|expr| node.query(expr, &time))
    .into();
    let window = format!("start={}&end={time}", until_ms / 1000 - 4 * 3600);
    for path in ["labels?", "label/pod/values?", "series?match[]=requests_total&"] {
        let response = node.get(&format!("/prometheus/api/v1/{path}{window}"));
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        answers.push(response.json()["data"].clone());
    }
    for answer in &mut answers {
        if let Some(list) = answer.as_array_mut() {
            list.sort_by_cached_key(Value::to_string);
        }
    }
    answers
}

/// Writes samples as they come in life, half an hour at a time: nobody takes what is hours older than the newest.
pub fn write(node: &Server, all: &[TimeSeries]) {
    let times = all.iter().flat_map(|series| {
        let histograms = series.histograms.iter().map(|histogram| histogram.timestamp);
        series.samples.iter().map(|sample| sample.timestamp).chain(histograms)
    });
    let times: std::collections::BTreeSet<i64> = times.map(|time| time / 1_800_000).collect();
    for half_hour in times {
        let is_in = |time: i64| time / 1_800_000 == half_hour;
        let part = all.iter().cloned().map(|mut series| {
            series.samples.retain(|sample| is_in(sample.timestamp));
            series.histograms.retain(|histogram| is_in(histogram.timestamp));
            series
        });
        let part = part.filter(|series| !series.samples.is_empty() || !series.histograms.is_empty());
        let response = node.write(part.collect());
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

pub fn flush(node: &Server) {
    let response = node.send("POST", "/flush", &[], &[]);
    assert_eq!(response.status, 204, "{}", response.text());
}

/// Starts a node that dies at a place of the program (`crash_point`).
fn start_to_die(data: &Path, crash_point: &str) -> Server {
    let mut command = gyre(&[]);
    command.env("GYRE_CRASH_POINT", crash_point);
    Server::start_command(command, data, Stdio::null())
}

/// The blocks in a node's bucket: name and samples.
fn blocks(data: &Path) -> Vec<(String, u64)> {
    let url = format!("--storage.url=file://{}/bucket", data.display());
    listed(&gyre(&["blocks", "list", "--json", &url]).output().unwrap())
}

/// What `gyre blocks list` has printed: name and samples of each block.
pub fn listed(listed: &Output) -> Vec<(String, u64)> {
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let complete = listed.as_array().unwrap().iter().filter(|block| block["state"] == "listed");
    complete
        .map(|block| (block["block"].as_str().unwrap().to_owned(), block["samples"].as_u64().unwrap()))
        .collect()
}

pub fn total(blocks: &[(String, u64)]) -> u64 {
    blocks.iter().map(|(_, samples)| samples).sum()
}

pub fn written(all: &[TimeSeries]) -> u64 {
    all.iter().map(|series| (series.samples.len() + series.histograms.len()) as u64).sum()
}

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
        assert_eq!(blocks(&data).len(), usize::from(is_listed), "{point}");

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

/// Makes a block look as if it had been put into the bucket hours ago: before that its range may still get others.
fn age(data: &Path, tenant: &str) {
    for block in std::fs::read_dir(data.join("bucket").join(tenant)).unwrap() {
        let meta = block.unwrap().path().join("meta.json");
        if let Ok(file) = std::fs::File::options().append(true).open(&meta) {
            let hours = std::time::Duration::from_secs(5 * 3600);
            file.set_modified(std::time::SystemTime::now() - hours).unwrap();
        }
    }
}

/// Waits for something that a node does by itself.
fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn blocks_of_a_day_become_one_for_each_shard_and_nobody_who_asks_can_tell() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // Three days ago, so that all ranges are over.
    let until_ms = now_ms() / 86_400_000 * 86_400_000 - 2 * 86_400_000;
    let all = samples(until_ms);
    let node = Server::start_at(&data, &[], Stdio::null());
    write(&node, &all);
    let before = everything(&node, until_ms);
    flush(&node);
    let shipped = blocks(&data);
    assert!(shipped.len() >= 4, "two windows of two shards at least: {shipped:?}");
    assert!(node.terminate().success());
    age(&data, "fake");
    let node = Server::start_at(&data, &[], Stdio::null());
    let compacted = wait_for("compaction", || Some(blocks(&data)).filter(|blocks| blocks.len() == 2));
    assert_eq!(total(&compacted), written(&all));
    assert!(compacted.iter().all(|(name, _)| !shipped.iter().any(|(old, _)| old == name)));
    assert_eq!(everything(&node, until_ms), before);
    let index = data.join("bucket/fake/bucket-index.json.gz");
    wait_for("Cortex's listing", || index.exists().then_some(()));
    // What was dropped from the head was dropped for blocks that are replaced.
    drop(node);
    let node = Server::start_at(&data, &[], Stdio::null());
    assert_eq!(everything(&node, until_ms), before);
    flush(&node);
    assert_eq!(blocks(&data).len(), 2, "the new blocks cover what the old ones did");
}

#[test]
fn blocks_that_are_older_than_the_tenants_retention_are_marked_for_removal() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let until_ms = now_ms() / 86_400_000 * 86_400_000 - 2 * 86_400_000;
    let node = Server::start_at(&data, &[], Stdio::null());
    write(&node, &samples(until_ms));
    flush(&node);
    assert!(!blocks(&data).is_empty());
    assert!(node.terminate().success());
    let config = folder.path().join("gyre.yaml");
    std::fs::write(&config, "limits:\n  compactor_blocks_retention_period: 1d\n").unwrap();
    let config = format!("--config.file={}", config.display());
    let _node = Server::start_at(&data, &[&config], Stdio::null());
    wait_for("the blocks to be marked", || blocks(&data).is_empty().then_some(()));
}
