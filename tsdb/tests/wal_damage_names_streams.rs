//! Damage in a lane that several streams share: whoever lost something is told, and those are spared that cannot have.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gyre_tsdb::disk::{Disk, SimDisk};
use gyre_tsdb::histogram::Histogram;
use gyre_tsdb::wal::{
    BatchName, Damage, DecodedSample, LaneEncoder, Replay, ReplayReport, StreamId, WalPosition, WalWriter,
    replay,
};
use gyre_tsdb::{SeriesRef, WalBase};

const LANE: &str = "wal/0";
const STREAMS: [&str; 4] = ["a/0-of-1@1", "b/0-of-1@1", "c/0-of-1@1", "d/0-of-1@1"];
/// A file of a lane.
const FILE_BYTES: u64 = 2500;

/// A lane with streams that write one after the other.
struct Lane {
    disk: SimDisk,
    encoder: LaneEncoder,
    writer: WalWriter,
    bases: [[WalBase; 3]; 4],
    batches: u64,
}

impl Lane {
    fn new() -> Self {
        let disk = SimDisk::default();
        disk.create_dir_all(Path::new(LANE)).unwrap();
        let writer = WalWriter::new(Arc::new(disk.clone()), Path::new(LANE), true);
        let encoder = LaneEncoder::new(1, FILE_BYTES);
        Lane { disk, encoder, writer, bases: Default::default(), batches: 0 }
    }

    /// Commits so many batches of a stream.
    fn write(&mut self, stream: usize, batches: u64) {
        for _ in 0..batches {
            self.batches += 1;
            for (series, base) in self.bases[stream].iter_mut().enumerate() {
                let value = self.batches * 100 + series as u64;
                self.encoder.sample(SeriesRef(series as u32), self.batches as i64 * 1000, value, base);
            }
            let name = BatchName { boot: 7, number: self.batches };
            self.encoder.finish_batch(StreamId(stream as u32), STREAMS[stream].as_bytes(), name);
            self.writer.write(&mut self.encoder.take(Vec::new())).unwrap();
        }
    }

    fn file(&self, number: usize) -> PathBuf {
        self.disk.list(Path::new(LANE)).unwrap()[number - 1].clone()
    }
}

/// What replay tells of the streams.
struct Told {
    /// Where the streams' snapshots begin.
    begins: [Option<WalPosition>; 4],
    /// Samples by stream, batch, and series.
    samples: BTreeMap<(usize, u64, u32), u64>,
    lost_samples: [bool; 4],
    batch: u64,
}

impl Replay for Told {
    fn stream(&mut self, name: &[u8]) -> usize {
        STREAMS.iter().position(|stream| stream.as_bytes() == name).unwrap()
    }

    fn wants(&mut self, stream: usize, at: WalPosition) -> bool {
        self.begins[stream].is_none_or(|begin| begin <= at)
    }

    fn batch(&mut self, _: usize, name: BatchName) {
        self.batch = name.number;
    }

    fn series(&mut self, _: usize, _: u32, _: &[u8]) {}

    fn sample(&mut self, stream: usize, sample: DecodedSample) {
        match sample.value {
            Some(value) => drop(self.samples.insert((stream, self.batch, sample.series), value)),
            None => self.lost_samples[stream] = true,
        }
    }

    fn histogram(&mut self, _: usize, _: u32, _: i64, _: &Histogram) {}

    fn sealed(&mut self, _: usize) {}
}

fn read(disk: &SimDisk, begins: [Option<WalPosition>; 4]) -> (Told, ReplayReport) {
    let mut told = Told { begins, samples: BTreeMap::new(), lost_samples: [false; 4], batch: 0 };
    let report = replay(disk, Path::new(LANE), &mut told).unwrap();
    (told, report)
}

impl Told {
    /// The streams that may have lost something, by all that replay says.
    fn concerned(&self, damage: &[Damage]) -> [bool; 4] {
        [0, 1, 2, 3].map(|stream| {
            self.lost_samples[stream] || damage.iter().any(|d| d.may_concern(stream, self.begins[stream]))
        })
    }

    /// The streams that lost something indeed.
    fn lost(&self, healthy: &Told) -> [bool; 4] {
        [0, 1, 2, 3].map(|stream| {
            let of = |told: &Told| -> Vec<_> {
                told.samples.clone().into_iter().filter(|(key, _)| key.0 == stream).collect()
            };
            of(self) != of(healthy)
        })
    }
}

#[test]
fn whoever_lost_a_sample_is_told_wherever_the_damage_is() {
    let mut lane = Lane::new();
    for stream in [0, 1, 0, 2, 1, 3, 0, 2, 3, 1, 0] {
        lane.write(stream, 4);
    }
    let healthy = read(&lane.disk, [None; 4]).0;
    let (mut spared, mut hit) = (0, 0);
    for number in 1..=2 {
        let file = lane.file(number);
        let bytes = lane.disk.read(&file).unwrap();
        // The last write of all could be torn, which is no damage.
        for at in (0..bytes.len()).take_while(|at| number == 1 || *at < bytes.len() - 200) {
            lane.disk.damage(&file, |b| b[at] ^= 0x41).unwrap();
            let (told, report) = read(&lane.disk, [None; 4]);
            assert!(!report.damage.is_empty(), "byte {at} of file {number}");
            let (concerned, lost) = (told.concerned(&report.damage), told.lost(&healthy));
            for stream in 0..4 {
                assert!(
                    concerned[stream] || !lost[stream],
                    "byte {at} of file {number}: {}",
                    STREAMS[stream]
                );
                spared += usize::from(!concerned[stream]);
                hit += usize::from(lost[stream]);
            }
            lane.disk.damage(&file, |b| b.copy_from_slice(&bytes)).unwrap();
        }
    }
    assert!(spared > 0 && hit > 0);
}

#[test]
fn streams_that_the_file_names_later_only_and_those_with_a_newer_snapshot_are_spared() {
    let mut lane = Lane::new();
    lane.write(0, 3);
    let middle = lane.encoder.position();
    lane.write(0, 1);
    let after = lane.encoder.position();
    lane.write(1, 2);
    lane.write(0, 1);
    assert_eq!(lane.disk.list(Path::new(LANE)).unwrap().len(), 1);
    let file = lane.file(1);
    lane.disk.damage(&file, |bytes| bytes[middle.offset as usize + 60] ^= 1).unwrap();
    let concerned = |begins| {
        let (told, report) = read(&lane.disk, begins);
        assert_eq!(report.damage.len(), 1);
        assert_eq!(report.damage[0].missing_file(), None);
        told.concerned(&report.damage)
    };
    // Stream 1 is named behind the damage. Streams 2 and 3 are not named at all: who knows.
    assert_eq!(concerned([None; 4]), [true, false, true, true]);
    // What is before its snapshot concerns a stream no more.
    assert_eq!(concerned([Some(after), None, Some(after), None]), [false, false, false, true]);
    assert_eq!(concerned([Some(middle), None, Some(middle), None]), [true, false, true, true]);
}

#[test]
fn damage_to_bases_before_the_snapshot_is_told_of_by_the_samples_that_need_them() {
    let mut lane = Lane::new();
    lane.write(0, 1);
    lane.write(1, 1);
    let begin = lane.encoder.position();
    lane.write(0, 1);
    lane.write(1, 1);
    let file = lane.file(1);
    // Stream 0's first batch: behind the file's header, a commit mark, and the stream's name.
    lane.disk.damage(&file, |bytes| bytes[12 + 13 + 13 + 1 + STREAMS[0].len() + 30] ^= 1).unwrap();
    let (told, report) = read(&lane.disk, [Some(begin); 4]);
    assert_eq!(report.damage.len(), 1);
    assert!((0..4).all(|stream| !report.damage[0].may_concern(stream, Some(begin))));
    assert_eq!(told.lost_samples, [true, false, false, false]);
    assert_eq!(told.concerned(&report.damage), [true, false, false, false]);
}

#[test]
fn missing_files_are_damage_that_concerns_all_but_those_with_a_newer_snapshot() {
    let mut lane = Lane::new();
    let mut first_of_file_4 = None;
    while lane.encoder.position().file < 5 {
        lane.write(0, 1);
        let position = lane.encoder.position();
        if position.file == 4 {
            first_of_file_4.get_or_insert(position);
        }
    }
    for number in [2, 2] {
        lane.disk.remove(&lane.file(number)).unwrap();
    }
    let (told, report) = read(&lane.disk, [None, first_of_file_4, None, None]);
    assert_eq!(report.damage.len(), 1);
    assert_eq!((report.damage[0].missing_file(), &report.damage[0].file), (Some(2), &lane.file(2)));
    assert_eq!(told.concerned(&report.damage), [true, false, true, true]);
    // The oldest files go when snapshots cover them: that is none.
    lane.disk.remove(&lane.file(1)).unwrap();
    assert_eq!(read(&lane.disk, [None; 4]).1.damage, []);
}

#[test]
fn a_torn_end_is_no_damage_and_damage_before_it_still_spares() {
    let mut lane = Lane::new();
    lane.write(0, 3);
    let at = lane.encoder.position().offset as usize;
    lane.write(0, 1);
    lane.write(1, 3);
    let file = lane.file(1);
    lane.disk
        .damage(&file, |bytes| {
            bytes[at + 60] ^= 1;
            bytes.truncate(bytes.len() - 3);
        })
        .unwrap();
    let (told, report) = read(&lane.disk, [None; 4]);
    assert!(report.torn.is_some());
    assert_eq!(told.concerned(&report.damage), [true, false, true, true]);
}
