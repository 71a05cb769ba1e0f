//! A node with some hours of samples, what it says when it is asked for everything, and what is in its bucket.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::histograms::{histogram_series, integers};
use crate::remote_write::TimeSeries;
use crate::series::series;
use crate::server::{Server, gyre};

pub const STEP_MS: i64 = 60_000;

/// Three hours: two windows at least, and three mostly.
pub const STEPS: i64 = 180;

/// More than are gone through at once.
pub const PODS: usize = 1300;

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
    answers.extend(listings(node, until_ms, 4));
    in_order(answers)
}

/// What a node says about labels of the hours before a time.
pub fn listings(node: &Server, until_ms: i64, hours: i64) -> Vec<Value> {
    let window = format!("start={}&end={}", until_ms / 1000 - hours * 3600, until_ms / 1000);
    let listing = |path| {
        let response = node.get(&format!("/prometheus/api/v1/{path}{window}"));
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.json()["data"].clone()
    };
    ["labels?", "label/pod/values?", "series?match[]=requests_total&"].map(listing).into()
}

/// Answers whose lists are in order of their texts.
pub fn in_order(mut answers: Vec<Value>) -> Vec<Value> {
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
pub fn start_to_die(data: &Path, crash_point: &str) -> Server {
    let mut command = gyre(&[]);
    command.env("GYRE_CRASH_POINT", crash_point);
    Server::start_command(command, data, Stdio::null())
}

/// The blocks in a node's bucket: name and samples.
pub fn blocks(data: &Path) -> Vec<(String, u64)> {
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

/// Makes a block look as if it had been put into the bucket hours ago: before that its range may still get others.
pub fn age(data: &Path, tenant: &str) {
    for block in std::fs::read_dir(data.join("bucket").join(tenant)).unwrap() {
        let meta = block.unwrap().path().join("meta.json");
        if let Ok(file) = std::fs::File::options().append(true).open(&meta) {
            let hours = std::time::Duration::from_secs(5 * 3600);
            file.set_modified(std::time::SystemTime::now() - hours).unwrap();
        }
    }
}

/// Waits for something that a node does by itself.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
