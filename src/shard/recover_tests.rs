//! Recovery from a lane that is damaged: which shards may have lost something.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gyre_ring::{BatchId, BatchNumber, BootId, Chain, HashSeed, Segment};
use gyre_tsdb::disk::{Disk, SimDisk};
use gyre_tsdb::labels::{self, Labels};
use gyre_tsdb::snapshot::{SnapshotBegin, SnapshotEnd, SnapshotWriter, encode_block};
use gyre_tsdb::wal::{BatchName, LaneEncoder, StreamId, WalPosition, WalWriter};
use gyre_tsdb::{Head, SeriesRef, WalBase};

use super::recover::{Layout, RecoveredLane, encode_note, recover_lane};
use super::segment_name;
use super::segment_state::Vector;
use super::windows::Windows;

/// A lane with two shards of one series each.
struct Scene {
    disk: SimDisk,
    layout: Layout,
    encoder: LaneEncoder,
    writer: WalWriter,
    bases: [Option<WalBase>; 2],
    batches: u64,
}

fn segment(shard: usize) -> Segment {
    segment_name::decode(["a/0-of-1@1", "b/0-of-1@1"][shard].as_bytes()).unwrap()
}

fn series_labels() -> Vec<u8> {
    labels::encode([("__name__", "m")])
}

impl Scene {
    fn new() -> Self {
        let disk = SimDisk::default();
        let layout = Layout {
            disk: Arc::new(disk.clone()),
            wal: "wal".into(),
            shards: "shards".into(),
            seed: HashSeed(3),
        };
        disk.create_dir_all(&layout.lane(0)).unwrap();
        let writer = WalWriter::new(layout.disk.clone(), &layout.lane(0), true);
        Scene { disk, layout, encoder: LaneEncoder::new(1, 400), writer, bases: [None; 2], batches: 0 }
    }

    /// Commits a batch of a shard; tells where it begins.
    fn write(&mut self, shard: usize) -> WalPosition {
        let begin = self.encoder.position();
        self.batches += 1;
        if self.bases[shard].is_none() {
            self.encoder.new_series(SeriesRef(0), &series_labels());
        }
        let base = self.bases[shard].get_or_insert_default();
        self.encoder.sample(SeriesRef(0), self.batches as i64 * 1000, self.batches * 1000, base);
        let name = BatchName { boot: 7, number: self.batches };
        let stream = StreamId(shard as u32);
        self.encoder.finish_batch(stream, &segment_name::encode(&segment(shard)), name);
        self.writer.write(&mut self.encoder.take(Vec::new())).unwrap();
        begin
    }

    fn file(&self, number: u64) -> PathBuf {
        self.layout.lane(0).join(format!("{number:010}.wal"))
    }

    /// Writes a snapshot of a shard as of the end of the log.
    fn snapshot(&self, shard: usize) -> PathBuf {
        let mut vector = Vector::default();
        vector.held.insert(BatchId { boot: BootId(7), number: BatchNumber(1) });
        let begin = SnapshotBegin {
            position: self.encoder.position(),
            note: encode_note(&vector, &Windows::default()),
        };
        let folder = self.layout.snapshots(&segment(shard));
        let mut head = Head::new(&self.disk, &self.layout.shard(&segment(shard))).unwrap();
        let labels = series_labels();
        head.create(self.layout.seed.key(&labels).0, Labels::parse(&labels).unwrap()).unwrap();
        let mut writer = SnapshotWriter::begin(&self.disk, &folder, &begin).unwrap();
        writer.series(&encode_block(&head, SeriesRef(0)).0).unwrap();
        writer.finish(SnapshotEnd { series: 1, sealed: head.sealed_mut().end() }).unwrap();
        self.disk.list(&folder).unwrap().pop().unwrap()
    }

    fn flip(&self, file: &Path, at: u64) {
        self.disk.damage(file, |bytes| bytes[at as usize] ^= 1).unwrap();
    }

    fn recover(&self) -> RecoveredLane {
        recover_lane(&self.layout, 0, vec![segment(0), segment(1)], &Chain::default()).unwrap()
    }
}

fn damaged(lane: &RecoveredLane) -> [bool; 2] {
    [0, 1].map(|shard| lane.shards.iter().find(|s| s.segment == segment(shard)).unwrap().damaged)
}

#[test]
fn a_log_that_is_whole_has_damaged_no_shard() {
    let mut scene = Scene::new();
    for shard in [0, 1, 0, 1] {
        scene.write(shard);
    }
    let lane = scene.recover();
    assert_eq!((damaged(&lane), lane.samples, lane.lost_samples), ([false; 2], 4, 0));
}

#[test]
fn damage_is_said_of_the_shards_that_it_may_concern() {
    let mut scene = Scene::new();
    scene.write(0);
    let hit = scene.write(0);
    // The other shard comes into the file only now.
    scene.write(1);
    scene.write(0);
    scene.flip(&scene.file(1), hit.offset + 40);
    assert_eq!(damaged(&scene.recover()), [true, false]);
}

#[test]
fn a_missing_log_file_may_concern_all_shards_but_those_with_a_newer_snapshot() {
    let mut scene = Scene::new();
    while scene.encoder.position().file < 4 {
        scene.write(0);
    }
    scene.snapshot(1);
    scene.write(1);
    scene.disk.remove(&scene.file(2)).unwrap();
    assert_eq!(damaged(&scene.recover()), [true, false]);
}

#[test]
fn samples_that_build_on_damaged_ones_concern_their_shard_whatever_its_snapshot() {
    let mut scene = Scene::new();
    let first = scene.write(0);
    scene.write(1);
    scene.snapshot(0);
    scene.snapshot(1);
    scene.write(0);
    scene.write(1);
    // Behind the file's header and the stream's name: the base, which the snapshot does not replace.
    scene.flip(&scene.file(1), first.offset + 12 + 13 + 13 + 11 + 30);
    let lane = scene.recover();
    assert_eq!((lane.report.damage.len(), lane.lost_samples), (1, 1));
    assert_eq!(damaged(&lane), [true, false]);
}

#[test]
fn a_shard_none_of_whose_snapshots_can_be_read_is_damaged() {
    let mut scene = Scene::new();
    scene.write(0);
    scene.write(1);
    let snapshot = scene.snapshot(0);
    scene.flip(&snapshot, 20);
    assert_eq!(damaged(&scene.recover()), [true, false]);
}
