//! What is dropped because a block has it, and what must not be.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;
#[path = "common/windows.rs"]
mod windows;

use std::collections::BTreeSet;
use std::path::Path;

use common::{Content, SHARD, Shard, remember};
use gyre_tsdb::disk::{Disk, SimDisk};
use gyre_tsdb::histogram::{CounterReset, Histogram, STALE_NAN};
use gyre_tsdb::{Appended, Decoded, SeriesBatch, SeriesRef, WINDOW_MS, window_of};
use proptest::prelude::*;
use windows::release;

const BEGIN_MS: i64 = 1_700_000_000_000 / WINDOW_MS * WINDOW_MS;

/// Samples of some windows; with `apart`, those of the others.
fn of_windows(content: &Content, windows: &BTreeSet<i64>, apart: bool) -> Content {
    let mut wanted = content.clone();
    for samples in wanted.values_mut() {
        samples.retain(|t_ms, _| windows.contains(&window_of(*t_ms)) != apart);
    }
    wanted.retain(|_, samples| !samples.is_empty());
    wanted
}

fn floats(series: u64, from: i64, to: i64, step_ms: i64) -> Vec<(String, i64, u64)> {
    let times = (0..).map(|step| from + step * step_ms).take_while(|t_ms| *t_ms < to);
    times
        .flat_map(|t| {
            (0..series).map(move |s| (format!("m{s}"), t, (t as u64 ^ s).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        })
        .collect()
}

#[test]
fn a_released_window_is_gone_and_its_neighbours_are_not() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    let samples = floats(7, BEGIN_MS, BEGIN_MS + 3 * WINDOW_MS, 15_000);
    shard.append(&samples);
    shard.commit().unwrap();
    let mut model = Content::new();
    remember(&mut model, &samples);
    let released = BTreeSet::from([window_of(BEGIN_MS) + 1]);
    release(&mut shard, window_of(BEGIN_MS) + 1);
    assert_eq!(shard.content(), of_windows(&model, &released, true));
}

#[test]
fn a_series_without_samples_is_not_handed_out() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    shard.append(&floats(2, BEGIN_MS, BEGIN_MS + WINDOW_MS, 15_000));
    shard.append(&[("m1".into(), BEGIN_MS + WINDOW_MS, 5)]);
    release(&mut shard, window_of(BEGIN_MS));
    let find = |name| shard.head.find(common::key(&gyre_tsdb::labels::encode([("__name__", name)]))).unwrap();
    let mut batch = SeriesBatch::default();
    for name in ["m0", "m1"] {
        shard.head.read(find(name), BEGIN_MS, BEGIN_MS + 2 * WINDOW_MS, &mut batch);
    }
    let names = batch.series().iter().map(|series| batch.labels(series).get("__name__").map(str::to_owned));
    assert_eq!(names.collect::<Vec<_>>(), [Some("m1".to_owned())]);
}

#[test]
fn the_newest_sample_is_known_again_after_its_window_was_released() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    shard.append(&[("m0".into(), BEGIN_MS, 5), ("h0".into(), BEGIN_MS, 5)]);
    release(&mut shard, window_of(BEGIN_MS));
    assert!(shard.content().get("m0").is_none_or(|samples| samples.is_empty()));
    let series = shard.head.find(common::key(&gyre_tsdb::labels::encode([("__name__", "m0")]))).unwrap();
    assert_eq!(shard.head.append(series, BEGIN_MS, 5), Appended::Again);
    assert_eq!(shard.head.append(series, BEGIN_MS, 6), Appended::Conflict);
    assert_eq!(shard.head.append(series, BEGIN_MS + 1, 6), Appended::InOrder);
    let series = shard.head.find(common::key(&gyre_tsdb::labels::encode([("__name__", "h0")]))).unwrap();
    let again = shard.head.append_histogram(series, BEGIN_MS, &common::histograms::histogram(5));
    assert_eq!(again, Appended::Again);
}

fn find(shard: &Shard, name: &str) -> SeriesRef {
    shard.head.find(common::key(&gyre_tsdb::labels::encode([("__name__", name)]))).unwrap()
}

/// What a reader is told of counter resets, sample by sample.
fn resets(shard: &Shard, name: &str) -> Vec<CounterReset> {
    let mut batch = SeriesBatch::default();
    shard.head.read(find(shard, name), i64::MIN, i64::MAX, &mut batch);
    let mut resets = Vec::new();
    for series in batch.series() {
        let mut histogram = |_, sample: &Histogram| resets.push(sample.counter_reset);
        let mut to = Decoded { times: &mut Vec::new(), values: &mut Vec::new(), histogram: &mut histogram };
        batch.decode(series, (i64::MIN, i64::MAX), &mut to, &mut Vec::new()).unwrap();
    }
    resets
}

#[test]
fn a_live_histogram_goes_with_its_window_and_is_appended_to_as_before() {
    for restarts in [false, true] {
        let disk = SimDisk::default();
        let mut shard = Shard::start(&disk, 1 << 20);
        let again = |shard: &mut Shard| {
            if restarts {
                shard.snapshot(|_| {});
                *shard = Shard::start(&disk, 1 << 20);
            }
        };
        let at = |t_ms: i64, seed: u64| [("h0".to_owned(), BEGIN_MS + t_ms, seed)];
        shard.append(&[at(0, 5), at(1000, 6), at(2000, 7)].concat());
        release(&mut shard, window_of(BEGIN_MS));
        again(&mut shard);
        assert_eq!(shard.content(), Content::new());
        assert!(shard.head.windows().is_empty());
        let series = find(&shard, "h0");
        assert!(!shard.head.overlaps(series, BEGIN_MS, BEGIN_MS + 2000), "there is nothing to be read");

        let mut append = |t_ms: i64, seed: u64| {
            shard.head.append_histogram(series, BEGIN_MS + t_ms, &common::histograms::histogram(seed))
        };
        assert_eq!(append(2000, 7), Appended::Again);
        assert_eq!(append(2000, 8), Appended::Conflict);
        assert_eq!(append(3000, 8), Appended::InOrder);
        assert_eq!(append(4000, 9), Appended::InOrder);
        let expected = [(BEGIN_MS + 3000, 8), (BEGIN_MS + 4000, 9)];
        assert_eq!(shard.content()["h0"], expected.into_iter().collect());
        assert_eq!(resets(&shard, "h0"), [CounterReset::Unknown, CounterReset::NotReset]);

        release(&mut shard, window_of(BEGIN_MS));
        again(&mut shard);
        assert_eq!(shard.head.append(series, BEGIN_MS + 6000, STALE_NAN), Appended::InOrder);
        release(&mut shard, window_of(BEGIN_MS));
        again(&mut shard);
        assert_eq!(shard.head.append(series, BEGIN_MS + 6000, STALE_NAN), Appended::Again);
        assert_eq!(shard.head.append(series, BEGIN_MS + 7000, 9), Appended::InOrder, "a float now");
        assert_eq!(shard.content()["h0"], [(BEGIN_MS + 7000, 9)].into_iter().collect());
    }
}

#[test]
fn a_histogram_that_has_stopped_costs_no_memory_after_its_window_was_released() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    shard.append(&[("h0".into(), BEGIN_MS, 5)]);
    release(&mut shard, window_of(BEGIN_MS));
    assert!(shard.head.size().open_chunk_bytes > 0, "its last sample is known");
    shard.append(&[("m0".into(), BEGIN_MS + 2 * WINDOW_MS, 5)]);
    release(&mut shard, window_of(BEGIN_MS) + 2);
    assert_eq!(shard.head.size().open_chunk_bytes, 0);
    for restarts in [false, true] {
        if restarts {
            shard.snapshot(|_| {});
            shard = Shard::start(&disk, 1 << 20);
        }
        assert_eq!(shard.content(), Content::new());
        let series = find(&shard, "h0");
        assert!(shard.head.is_late(series, BEGIN_MS - 1));
        assert!(!shard.head.is_late(series, BEGIN_MS));
    }
    let series = find(&shard, "h0");
    let later = common::histograms::histogram(6);
    assert_eq!(shard.head.append_histogram(series, BEGIN_MS + 1, &later), Appended::InOrder);
}

#[test]
fn files_of_released_chunks_are_removed_when_no_snapshot_can_need_them() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    // More than one file of sealed chunks, in as few windows as can be.
    let samples = floats(1500, BEGIN_MS, BEGIN_MS + 2 * WINDOW_MS, 2_500);
    for part in samples.chunks(50_000) {
        shard.append(part);
        shard.commit().unwrap();
        shard.flush(false);
    }
    let files = |disk: &SimDisk| disk.list(&Path::new(SHARD).join("sealed")).unwrap().len();
    shard.snapshot(|_| {});
    let before = files(&disk);
    assert!(before > 1, "{before}");
    release(&mut shard, window_of(BEGIN_MS));
    release(&mut shard, window_of(BEGIN_MS) + 1);
    for _ in 0..2 {
        shard.snapshot(|_| {});
        assert_eq!(files(&disk), before, "an older snapshot refers to them");
    }
    shard.snapshot(|_| {});
    assert_eq!(files(&disk), 1, "the one that is written to stays");
    // A start on what is left.
    let shard = Shard::start(&disk, 1 << 20);
    assert_eq!(shard.head.series_count(), 1500);
    shard.content();
}

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<(String, i64, u64)>),
    /// With `true`, series of which nothing is left are forgotten.
    Release(i64, bool),
    Snapshot,
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let sample = (0u8..6, 0i64..400, 0u64..50).prop_map(|(s, t, v)| {
        (format!("{}{s}", ["m", "h", "x"][usize::from(s % 3)]), BEGIN_MS + t * 60_000, v)
    });
    let op = prop_oneof![
        8 => proptest::collection::vec(sample, 1..60).prop_map(Op::Append),
        3 => (0i64..4, any::<bool>()).prop_map(|(n, forget)| Op::Release(window_of(BEGIN_MS) + n, forget)),
        1 => Just(Op::Snapshot),
        1 => Just(Op::Restart),
    ];
    proptest::collection::vec(op, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn only_what_was_released_is_missing(ops in ops()) {
        let disk = SimDisk::default();
        let mut shard = Shard::start(&disk, 1 << 16);
        let mut model = Content::new();
        // What was there when its window was released: a restart may bring it back.
        let mut released = Content::new();
        for op in ops {
            match op {
                Op::Append(samples) => {
                    // A time that was released may be taken again, by another value: the reader decides then.
                    let fresh = |(name, t, _): &(String, i64, u64)| {
                        !released.get(name).is_some_and(|samples: &std::collections::BTreeMap<i64, u64>| samples.contains_key(t))
                    };
                    let samples: Vec<_> = samples.into_iter().filter(fresh).collect();
                    shard.append(&samples);
                    shard.commit().unwrap();
                    remember(&mut model, &samples);
                }
                Op::Release(window, forget) => {
                    let idle = release(&mut shard, window);
                    if forget {
                        shard.head.forget(&idle, |_| {}).unwrap();
                    }
                    for (name, samples) in of_windows(&model, &BTreeSet::from([window]), false) {
                        model.get_mut(&name).unwrap().retain(|t_ms, _| window_of(*t_ms) != window);
                        released.entry(name).or_default().extend(samples);
                    }
                    for (name, samples) in shard.content() {
                        prop_assert!(samples.keys().all(|t_ms| window_of(*t_ms) != window), "{}", name);
                    }
                    prop_assert!(!shard.head.windows().contains(&window));
                }
                Op::Snapshot => shard.snapshot(|_| {}),
                Op::Restart => {
                    shard = Shard::start(&disk, 1 << 16);
                    prop_assert!(shard.report.damage.is_empty() && shard.lost == 0);
                }
            }
            let content = shard.content();
            for (name, samples) in &model {
                for (t_ms, value) in samples {
                    let found = content.get(name).and_then(|samples| samples.get(t_ms));
                    prop_assert_eq!(found, Some(value), "{} at {}", name, t_ms);
                }
            }
            for (name, samples) in &content {
                for (t_ms, value) in samples {
                    let known = |content: &Content| content.get(name).and_then(|s| s.get(t_ms)) == Some(value);
                    prop_assert!(known(&model) || known(&released), "{} at {}", name, t_ms);
                }
            }
        }
    }
}
