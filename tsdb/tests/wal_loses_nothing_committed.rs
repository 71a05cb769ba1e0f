//! The log on a disk that forgets, fills up and goes bad.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{Content, LANE, SNAPSHOTS, STREAM, Shard, remember};
use gyre_tsdb::disk::{Disk, SimDisk, SimFaults};
use gyre_tsdb::histogram::STALE_NAN;
use gyre_tsdb::wal::{StreamId, WalError};
use proptest::prelude::*;

type Samples = Vec<(String, i64, u64)>;

/// One scrape of some series, each value moving as scraped values do.
fn scrape(step: u64, series: u64) -> Samples {
    (0..series)
        .map(|s| {
            let value = match s % 4 {
                0 => 42.0,
                1 => (step * (s + 1)) as f64,
                2 => ((step * 7919 + s * 104_729) % 1000) as f64 / 7.0,
                _ => f64::from_bits(0x7ff0_0000_0000_0002),
            };
            (format!("m{s}"), 1_700_000_000_000 + step as i64 * 15_000, value.to_bits())
        })
        .collect()
}

/// Likewise, of histograms that grow, some of them a little.
fn scrape_histograms(step: u64, series: u64) -> Samples {
    (0..series)
        .map(|s| (format!("h{s}"), 1_700_000_000_000 + step as i64 * 15_000, step * (s % 3 + 1) / 3))
        .collect()
}

fn batches() -> impl Strategy<Value = Vec<Samples>> {
    let value = prop_oneof![4 => any::<u64>(), 4 => 0u64..60, 1 => Just(STALE_NAN)];
    // Floats, histograms, and series that are now the one, now the other.
    let sample = (0u8..9, -40i64..100, value)
        .prop_map(|(s, t, v)| (format!("{}{s}", ["m", "h", "x"][usize::from(s % 3)]), t * 1000, v));
    proptest::collection::vec(proptest::collection::vec(sample, 0..30), 1..40)
}

#[test]
fn what_a_restart_has_read_survives_a_power_cut() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    shard.append(&scrape(1, 3));
    // The process dies between write and fdatasync: the bytes are in the file, but not on the platter.
    let mut pieces = shard.encoder.take(Vec::new());
    disk.set_faults(SimFaults { sync_fails: true, ..SimFaults::default() });
    shard.writer.write(&mut pieces).unwrap_err();
    disk.set_faults(SimFaults::default());
    // From here on the same samples are "there already", and are acknowledged without being logged again.
    let read = Shard::start(&disk, 1 << 20).content();
    assert_eq!(read.len(), 3);
    disk.crash(|_, _| 0);
    assert_eq!(Shard::start(&disk, 1 << 20).content(), read);
}

proptest! {
    #[test]
    fn a_restart_gives_the_same_head(batches in batches(), file_bytes in 100u64..5000, snapshots in any::<u8>()) {
        let disk = SimDisk::default();
        let mut model = Content::new();
        let mut shard = Shard::start(&disk, file_bytes);
        for (i, batch) in batches.iter().enumerate() {
            shard.append(batch);
            remember(&mut model, batch);
            shard.commit().unwrap();
            if usize::from(snapshots) == i * 3 {
                shard.snapshot(|_| {});
            }
            if i % 11 == 10 {
                shard = Shard::start(&disk, file_bytes);
                prop_assert_eq!(&shard.report.damage, &[]);
            }
        }
        let sealed = snapshots % 2 == 1;
        if sealed {
            shard.encoder.seal(StreamId(0), STREAM);
            shard.commit().unwrap();
        }
        let shard = Shard::start(&disk, file_bytes);
        let held: BTreeSet<u64> = (1..=batches.len() as u64).collect();
        prop_assert_eq!((&shard.batches, shard.sealed), (&held, sealed), "empty batches are held too");
        model.retain(|_, samples| !samples.is_empty());
        prop_assert_eq!(shard.content(), model);
        prop_assert_eq!((shard.lost, &shard.report.torn), (0, &None));
    }

    #[test]
    fn a_crash_loses_nothing_committed_and_invents_nothing(
        batches in batches(), file_bytes in 100u64..5000, crashes in any::<u64>(), keep in any::<u32>(),
    ) {
        let disk = SimDisk::default();
        // `committed` must be there; `sent` may be.
        let (mut committed, mut sent) = (Content::new(), Content::new());
        let mut shard = Shard::start(&disk, file_bytes);
        for (i, batch) in batches.iter().enumerate() {
            shard.append(batch);
            remember(&mut sent, batch);
            match crashes >> (i % 32 * 2) & 3 {
                0 => {}
                1 => {
                    // Written, but fdatasync has not returned.
                    let mut pieces = shard.encoder.take(Vec::new());
                    let disk2 = disk.clone();
                    disk2.set_faults(SimFaults { sync_fails: true, ..SimFaults::default() });
                    let anything = !pieces.is_empty();
                    prop_assert_eq!(shard.writer.write(&mut pieces).is_err(), anything);
                    disk2.set_faults(SimFaults::default());
                    disk.crash(|_, unsynced| (keep as usize).wrapping_mul(i) % (unsynced + 1));
                    shard = Shard::start(&disk, file_bytes);
                    prop_assert_eq!(&shard.report.damage, &[], "a torn write is not damage");
                    // What came back is durable now, and decides about later values for the same times.
                    sent = shard.content();
                    for (name, samples) in &committed {
                        for (t, v) in samples {
                            prop_assert_eq!(sent.get(name).and_then(|s| s.get(t)), Some(v), "{} at {}", name, t);
                        }
                    }
                    committed = sent.clone();
                }
                _ => {
                    shard.commit().unwrap();
                    committed = shard.content();
                }
            }
        }
        disk.crash(|_, _| 0);
        let content = Shard::start(&disk, file_bytes).content();
        for (name, samples) in &committed {
            for (t, v) in samples {
                prop_assert_eq!(content.get(name).and_then(|s| s.get(t)), Some(v), "{} at {}", name, t);
            }
        }
        for (name, samples) in &content {
            for (t, v) in samples {
                prop_assert_eq!(sent.get(name).and_then(|s| s.get(t)), Some(v), "phantom in {} at {}", name, t);
            }
        }
    }
}

/// The planted bug that the test above must be able to see: an ack before the fsync.
#[test]
fn an_ack_before_the_fsync_is_caught_by_a_crash() {
    let after = |power_cut: bool| {
        let disk = SimDisk::default();
        let mut shard = Shard::start(&disk, 1 << 20);
        shard.append(&scrape(1, 8));
        shard.commit().unwrap();
        shard.append(&scrape(2, 8));
        disk.set_faults(SimFaults { sync_fails: true, ..SimFaults::default() });
        assert!(shard.commit().is_err());
        disk.set_faults(SimFaults::default());
        // A careless node would acknowledge here: the bytes are written.
        let acknowledged = shard.content();
        if power_cut {
            disk.crash(|_, _| 0);
        }
        Shard::start(&disk, 1 << 20).content() == acknowledged
    };
    assert!(after(false), "kill -9 shows nothing");
    assert!(!after(true), "a power cut does");
}

fn filled(file_bytes: u64) -> (SimDisk, Vec<Samples>) {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, file_bytes);
    let batches: Vec<Samples> =
        (0..40).map(|step| [scrape(step, 40), scrape_histograms(step, 10)].concat()).collect();
    for batch in &batches {
        shard.append(batch);
        shard.commit().unwrap();
    }
    (disk, batches)
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let (disk, batches) = filled(1 << 20);
    let file = disk.list(Path::new(LANE)).unwrap().pop().unwrap();
    let len = disk.read(&file).unwrap().len();
    disk.damage(&file, |bytes| bytes.truncate(len - 3)).unwrap();
    let mut shard = Shard::start(&disk, 1 << 20);
    let mut expected = Content::new();
    batches[..39].iter().for_each(|batch| remember(&mut expected, batch));
    assert_eq!(shard.content(), expected);
    assert_eq!(shard.report.torn.as_ref().unwrap().file, file);
    assert_eq!(shard.report.damage, []);
    // The next start finds a clean log.
    shard.append(&batches[39]);
    shard.commit().unwrap();
    let shard = Shard::start(&disk, 1 << 20);
    remember(&mut expected, &batches[39]);
    assert_eq!((shard.content(), shard.report.torn), (expected, None));
}

#[test]
fn damage_in_the_middle_is_located_and_costs_at_most_what_it_hit() {
    let (disk, batches) = filled(1 << 20);
    let file = disk.list(Path::new(LANE)).unwrap().pop().unwrap();
    let bytes = disk.read(&file).unwrap();
    let mut everything = Content::new();
    batches.iter().for_each(|batch| remember(&mut everything, batch));
    let total: usize = everything.values().map(|samples| samples.len()).sum();
    // Bytes spread over the file, but for the first batch (which makes the series) and the last write.
    for at in (bytes.len() / 5..bytes.len() * 4 / 5).step_by(37) {
        disk.damage(&file, |b| b[at] ^= 0x55).unwrap();
        let shard = Shard::start(&disk, 1 << 20);
        let damage = &shard.report.damage;
        assert_eq!(damage.len(), 1, "byte {at}: {damage:?}");
        let hit = damage[0].offset..damage[0].offset + damage[0].bytes;
        assert!(damage[0].file == file && hit.contains(&(at as u64)), "byte {at}: {damage:?}");
        let content = shard.content();
        let mut kept = 0;
        for (name, samples) in &content {
            for (t, v) in samples {
                assert_eq!(everything[name].get(t), Some(v), "byte {at}: phantom");
                kept += 1;
            }
        }
        assert!(kept >= total - 50, "byte {at}: one batch of 50 samples is gone, {} are", total - kept);
        disk.damage(&file, |b| *b = bytes.clone()).unwrap();
        // Starting made a new, empty run; its file is not written until something is appended.
    }
}

#[test]
fn damage_to_the_batch_that_made_the_series_loses_them_but_no_others_and_is_counted() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    let other = |step: i64| vec![("other".to_owned(), 1_700_000_000_000 + step * 1000, step as u64)];
    shard.append(&scrape(0, 5));
    shard.commit().unwrap();
    shard.append(&other(0));
    shard.commit().unwrap();
    shard.append(&scrape(1, 5));
    shard.append(&other(1));
    shard.commit().unwrap();
    let file = disk.list(Path::new(LANE)).unwrap().pop().unwrap();
    disk.damage(&file, |bytes| bytes[100] ^= 1).unwrap();
    let shard = Shard::start(&disk, 1 << 20);
    let mut expected = Content::new();
    remember(&mut expected, &[other(0), other(1)].concat());
    assert_eq!(shard.content(), expected);
    assert_eq!(shard.lost, 5, "the samples of the second scrape name series that nobody knows");
    assert_eq!(shard.report.damage.len(), 1);
}

#[test]
fn a_seal_survives_a_crash_once_it_is_committed_and_is_nothing_before() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    shard.append(&scrape(0, 3));
    shard.commit().unwrap();
    shard.encoder.seal(StreamId(0), STREAM);
    let mut pieces = shard.encoder.take(Vec::new());
    disk.set_faults(SimFaults { sync_fails: true, ..SimFaults::default() });
    shard.writer.write(&mut pieces).unwrap_err();
    disk.set_faults(SimFaults::default());
    disk.crash(|_, unsynced| unsynced - 1);
    let mut shard = Shard::start(&disk, 1 << 20);
    assert_eq!((shard.sealed, shard.report.torn.is_some(), &shard.report.damage[..]), (false, true, &[][..]));
    shard.encoder.seal(StreamId(0), STREAM);
    shard.commit().unwrap();
    disk.crash(|_, _| 0);
    assert!(Shard::start(&disk, 1 << 20).sealed);
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 4096);
    let mut expected = Content::new();
    for step in 0..60 {
        let batch = scrape(step, 30);
        shard.append(&batch);
        remember(&mut expected, &batch);
        disk.set_faults(SimFaults { room_bytes: Some(step * 3), ..SimFaults::default() });
        let mut refused = 0;
        while let Err(error) = shard.commit() {
            assert!(error.is_retryable(), "{error}");
            refused += 1;
            let room_bytes = Some(refused * 40);
            disk.set_faults(SimFaults { room_bytes, ..SimFaults::default() });
        }
        disk.crash(|_, _| 0);
        // The writer's handle is from before the crash: start anew, on exactly what was committed.
        shard = Shard::start(&disk, 4096);
        assert_eq!(shard.report.damage, []);
        assert_eq!(shard.content(), expected, "after step {step}");
    }
}

#[test]
fn after_a_failed_fsync_nothing_is_ever_committed_again() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 20);
    shard.append(&scrape(0, 3));
    disk.set_faults(SimFaults { sync_fails: true, ..SimFaults::default() });
    let error = shard.commit().unwrap_err();
    assert!(matches!(error, WalError::Sync { .. }) && !error.is_retryable());
    disk.set_faults(SimFaults::default());
    shard.append(&scrape(1, 3));
    for _ in 0..3 {
        assert!(matches!(shard.commit(), Err(WalError::Poisoned)));
    }
}

#[test]
fn a_snapshot_taken_during_appends_and_the_wal_after_it_give_the_whole_head() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 14);
    let mut expected = Content::new();
    let run = |shard: &mut Shard, expected: &mut Content, steps: std::ops::Range<u64>| {
        for step in steps {
            let batch = [scrape(step, 300 + step), scrape_histograms(step, 30)].concat();
            shard.append(&batch);
            remember(expected, &batch);
            shard.flush(false);
        }
    };
    run(&mut shard, &mut expected, 0..150);
    let mut during = Content::new();
    shard.snapshot(|shard| run(shard, &mut during, 150..290));
    during.into_iter().for_each(|(name, samples)| expected.entry(name).or_default().extend(samples));
    run(&mut shard, &mut expected, 290..300);
    shard.commit().unwrap();
    disk.crash(|_, _| 0);
    let shard = Shard::start(&disk, 1 << 14);
    assert_eq!(shard.content(), expected);

    // Without the snapshot, the whole log says the same; with a damaged one too.
    let path = disk.list(Path::new(SNAPSHOTS)).unwrap().pop().unwrap();
    disk.damage(&path, |bytes| bytes[5000] ^= 1).unwrap();
    assert_eq!(Shard::start(&disk, 1 << 14).content(), expected);
}

#[test]
fn a_log_of_scraped_values_is_small() {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 1 << 30);
    let steps = 400;
    for step in 0..steps {
        shard.append(&scrape(step, 500));
        shard.commit().unwrap();
    }
    let file = disk.list(Path::new(LANE)).unwrap().pop().unwrap();
    let bytes = disk.read(&file).unwrap().len() as f64 / (steps * 500) as f64;
    // A quarter constant, a quarter stale, a quarter counters, a quarter noise of full precision.
    assert!(bytes < 3.5, "{bytes} bytes a sample");
}
