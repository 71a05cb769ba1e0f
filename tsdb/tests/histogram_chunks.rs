//! Chunks of histograms: what goes in comes out, also after the chunk was opened again, and damage is noticed.
//!
//! That the bytes are Prometheus's is checked against a real one in `tests/interop` of the node.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/histograms.rs"]
mod histograms;

use gyre_tsdb::chunk::ChunkError;
use gyre_tsdb::chunk::histogram::{Encoder, decode, first_time};
use gyre_tsdb::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, Kind, STALE_NAN, Side, Span};
use histograms::{STEPS, histogram, is_histogram};
use proptest::prelude::*;

/// Encodes samples into as many chunks as they need.
fn encode(samples: &[(i64, Histogram)], reopen: bool) -> Vec<Encoder> {
    let mut chunks: Vec<Encoder> = Vec::new();
    for (t_ms, sample) in samples {
        let Some(last) = chunks.last_mut() else {
            chunks.push(Encoder::begin(CounterReset::Unknown, *t_ms, sample));
            continue;
        };
        if reopen {
            let again = Encoder::resume(last.bytes(), last.kind()).unwrap();
            assert_eq!(again, *last, "a chunk that is opened again goes on where it was");
            *last = again;
        }
        if let Err(header) = last.append(*t_ms, sample) {
            chunks.push(Encoder::begin(header, *t_ms, sample));
        }
    }
    chunks
}

fn decoded(chunk: &[u8], kind: Kind) -> Result<Vec<(i64, Histogram)>, ChunkError> {
    let mut samples = Vec::new();
    decode(chunk, kind, |t_ms, sample| samples.push((t_ms, sample.clone()))).map(|()| samples)
}

fn all(chunks: &[Encoder]) -> Vec<(i64, Histogram)> {
    chunks.iter().flat_map(|chunk| decoded(chunk.bytes(), chunk.kind()).unwrap()).collect()
}

/// Seeds of histograms that mostly grow, with times.
fn samples() -> impl Strategy<Value = Vec<(i64, Histogram)>> {
    let seed = prop_oneof![30 => 0u64..3, 3 => STEPS..u64::MAX, 1 => Just(STALE_NAN)];
    proptest::collection::vec((seed, -3i64..3), 1..150).prop_map(|steps| {
        let (mut grown, mut t_ms) = (0, 1_700_000_000_000);
        let sample = |(seed, jitter): (u64, i64)| {
            t_ms += 15_000 + jitter;
            grown += if seed < 3 { seed } else { 0 };
            (t_ms, histogram(if seed < 3 { grown } else { seed }))
        };
        steps.into_iter().map(sample).collect()
    })
}

proptest! {
    #[test]
    fn any_histograms_come_back(samples in samples(), reopen in any::<bool>()) {
        let chunks = encode(&samples, reopen);
        let found = all(&chunks);
        prop_assert_eq!(found.len(), samples.len());
        for ((t_ms, sample), (found_ms, found)) in samples.iter().zip(&found) {
            prop_assert_eq!(t_ms, found_ms);
            prop_assert!(sample.same_data(found), "{:?} is not {:?}", found, sample);
        }
        for chunk in &chunks {
            prop_assert_eq!(first_time(chunk.bytes()), Some(decoded(chunk.bytes(), chunk.kind()).unwrap()[0].0));
        }
    }

    #[test]
    fn garbage_is_an_error_or_samples_but_never_a_panic(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..150), samples in 0u8..20,
    ) {
        // A few samples, or the layout would never be read to its end.
        if bytes.len() > 3 {
            (bytes[0], bytes[1]) = (0, samples);
        }
        for kind in [Kind::Integer, Kind::Float] {
            let _ = decoded(&bytes, kind);
            let _ = Encoder::resume(&bytes, kind);
        }
        let _ = first_time(&bytes);
    }

    #[test]
    fn a_changed_chunk_never_panics(samples in samples(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        for chunk in encode(&samples, false) {
            let mut bytes = chunk.bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _ = decoded(&bytes, chunk.kind());
        }
    }
}

#[test]
fn a_chunk_with_custom_bounds_is_written_as_the_format_says() {
    // Put together by hand from Prometheus's description of the format.
    let bits = [
        "0000000000000010 10000000", // two samples, after a counter reset
        "00000000",                  // zero threshold 0
        "1110 111001011",            // schema -53
        "10001 10010 0",             // one positive span: length 2, offset 0
        "0",                         // no negative spans
        "10010",                     // two bounds
        "1110 111110101",            // 0.5, as 500 + 1
        "11110 100111000101",        // 2.5, as 2500 + 1
        "11110 001111101000",        // 1000 ms
        "10011 0",                   // count 3, zero count 0
        "0100000000010000000000000000000000000000000000000000000000000000", // sum 4.0
        "10001 10001",               // buckets: 1, then 1 more
        // The second sample, at 3000 ms: 2000 ms later; count 5: 2 more; the sum is the same.
        "11110 011111010000 10010 0 0",
        // Buckets 1 and 4: the difference between both grew by 2.
        "0 10010",
    ];
    let bits: Vec<u8> = bits.concat().bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
    let byte = |bits: &[u8]| bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | bit << (7 - at));
    let expected: Vec<u8> = bits.chunks(8).map(byte).collect();

    let sample = |counts: [u64; 2]| Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: counts.iter().sum(),
        sum: 4f64.to_bits(),
        positive: Side { spans: vec![Span { offset: 0, length: 2 }], counts: counts.to_vec() },
        bounds: [0.5, 2.5].into(),
        ..Histogram::default()
    };
    let mut chunk = Encoder::begin(CounterReset::Reset, 1000, &sample([1, 2]));
    chunk.append(3000, &sample([1, 4])).unwrap();
    assert_eq!(chunk.bytes(), expected);
    let read = decoded(&expected, Kind::Integer).unwrap();
    assert_eq!(read[0], (1000, sample([1, 2])));
    assert_eq!(read[1], (3000, Histogram { counter_reset: CounterReset::NotReset, ..sample([1, 4]) }));
}

#[test]
fn a_cut_chunk_is_an_error() {
    let samples: Vec<_> = (0..12).map(|step| (step * 15_000, histogram(step as u64 * 30))).collect();
    let chunks = encode(&samples, false);
    assert_eq!(chunks.len(), 1, "new buckets alone do not cut");
    let bytes = chunks[0].bytes();
    for cut in 3..bytes.len() {
        assert!(decoded(&bytes[..cut], Kind::Integer).is_err(), "cut at {cut}");
    }
}

fn with_buckets(offset: i32, counts: &[u64]) -> Histogram {
    let positive =
        Side { spans: vec![Span { offset, length: counts.len() as u32 }], counts: counts.to_vec() };
    Histogram { count: counts.iter().sum(), positive, ..Histogram::default() }
}

#[test]
fn what_cuts_a_chunk_and_what_does_not() {
    let gauge = |sample: Histogram| Histogram { counter_reset: CounterReset::Gauge, ..sample };
    let first = with_buckets(0, &[1, 0, 3]);
    let cuts = |first: &Histogram, second: &Histogram| {
        Encoder::begin(first.counter_reset, 0, first).append(1, second).err()
    };
    for (second, expected, why) in [
        (with_buckets(0, &[1, 0, 3]), None, "the same"),
        (with_buckets(-2, &[1, 0, 1, 0, 3, 4]), None, "new buckets"),
        (with_buckets(2, &[3, 4]), Some(CounterReset::Reset), "a bucket with observations vanished"),
        (with_buckets(0, &[2, 0, 2]), Some(CounterReset::Reset), "a bucket went down"),
        (with_buckets(0, &[1, 1, 1]), Some(CounterReset::Reset), "the count went down"),
        (Histogram { schema: 1, ..first.clone() }, Some(CounterReset::Unknown), "another schema"),
        (
            Histogram { zero_threshold: 1.0, ..first.clone() },
            Some(CounterReset::Unknown),
            "another threshold",
        ),
        (
            Histogram { counter_reset: CounterReset::Reset, ..first.clone() },
            Some(CounterReset::Reset),
            "the sender says so",
        ),
        (gauge(first.clone()), Some(CounterReset::Gauge), "a gauge after a counter"),
        (Histogram::stale(Kind::Integer), None, "a stale marker"),
    ] {
        assert_eq!(cuts(&first, &second), expected, "{why}");
    }
    // An empty bucket may vanish: the chunk keeps it.
    let mut without = with_buckets(0, &[1, 3]);
    without.positive.spans = vec![Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }];
    assert_eq!(cuts(&first, &without), None);
    assert_eq!(cuts(&gauge(first.clone()), &gauge(with_buckets(5, &[1]))), None, "gauges go up and down");
    assert_eq!(cuts(&gauge(first.clone()), &first), Some(CounterReset::Unknown), "a counter after a gauge");
    assert_eq!(cuts(&Histogram::stale(Kind::Integer), &first), Some(CounterReset::Unknown), "behind the end");
}

#[test]
fn the_test_s_histograms_are_histograms() {
    assert!(is_histogram("h", 0));
}
