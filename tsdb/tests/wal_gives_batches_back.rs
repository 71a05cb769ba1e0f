//! Single batches out of the log of a shard that goes on: what a peer gets that missed them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

use common::histograms::{histogram, is_histogram};
use common::{Content, LANE, STREAM, Shard, key, remember};
use gyre_tsdb::disk::{Disk, SimDisk};
use gyre_tsdb::histogram::STALE_NAN;
use gyre_tsdb::labels::Labels;
use gyre_tsdb::wal::{
    BatchName, LaneEncoder, LoggedBatch, LoggedHistogram, LoggedSample, StreamId, WalPosition, first_free,
    read_batches, retire,
};
use gyre_tsdb::{Head, SeriesRef, WalBase};
use proptest::prelude::*;

type Samples = Vec<(String, i64, u64)>;

fn name(number: u64) -> BatchName {
    BatchName { boot: 7, number }
}

/// The wanted batches of a stream and what is missing, by number.
fn read_stream(
    disk: &SimDisk,
    end: WalPosition,
    stream: &[u8],
    wanted: &[u64],
) -> (Vec<LoggedBatch>, Vec<u64>) {
    let wanted: HashSet<BatchName> = wanted.iter().map(|number| name(*number)).collect();
    let (mut read, mut unreadable) = (Vec::new(), Vec::new());
    let mut visit = |batch| {
        match batch {
            Ok(batch) => read.push(batch),
            Err(name) => unreadable.push(name),
        }
        ControlFlow::Continue(())
    };
    let missing = read_batches(disk, Path::new(LANE), end, stream, &wanted, &mut visit).unwrap();
    assert!(unreadable.iter().all(|name| missing.contains(name)), "{unreadable:?} {missing:?}");
    let mut missing: Vec<u64> = missing.iter().map(|name| name.number).collect();
    missing.sort_unstable();
    (read, missing)
}

fn read(shard: &Shard, wanted: &[u64]) -> (Vec<LoggedBatch>, Vec<u64>) {
    read_stream(&shard.disk, shard.encoder.position(), STREAM, wanted)
}

fn numbers(batches: &[LoggedBatch]) -> Vec<u64> {
    batches.iter().map(|batch| batch.name.number).collect()
}

/// Batches of another stream in the same lane, by the same names.
fn append_noise(encoder: &mut LaneEncoder, number: u64, bases: &mut [WalBase; 3]) {
    for (series, base) in bases.iter_mut().enumerate() {
        encoder.sample(SeriesRef(series as u32), number as i64 * 1000, number << series, base);
    }
    encoder.finish_batch(StreamId(1), b"other/0-of-1@1", name(number));
}

fn batches() -> impl Strategy<Value = Vec<Samples>> {
    let value = prop_oneof![4 => any::<u64>(), 4 => 0u64..60, 1 => Just(STALE_NAN)];
    let sample = (0u8..9, 0i64..100, value)
        .prop_map(|(s, t, v)| (format!("{}{s}", ["m", "h", "x"][usize::from(s % 3)]), t * 1000, v));
    proptest::collection::vec(proptest::collection::vec(sample, 0..30), 1..40)
}

/// What the log should hold of batches: samples whose time was free.
fn logged(batches: &[Samples]) -> Vec<LoggedBatch> {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut content = Content::new();
    let mut logged = Vec::new();
    for (at, batch) in batches.iter().enumerate() {
        let mut expected =
            LoggedBatch { name: name(at as u64 + 1), samples: Vec::new(), histograms: Vec::new() };
        for sample in batch {
            let (series_name, t_ms, value) = sample;
            let next = numbers.len() as u32;
            let series = *numbers.entry(series_name).or_insert(next);
            if content.get(series_name).is_some_and(|samples| samples.contains_key(t_ms)) {
                continue;
            }
            remember(&mut content, std::slice::from_ref(sample));
            if is_histogram(series_name, *value) {
                let histogram = histogram(*value);
                expected.histograms.push(LoggedHistogram { series, t_ms: *t_ms, histogram });
            } else {
                expected.samples.push(LoggedSample { series, t_ms: *t_ms, value: *value });
            }
        }
        logged.push(expected);
    }
    logged
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn wanted_batches_come_back_as_they_were_logged_and_no_others(
        batches in batches(), file_bytes in 100u64..5000, wanted in any::<u64>(), restart in any::<u16>(),
    ) {
        let disk = SimDisk::default();
        let mut shard = Shard::start(&disk, file_bytes);
        let mut bases = [WalBase::default(); 3];
        for (i, batch) in batches.iter().enumerate() {
            append_noise(&mut shard.encoder, i as u64 + 1, &mut bases);
            shard.append(batch);
            if restart >> (i % 16) & 1 == 1 {
                shard.commit().unwrap();
            }
            if i % 16 == usize::from(restart % 16) {
                // A snapshot has them too, and the log still has them.
                shard.snapshot(|shard| shard.flush(false));
                shard = Shard::start(&disk, file_bytes);
                prop_assert_eq!((shard.lost, shard.sealed, &shard.report.damage[..]), (0, false, &[][..]));
                bases = Default::default();
            }
        }
        shard.commit().unwrap();
        let count = batches.len() as u64;
        // Two that were never written among them.
        let wanted: Vec<u64> = (0..count + 2).filter(|number| wanted >> number & 1 == 1).collect();
        let (got, missing) = read(&shard, &wanted);
        let (known, unknown) = wanted.iter().partition::<Vec<u64>, _>(|number| (1..=count).contains(number));
        let expected: Vec<LoggedBatch> =
            logged(&batches).into_iter().filter(|batch| known.contains(&batch.name.number)).collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(missing, unknown);
        // The other stream's batches of the same names are its own.
        let (other, _) = read_stream(&disk, shard.encoder.position(), b"other/0-of-1@1", &known);
        prop_assert_eq!(numbers(&other), known);
        for batch in other {
            let values: Vec<u64> = batch.samples.iter().map(|sample| sample.value).collect();
            prop_assert_eq!(values, [0, 1, 2].map(|series| batch.name.number << series));
        }
    }

    #[test]
    fn all_batches_that_a_replica_holds_give_a_new_one_all_that_it_shows(
        batches in batches(), file_bytes in 100u64..5000,
    ) {
        let disk = SimDisk::default();
        let mut shard = Shard::start(&disk, file_bytes);
        shard.decides = true;
        for batch in &batches {
            shard.append(batch);
        }
        shard.commit().unwrap();
        let all: Vec<u64> = shard.batches.iter().copied().collect();
        let (got, missing) = read(&shard, &all);
        prop_assert_eq!((numbers(&got), missing), (all, vec![]));
        let other_disk = SimDisk::default();
        let mut other = Shard::start(&other_disk, file_bytes);
        let series = |head: &mut Head, number: u32| {
            let mut labels = Vec::new();
            shard.head.put_labels(SeriesRef(number), &mut labels);
            head.create(key(&labels), Labels::parse(&labels).unwrap()).unwrap()
        };
        for batch in got {
            for LoggedSample { series: number, t_ms, value } in batch.samples {
                let series = series(&mut other.head, number);
                other.head.apply(series, t_ms, value);
            }
            for LoggedHistogram { series: number, t_ms, histogram } in batch.histograms {
                let series = series(&mut other.head, number);
                other.head.apply_histogram(series, t_ms, &histogram);
            }
        }
        prop_assert_eq!(other.content(), shard.content());
    }
}

/// One batch a step: three series that change, so that the first batch of a file has the bases.
fn step(step: u64) -> Samples {
    (0..3).map(|s| (format!("m{s}"), step as i64 * 1000, step * 1000 + s)).collect()
}

/// A shard with forty batches.
fn filled(file_bytes: u64) -> Shard {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, file_bytes);
    for at in 1..=40 {
        shard.append(&step(at));
        shard.commit().unwrap();
    }
    shard
}

#[test]
fn batches_of_files_that_are_gone_are_missing_and_the_rest_is_read() {
    let shard = filled(600);
    let files = shard.disk.list(Path::new(LANE)).unwrap();
    assert!(files.len() > 3, "{files:?}");
    let all: Vec<u64> = (1..=40).collect();
    let oldest_read = |shard: &Shard| {
        let (got, missing) = read(shard, &all);
        let split = got[0].name.number;
        assert_eq!(numbers(&got), (split..=40).collect::<Vec<_>>());
        assert_eq!(missing, (1..split).collect::<Vec<_>>());
        split
    };
    assert_eq!(oldest_read(&shard), 1);
    // Put aside, they are out of the way of a restart and are read all the same.
    let in_lane = || {
        let paths = shard.disk.list(Path::new(LANE)).unwrap();
        paths.iter().filter(|path| path.extension().is_some()).count()
    };
    retire(&shard.disk, Path::new(LANE), 3, u64::MAX).unwrap();
    assert_eq!(in_lane(), files.len() - 2);
    assert_eq!(first_free(&shard.disk, Path::new(LANE)).unwrap(), 3);
    assert_eq!(oldest_read(&shard), 1);
    // Past the limit the oldest goes.
    let second_bytes = shard.disk.len(&Path::new(LANE).join("kept/0000000002.wal")).unwrap();
    retire(&shard.disk, Path::new(LANE), 3, second_bytes).unwrap();
    let second = oldest_read(&shard);
    assert!(second > 1);
    retire(&shard.disk, Path::new(LANE), 3, 0).unwrap();
    assert!(oldest_read(&shard) > second);
    let first = oldest_read(&shard);
    assert!(first > 5);
    // Nothing but the files asked for is of interest.
    assert_eq!(numbers(&read(&shard, &[40, 39]).0), [39, 40]);
}

#[test]
fn a_damaged_batch_is_missing_with_those_that_build_on_it() {
    let shard = filled(600);
    let file = &shard.disk.list(Path::new(LANE)).unwrap()[1];
    let bytes = shard.disk.read(file).unwrap();
    let all: Vec<u64> = (1..=40).collect();
    let healthy = read(&shard, &all).0;
    let mut lost_by_damage = BTreeMap::new();
    for at in 12..bytes.len() {
        shard.disk.damage(file, |b| b[at] ^= 0x10).unwrap();
        let (got, missing) = read(&shard, &all);
        for batch in &got {
            assert_eq!(*batch, healthy[batch.name.number as usize - 1], "byte {at}");
        }
        let mut both = [numbers(&got), missing.clone()].concat();
        both.sort_unstable();
        assert_eq!(both, all, "byte {at}");
        *lost_by_damage.entry(missing.len()).or_insert(0) += 1;
        shard.disk.damage(file, |b| b.copy_from_slice(&bytes)).unwrap();
    }
    let in_file = numbers(&healthy).len() / shard.disk.list(Path::new(LANE)).unwrap().len();
    // Commit marks cost nothing, most batches themselves, the first one (or the stream's name) all of the file.
    assert!(lost_by_damage.contains_key(&0) && lost_by_damage.contains_key(&1), "{lost_by_damage:?}");
    assert!(*lost_by_damage.last_key_value().unwrap().0 >= in_file, "{lost_by_damage:?}");
}

#[test]
fn only_what_was_committed_is_read_while_the_lane_is_written_to() {
    let mut shard = filled(1 << 20);
    let committed = shard.encoder.position();
    shard.append(&step(41));
    let end = shard.encoder.position();
    // The writer is in the middle of the next batch.
    let file = shard.disk.list(Path::new(LANE)).unwrap().pop().unwrap();
    let pieces = shard.encoder.take(Vec::new());
    let bytes = &pieces[0].bytes;
    shard.disk.damage(&file, |on_disk| on_disk.extend(&bytes[..bytes.len() / 2])).unwrap();
    let at = |end| read_stream(&shard.disk, end, STREAM, &[38, 41]);
    assert_eq!((numbers(&at(committed).0), at(committed).1), (vec![38], vec![41]));
    shard.disk.damage(&file, |on_disk| on_disk.extend(&bytes[bytes.len() / 2..])).unwrap();
    assert_eq!(at(committed).1, [41]);
    assert_eq!((numbers(&at(end).0), at(end).1), (vec![38, 41], vec![]));
}

#[test]
fn reading_stops_when_the_reader_has_enough() {
    let shard = filled(600);
    let wanted: HashSet<BatchName> = [3, 20, 39].map(name).into();
    let mut seen = Vec::new();
    let mut visit = |batch: Result<LoggedBatch, BatchName>| {
        seen.push(batch.unwrap().name.number);
        if seen.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let (folder, end) = (Path::new(LANE), shard.encoder.position());
    let missing = read_batches(&shard.disk, folder, end, STREAM, &wanted, &mut visit).unwrap();
    assert_eq!((seen, missing.len()), (vec![3, 20], 0));
}

#[test]
fn a_shard_that_goes_on_under_another_id_has_the_batches_of_both() {
    let mut shard = Shard::start(&SimDisk::default(), 1 << 20);
    for (id, number) in [(0, 1), (4, 2), (0, 3), (4, 4)] {
        shard.encoder.sample(SeriesRef(0), 1000 * number as i64, number * 10, &mut WalBase::default());
        shard.encoder.finish_batch(StreamId(id), STREAM, name(number));
    }
    shard.commit().unwrap();
    let (got, missing) = read(&shard, &[1, 2, 3, 4]);
    assert_eq!(got.iter().map(|batch| batch.samples[0].value).collect::<Vec<_>>(), [10, 20, 30, 40]);
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_base_that_was_lost_after_a_rebuild_is_noticed_and_no_older_one_taken_for_it() {
    let mut shard = Shard::start(&SimDisk::default(), 1 << 20);
    let write = |shard: &mut Shard, number: u64, base: &mut WalBase| {
        let begin = shard.encoder.position();
        shard.encoder.sample(SeriesRef(0), 1000 * number as i64, number * 0x1234_5678, base);
        shard.encoder.finish_batch(StreamId(0), STREAM, name(number));
        begin.offset as usize
    };
    write(&mut shard, 1, &mut WalBase::default());
    // The shard is rebuilt from the log; its series know of no base.
    let mut base = WalBase::default();
    shard.encoder.begin_frame();
    let hit = write(&mut shard, 2, &mut base);
    write(&mut shard, 3, &mut base);
    shard.commit().unwrap();
    let file = shard.disk.list(Path::new(LANE)).unwrap().pop().unwrap();
    shard.disk.damage(&file, |bytes| bytes[hit + 30] ^= 1).unwrap();
    let (got, missing) = read(&shard, &[1, 2, 3]);
    assert_eq!((numbers(&got), missing), (vec![1], vec![2, 3]));
}
