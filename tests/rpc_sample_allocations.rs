//! Samples between nodes: once a connection knows its series, encoding and decoding allocate nothing.
#![expect(unsafe_code, reason = "a global allocator that counts cannot be written without")]

#[path = "support/counting_allocator.rs"]
mod counting_allocator;

use std::sync::atomic::Ordering;

use counting_allocator::{ALLOCATIONS, Counting};
use gyre::rpc::samples::{BatchPool, BatchWriter, Decoder, Encoder, SERIES_IDS_MAX, SampleSource};
use gyre_ring::SeriesKey;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// 2,000 series in an order that changes, two samples each, some with a histogram.
struct Scrape {
    round: i64,
}

impl SampleSource for Scrape {
    fn segment(&self) -> &str {
        "acme/0-of-1@1"
    }

    fn series_len(&self) -> usize {
        2000
    }

    fn write_to(&self, out: &mut BatchWriter<'_>) {
        for place in 0..2000 {
            // Every other round backwards.
            let number = if self.round % 2 == 0 { place } else { 1999 - place };
            let key = SeriesKey(number * 0x9e37_79b9_7f4a_7c15);
            out.series(key, b"labels of this series");
            for t_ms in [15_000 * self.round, 15_000 * self.round + 5_000] {
                out.sample(t_ms, (t_ms as f64 * number as f64).to_bits());
            }
            if number % 10 == 0 {
                out.histogram(15_000 * self.round, &[self.round as u8; 50]);
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

#[test]
fn known_series_cost_no_allocation() {
    let (mut encoder, mut decoder) = (Encoder::new(SERIES_IDS_MAX), Decoder::new(SERIES_IDS_MAX));
    let (pool, mut bytes) = (BatchPool::default(), Vec::new());
    let mut run = |rounds: std::ops::Range<i64>| {
        for round in rounds {
            bytes.clear();
            encoder.encode(&Scrape { round }, &mut bytes).unwrap();
            let mut batch = pool.take();
            decoder.decode(&bytes, &mut batch).unwrap();
            assert_eq!((batch.samples.len(), batch.histograms.len()), (4000, 200));
        }
    };
    run(0..10);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    assert!(before > 0, "allocations are counted");
    run(10..30);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    // The test's own thread may note something beside.
    assert!(allocations <= 10, "{allocations} allocations for 84,000 samples");
}
