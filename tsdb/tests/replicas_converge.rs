//! Replicas that apply the same samples show the same ones, in whatever order they came, and whatever was flushed,
//! restored or repeated in between. Which of two values for one time counts is compared with a model.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::cmp::{Ordering, Reverse};

use common::histograms::{STEPS, histogram, is_histogram};
use common::{Content, Shard, key, remember};
use gyre_tsdb::disk::SimDisk;
use gyre_tsdb::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, Kind, STALE_NAN, Side, Span};
use gyre_tsdb::labels::{self, Labels};
use gyre_tsdb::winner::{Merge, Value, compare};
use gyre_tsdb::{Appended, Applied, Decoded, Head, SeriesBatch, SeriesRef};
use proptest::prelude::*;

/// Series name, milliseconds, and a float's bits or a histogram's seed.
type Sample = (String, i64, u64);

/// Times with the bits of a float or of a histogram's sum.
type Times = Vec<(i64, u64)>;

/// Few series and times, so that most samples meet others; chunks and buffers fill up all the same.
fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let value = prop_oneof![
        6 => (0u64..6).prop_map(|v| (v as f64 - 2.0).to_bits()),
        4 => any::<u64>(),
        6 => 0u64..8,
        2 => STEPS..u64::MAX,
        3 => Just(STALE_NAN),
    ];
    let t_ms =
        prop_oneof![4 => (0i64..300).prop_map(|t| t * 15_000), 1 => (0i64..12).prop_map(|t| t * 2_400_000)];
    let sample = (0usize..3, t_ms, value).prop_map(|(s, t, v)| (["m", "x", "h"][s].to_owned(), t, v));
    proptest::collection::vec(sample, 1..1200)
}

/// What counts of samples, by the rule as it is written down; histograms are compared by their bytes.
fn model(samples: &[Sample]) -> Content {
    let mut greatest_first = samples.to_vec();
    greatest_first.sort_by_cached_key(|(name, _, v)| {
        Reverse(match *v {
            STALE_NAN => (0, 0, Vec::new()),
            seed if is_histogram(name, seed) => (2, 0, histogram(seed).canonical_bytes()),
            bits => (1, bits, Vec::new()),
        })
    });
    let mut content = Content::new();
    remember(&mut content, &greatest_first);
    content
}

/// Applies samples in batches, in an order of its own and some of them twice; with flushes, snapshots and
/// restarts in between.
fn apply_shuffled(disk: &SimDisk, samples: &[Sample], seed: u64) -> Shard {
    let mut random = seed;
    let mut below = |bound: usize| {
        // A linear congruential generator by Knuth: its upper bits will do.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % bound
    };
    let mut order: Vec<&Sample> = samples.iter().collect();
    order.extend((0..samples.len() / 4).map(|_| &samples[below(samples.len())]));
    if below(4) > 0 {
        // Mostly ascending, as samples come.
        order.sort_by_cached_key(|sample| sample.1 + below(400_000) as i64);
    } else {
        (1..order.len()).for_each(|at| order.swap(at, below(at + 1)));
    }
    let start = |disk: &SimDisk| {
        let mut shard = Shard::start(disk, 4000);
        shard.decides = true;
        shard
    };
    let mut shard = start(disk);
    let mut rest = order.as_slice();
    while !rest.is_empty() {
        let (batch, after) = rest.split_at((1 + below(60)).min(rest.len()));
        let batch: Vec<Sample> = batch.iter().map(|sample| (*sample).clone()).collect();
        rest = after;
        match below(12) {
            // A snapshot of which one half is older than the batch.
            0 => shard.snapshot(|shard| shard.append(&batch)),
            1 => {
                shard.append(&batch);
                shard.flush(true);
            }
            2 => {
                shard.append(&batch);
                shard.commit().unwrap();
                disk.crash(|_, _| 0);
                shard = start(disk);
            }
            _ => shard.append(&batch),
        }
    }
    shard.commit().unwrap();
    shard
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn the_same_samples_in_any_order_give_the_same_content(
        samples in samples(), seeds in any::<[u64; 2]>(),
    ) {
        let expected = model(&samples);
        for seed in seeds {
            let disk = SimDisk::default();
            let mut shard = apply_shuffled(&disk, &samples, seed);
            prop_assert_eq!(shard.content(), expected.clone());
            disk.crash(|_, _| 0);
            let mut restarted = Shard::start(&disk, 4000);
            prop_assert_eq!(restarted.content(), expected.clone());
            prop_assert_eq!((restarted.lost, &restarted.report.damage[..]), (0, &[][..]));
            // Admission sees what counts, and so does a replica that gets everything once more.
            for shard in [&mut shard, &mut restarted] {
                for (name, t, v) in &samples {
                    let series = create(&mut shard.head, name);
                    let counts = expected[name][t];
                    let (admitted, applied) = if is_histogram(name, *v) {
                        let sample = histogram(*v);
                        let head = &mut shard.head;
                        (head.append_histogram(series, *t, &sample), head.apply_histogram(series, *t, &sample))
                    } else {
                        (shard.head.append(series, *t, *v), shard.head.apply(series, *t, *v))
                    };
                    let same = if *v == counts {
                        (Appended::Again, Applied::Again)
                    } else {
                        (Appended::Conflict, Applied::Lost)
                    };
                    prop_assert_eq!((admitted, applied), same, "{} at {}: {:#x}", name, t, v);
                }
                prop_assert_eq!(shard.content(), expected.clone());
            }
        }
    }

    #[test]
    fn comparing_is_a_total_order_in_which_the_same_data_is_equal(seeds in any::<[u64; 3]>(), floats in 0u8..8) {
        let histograms = seeds.map(|seed| histogram(seed | STEPS));
        let value = |at: usize| match floats >> at & 1 {
            0 => Value::Histogram(&histograms[at]),
            _ => Value::Float(seeds[at]),
        };
        let [a, b, c] = [value(0), value(1), value(2)];
        prop_assert_eq!(compare(a, b), compare(b, a).reverse());
        prop_assert_eq!(compare(a, a), Ordering::Equal);
        if compare(a, b).is_le() && compare(b, c).is_le() {
            prop_assert!(compare(a, c).is_le());
        }
        for one in &histograms {
            for other in &histograms {
                prop_assert_eq!(one.canonical_bytes() == other.canonical_bytes(), one.same_data(other));
            }
        }
    }
}

fn create(head: &mut Head, name: &str) -> SeriesRef {
    let bytes = labels::encode([("__name__", name)]);
    head.create(key(&bytes), Labels::parse(&bytes).unwrap()).unwrap()
}

/// A head with one series.
fn head() -> (SimDisk, Head, SeriesRef) {
    let disk = SimDisk::default();
    let mut head = Head::new(&disk, "shard".as_ref()).unwrap();
    let series = create(&mut head, "m");
    (disk, head, series)
}

/// Floats, and sums of histograms, of a series from `min_ms` to `max_ms`.
fn read(head: &Head, series: SeriesRef, min_ms: i64, max_ms: i64) -> (Times, Times) {
    let mut batch = SeriesBatch::default();
    head.read(series, min_ms, max_ms, &mut batch);
    let (mut times, mut values, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    let mut histogram = |t, sample: &Histogram| sums.push((t, sample.sum));
    for data in batch.series() {
        let mut to = Decoded { times: &mut times, values: &mut values, histogram: &mut histogram };
        batch.decode(data, (min_ms, max_ms), &mut to, &mut Vec::new()).unwrap();
    }
    (times.into_iter().zip(values.into_iter().map(f64::to_bits)).collect(), sums)
}

#[test]
fn at_the_newest_time_the_winner_counts_for_reads_admission_and_what_comes_after() {
    let (_disk, mut head, series) = head();
    let (small, large) = (1f64.to_bits(), 2f64.to_bits());
    assert_eq!(head.apply(series, 1000, small), Applied::InOrder);
    assert_eq!(head.apply(series, 1000, large), Applied::Won);
    assert_eq!(head.apply(series, 1000, small), Applied::Lost);
    assert_eq!(head.apply(series, 1000, large), Applied::Again);
    assert_eq!(head.append(series, 1000, small), Appended::Conflict);
    assert_eq!(head.append(series, 1000, large), Appended::Again);
    assert_eq!(read(&head, series, 0, 9000).0, [(1000, large)]);
    // The open chunk goes on behind the loser.
    assert_eq!(head.append(series, 2000, small), Appended::InOrder);
    assert_eq!(head.apply(series, 1000, small), Applied::Lost);
    assert_eq!(read(&head, series, 0, 9000).0, [(1000, large), (2000, small)]);
    assert_eq!(read(&head, series, 2000, 2000).0, [(2000, small)]);
    assert_eq!(read(&head, series, 1000, 1000).0, [(1000, large)]);
}

#[test]
fn a_stale_marker_loses_to_anything_and_is_the_same_as_any_other() {
    let (_disk, mut head, series) = head();
    let stale = Histogram::stale(Kind::Integer);
    assert_eq!(head.apply(series, 1000, STALE_NAN), Applied::InOrder);
    assert_eq!(head.apply_histogram(series, 1000, &stale), Applied::Again);
    assert_eq!(head.apply_histogram(series, 1000, &Histogram::stale(Kind::Float)), Applied::Again);
    // Its bit pattern is greater than that of any float that is a number.
    assert_eq!(head.apply(series, 1000, 0), Applied::Won);
    assert_eq!(head.apply(series, 1000, STALE_NAN), Applied::Lost);
    assert_eq!(head.apply_histogram(series, 1000, &stale), Applied::Lost);
    assert_eq!(read(&head, series, 0, 9000), (vec![(1000, 0)], vec![]));
    // A NaN that is no stale marker is a value.
    assert_eq!(head.apply(series, 1000, STALE_NAN - 1), Applied::Won);
}

#[test]
fn a_late_stale_marker_that_lost_does_not_come_back_when_the_buffers_are_sealed() {
    let (_disk, mut head, series) = head();
    head.apply(series, 100_000, 1);
    assert_eq!(head.apply_histogram(series, 50_000, &Histogram::stale(Kind::Integer)), Applied::Late);
    assert_eq!(head.apply(series, 50_000, 7), Applied::Won);
    // First the late floats fill a chunk, then the late histograms.
    (0..40).for_each(|i| assert_eq!(head.apply(series, i * 1000, 1), Applied::Late));
    (0..40).for_each(|i| {
        assert_eq!(head.apply_histogram(series, i * 1000 + 1, &histogram(i as u64)), Applied::Late);
    });
    assert_eq!(head.apply(series, 50_000, 7), Applied::Again);
    assert_eq!(read(&head, series, 50_000, 50_000), (vec![(50_000, 7)], vec![]));
}

#[test]
fn a_histogram_wins_over_a_float_and_the_time_is_there_once() {
    let (_disk, mut head, series) = head();
    let huge = (-1f64).to_bits();
    for t in [1000, 2000, 3000] {
        assert_eq!(head.apply(series, t, huge), Applied::InOrder);
    }
    assert_eq!(head.apply_histogram(series, 2000, &histogram(5)), Applied::Won);
    assert_eq!(head.apply_histogram(series, 3000, &histogram(6)), Applied::Won);
    assert_eq!(head.apply(series, 2000, huge), Applied::Lost);
    assert_eq!(read(&head, series, 0, 9000), (vec![(1000, huge)], vec![(2000, 5), (3000, 6)]));
    // The newest in-order sample is a float, the one that counts is not.
    assert_eq!(head.append(series, 3000, huge), Appended::Conflict);
    assert_eq!(head.append_histogram(series, 3000, &histogram(6)), Appended::Again);
    assert_eq!(head.apply(series, 4000, huge), Applied::InOrder);
    // The other way round: the chunk has the histogram.
    assert_eq!(head.apply_histogram(series, 5000, &histogram(7)), Applied::InOrder);
    assert_eq!(head.apply(series, 5000, huge), Applied::Lost);
    assert_eq!(read(&head, series, 4000, 9000), (vec![(4000, huge)], vec![(5000, 7)]));
}

#[test]
fn a_winner_over_a_sealed_sample_counts_in_memory_and_from_the_file() {
    let (disk, mut head, series) = head();
    let (small, large) = (1f64.to_bits(), 2f64.to_bits());
    let steps = 0..700;
    steps.clone().for_each(|step| assert_eq!(head.apply(series, step * 15_000, small), Applied::InOrder));
    let flush = |head: &mut Head| {
        while let Some(flush) = head.sealed_mut().take_flush(true) {
            flush.write(&disk).unwrap();
            let view = flush.map(&disk).unwrap();
            head.sealed_mut().flushed(&flush, view);
        }
    };
    flush(&mut head);
    let odd = |step: &i64| step % 2 == 1;
    steps
        .clone()
        .filter(odd)
        .for_each(|step| assert_eq!(head.apply(series, step * 15_000, large), Applied::Won));
    let expected: Vec<_> = steps.clone().map(|s| (s * 15_000, if odd(&s) { large } else { small })).collect();
    assert_eq!(read(&head, series, 0, i64::MAX).0, expected);
    flush(&mut head);
    assert_eq!(read(&head, series, 0, i64::MAX).0, expected);
    for step in steps {
        assert_eq!(head.apply(series, step * 15_000, small) == Applied::Lost, odd(&step), "step {step}");
    }
}

/// Pairs in which the second wins, by `docs/format/histogram.md`.
#[test]
fn of_two_histograms_the_one_with_the_greater_canonical_bytes_wins() {
    let span = |offset, length| Span { offset, length };
    let plain = Histogram {
        schema: 1,
        sum: 7f64.to_bits(),
        count: 3,
        positive: Side { spans: vec![span(1, 2)], counts: vec![1, 2] },
        ..Histogram::default()
    };
    let with = |change: &dyn Fn(&mut Histogram)| {
        let mut changed = plain.clone();
        change(&mut changed);
        changed
    };
    // Flags come first: float, negative buckets, custom bounds.
    let float = with(&|h| h.kind = Kind::Float);
    let negative = with(&|h| h.negative = Side { spans: vec![span(0, 1)], counts: vec![1] });
    let custom = with(&|h| (h.schema, h.bounds) = (CUSTOM_BUCKETS_SCHEMA, [0.5].into()));
    // Then the schema, zig-zagged: 1 is 2, 3 is 6, -3 is 5.
    let [coarse, fine] = [-3, 3].map(|schema| with(&|h| h.schema = schema));
    // The sum from its lowest byte on: 7.0 ends with zeros only, so anything with a low bit set is greater.
    let smaller_sum = with(&|h| h.sum = 1);
    // The counts: the same length, the bucket decides; here the first span's.
    let bucket = with(&|h| h.positive.counts = vec![2, 1]);
    for (loser, winner) in [
        (&plain, &float),
        (&float, &negative),
        (&negative, &custom),
        (&plain, &coarse),
        (&coarse, &fine),
        (&plain, &smaller_sum),
        (&plain, &bucket),
    ] {
        assert_eq!(
            compare(Value::Histogram(loser), Value::Histogram(winner)),
            Ordering::Less,
            "{loser:?} {winner:?}"
        );
    }
    // None of this makes it another histogram.
    let wider = with(&|h| h.positive = Side { spans: vec![span(0, 4)], counts: vec![0, 1, 2, 0] });
    let split = with(&|h| h.positive.spans = vec![span(1, 1), span(0, 1)]);
    let hint = with(&|h| h.counter_reset = CounterReset::Reset);
    let zero = with(&|h| h.zero_threshold = -0.0);
    for same in [&wider, &split, &hint, &zero] {
        assert_eq!(compare(Value::Histogram(&plain), Value::Histogram(same)), Ordering::Equal, "{same:?}");
    }
}

#[test]
fn samples_of_several_replicas_merge_into_one_sequence() {
    let mut merge = Merge::default();
    for t in [3, 1, 2] {
        merge.float(t, t as u64);
        merge.float(t, 0);
    }
    merge.float(4, STALE_NAN);
    merge.histogram(4, &Histogram::stale(Kind::Integer));
    merge.histogram(2, &histogram(9));
    merge.histogram(3, &Histogram::stale(Kind::Integer));
    let (mut times, mut values, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    let mut histogram = |t, sample: &Histogram| sums.push((t, sample.sum));
    merge.finish(&mut Decoded { times: &mut times, values: &mut values, histogram: &mut histogram });
    assert_eq!(times, [1, 3]);
    assert_eq!(values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), [1, 3]);
    // Of two stale markers one is there.
    assert_eq!(sums, [(2, 9), (4, STALE_NAN)]);
}
