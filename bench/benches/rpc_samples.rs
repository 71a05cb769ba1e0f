//! Micro benches of samples' compact form between nodes, over k8s requests of 2,000 samples: items are samples.
//!
//! Run by `cargo bench -p bench --bench rpc_samples`. Beside the times it prints what a sample takes on the wire once
//! the connection knows its series.

use bench::stream::{Shape, Stream, k8s};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use gyre::api::push::decode::WriteBatch;
use gyre::api::push::pool::BatchPool;
use gyre::rpc::samples::{BatchWriter, Decoder, Encoder, SERIES_IDS_MAX, SampleBatch, SampleSource};
use gyre_ring::SeriesKey;
use gyre_ring::hash::HashSeed;

/// Series of the stream: ten requests a step, as many as a connection sees of a tenant's shard.
const SERIES: usize = 20_000;
const SAMPLES_PER_REQUEST: usize = 2_000;
const STEPS: u32 = 30;
const REQUEST_BYTES_MAX: u64 = 100 << 20;

fn main() {
    print_sizes();
    divan::main();
}

/// A request as the coordinator holds it when it sends it on.
struct Part {
    request: WriteBatch,
    keys: Vec<u128>,
}

impl SampleSource for Part {
    fn segment(&self) -> &str {
        "bench/0-of-1@1"
    }

    fn series_len(&self) -> usize {
        self.keys.len()
    }

    fn write_to(&self, out: &mut BatchWriter<'_>) {
        for (series, &key) in self.request.series.iter().zip(&self.keys) {
            out.series(SeriesKey(key), self.request.label_fields(series));
            for sample in self.request.samples_of(series) {
                out.sample(sample.t_ms, sample.v_bits);
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        self.request.body.len()
    }
}

fn stream() -> Stream {
    let shape =
        Shape { steps: STEPS, step_ms: 15_000, lanes: 1, end_ms: 1_700_000_000_000, tail_requests: 0 };
    k8s::generate(&std::env::temp_dir(), SERIES, shape, 1).expect("the temporary folder takes a file")
}

fn parts() -> Vec<Part> {
    let (stream, pool, seed) = (stream(), BatchPool::new(4, 64 << 20), HashSeed(7));
    let mut body = Vec::new();
    let part = |request: &_| {
        stream.read(*request, &mut body).expect("the stream's file is readable");
        let request =
            WriteBatch::decode(&pool, &body, REQUEST_BYTES_MAX).expect("the bench's requests are valid");
        let keys = request.series.iter().map(|series| seed.key(request.label_fields(series)).0).collect();
        Part { request, keys }
    };
    stream.lanes[0].main.iter().map(part).collect()
}

/// The first steps alone: a coordinator sends on what it has just decoded, so that the caches hold it.
fn recent_parts() -> Vec<Part> {
    let mut parts = parts();
    parts.truncate(3 * SERIES / SAMPLES_PER_REQUEST);
    parts
}

fn encode_all(encoder: &mut Encoder, parts: &[Part]) -> Vec<Vec<u8>> {
    let encode = |part: &Part| {
        let mut out = Vec::new();
        encoder.encode(part, &mut out).expect("the parts are within all limits");
        out
    };
    parts.iter().map(encode).collect()
}

fn print_sizes() {
    let parts = parts();
    let messages = encode_all(&mut Encoder::new(SERIES_IDS_MAX), &parts);
    let per_step = SERIES / SAMPLES_PER_REQUEST;
    let (first, steady) = messages.split_at(per_step);
    let bytes = |messages: &[Vec<u8>]| messages.iter().map(Vec::len).sum::<usize>() as f64;
    let steady_samples: usize = parts[per_step..].iter().map(|part| part.request.samples.len()).sum();
    println!("first step, labels included: {:.1} bytes a sample", bytes(first) / SERIES as f64);
    println!("later steps: {:.2} bytes a sample", bytes(steady) / steady_samples as f64);
    println!("the same as remote write (snappy): {:.1} bytes a sample", {
        let stream = stream();
        stream.main_bytes as f64 / stream.main_samples as f64
    });
}

/// Series known, values changing as they do.
#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let parts = recent_parts();
    let mut encoder = Encoder::new(SERIES_IDS_MAX);
    encode_all(&mut encoder, &parts);
    let (mut out, mut next) = (Vec::new(), 0);
    bencher.counter(ItemsCount::new(SAMPLES_PER_REQUEST)).bench_local(|| {
        out.clear();
        encoder.encode(&parts[next % parts.len()], &mut out).expect("the parts are within all limits");
        next += 1;
        black_box(out.len())
    });
}

/// The same on the other side.
#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let parts = recent_parts();
    let mut encoder = Encoder::new(SERIES_IDS_MAX);
    let first = encode_all(&mut encoder, &parts);
    // All of these follow on the first round, and each round on the one before.
    let again = encode_all(&mut encoder, &parts);
    let (mut decoder, mut batch) = (Decoder::new(SERIES_IDS_MAX), SampleBatch::default());
    for message in &first {
        decoder.decode(message, &mut batch).expect("encoded messages are valid");
    }
    let mut next = 0;
    bencher.counter(ItemsCount::new(SAMPLES_PER_REQUEST)).bench_local(|| {
        decoder.decode(&again[next % again.len()], &mut batch).expect("encoded messages are valid");
        next += 1;
        black_box(batch.samples.len())
    });
}

/// Series that the connection has not met: labels travel.
#[divan::bench]
fn encode_new_series(bencher: Bencher<'_, '_>) {
    let parts = recent_parts();
    let mut out = Vec::new();
    let mut encoder = Encoder::new(SERIES_IDS_MAX);
    bencher.counter(ItemsCount::new(SAMPLES_PER_REQUEST)).bench_local(|| {
        out.clear();
        encoder.forget();
        encoder.encode(&parts[0], &mut out).expect("the parts are within all limits");
        black_box(out.len())
    });
}
