//! Micro benches of each stage of the ingest path, over one k8s request of 2,000 samples: items are samples.
//!
//! Run by `cargo bench -p bench`. What they add up to is the floor under `bench ingest`'s CPU per sample.

use bench::stream::{Shape, Stream, k8s};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use gyre::api::push::decode::WriteBatch;
use gyre::api::push::pool::BatchPool;
use gyre_ring::hash::HashSeed;
use gyre_tsdb::chunk::{histogram, xor};
use gyre_tsdb::disk::SimDisk;
use gyre_tsdb::histogram::{CounterReset, Histogram, Side, Span};
use gyre_tsdb::wal::{BatchName, FILE_BYTES, LaneEncoder, StreamId};
use gyre_tsdb::{Head, SeriesRef, WalBase, labels};

/// One full request, one series each.
const SAMPLES: usize = 2_000;
const REQUEST_BYTES_MAX: u64 = 100 << 20;
const CHUNK_SAMPLES: usize = 120;
const STEP_MS: i64 = 15_000;

fn main() {
    divan::main();
}

/// A stream of one request a step.
fn stream(steps: u32) -> Stream {
    let shape = Shape { steps, step_ms: STEP_MS, lanes: 1, end_ms: 1_700_000_000_000, tail_requests: 0 };
    k8s::generate(&std::env::temp_dir(), SAMPLES, shape, 1).expect("the temporary folder takes a file")
}

fn bodies(steps: u32) -> Vec<Vec<u8>> {
    let stream = stream(steps);
    let requests = &stream.lanes[0].main;
    let read = |request: &_| {
        let mut body = Vec::new();
        stream.read(*request, &mut body).expect("the stream's file is readable");
        body
    };
    requests.iter().map(read).collect()
}

fn decode(pool: &BatchPool, body: &[u8]) -> WriteBatch {
    WriteBatch::decode(pool, body, REQUEST_BYTES_MAX).expect("the bench's requests are valid")
}

/// A head with 2,000 series and one sample each.
fn head(disk: &SimDisk) -> Head {
    let mut head = Head::new(disk, "head".as_ref()).expect("a simulated disk is writable");
    for index in 0..SAMPLES {
        let instance = format!("10.0.0.{index}:4191");
        let bytes = labels::encode([("__name__", "request_total"), ("instance", &instance)]);
        let set = labels::Labels::parse(&bytes).expect("encoded labels are canonical");
        let series = head.create(HashSeed(0).key(&bytes).0, set).expect("2,000 series fit");
        head.append(series, 0, 0);
    }
    head
}

/// Snappy and protobuf, borrowed.
#[divan::bench]
fn decode_request(bencher: Bencher<'_, '_>) {
    let pool = BatchPool::new(4, 64 << 20);
    let bodies = bodies(1);
    bencher.counter(ItemsCount::new(SAMPLES)).bench_local(|| decode(&pool, black_box(&bodies[0])));
}

/// The 128-bit key of each series' raw label bytes.
#[divan::bench]
fn hash_labels(bencher: Bencher<'_, '_>) {
    let batch = decode(&BatchPool::new(4, 64 << 20), &bodies(1)[0]);
    let seed = HashSeed(7);
    bencher.counter(ItemsCount::new(SAMPLES)).bench_local(|| {
        batch.series.iter().fold(0, |all, series| all ^ seed.key(batch.label_fields(series)).0)
    });
}

/// Samples of known series in time order, chunk cuts included.
#[divan::bench]
fn append_to_head(bencher: Bencher<'_, '_>) {
    let disk = SimDisk::default();
    let mut head = head(&disk);
    let mut t_ms = 0;
    bencher.counter(ItemsCount::new(SAMPLES)).bench_local(|| {
        t_ms += STEP_MS;
        for series in 0..SAMPLES as u32 {
            // A third of the values stays, as in the stream.
            let value = if series % 3 == 0 { 0.0 } else { (t_ms / STEP_MS * i64::from(series)) as f64 };
            black_box(head.append(SeriesRef(series), t_ms, value.to_bits()));
        }
    });
}

/// A native histogram of 20 buckets that grows, as a service's latency does.
fn histogram(step: u64, series: u64) -> Histogram {
    let counts: Vec<u64> = (0..20).map(|bucket| step * (series % 5 + bucket % 4 * 3)).collect();
    let positive = Side { spans: vec![Span { offset: -8, length: 20 }], counts };
    let count = positive.counts.iter().sum();
    Histogram { schema: 3, count, sum: (step as f64 * 1.7).to_bits(), positive, ..Histogram::default() }
}

/// Native histograms of known series in time order, chunk cuts included. They are made anew each time.
#[divan::bench]
fn append_histograms_to_head(bencher: Bencher<'_, '_>) {
    let disk = SimDisk::default();
    let mut head = head(&disk);
    let mut t_ms = 0;
    bencher.counter(ItemsCount::new(SAMPLES)).bench_local(|| {
        t_ms += STEP_MS;
        for series in 0..SAMPLES as u32 {
            let histogram = histogram((t_ms / STEP_MS) as u64, u64::from(series));
            black_box(head.append_histogram(SeriesRef(series), t_ms, &histogram));
        }
    });
}

/// A chunk of 20 native histograms to samples.
#[divan::bench]
fn decode_histogram_chunk(bencher: Bencher<'_, '_>) {
    const SAMPLES: u64 = 20;
    let mut chunk = histogram::Encoder::begin(CounterReset::Unknown, 0, &histogram(1, 3));
    for step in 2..=SAMPLES {
        chunk.append(step as i64 * STEP_MS, &histogram(step, 3)).expect("the histogram grows");
    }
    bencher.counter(ItemsCount::new(SAMPLES)).bench_local(|| {
        let look = |_: i64, sample: &Histogram| {
            black_box(sample);
        };
        histogram::decode(chunk.bytes(), chunk.kind(), look).expect("the chunk was just encoded");
    });
}

/// A batch of known series into the log's bytes.
#[divan::bench]
fn encode_wal_batch(bencher: Bencher<'_, '_>) {
    let batches: Vec<WriteBatch> = {
        let pool = BatchPool::new(64, 64 << 20);
        bodies(30).iter().map(|body| decode(&pool, body)).collect()
    };
    let mut encoder = LaneEncoder::new(0, FILE_BYTES);
    let mut bases = vec![WalBase::default(); SAMPLES];
    let mut number = 0;
    bencher.counter(ItemsCount::new(SAMPLES)).bench_local(|| {
        let batch = &batches[number as usize % batches.len()];
        number += 1;
        for (index, (sample, base)) in batch.samples.iter().zip(&mut bases).enumerate() {
            encoder.sample(SeriesRef(index as u32), sample.t_ms, sample.v_bits, base);
        }
        encoder.finish_batch(StreamId(0), b"bench", BatchName { boot: 1, number });
        encoder.take(Vec::new())
    });
}

/// Full XOR chunks of a counter.
#[divan::bench]
fn decode_chunk(bencher: Bencher<'_, '_>) {
    let samples: Vec<(i64, u64)> = (0..CHUNK_SAMPLES as i64)
        .map(|index| (1_700_000_000_000 + index * STEP_MS, ((index * index) as f64).to_bits()))
        .collect();
    let bytes = xor::encode(&samples);
    bencher.counter(ItemsCount::new(CHUNK_SAMPLES)).bench_local(|| {
        let mut all = 0;
        xor::decode(black_box(&bytes), |t_ms, value| all ^= t_ms as u64 ^ value)
            .expect("an encoded chunk is valid");
        all
    });
}
