//! Blocks of a real Prometheus, with the head's samples behind them, answer as that Prometheus does.

use serde_json::Value;

use crate::bucket::BucketFolder;
use crate::histograms::{floats, histogram_series, integers};
use crate::prometheus::{Prometheus, is_absent};
use crate::remote_write::TimeSeries;
use crate::series::series;
use crate::server::Server;

const STEP_MS: i64 = 15_000;
/// Less than an hour: Prometheus takes nothing that is older than its newest sample by more.
const STEPS: i64 = 200;
/// From this step on samples are in the head only; those of some steps before it are in both.
const SHIPPED: i64 = 150;
const IN_BOTH: i64 = 20;
const PODS: usize = 300;
const HOURS_MS: i64 = 2 * 3_600_000;

/// Near now: nobody takes what is old.
pub fn begin_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis() as i64 / STEP_MS * STEP_MS - STEPS * STEP_MS
}

/// Samples of some steps, of all kinds. A pod lives for a part of the time.
pub fn samples(begin_ms: i64, steps: std::ops::Range<i64>) -> Vec<TimeSeries> {
    let at = |step: i64| begin_ms + step * STEP_MS;
    let mut all = Vec::new();
    for pod in 0..PODS {
        let (first, last) = ((pod as i64 * 7) % 40, STEPS - (pod as i64 * 11) % 90);
        let name = format!("pod-{pod}");
        let zone = ["a", "b", "c"][pod % 3];
        let labels = [("__name__", "requests_total"), ("pod", &name), ("zone", zone)];
        let value = |step: i64| ((step - first) * (pod as i64 + 1)) as f64;
        let samples: Vec<(i64, f64)> = steps
            .clone()
            .filter(|step| (first..last).contains(step))
            .map(|step| (at(step), value(step)))
            .collect();
        if !samples.is_empty() {
            all.push(series(&labels, &samples));
        }
    }
    let counts = |step: i64| [step as u64 + 1, 2 * step as u64 + 3, 5];
    let own = steps.clone().map(|step| integers(at(step), -1, &counts(step), step as f64 * 1.5)).collect();
    all.push(histogram_series(&[("__name__", "latency"), ("kind", "integer")], own));
    let counts = |step: i64| [step as f64 + 0.5, 2.25 * step as f64 + 3.0];
    let own = steps.clone().map(|step| floats(at(step), 0, &counts(step), step as f64)).collect();
    all.push(histogram_series(&[("__name__", "latency"), ("kind", "float")], own));
    // In the head alone, or in blocks alone.
    if steps.end > SHIPPED {
        all.push(series(&[("__name__", "young")], &[(at(STEPS - 1), 1.0)]));
    }
    if steps.start == 0 {
        all.push(series(&[("__name__", "old"), ("gone", "yes")], &[(at(3), 7.0)]));
    }
    all
}

/// What both are asked. Sums are of whole numbers, which no order changes.
const EXPRESSIONS: [&str; 23] = [
    "requests_total",
    "requests_total[50m]",
    r#"requests_total{pod="pod-7"}[50m]"#,
    r#"requests_total{pod=~"pod-1.*",zone!="b"}[20m]"#,
    r#"{__name__=~".+",zone=""}"#,
    "count(requests_total)",
    "count by (zone) (requests_total)",
    "sum by (zone) (requests_total)",
    "rate(requests_total[5m])",
    "increase(requests_total[40m])",
    "max by (zone) (rate(requests_total[10m]))",
    "changes(requests_total[50m])",
    "count_over_time(requests_total[50m])",
    "requests_total offset 30m",
    "topk(3, requests_total)",
    "latency",
    "count_over_time(latency[50m])",
    "histogram_count(latency)",
    "histogram_sum(latency)",
    "histogram_count(latency) > 100",
    "absent(old)",
    "last_over_time(old[55m])",
    "young",
];

/// Ranges of histograms, which 2.42 gets wrong: it takes the last one for each. It also has older quantiles. A node with all samples in its head is asked
/// instead.
const HISTOGRAM_RANGES: [&str; 4] = [
    "latency[50m]",
    "rate(latency[10m])",
    "histogram_sum(increase(latency[30m]))",
    r#"histogram_quantile(0.9, sum(rate(latency{kind="integer"}[10m])))"#,
];

fn sorted(mut answer: Value) -> Value {
    for field in ["/data/result", "/data"] {
        if let Some(Value::Array(all)) = answer.pointer_mut(field) {
            all.sort_by_key(|one| (one["metric"].to_string(), one.to_string()));
        }
    }
    answer["data"].take()
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Off the samples' times: 2.42 has ranges closed on the left.
fn time(begin_ms: i64, step: i64) -> f64 {
    (begin_ms + step * STEP_MS) as f64 / 1000.0 + 3.25
}

/// Queries over the time of the samples.
fn queries(begin_ms: i64, expressions: &[&str]) -> Vec<String> {
    let time = |step| time(begin_ms, step);
    let mut paths = Vec::new();
    for expr in expressions {
        let query = encoded(expr);
        for step in [60, 140, SHIPPED, STEPS] {
            paths.push(format!("/api/v1/query?query={query}&time={}", time(step)));
        }
        if !expr.ends_with(']') {
            let (start, end) = (time(-3), time(STEPS + 25));
            paths.push(format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=37.5"));
        }
    }
    paths
}

/// Questions about labels.
fn listings(begin_ms: i64) -> Vec<String> {
    let time = |step| time(begin_ms, step);
    let mut paths = Vec::new();
    for (from, to) in [(0, STEPS), (-100, STEPS + 100)] {
        let range = format!("start={}&end={}", time(from), time(to));
        for path in ["labels", "label/pod/values", "label/__name__/values", "label/nosuch/values"] {
            paths.push(format!("/api/v1/{path}?{range}"));
            paths.push(format!("/api/v1/{path}?{range}&match[]={}", encoded(r#"{zone=~"a|c"}"#)));
        }
        paths.push(format!("/api/v1/series?{range}&match[]={}", encoded(r#"{pod=~"pod-2.*"}"#)));
        paths.push(format!("/api/v1/series?{range}&match[]={}&match[]=latency", encoded(r#"{gone="yes"}"#)));
    }
    paths
}

/// Asks both the same.
fn compare(other: &dyn Fn(&str) -> Value, gyre: &Server, questions: &[String]) {
    let mut failures = Vec::new();
    let mut with_data = 0;
    for path in questions {
        let there = sorted(other(path));
        let answer = gyre.get(&format!("/prometheus{path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let json = answer.json();
        assert!(json["warnings"].is_null(), "{path}: {}", json["warnings"]);
        let here = sorted(json);
        with_data += usize::from(there.to_string().len() > 50);
        if there != here {
            let (there, here) = (there.to_string(), here.to_string());
            let same = there.bytes().zip(here.bytes()).take_while(|(a, b)| a == b).count();
            let from = same.saturating_sub(120);
            let part = |text: &str| text.chars().skip(from).take(300).collect::<String>();
            failures.push(format!("{path}\n  there {}\n  here  {}", part(&there), part(&here)));
        }
    }
    println!("{} questions, {with_data} with data, {} failures", questions.len(), failures.len());
    assert!(with_data * 3 > questions.len() * 2, "what compares nothing proves nothing");
    assert!(
        failures.is_empty(),
        "{} failures: {}",
        failures.len(),
        failures[..failures.len().min(5)].join("\n")
    );
}

#[test]
fn blocks_of_prometheus_and_the_head_s_samples_answer_as_that_prometheus_does() {
    if is_absent() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (prometheus, begin_ms) = (Prometheus::start(&folder.path().join("data")), begin_ms());
    prometheus.write(samples(begin_ms, 0..SHIPPED));
    let blocks = prometheus.snapshot();
    prometheus.write(samples(begin_ms, SHIPPED..STEPS));
    let bucket = BucketFolder::new();
    for block in &blocks {
        bucket.put("fake", block);
    }
    let gyre = Server::start_with(&[&bucket.url()], None);
    let written = gyre.write(samples(begin_ms, SHIPPED - IN_BOTH..STEPS));
    assert_eq!(written.status, 200, "{}", written.text());
    let questions = [queries(begin_ms, &EXPRESSIONS), listings(begin_ms)].concat();
    compare(&|path| prometheus.get(path), &gyre, &questions);
    assert!(gyre.metric("gyre_blocks_opened_total").unwrap() >= 1.0);

    let other = Server::start();
    assert_eq!(other.write(samples(begin_ms, 0..STEPS)).status, 200);
    let other = |path: &str| other.get(&format!("/prometheus{path}")).json();
    compare(&other, &gyre, &queries(begin_ms, &HISTOGRAM_RANGES));
}

/// A time some hours ago with a two-hour boundary, where Prometheus ends its chunks, at a step after it.
fn begin_before_boundary_ms(steps: i64) -> i64 {
    (begin_ms() / HOURS_MS - 1) * HOURS_MS - steps * STEP_MS
}

#[test]
fn what_was_deleted_from_a_block_stays_deleted() {
    if is_absent() {
        return;
    }
    // A boundary of chunks within what is deleted, before it, after it.
    for boundary in [65, 20, 130] {
        deleted_samples_are_not_served(begin_before_boundary_ms(boundary));
    }
}

fn deleted_samples_are_not_served(begin_ms: i64) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let prometheus = Prometheus::start(&data);
    prometheus.write(samples(begin_ms, 0..STEPS));
    // A snapshot is blocks: what is deleted of those gets tombstones.
    let blocks = prometheus.snapshot();
    let served = folder.path().join("served");
    std::fs::create_dir(&served).unwrap();
    for block in &blocks {
        std::fs::rename(block, served.join(block.file_name().unwrap())).unwrap();
    }
    drop(prometheus);
    let prometheus = Prometheus::start(&served);
    let at = |step: i64| begin_ms + step * STEP_MS + 1;
    prometheus.delete("requests_total{pod=~%22pod-1.*%22}", at(50), at(90));
    prometheus.delete("latency", at(40), at(55));
    let bucket = BucketFolder::new();
    let mut stones = 0;
    for block in &prometheus.snapshot() {
        bucket.put("fake", block);
        stones += usize::from(std::fs::metadata(block.join("tombstones")).is_ok_and(|file| file.len() > 9));
    }
    assert!(stones > 0, "nothing was deleted");
    // 2.42 shows some deleted samples where a query begins or ends within a chunk; with blocks rewritten it shows none.
    prometheus.clean_tombstones();
    let gyre = Server::start_with(&[&bucket.url()], None);
    let questions = [queries(begin_ms, &EXPRESSIONS), listings(begin_ms)].concat();
    compare(&|path| prometheus.get(path), &gyre, &questions);
}
