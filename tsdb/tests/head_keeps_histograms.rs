//! Histograms in the head, alone and in series that hold floats at other times, against a model.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::histograms::{STEPS, histogram, is_histogram};
use common::{Content, Shard, key, remember};
use gyre_tsdb::disk::SimDisk;
use gyre_tsdb::histogram::{CounterReset, Histogram, STALE_NAN, Side, Span};
use gyre_tsdb::labels::{self, Labels};
use gyre_tsdb::{Appended, Decoded, Head, SeriesBatch, SeriesRef};
use proptest::prelude::*;

fn create(head: &mut Head, name: &str) -> SeriesRef {
    let bytes = labels::encode([("__name__", name)]);
    head.create(key(&bytes), Labels::parse(&bytes).unwrap()).unwrap()
}

fn head() -> (SimDisk, Head) {
    let disk = SimDisk::default();
    let head = Head::new(&disk, "shard".as_ref()).unwrap();
    (disk, head)
}

/// What a query of a range gets: times, and what is said of counter resets.
fn hints(head: &Head, series: SeriesRef, min_ms: i64, max_ms: i64) -> Vec<(i64, CounterReset)> {
    let mut batch = SeriesBatch::default();
    head.read(series, min_ms, max_ms, &mut batch);
    let mut hints = Vec::new();
    let mut histogram = |t, sample: &Histogram| hints.push((t, sample.counter_reset));
    let (mut times, mut values) = (Vec::new(), Vec::new());
    for data in batch.series() {
        let mut to = Decoded { times: &mut times, values: &mut values, histogram: &mut histogram };
        batch.decode(data, (min_ms, max_ms), &mut to, &mut Vec::new()).unwrap();
    }
    hints
}

fn samples() -> impl Strategy<Value = Vec<(u8, i64, u64)>> {
    let step = prop_oneof![
        20 => Just(15_000i64), 4 => -200_000i64..200_000, 1 => Just(0i64), 1 => 3_000_000i64..9_000_000,
    ];
    // Mostly a histogram that grows, sometimes anything.
    let value = prop_oneof![20 => 0u64..2, 2 => STEPS..u64::MAX, 1 => Just(STALE_NAN)];
    proptest::collection::vec((0u8..3, step, value), 1..900)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn histograms_and_floats_in_any_order_come_back(samples in samples(), restart in any::<u16>()) {
        let disk = SimDisk::default();
        let mut shard = Shard::start(&disk, 1 << 20);
        let (mut now, mut grown) = ([1_700_000_000_000i64; 3], [0u64; 3]);
        let mut model = Content::new();
        for (i, (s, step, value)) in samples.into_iter().enumerate() {
            let at = usize::from(s);
            let t = now[at] + step;
            now[at] = now[at].max(t);
            if value < 2 {
                grown[at] += value;
            }
            let value = if value < 2 { grown[at] } else { value };
            let sample = [(["h", "x", "m"][at].to_owned(), t, value)];
            shard.append(&sample);
            remember(&mut model, &sample);
            if i % 64 == usize::from(restart % 64) {
                shard.flush(false);
            }
            if i == usize::from(restart % 1000) {
                shard.commit().unwrap();
                shard.snapshot(|_| {});
                shard = Shard::start(&disk, 1 << 20);
            }
        }
        prop_assert_eq!(shard.content(), model);
        prop_assert_eq!((shard.lost, &shard.report.damage[..]), (0, &[][..]));
    }
}

#[test]
fn a_repeated_histogram_changes_nothing_and_another_one_conflicts() {
    let (_, mut head) = head();
    let series = create(&mut head, "h");
    let (first, second) = (histogram(1), histogram(50));
    assert_eq!(head.append_histogram(series, 1000, &first), Appended::InOrder);
    // The second has more buckets, so that the first gets them too in the chunk.
    assert_eq!(head.append_histogram(series, 3000, &second), Appended::InOrder);
    assert_eq!(head.append_histogram(series, 2000, &histogram(7)), Appended::Late);
    for (t, sample) in [(1000, &first), (2000, &histogram(7)), (3000, &second)] {
        assert_eq!(head.append_histogram(series, t, sample), Appended::Again);
        assert_eq!(head.append_histogram(series, t, &histogram(9)), Appended::Conflict);
        assert_eq!(head.append(series, t, 1f64.to_bits()), Appended::Conflict, "a float at {t}");
    }
    let float = create(&mut head, "f");
    assert_eq!(head.append(float, 1000, 1), Appended::InOrder);
    assert_eq!(head.append_histogram(float, 1000, &first), Appended::Conflict);
    assert_eq!(head.append_histogram(float, 500, &first), Appended::Late);
    assert_eq!(head.append(float, 500, 1), Appended::Conflict);
}

#[test]
fn a_float_stale_marker_ends_a_series_of_histograms() {
    let (_, mut head) = head();
    let series = create(&mut head, "h");
    head.append_histogram(series, 1000, &histogram(1));
    assert_eq!(head.append(series, 2000, STALE_NAN), Appended::InOrder);
    assert_eq!(head.append(series, 2000, STALE_NAN), Appended::Again);
    assert_eq!(head.append_histogram(series, 2000, &histogram(STALE_NAN)), Appended::Again);
    assert_eq!(hints(&head, series, 0, 9000).len(), 2, "both are histograms");
}

#[test]
fn what_is_known_of_counter_resets_is_what_prometheus_querier_says() {
    let (_, mut head) = head();
    let series = create(&mut head, "h");
    let reset = |counter_reset| Histogram { counter_reset, ..histogram(5) };
    for (t, sample) in [
        (1, histogram(3)),
        (2, histogram(4)),
        (3, histogram(2)),
        (4, histogram(30)),
        (5, reset(CounterReset::Gauge)),
        (6, histogram(STALE_NAN)),
        (7, histogram(31)),
    ] {
        assert_eq!(head.append_histogram(series, t, &sample), Appended::InOrder);
    }
    use CounterReset::{Gauge, NotReset, Unknown};
    let all =
        [(1, Unknown), (2, NotReset), (3, Unknown), (4, NotReset), (5, Gauge), (6, Unknown), (7, Unknown)];
    assert_eq!(hints(&head, series, 0, 9), all);
    assert_eq!(hints(&head, series, 2, 3), all[1..3], "also where the range begins within a chunk");
    // A late sample comes between two of which one followed from the other.
    let late = create(&mut head, "late");
    for (t, seed) in [(10, 1), (20, 2), (30, 3), (15, 0)] {
        head.append_histogram(late, t, &histogram(seed));
    }
    assert_eq!(hints(&head, late, 0, 99), [10, 15, 20, 30].map(|t| (t, Unknown)));
}

#[test]
fn histograms_too_large_for_ten_in_a_chunk_are_kept() {
    let (_, mut head) = head();
    let series = create(&mut head, "h");
    let large = |step: u64| {
        let counts = (0..4000).map(|bucket| (bucket * bucket * 7919 + step) % 1_000_003 + step * 2_000_000);
        let counts: Vec<u64> = counts.collect();
        let spans = vec![Span { offset: -2000, length: 4000 }];
        let count = counts.iter().sum();
        Histogram { schema: 5, count, positive: Side { spans, counts }, sum: step, ..Histogram::default() }
    };
    for step in 0..30u64 {
        assert_eq!(large(step).validate(), Ok(()));
        assert_eq!(head.append_histogram(series, step as i64 * 15_000, &large(step)), Appended::InOrder);
    }
    for step in 0..30u64 {
        assert_eq!(head.append_histogram(series, step as i64 * 15_000, &large(step)), Appended::Again);
    }
    let memory = head.size();
    assert!(memory.open_chunk_bytes < 400 << 10, "{memory:?}");
}

#[test]
fn the_test_s_histograms_are_of_all_kinds() {
    assert!(is_histogram("h1", 0) && is_histogram("x", 1) && !is_histogram("x", 2) && !is_histogram("m", 1));
    let some: Vec<_> =
        (0..300u64).map(|i| histogram(i.wrapping_mul(0x9e37_79b9_7f4a_7c15) | STEPS)).collect();
    for kind in [gyre_tsdb::histogram::Kind::Integer, gyre_tsdb::histogram::Kind::Float] {
        assert!(some.iter().any(|h| h.kind == kind && !h.bounds.is_empty()));
        assert!(some.iter().any(|h| h.kind == kind && h.counter_reset == CounterReset::Gauge));
    }
}
