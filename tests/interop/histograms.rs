//! Native histograms: the same are written to Prometheus and to gyre. Both are asked the same, and the chunks that
//! Prometheus writes are decoded and encoded again.
//!
//! Left out is what 2.42 and today's Prometheus do differently: interpolation within a bucket (so quantiles and
//! fractions are asked for at bucket bounds), functions that did not know histograms yet, custom bounds, the limit at zero of extrapolated counters, float stale
//! markers, and empty buckets that vanish.

use std::path::Path;
use std::sync::Arc;

use bench::Result;
use bench::query::api::Call;
use bench::server::{Gyre, ManagedFolder, Product, Prometheus, Server, clean_up_on_signals};
use gyre_tsdb::chunk::histogram::{Encoder, decode, kind_of};
use gyre_tsdb::histogram::{CounterReset, Histogram as Stored, Kind};
use prost::Message;
use serde_json::Value;

use super::skipped_without;
use crate::histogram_messages::{floats, histogram_series, integers};
use crate::remote_write::{BucketSpan, Count, Histogram, TimeSeries, WriteRequest, ZeroCount};

/// Few enough that Prometheus never cuts a chunk for their number.
const STEPS: i64 = 28;
const STEP_MS: i64 = 15_000;
/// Off the samples.
const OFF_MS: i64 = 7_000;

/// An evaluation every sample, each between two samples.
const EXPRESSIONS: &[&str] = &[
    "requests",
    r#"requests{instance="b"}"#,
    "requests offset 1m",
    "floats",
    "gauge",
    "histogram_count(requests)",
    "histogram_sum(requests)",
    "histogram_sum(floats)",
    "histogram_count(gauge)",
    "rate(requests[1m])",
    "increase(requests[2m])",
    "rate(floats[1m])",
    "delta(gauge[1m])",
    "histogram_count(rate(requests[90s]))",
    "histogram_sum(increase(requests[90s]))",
    "sum(requests)",
    "sum by (job) (rate(requests[1m]))",
    "sum without (instance) (requests)",
    "histogram_count(sum(rate(requests[1m])))",
    "histogram_sum(sum(floats))",
    "requests + requests",
    "count(requests)",
    "count by (instance) (requests)",
    "count_over_time(requests[1m])",
    "present_over_time(requests[1m])",
    "timestamp(floats)",
    "absent(requests)",
    "group(requests)",
    "histogram_quantile(1, requests)",
    "histogram_quantile(1, sum(rate(requests[1m])))",
    "histogram_quantile(1.5, floats)",
    "histogram_quantile(-1, floats)",
    "histogram_fraction(-Inf, +Inf, requests)",
    "histogram_fraction(1, 4, requests)",
    "histogram_fraction(0.001, 2, rate(floats[1m]))",
    "schema",
    "rate(schema[1m])",
];

/// A counter that grows, gets buckets below and above, and is reset once if `resets`.
fn counter(step: i64, t_ms: i64, resets: bool) -> Histogram {
    let age = if resets && step >= 17 { step - 17 } else { step } as u64;
    let (first, buckets) = if age >= 9 { (-1, 7) } else { (0, 3 + age / 4) };
    let count = |bucket: u64| 1000 + age * (bucket * 7 + 3) % 50 + age * 50;
    let counts: Vec<u64> =
        (0..buckets).map(|bucket| count((bucket as i64 + i64::from(first)) as u64 & 7)).collect();
    let mut histogram = integers(t_ms, first, &counts, 1000.5 + age as f64 * 12.25);
    let below = vec![7 + age, 3];
    histogram.zero_count = Some(ZeroCount::Int(age * 2));
    histogram.count = Some(Count::Int(counts.iter().chain(&below).sum::<u64>() + age * 2));
    histogram.negative_spans = vec![BucketSpan { offset: 1, length: 1 }, BucketSpan { offset: 3, length: 1 }];
    histogram.negative_deltas = vec![below[0] as i64, below[1] as i64 - below[0] as i64];
    histogram
}

fn scrape(step: i64, t_ms: i64) -> Vec<TimeSeries> {
    let growing = |bucket: i64| 1000.0 + (step * (bucket + 2)) as f64 / 8.0;
    let float_counts: Vec<f64> = (0..3 + step / 10).map(growing).collect();
    let gauge_counts: Vec<u64> = (0..3).map(|bucket| (step * 7 + bucket * 5) as u64 % 11).collect();
    let mut gauge = integers(t_ms, (step % 3) as i32, &gauge_counts, (step as f64).sin());
    gauge.reset_hint = 3;
    let stale =
        Histogram { sum: f64::from_bits(0x7ff0_0000_0000_0002), timestamp: t_ms, ..Default::default() };
    let ends = if step == 12 { stale } else { counter(step, t_ms, false) };
    // The resolution changes, and with it the chunk; and later the sender says that there was a reset.
    let mut schema = integers(t_ms, 0, &[1000 + step as u64, 2000], 1.0);
    schema.schema = if step < 9 { 2 } else { 1 };
    schema.reset_hint = if step == 20 { 1 } else { 0 };
    let named = |name: &str, instance: &str, histogram| {
        histogram_series(&[("__name__", name), ("instance", instance), ("job", "web")], vec![histogram])
    };
    vec![
        named("ends", "a", ends),
        named("floats", "a", floats(t_ms, -2, &float_counts, step as f64 * 1.1)),
        named("gauge", "a", gauge),
        named("requests", "a", counter(step, t_ms, false)),
        named("requests", "b", counter(step, t_ms, true)),
        named("schema", "a", schema),
    ]
}

/// Both servers, fed.
struct Scene {
    prometheus: Server,
    gyre: Server,
    start_ms: i64,
    _folder: ManagedFolder,
}

impl Scene {
    fn start() -> Result<Scene> {
        clean_up_on_signals()?;
        let folder = ManagedFolder::create_in(&std::env::temp_dir())?;
        let flags = ["--enable-feature=native-histograms", "--web.enable-admin-api"];
        let prometheus: Arc<dyn Product> = Arc::new(Prometheus::receiver().with_flags(flags));
        let gyre: Arc<dyn Product> = Arc::new(Gyre::committing(env!("CARGO_BIN_EXE_gyre").into()));
        let prometheus = Server::start(&prometheus, folder.path())?;
        let gyre = Server::start(&gyre, folder.path())?;
        // All samples in one window of two hours, so that chunks are cut only for what the samples hold.
        let now_ms = bench::stream::now_ms();
        let window_ms = now_ms.div_euclid(7_200_000) * 7_200_000;
        let length_ms = (STEPS + 1) * STEP_MS;
        let start_ms =
            if now_ms - window_ms > length_ms { now_ms - length_ms } else { window_ms - length_ms - 1000 };
        let scene = Scene { prometheus, gyre, start_ms, _folder: folder };
        for step in 0..STEPS {
            scene.write(scrape(step, start_ms + step * STEP_MS))?;
        }
        Ok(scene)
    }

    fn write(&self, timeseries: Vec<TimeSeries>) -> Result<()> {
        let body = WriteRequest { timeseries, metadata: vec![] }.encode_to_vec();
        let body = snap::raw::Encoder::new().compress_vec(&body).expect("the request is small");
        for server in [&self.prometheus, &self.gyre] {
            let answer = server.connect().post_remote_write(server.product.write_path(), &body)?;
            let status = answer.status;
            assert!(status / 100 == 2, "{status}: {:?}", answer.into_text());
        }
        Ok(())
    }

    /// A result of both, series in order.
    fn ask_both(&self, call: &Call) -> Result<[Value; 2]> {
        let ask = |server: &Server| {
            let text = call.send(server, &mut server.connect())?;
            let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
            let mut result = answer["data"]["result"].clone();
            if let Some(series) = result.as_array_mut() {
                series.sort_by_key(|series| series["metric"].to_string());
            }
            Ok(result)
        };
        Ok([ask(&self.prometheus)?, ask(&self.gyre)?])
    }
}

#[test]
fn gyre_answers_about_histograms_what_prometheus_answers() -> Result<()> {
    if skipped_without(&[Prometheus::receiver().program()]) {
        return Ok(());
    }
    let scene = Scene::start()?;
    let (start_ms, end_ms) =
        (scene.start_ms + 9 * STEP_MS + OFF_MS, scene.start_ms + (STEPS - 1) * STEP_MS + OFF_MS);
    let mut failures = Vec::new();
    let mut empty = Vec::new();
    let ranges = ["requests[90s]", "gauge[1m]", "ends[10m]", "floats[45s] offset 1m"];
    for expr in EXPRESSIONS.iter().chain(&ranges) {
        let expr = (*expr).to_owned();
        let mut calls = vec![Call::Instant { expr: expr.clone(), at_ms: end_ms }];
        if !expr.contains(']') || expr.contains(')') {
            calls.push(Call::Range { expr: expr.clone(), start_ms, end_ms, step_ms: STEP_MS });
        }
        for call in calls {
            let [expected, found] = scene.ask_both(&call)?;
            if expected.as_array().is_none_or(Vec::is_empty) {
                empty.push(expr.clone());
            }
            if let Some(difference) = difference(&expected, &found) {
                failures.push(format!("{call:?}: {difference}"));
            }
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
    empty.dedup();
    assert_eq!(empty, ["absent(requests)"], "what compares nothing proves nothing");
    Ok(())
}

/// The first place where two results differ by more than the order of additions explains.
fn difference(expected: &Value, found: &Value) -> Option<String> {
    match (expected, found) {
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            expected.iter().zip(found).find_map(|(expected, found)| difference(expected, found))
        }
        (Value::Object(expected), Value::Object(found)) if expected.keys().eq(found.keys()) => {
            expected.keys().find_map(|key| difference(&expected[key], &found[key]))
        }
        (Value::String(expected), Value::String(found)) if are_close(expected, found) => None,
        _ if expected == found => None,
        _ => Some(format!("{found} instead of {expected}")),
    }
}

fn are_close(expected: &str, found: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    let (Some(a), Some(b)) = (number(expected), number(found)) else { return expected == found };
    expected == found || (a - b).abs() <= 1e-12 * a.abs().max(b.abs())
}

/// The chunks of a block, in order: encoding and bytes. Layout: Prometheus's chunk format documentation.
fn chunks_of(file: &Path) -> Vec<(u8, Vec<u8>)> {
    let bytes = std::fs::read(file).expect("the block is there");
    let mut rest = &bytes[8..];
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let mut length = 0;
        for shift in (0..).step_by(7) {
            let byte = rest[0];
            rest = &rest[1..];
            length |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        chunks.push((rest[0], rest[1..=length].to_vec()));
        rest = &rest[length + 5..];
    }
    chunks
}

/// One more request, whose resets end all chunks: those that are still open are written anew for a block, and 2.42
/// forgets their headers over it, and cannot do it with gauges.
fn last_scrape(t_ms: i64) -> Vec<TimeSeries> {
    let mut all = scrape(STEPS, t_ms);
    for series in &mut all {
        let is_float = matches!(series.histograms[0].count, Some(Count::Float(_)));
        let last = if is_float { floats(t_ms, 0, &[5.0], 1.0) } else { integers(t_ms, 0, &[5], 1.0) };
        series.histograms = vec![Histogram { reset_hint: 1, ..last }];
    }
    all
}

/// The samples that were sent, by series in order of their labels.
fn sent(start_ms: i64) -> Vec<Vec<(i64, Stored)>> {
    let scrapes = (0..STEPS).map(|step| scrape(step, start_ms + step * STEP_MS));
    let scrapes = scrapes.chain([last_scrape(start_ms + STEPS * STEP_MS)]);
    let mut series: Vec<Vec<(i64, Stored)>> = vec![Vec::new(); scrape(0, 0).len()];
    for scrape in scrapes {
        for (series, sample) in series.iter_mut().zip(scrape) {
            let message = sample.histograms[0].encode_to_vec();
            series.push(gyre::api::push::histogram::decode(&message).expect("prost's bytes are valid"));
        }
    }
    series
}

#[test]
fn gyre_s_histogram_chunks_are_prometheus_s_bit_for_bit() -> Result<()> {
    if skipped_without(&[Prometheus::receiver().program()]) {
        return Ok(());
    }
    let scene = Scene::start()?;
    scene.write(last_scrape(scene.start_ms + STEPS * STEP_MS))?;
    let server = &scene.prometheus;
    let answer = server.connect().post_form("/api/v1/admin/tsdb/snapshot", &[])?.into_text()?;
    let answer: Value = serde_json::from_str(&answer).expect("an answer is JSON");
    let name = answer["data"]["name"].as_str().expect("the snapshot has a name");
    let folder = server.data_dir().join("snapshots").join(name);
    let blocks = std::fs::read_dir(folder).expect("the snapshot is there");
    let block = blocks.flatten().next().expect("a block").path();
    let theirs = chunks_of(&block.join("chunks/000001"));

    let mut ours = Vec::new();
    for samples in sent(scene.start_ms) {
        let mut chunk: Option<Encoder> = None;
        for (t_ms, sample) in &samples {
            let header = match &mut chunk {
                Some(chunk) => chunk.append(*t_ms, sample).err(),
                // What a first chunk says: only what its first sample says.
                None => Some(match sample.counter_reset {
                    CounterReset::Gauge => CounterReset::Gauge,
                    _ => CounterReset::Unknown,
                }),
            };
            if let Some(header) = header {
                let before = chunk.replace(Encoder::begin(header, *t_ms, sample));
                ours.extend(before.map(|chunk| (chunk, 0xff)));
            }
        }
        // Of the last sample's chunk the header is not compared.
        ours.extend(chunk.map(|chunk| (chunk, 0)));
    }
    assert_eq!(theirs.len(), ours.len(), "chunks");
    for (at, ((encoding, theirs), (ours, header_mask))) in theirs.iter().zip(&ours).enumerate() {
        let kind = kind_of(*encoding).expect("all are histograms");
        let mut times = Vec::new();
        decode(theirs, kind, |t_ms, _| times.push(t_ms)).expect("Prometheus's chunks decode");
        let mut bytes = ours.bytes().to_vec();
        bytes[2] &= header_mask;
        assert_eq!((*encoding, theirs), (ours.encoding(), &bytes), "chunk {at}, {times:?}");
    }
    let closed: Vec<_> = ours.iter().filter(|(_, header_mask)| *header_mask != 0).collect();
    for kind in [Kind::Integer, Kind::Float] {
        assert!(closed.iter().any(|(chunk, _)| chunk.kind() == kind), "{kind:?}");
    }
    for flags in [0, 0x80, 0xc0] {
        assert!(closed.iter().any(|(chunk, _)| chunk.bytes()[2] == flags), "no chunk with header {flags:#x}");
    }
    Ok(())
}
