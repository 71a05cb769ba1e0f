//! Series as bytes for another node: they come back as they were, and bytes from anywhere are series or an error.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "common/histograms.rs"]
mod histograms;

use std::path::Path;

use gyre_tsdb::disk::SimDisk;
use gyre_tsdb::histogram::Histogram;
use gyre_tsdb::labels::{self, Labels};
use gyre_tsdb::{Decoded, Head, NotABatch, SeriesBatch};
use histograms::{STEPS, histogram, is_histogram};
use proptest::prelude::*;

/// Labels, floats as bits, histograms.
type Series = (Vec<u8>, Vec<(i64, u64)>, Vec<(i64, Histogram)>);

fn samples() -> impl Strategy<Value = Vec<(String, i64, u64)>> {
    let value = prop_oneof![4 => any::<f64>().prop_map(f64::to_bits), 2 => 0u64..STEPS];
    let t_ms = prop_oneof![3 => 0i64..400, 1 => -400i64..0].prop_map(|t| t * 15_000);
    let sample = (0usize..3, t_ms, value).prop_map(|(s, t, v)| (["m", "x", "h"][s].to_owned(), t, v));
    proptest::collection::vec(sample, 0..900)
}

/// A head with these samples, some chunks of which are in files.
fn head(samples: &[(String, i64, u64)]) -> Head {
    let disk = SimDisk::default();
    let mut head = Head::new(&disk, Path::new("shard")).unwrap();
    for some in samples.chunks(100) {
        for (name, t_ms, value) in some {
            let bytes = labels::encode([("__name__", name.as_str())]);
            let series = head.create(u128::from(name.as_bytes()[0]), Labels::parse(&bytes).unwrap()).unwrap();
            if is_histogram(name, *value) {
                head.apply_histogram(series, *t_ms, &histogram(*value));
            } else {
                head.apply(series, *t_ms, *value);
            }
        }
        while let Some(flush) = head.sealed_mut().take_flush(some[0].1 % 2 == 0) {
            flush.write(&disk).unwrap();
            let view = flush.map(&disk).unwrap();
            head.sealed_mut().flushed(&flush, view);
        }
    }
    head
}

fn read(head: &Head, (min_ms, max_ms): (i64, i64)) -> SeriesBatch {
    let mut batch = SeriesBatch::default();
    for series in head.select(&[]) {
        head.read(series, min_ms, max_ms, &mut batch);
    }
    batch
}

fn ship(batch: &SeriesBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    SeriesBatch::begin_shipped(&mut bytes);
    batch.series().iter().for_each(|series| batch.put_shipped(series, &mut bytes).unwrap());
    bytes
}

fn decode(batch: &SeriesBatch, range: (i64, i64)) -> Option<Vec<Series>> {
    let one = |series| {
        let (mut times, mut values, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
        let mut to = Decoded {
            times: &mut times,
            values: &mut values,
            histogram: &mut |t_ms, sample| histograms.push((t_ms, sample.clone())),
        };
        batch.decode(series, range, &mut to, &mut Vec::new()).ok()?;
        let floats = times.into_iter().zip(values.into_iter().map(f64::to_bits)).collect();
        Some((batch.labels(series).as_bytes().to_vec(), floats, histograms))
    };
    batch.series().iter().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn series_come_back_with_all_their_samples(samples in samples(), min_ms in -4_000_000i64..4_000_000) {
        let range = (min_ms, min_ms + 3_000_000);
        let batch = read(&head(&samples), range);
        let shipped = SeriesBatch::from_shipped(ship(&batch)).unwrap();
        prop_assert_eq!(decode(&shipped, range).unwrap(), decode(&batch, range).unwrap());
    }

    #[test]
    fn damaged_series_are_series_or_an_error(
        samples in samples(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: Option<prop::sample::Index>,
    ) {
        let mut bytes = ship(&read(&head(&samples), (i64::MIN, i64::MAX)));
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(batch) = SeriesBatch::from_shipped(bytes) {
            decode(&batch, (i64::MIN, i64::MAX));
        }
    }

    #[test]
    fn any_bytes_are_series_or_an_error(mut bytes: Vec<u8>) {
        bytes.insert(0, 1);
        if let Ok(batch) = SeriesBatch::from_shipped(bytes) {
            decode(&batch, (i64::MIN, i64::MAX));
        }
    }
}

#[test]
fn another_version_is_named() {
    assert_eq!(SeriesBatch::from_shipped(vec![2]).err(), Some(NotABatch::Version(Some(2))));
    assert_eq!(SeriesBatch::from_shipped(vec![]).err(), Some(NotABatch::Version(None)));
    assert_eq!(SeriesBatch::from_shipped(vec![1]).unwrap().series().len(), 0);
}
