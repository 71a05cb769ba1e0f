//! Heads and blocks for the blocks run.
//!
//! A [`head`] is appended to sample by sample and [`cut`] into blocks, as a node does it. [`wide_block`] has far more
//! series, in little time: their chunks are made once, and written for each.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use gyre_tsdb::block::{BlockWriter, Meta, NewChunk, Thanos, Ulid, WindowSeries};
use gyre_tsdb::chunk::xor;
use gyre_tsdb::disk::OsDisk;
use gyre_tsdb::{Head, SeriesBatch, SeriesRef, labels};

use crate::error::{Error, Result};

/// An even hour, so that windows begin there.
pub(super) const BEGIN_MS: i64 = 1_700_006_400_000;
/// Of a block of a head.
pub(super) const WINDOW_MS: i64 = 2 * 3_600_000;
/// Between two samples of a series.
pub(super) const STEP_MS: i64 = 15_000;

/// Series that are read from a head at a time, as a node does it.
const SERIES_PER_READ: usize = 256;
/// Series of which a slice of a window consists.
const SERIES_PER_SLICE: usize = 10_000;
/// Different chunks of a wide block.
const KINDS: usize = 64;
/// Series of a wide block that share a metric, and those that share a pod.
const METRICS: usize = 100;

fn failed(problem: impl Display) -> Error {
    Error::malformed("a block of the bench", problem)
}

/// When samples of a head are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// How many windows.
    pub(super) windows: i64,
    /// Between two samples.
    pub(super) step_ms: i64,
    /// The first one's distance from the begin of the first window.
    pub(super) shift_ms: i64,
}

/// A head with series of eleven labels: counters, with the jitter of a scrape in some.
pub(super) fn head(folder: &Path, series: usize, times: Times) -> Result<Head> {
    let mut head = Head::new(&OsDisk, folder).map_err(failed)?;
    let mut all = Vec::with_capacity(series);
    for number in 0..series {
        let instance = format!("10.{}.{}.7:4191", number / 250, number % 250);
        let pod = format!("web-{:05x}-{:06}", number % 977, number);
        let bytes = labels::encode([
            ("__name__", ["request_total", "response_total", "latency_ms_bucket"][number % 3]),
            ("cluster", "eu-west-1"),
            ("container", "linkerd-proxy"),
            ("direction", ["inbound", "outbound"][number % 2]),
            ("instance", instance.as_str()),
            ("job", "linkerd-proxy"),
            ("namespace", ["shop", "billing", "search", "ads"][number % 4]),
            ("pod", pod.as_str()),
            ("status_code", ["200", "404", "500"][number / 7 % 3]),
            ("tls", "true"),
            ("workload", ["web", "api", "worker"][number / 3 % 3]),
        ]);
        let set = labels::Labels::parse(&bytes).map_err(failed)?;
        // A head takes any key that no other series has.
        all.push(head.create(number as u128, set).map_err(failed)?);
    }
    let begin_ms = BEGIN_MS + times.shift_ms;
    for t_ms in (begin_ms..BEGIN_MS + times.windows * WINDOW_MS).step_by(times.step_ms as usize) {
        for (number, series) in all.iter().enumerate() {
            let steps = (t_ms - BEGIN_MS) / 1_000;
            let value = steps * (number as i64 % 17 + 1) + (number as i64 * steps) % 5;
            head.append(*series, t_ms + number as i64 % 3, (value as f64).to_bits());
        }
        spill(&mut head)?;
    }
    Ok(head)
}

/// As a shard does: sealed chunks lie in files.
fn spill(head: &mut Head) -> Result<()> {
    while let Some(flush) = head.sealed_mut().take_flush(false) {
        let known = head.sealed_mut().view(&flush);
        flush.write(&OsDisk).map_err(failed)?;
        let view = known.map_or_else(|| flush.map(&OsDisk), Ok).map_err(failed)?;
        head.sealed_mut().flushed(&flush, view);
    }
    Ok(())
}

/// A window of a head as a block in a folder.
pub(super) fn cut(head: &Head, folder: &Path, window: i64, number: u128) -> Result<Meta> {
    let (begin_ms, end_ms) = (BEGIN_MS + window * WINDOW_MS, BEGIN_MS + (window + 1) * WINDOW_MS);
    let mut series = WindowSeries::default();
    let mut from = Some(SeriesRef(0));
    while let Some(at) = from {
        let (slice, next) = head.window_slice(at, SERIES_PER_SLICE, (begin_ms, end_ms));
        series.add(&slice).map_err(failed)?;
        from = next;
    }
    let mut meta = Meta::of_head(Ulid::new(begin_ms as u64, number), begin_ms, end_ms);
    meta.thanos = Some(Thanos::default());
    let mut block = series.begin(Arc::new(OsDisk), folder, meta).map_err(failed)?;
    loop {
        let some = block.next_series(SERIES_PER_READ);
        if some.is_empty() {
            return block.finish().map_err(failed)?.ok_or_else(|| failed("it is empty"));
        }
        let mut batch = SeriesBatch::default();
        some.into_iter().for_each(|series| head.read(series, begin_ms, end_ms - 1, &mut batch));
        block.push(&batch).map_err(failed)?;
    }
}

/// A block of so many series with one chunk each, written in order.
pub(super) fn wide_block(folder: &Path, series: usize, window: i64) -> Result<Meta> {
    let (begin_ms, end_ms) = (BEGIN_MS + window * WINDOW_MS, BEGIN_MS + (window + 1) * WINDOW_MS);
    let samples = |kind: i64| {
        let times = (begin_ms..end_ms).step_by(60_000);
        times.map(move |t_ms| (t_ms, ((t_ms / 1_000 * kind) as f64).to_bits())).collect::<Vec<_>>()
    };
    let chunks: Vec<Vec<u8>> = (0..KINDS as i64).map(|kind| xor::encode(&samples(kind))).collect();
    let pods = series.div_ceil(METRICS);
    let labels = |metric: usize, pod: usize| {
        [
            ("__name__", format!("metric_{metric:03}_total")),
            ("cluster", "eu-west-1".to_owned()),
            ("instance", format!("10.{:03}.{:03}.{:03}:4191", pod / 62_500, pod / 250 % 250, pod % 250)),
            ("job", "linkerd-proxy".to_owned()),
            ("namespace", format!("namespace-{:03}", pod % 200)),
            ("node", format!("node-{:04}", pod % 1_000)),
            ("pod", format!("web-{:05x}-{pod:07}", pod % 977)),
        ]
    };
    let mut symbols = BTreeSet::new();
    for pod in 0..pods {
        for (name, value) in labels(pod % METRICS, pod) {
            symbols.insert(name.to_owned());
            symbols.insert(value);
        }
    }
    (0..METRICS).for_each(|metric| symbols.extend(labels(metric, 0).map(|(_, value)| value)));
    let meta = Meta::of_head(Ulid::new(begin_ms as u64, window as u128), begin_ms, end_ms);
    let mut writer = BlockWriter::begin(Arc::new(OsDisk), folder, meta).map_err(failed)?;
    let mut references = std::collections::HashMap::new();
    for symbol in symbols {
        let reference = writer.symbol(symbol.as_bytes()).map_err(failed)?;
        references.insert(symbol, reference);
    }
    // In order of labels: numbers have leading zeros, and no label before the instance differs within a metric.
    for number in 0..series {
        let labels = labels(number / pods, number % pods);
        let labels = labels.map(|(name, value)| (references[name], references[&value]));
        let data = &chunks[number % KINDS];
        let chunk = NewChunk { encoding: xor::ENCODING, data, min_ms: begin_ms, max_ms: end_ms - 60_000 };
        writer.series(&labels, &[chunk]).map_err(failed)?;
    }
    writer.finish().map_err(failed)?.ok_or_else(|| failed("it is empty"))
}
