//! The head against a model: a map from series and time to a value.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;

use gyre_tsdb::disk::{Disk, SimDisk};
use gyre_tsdb::labels::{self, Labels};
use gyre_tsdb::{Appended, Decoded, Head, Matcher, SeriesBatch, SeriesRef};
use proptest::prelude::*;

const STALE: u64 = 0x7ff0_0000_0000_0002;

fn key(labels: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(labels)
}

fn create(head: &mut Head, name: &str) -> SeriesRef {
    let bytes = labels::encode([("__name__", name), ("job", "test")]);
    head.create(key(&bytes), Labels::parse(&bytes).unwrap()).unwrap()
}

fn flush(head: &mut Head, disk: &dyn Disk, all: bool) {
    while let Some(flush) = head.sealed_mut().take_flush(all) {
        flush.write(disk).unwrap();
        let view = flush.map(disk).unwrap();
        head.sealed_mut().flushed(&flush, view);
    }
}

fn read(head: &Head, series: SeriesRef, min: i64, max: i64) -> Vec<(i64, u64)> {
    let mut batch = SeriesBatch::default();
    head.read(series, min, max, &mut batch);
    let (mut times, mut values, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
    let mut histogram = |_, _: &_| panic!("a histogram where only floats were appended");
    for data in batch.series() {
        let mut to = Decoded { times: &mut times, values: &mut values, histogram: &mut histogram };
        batch.decode(data, (min, max), &mut to, &mut scratch).unwrap();
    }
    times.into_iter().zip(values.into_iter().map(f64::to_bits)).collect()
}

#[derive(Clone, Debug)]
enum Op {
    /// Series, step forward in time (or back, if negative), value.
    Append(u8, i64, u64),
    Flush(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let step = prop_oneof![
        20 => Just(15_000i64),
        4 => -200_000i64..200_000,
        1 => Just(0i64),
        1 => 3_000_000i64..9_000_000,
    ];
    let value =
        prop_oneof![4 => (0u64..5).prop_map(|v| (v as f64).to_bits()), 1 => any::<u64>(), 1 => Just(STALE)];
    prop_oneof![
        40 => (0u8..3, step, value).prop_map(|(s, t, v)| Op::Append(s, t, v)),
        1 => any::<bool>().prop_map(Op::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn samples_in_any_order_come_back_bit_exact(ops in proptest::collection::vec(op(), 1..1500)) {
        let disk = SimDisk::default();
        let mut head = Head::new(&disk, Path::new("shard")).unwrap();
        let series: Vec<_> = ["a", "b", "c"].iter().map(|name| create(&mut head, name)).collect();
        let mut model = vec![BTreeMap::new(); 3];
        let mut now = [1_700_000_000_000i64; 3];
        for op in ops {
            match op {
                Op::Append(s, step, value) => {
                    let s = usize::from(s);
                    let t = now[s] + step;
                    now[s] = now[s].max(t);
                    let newest = model[s].last_key_value().map(|(t, _)| *t);
                    let expected = match model[s].get(&t) {
                        Some(v) if *v == value => Appended::Again,
                        Some(_) => Appended::Conflict,
                        None if newest.is_none_or(|n| n < t) => Appended::InOrder,
                        None => Appended::Late,
                    };
                    prop_assert_eq!(head.append(series[s], t, value), expected);
                    model[s].entry(t).or_insert(value);
                }
                Op::Flush(all) => flush(&mut head, &disk, all),
            }
        }
        for (s, model) in model.iter().enumerate() {
            let all: Vec<_> = model.iter().map(|(t, v)| (*t, *v)).collect();
            prop_assert_eq!(read(&head, series[s], i64::MIN, i64::MAX), all.clone());
            if let (Some(first), Some(last)) = (all.first(), all.last()) {
                let (min, max) = (first.0 + (last.0 - first.0) / 3, last.0 - (last.0 - first.0) / 3);
                let part: Vec<_> = all.iter().copied().filter(|(t, _)| (min..=max).contains(t)).collect();
                prop_assert_eq!(read(&head, series[s], min, max), part.clone());
                prop_assert!(part.is_empty() || head.overlaps(series[s], min, max));
                prop_assert!(!head.overlaps(series[s], last.0 + 1, i64::MAX));
                prop_assert!(!head.overlaps(series[s], i64::MIN, first.0 - 1));
            }
        }
    }
}

#[test]
fn times_at_the_ends_of_the_range_are_kept() {
    let disk = SimDisk::default();
    let mut head = Head::new(&disk, Path::new("shard")).unwrap();
    let series = create(&mut head, "extreme");
    let samples = [(i64::MIN, 1), (i64::MIN + 1, 2), (-1, 3), (0, 4), (i64::MAX - 1, 5), (i64::MAX, 6)];
    for (t, v) in samples {
        assert_eq!(head.append(series, t, v), Appended::InOrder);
    }
    assert_eq!(read(&head, series, i64::MIN, i64::MAX), samples);
}

#[test]
fn series_are_found_by_key_and_by_labels() {
    let disk = SimDisk::default();
    let mut head = Head::new(&disk, Path::new("shard")).unwrap();
    let all: Vec<_> = (0..3000).map(|i| create(&mut head, &format!("m{i}"))).collect();
    for (i, series) in all.iter().enumerate() {
        let bytes = labels::encode([("__name__", format!("m{i}").as_str()), ("job", "test")]);
        assert_eq!(head.find(key(&bytes)), Some(*series));
        assert_eq!(create(&mut head, &format!("m{i}")), *series, "made once");
    }
    assert_eq!(head.select(&[Matcher::equal("__name__", "m77")]), [all[77]]);
    assert_eq!(head.select(&[Matcher::equal("job", "test")]), all);
    assert_eq!(head.metric_series("m5"), 1);
}

#[test]
fn memory_of_open_chunks_is_given_back_when_they_are_sealed() {
    let disk = SimDisk::default();
    let mut head = Head::new(&disk, Path::new("shard")).unwrap();
    let series: Vec<_> = (0..100).map(|i| create(&mut head, &format!("m{i}"))).collect();
    let mut most = 0;
    for step in 0..5_000i64 {
        for (i, series) in series.iter().enumerate() {
            let noise = (step * 31 + i as i64 * 17) % 1000;
            head.append(*series, step * 15_000, (noise as f64).sqrt().to_bits());
        }
        flush(&mut head, &disk, false);
        most = most.max(head.size().open_chunk_bytes + head.size().sealed_memory_bytes);
    }
    assert!(most < 100 * 1300 + (256 << 10), "{most} bytes for 100 series, whatever the number of samples");
}
