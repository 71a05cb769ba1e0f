//! Series of which nothing is left go, and nothing else does.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;
#[path = "common/windows.rs"]
mod windows;

use std::collections::BTreeSet;

use common::{Content, SNAPSHOTS, Shard, key, remember};
use gyre_tsdb::disk::{Disk, SimDisk};
use gyre_tsdb::labels;
use gyre_tsdb::{IdleSeries, Matcher, SeriesBatch, SeriesRef, WINDOW_MS, window_of};
use windows::release;

const BEGIN_MS: i64 = 1_700_000_000_000 / WINDOW_MS * WINDOW_MS;
const MINUTE_MS: i64 = 60_000;

/// Samples of some series in a window, ten minutes apart.
fn samples<'a>(names: impl IntoIterator<Item = &'a str>, window: i64) -> Vec<(String, i64, u64)> {
    let begin_ms = BEGIN_MS + window * WINDOW_MS;
    let of = |name: &str| {
        let at =
            |step: i64| (name.to_owned(), begin_ms + step * 10 * MINUTE_MS, (window * 100 + step) as u64);
        (0..12).map(at).collect::<Vec<_>>()
    };
    names.into_iter().flat_map(of).collect()
}

fn append(shard: &mut Shard, samples: &[(String, i64, u64)]) {
    shard.append(samples);
    shard.commit().unwrap();
}

/// Drops a window, and what has nothing then; gives how many series were forgotten.
fn release_and_forget(shard: &mut Shard, window: i64) -> usize {
    let idle = release(shard, window_of(BEGIN_MS) + window);
    let before = shard.head.series_count();
    shard.head.forget(&idle, |_| {}).unwrap();
    before - shard.head.series_count()
}

fn find(shard: &Shard, name: &str) -> Option<SeriesRef> {
    shard.head.find(key(&labels::encode([("__name__", name)])))
}

fn content_of(samples: &[(String, i64, u64)]) -> Content {
    let mut content = Content::new();
    remember(&mut content, samples);
    content
}

/// The metric names that the index knows, whatever samples there are.
fn names(shard: &Shard) -> BTreeSet<String> {
    let name = |series| shard.head.labels(series).map(|(_, value)| value.to_owned()).collect::<String>();
    shard.head.select(&[]).into_iter().map(name).collect()
}

#[test]
fn a_series_that_has_stopped_goes_when_blocks_have_all_of_it() {
    let mut shard = Shard::start(&SimDisk::default(), 1 << 20);
    append(&mut shard, &samples(["m0", "m1", "h0", "m2"], 0));
    append(&mut shard, &samples(["m1", "m2"], 1));
    append(&mut shard, &samples(["m2", "m3"], 2));
    let (stays, new) = (find(&shard, "m2").unwrap(), find(&shard, "m3").unwrap());

    assert_eq!(release_and_forget(&mut shard, 1), 0, "there is data of window 0");
    assert_eq!(release_and_forget(&mut shard, 0), 3);
    assert_eq!(names(&shard), ["m2", "m3"].map(str::to_owned).into());
    assert_eq!((find(&shard, "m2"), find(&shard, "m3")), (Some(stays), Some(new)), "numbers stay");
    assert_eq!((find(&shard, "m0"), find(&shard, "h0")), (None, None));
    assert_eq!(shard.content(), content_of(&samples(["m2", "m3"], 2)));
    assert_eq!(shard.head.select(&[Matcher::equal("__name__", "m2")]), [stays]);
    assert_eq!(shard.head.select(&[Matcher::equal("__name__", "m0")]), []);
    assert_eq!((shard.head.metric_series("m2"), shard.head.metric_series("m0")), (1, 0));
    assert_eq!(shard.head.size().series, 2);

    // One that comes back is another series.
    append(&mut shard, &samples(["m0", "m2"], 3));
    assert_eq!(find(&shard, "m0"), Some(SeriesRef(5)));
    let mut expected = samples(["m2", "m3"], 2);
    expected.extend(samples(["m0", "m2"], 3));
    assert_eq!(shard.content(), content_of(&expected));
}

#[test]
fn the_limits_are_told_the_metric_of_each_series_that_goes() {
    let mut shard = Shard::start(&SimDisk::default(), 1 << 20);
    append(&mut shard, &samples(["m0", "m1"], 0));
    append(&mut shard, &samples(["m2"], 1));
    let idle = release(&mut shard, window_of(BEGIN_MS));
    let mut gone = Vec::new();
    shard.head.forget(&idle, |metric| gone.push(metric.to_owned())).unwrap();
    assert_eq!(gone, ["m0", "m1"]);
}

#[test]
fn a_series_that_may_still_get_samples_stays() {
    let mut shard = Shard::start(&SimDisk::default(), 1 << 20);
    append(&mut shard, &samples(["m0"], 0));
    // 50 minutes after its last sample: it may be scraped once an hour.
    let newest = [("m1".to_owned(), BEGIN_MS + 160 * MINUTE_MS, 7)];
    append(&mut shard, &newest);
    assert_eq!(release_and_forget(&mut shard, 0), 0);
    assert!(find(&shard, "m0").is_some());
    append(&mut shard, &[("m1".to_owned(), BEGIN_MS + 171 * MINUTE_MS, 7)]);
    assert_eq!(release_and_forget(&mut shard, 0), 1);
}

#[test]
fn a_series_that_got_a_sample_since_it_was_found_idle_stays() {
    let mut shard = Shard::start(&SimDisk::default(), 1 << 20);
    append(&mut shard, &samples(["m0", "m1", "h1"], 0));
    append(&mut shard, &samples(["m2"], 1));
    let idle = release(&mut shard, window_of(BEGIN_MS));
    assert_eq!(idle.len(), 3);
    let late = [("m0".to_owned(), BEGIN_MS + MINUTE_MS, 3)];
    append(&mut shard, &late);
    shard.head.forget(&idle, |_| {}).unwrap();
    assert_eq!(names(&shard), ["m0", "m2"].map(str::to_owned).into());
    let expected = [samples(["m2"], 1), late.to_vec()].concat();
    assert_eq!(shard.content(), content_of(&expected));
}

#[test]
fn nothing_is_forgotten_if_another_window_was_dropped_since_or_between() {
    let mut shard = Shard::start(&SimDisk::default(), 1 << 20);
    append(&mut shard, &samples(["m0", "m1", "m2", "m3"], 0));
    append(&mut shard, &samples(["m4"], 2));
    let idle = release(&mut shard, window_of(BEGIN_MS));
    // A reader that began here has chosen m0. It gets a sample, which the reader would see, and that goes again.
    append(&mut shard, &[("m0".to_owned(), BEGIN_MS + WINDOW_MS, 3)]);
    let since = release(&mut shard, window_of(BEGIN_MS) + 1);
    shard.head.forget(&idle, |_| {}).unwrap();
    assert_eq!(shard.head.series_count(), 5);
    // So does a pass in whose midst another one is made.
    let mut mixed = IdleSeries::stopped_before(i64::MAX);
    let next = shard.head.release(SeriesRef(0), 2, window_of(BEGIN_MS), &mut mixed).unwrap();
    release(&mut shard, window_of(BEGIN_MS) + 1);
    assert_eq!(shard.head.release(next, 10, window_of(BEGIN_MS), &mut mixed), None);
    for idle in [mixed, since] {
        shard.head.forget(&idle, |_| {}).unwrap();
        assert_eq!(shard.head.series_count(), 5);
    }
    assert_eq!(release_and_forget(&mut shard, 0), 4);
}

#[test]
fn whoever_has_the_number_of_a_series_that_is_gone_finds_nothing() {
    let mut shard = Shard::start(&SimDisk::default(), 1 << 20);
    append(&mut shard, &samples(["m0", "m1"], 0));
    append(&mut shard, &samples(["m1"], 2));
    let gone = find(&shard, "m0").unwrap();
    release_and_forget(&mut shard, 0);
    assert!(shard.head.is_gone(gone) && !shard.head.is_known(gone));
    assert!(!shard.head.is_gone(shard.head.series_end()), "that is none so far");
    assert!(!shard.head.overlaps(gone, i64::MIN, i64::MAX));
    let mut batch = SeriesBatch::default();
    shard.head.read(gone, i64::MIN, i64::MAX, &mut batch);
    assert!(batch.series().is_empty());
    let mut labels = Vec::new();
    shard.head.put_labels(gone, &mut labels);
    assert!(labels.is_empty());
}

/// When a snapshot is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Snapshot {
    Never,
    BeforeForgetting,
    /// When the snapshot is half written, in front of the series that goes or behind it.
    Meanwhile,
    AfterForgetting,
    AfterItCameBack,
}

#[test]
fn a_restart_finds_what_there_was_wherever_snapshots_were_taken() {
    use Snapshot::*;
    for when in [Never, BeforeForgetting, Meanwhile, AfterForgetting, AfterItCameBack] {
        for comes_back in [false, true] {
            let disk = SimDisk::default();
            let mut shard = Shard::start(&disk, 1 << 16);
            append(&mut shard, &samples(["m0", "m1", "h0"], 0));
            append(&mut shard, &samples(["m1", "m2"], 2));
            let snapshot = |shard: &mut Shard, now: Snapshot| {
                if now == when {
                    shard.snapshot(|_| {});
                }
            };
            snapshot(&mut shard, BeforeForgetting);
            let forget = |shard: &mut Shard| assert_eq!(release_and_forget(shard, 0), 2, "{when:?}");
            if when == Meanwhile {
                shard.snapshot(forget);
            } else {
                forget(&mut shard);
            }
            snapshot(&mut shard, AfterForgetting);
            let mut expected = content_of(&samples(["m1", "m2"], 2));
            if comes_back {
                let back = samples(["m0", "h0", "m3"], 3);
                append(&mut shard, &back);
                remember(&mut expected, &back);
            }
            snapshot(&mut shard, AfterItCameBack);
            assert_eq!(shard.content(), expected, "{when:?}");

            for _ in 0..2 {
                let mut again = Shard::start(&disk, 1 << 16);
                assert!(again.report.damage.is_empty() && again.lost == 0, "{when:?}");
                // What a block has may be here again. It goes as it went before.
                release(&mut again, window_of(BEGIN_MS));
                assert_eq!(again.content(), expected, "{when:?}, comes back: {comes_back}");
                for name in ["m1", "m2"] {
                    assert_eq!(find(&again, name), find(&shard, name), "{when:?}");
                }
                release_and_forget(&mut again, 0);
                assert_eq!(names(&again), expected.keys().cloned().collect(), "{when:?}");
            }
        }
    }
}

#[test]
fn the_log_of_an_older_snapshot_tells_the_same_if_the_newest_is_damaged() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 16);
    append(&mut shard, &samples(["m0", "m1"], 0));
    shard.snapshot(|_| {});
    append(&mut shard, &samples(["m1"], 2));
    release_and_forget(&mut shard, 0);
    append(&mut shard, &samples(["m0", "m3"], 3));
    shard.snapshot(|_| {});
    append(&mut shard, &samples(["m0"], 4));
    let expected = shard.content();
    let newest = disk.list(SNAPSHOTS.as_ref()).unwrap().into_iter().max().unwrap();
    let mut file = disk.open(&newest).unwrap();
    file.write_all_at(b"x", 20).unwrap();
    file.sync_data().unwrap();
    let mut again = Shard::start(&disk, 1 << 16);
    assert!(again.report.damage.is_empty() && again.lost == 0);
    release(&mut again, window_of(BEGIN_MS));
    assert_eq!(again.content(), expected);
    assert_eq!(find(&again, "m0"), find(&shard, "m0"));
}

#[test]
fn a_tenant_whose_series_come_and_go_for_weeks_keeps_what_is_there() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    let (pods, windows) = (300, 200);
    let mut snapshot_bytes = Vec::new();
    for window in 0..windows {
        let names: Vec<String> = (0..pods).map(|pod| format!("m{window:03}x{pod:03}")).collect();
        let begin_ms = BEGIN_MS + window * WINDOW_MS;
        let mut batch: Vec<_> = names.iter().map(|name| (name.clone(), begin_ms, 1)).collect();
        batch.extend([
            ("steady".to_owned(), begin_ms, 2),
            ("steady".to_owned(), begin_ms + 119 * MINUTE_MS, 3),
        ]);
        append(&mut shard, &batch);
        if window > 0 {
            assert_eq!(release_and_forget(&mut shard, window - 1), pods as usize, "in window {window}");
        }
        if window == 10 || window == windows - 1 {
            shard.snapshot(|_| {});
            let newest = disk.list(SNAPSHOTS.as_ref()).unwrap().into_iter().max().unwrap();
            snapshot_bytes.push(disk.read(&newest).unwrap().len());
        }
    }
    assert_eq!(shard.head.series_count(), pods as usize + 1);
    assert_eq!(find(&shard, "steady"), Some(SeriesRef(pods as u32)));
    // Names compress a little differently.
    assert!(snapshot_bytes[1] < snapshot_bytes[0] * 3 / 2, "{snapshot_bytes:?}");
    let again = Shard::start(&disk, 1 << 20);
    assert_eq!(again.content(), shard.content());
    assert_eq!(again.head.series_end(), shard.head.series_end());
}

#[test]
fn a_shard_without_any_series_left_takes_new_ones() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    append(&mut shard, &samples(["m0", "h0"], 0));
    let mut idle = IdleSeries::stopped_before(i64::MAX);
    shard.head.release(SeriesRef(0), 10, window_of(BEGIN_MS), &mut idle);
    shard.head.forget(&idle, |_| {}).unwrap();
    assert_eq!((shard.head.series_count(), shard.head.size().open_chunk_bytes), (0, 0));
    for restarts in [false, true] {
        if restarts {
            shard.snapshot(|_| {});
            shard = Shard::start(&disk, 1 << 20);
        }
        assert_eq!(shard.head.series_end(), SeriesRef(2 + 2 * u32::from(restarts)));
        let more = samples(if restarts { ["m3", "h3"] } else { ["m0", "h0"] }, 1);
        append(&mut shard, &more);
        let content = shard.content();
        assert!(content_of(&more).iter().all(|(name, samples)| content.get(name) == Some(samples)));
    }
    assert_eq!(names(&shard), ["m0", "h0", "m3", "h3"].map(str::to_owned).into());
}
