//! What reading from blocks costs: opening a thousand of them cold, and six hours from three blocks beside the same six
//! hours from a head.
//!
//! `cargo bench -p bench --bench block_reads`. Prints figures; ratios within a run count, not times. Decoding is the same on
//! both sides and part of both: it is what a query does at least.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use gyre::archive::read::metrics::BlockMetrics;
use gyre::archive::read::{Archive, BlockList, BlockRef, CacheSizes};
use gyre::cluster::store::{Bucket, StorageUrl};
use gyre::shard::read::{SERIES_PER_READ, TimeRange};
use gyre_ring::TenantId;
use gyre_ring::hash::HashSeed;
use gyre_tsdb::block::{Meta, Ulid, WindowSeries};
use gyre_tsdb::disk::{Disk, OsDisk};
use gyre_tsdb::{Decoded, Head, Matcher, SeriesBatch, SeriesRef, labels};

const SEED: HashSeed = HashSeed(7);
const BEGIN_MS: i64 = 1_700_006_400_000;
const WINDOW_MS: i64 = 2 * 3_600_000;
const STEP_MS: i64 = 15_000;
const SERIES: usize = 10_000;
const WINDOWS: i64 = 3;
const ROUNDS: usize = 7;
const SIZES: CacheSizes = CacheSizes { memory_bytes: 256 << 20, disk_bytes: 0 };

/// Blocks that are opened, and the series of each.
const COLD_BLOCKS: usize = 1_000;
const COLD_SERIES: usize = 1_000;

struct NoList;

#[async_trait]
impl BlockList for NoList {
    async fn blocks(&self, _: &TenantId, _: (i64, i64), _: Duration) -> Result<Vec<BlockRef>, String> {
        Ok(Vec::new())
    }

    async fn refresh(&self, _: &TenantId) -> Result<(), String> {
        Ok(())
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    cold(folder.path());
    six_hours(folder.path());
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).expect("a valid name")
}

fn archive(bucket: &Path) -> Arc<Archive> {
    let opened = Bucket::open(&StorageUrl::File(bucket.to_owned()), bucket).expect("the folder is there");
    let archive = Archive::new(opened, Arc::new(NoList), SIZES, bucket, SEED, BlockMetrics::default());
    Arc::new(archive.expect("threads start"))
}

/// A head with so many series of eleven labels, and so many windows of samples.
fn head(folder: &Path, series: usize, windows: i64) -> Head {
    let disk = OsDisk;
    let mut head = Head::new(&disk, folder).expect("the folder is writable");
    let all: Vec<SeriesRef> = (0..series)
        .map(|number| {
            let instance = format!("10.{}.{}.7:4191", number / 250, number % 250);
            let pod = format!("web-{:05x}-{:04}", number % 977, number);
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
            let set = labels::Labels::parse(&bytes).expect("encoded labels are canonical");
            head.create(SEED.key(&bytes).0, set).expect("they fit")
        })
        .collect();
    for t_ms in (BEGIN_MS..BEGIN_MS + windows * WINDOW_MS).step_by(STEP_MS as usize) {
        for (number, series) in all.iter().enumerate() {
            let value = ((t_ms - BEGIN_MS) / STEP_MS) * (number as i64 % 17 + 1) + number as i64 * t_ms % 5;
            head.append(*series, t_ms, (value as f64).to_bits());
        }
        spill(&mut head);
    }
    head
}

/// As a shard does: sealed chunks lie in files.
fn spill(head: &mut Head) {
    while let Some(flush) = head.sealed_mut().take_flush(false) {
        let known = head.sealed_mut().view(&flush);
        flush.write(&OsDisk).expect("the folder is writable");
        let view = known.map_or_else(|| flush.map(&OsDisk), Ok).expect("it was just written");
        head.sealed_mut().flushed(&flush, view);
    }
}

/// A window of a head as a block.
fn block(head: &Head, folder: &Path, window: i64, number: u128) -> Meta {
    let (begin_ms, end_ms) = (BEGIN_MS + window * WINDOW_MS, BEGIN_MS + (window + 1) * WINDOW_MS);
    let mut series = WindowSeries::default();
    let mut from = Some(SeriesRef(0));
    while let Some(at) = from {
        let (slice, next) = head.window_slice(at, 10_000, (begin_ms, end_ms));
        series.add(&slice).expect("they fit");
        from = next;
    }
    let meta = Meta::of_head(Ulid::new(begin_ms as u64, number), begin_ms, end_ms);
    let mut block = series.begin(Arc::new(OsDisk), folder, meta).expect("the folder is writable");
    loop {
        let some = block.next_series(SERIES_PER_READ);
        if some.is_empty() {
            break;
        }
        let mut batch = SeriesBatch::default();
        some.into_iter().for_each(|series| head.read(series, begin_ms, end_ms - 1, &mut batch));
        block.push(&batch).expect("chunks of a head are whole");
    }
    block.finish().expect("the folder is writable").expect("there are samples")
}

fn refs(name: &str, metas: &[Meta]) -> Vec<BlockRef> {
    metas.iter().map(|meta| BlockRef::new(tenant(name), Arc::new(meta.clone()))).collect()
}

fn later() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(600)
}

fn equal(name: &str, value: &'static str) -> Matcher {
    let accepts = Arc::new(move |other: &str| other == value);
    Matcher { name: name.to_owned(), accepts, candidates: Some(vec![value.to_owned()]) }
}

fn made(folder: &Path) -> PathBuf {
    OsDisk.create_dir_all(folder).expect("the folder is writable");
    folder.to_owned()
}

fn cold(folder: &Path) {
    let bucket = made(&folder.join("cold"));
    let to = made(&bucket.join("t"));
    let head = head(&folder.join("small-head"), COLD_SERIES, 1);
    let first = block(&head, &to, 0, 0);
    let from = to.join(first.ulid.to_string());
    // Copies under other names: to a reader they are different blocks.
    let metas: Vec<Meta> = (0..COLD_BLOCKS as u128)
        .map(|number| {
            let meta = Meta { ulid: Ulid::new(BEGIN_MS as u64, number + 1), ..first.clone() };
            let path = made(&to.join(meta.ulid.to_string()).join("chunks"));
            std::fs::copy(from.join("chunks/000001"), path.join("000001")).expect("there is room");
            let path = to.join(meta.ulid.to_string());
            std::fs::copy(from.join("index"), path.join("index")).expect("there is room");
            meta
        })
        .collect();
    let archive = archive(&bucket);
    let query = archive.query(refs("t", &metas), later());
    let begun = Instant::now();
    let range = TimeRange { min_ms: i64::MIN, max_ms: i64::MAX };
    let names = query.label_names(range).expect("all blocks are whole");
    let opened = begun.elapsed();
    assert_eq!(names.len(), 11 * COLD_BLOCKS);
    let begun = Instant::now();
    query.label_names(range).expect("all blocks are whole");
    println!(
        "open {COLD_BLOCKS} blocks of {COLD_SERIES} series: cold {:.0} ms, again {:.0} ms",
        opened.as_secs_f64() * 1e3,
        begun.elapsed().as_secs_f64() * 1e3
    );
}

/// Decodes a batch; gives how many samples there are.
fn decode(batch: &SeriesBatch, scratch: &mut (Vec<i64>, Vec<f64>, Vec<u8>)) -> usize {
    let mut samples = 0;
    for series in batch.series() {
        let (times, values, bytes) = scratch;
        times.clear();
        values.clear();
        let mut to = Decoded { times, values, histogram: &mut |_, _| {} };
        batch.decode(series, (i64::MIN, i64::MAX), &mut to, bytes).expect("chunks are whole");
        samples += to.times.len();
    }
    samples
}

fn six_hours(folder: &Path) {
    let head = head(&folder.join("head"), SERIES, WINDOWS);
    let bucket = made(&folder.join("warm"));
    let to = made(&bucket.join("t"));
    let metas: Vec<Meta> = (0..WINDOWS).map(|window| block(&head, &to, window, window as u128)).collect();
    let archive = archive(&bucket);
    let range = TimeRange { min_ms: BEGIN_MS, max_ms: BEGIN_MS + WINDOWS * WINDOW_MS - 1 };
    for (what, matchers) in [
        ("all series", Vec::new()),
        ("a third", vec![equal("__name__", "request_total")]),
        ("one pod", vec![equal("pod", "web-00007-0007")]),
    ] {
        let query = archive.query(refs("t", &metas), later());
        let from_blocks = || {
            let mut scratch = Default::default();
            let mut series = query.select(&matchers, range).expect("all blocks are whole");
            let mut samples = 0;
            while let Some(batch) = series.next_batch().expect("all blocks are whole") {
                samples += decode(&batch, &mut scratch);
            }
            samples
        };
        let from_head = || {
            let mut scratch = Default::default();
            let mut series = head.select(&matchers);
            series.sort_unstable_by_key(|series| head.key(*series));
            let mut samples = 0;
            for some in series.chunks(SERIES_PER_READ) {
                let mut batch = SeriesBatch::default();
                some.iter().for_each(|series| head.read(*series, range.min_ms, range.max_ms, &mut batch));
                samples += decode(&batch, &mut scratch);
            }
            samples
        };
        let begun = Instant::now();
        let samples = from_blocks();
        let cold = begun.elapsed();
        assert_eq!(samples, from_head(), "{what}");
        let (mut blocks, mut heads) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            from_head();
            heads.push(begun.elapsed());
            let begun = Instant::now();
            from_blocks();
            blocks.push(begun.elapsed());
        }
        blocks.sort_unstable();
        heads.sort_unstable();
        let (blocks, heads) = (blocks[ROUNDS / 2].as_secs_f64(), heads[ROUNDS / 2].as_secs_f64());
        println!(
            "6 h, {what}, {samples} samples: head {:.2} ms, blocks warm {:.2} ms ({:.2}x), blocks first {:.2} ms",
            heads * 1e3,
            blocks * 1e3,
            blocks / heads,
            cold.as_secs_f64() * 1e3
        );
    }
}
