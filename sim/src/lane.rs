//! A node's log: the storage crate's encoder, writer and reader, on a disk that forgets what was not synced.
//!
//! All segments of a node share one log, as the shards of an arbiter do. What was encoded gathers until a sync begins,
//! is on disk when it ends, and only then is anybody told. A crash in between leaves any part of what was being written.
//!
//! Beside the bytes this keeps what a correct log must still have, [`Safe`]: for the checks, never for the node.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use gyre_protocol::Rules;
use gyre_ring::{BatchId, BatchNumber, BatchSet, BootId, Segment};
use gyre_tsdb::disk::{Disk, SimDisk, SimFaults};
use gyre_tsdb::wal::{
    BatchName, LaneEncoder, LoggedBatch, Piece, StreamId, WalPosition, WalWriter, read_batches,
};

use crate::message::Batch;
use crate::recover::{Recovered, recover};
use crate::safe::{Missing, Place, Safe};
use crate::series::{Catalog, wins};
use crate::shelf::Shelf;

/// Files are short, so that logs have many.
const FILE_BYTES: u64 = 8 << 10;

/// Something that becomes durable.
#[derive(Clone, Debug)]
pub enum Mark {
    /// A batch of a segment.
    Batch(Segment, Arc<Batch>),
    /// The segment's seal.
    Seal(Segment),
}

/// What is written and not yet synced.
struct Group {
    pieces: Vec<Piece>,
    marks: Vec<Mark>,
    end: WalPosition,
}

/// A node's log.
pub struct Lane {
    disk: SimDisk,
    folder: PathBuf,
    encoder: LaneEncoder,
    writer: WalWriter,
    streams: Vec<Segment>,
    places: BTreeMap<(Segment, BatchId), Place>,
    marks: Vec<Mark>,
    syncing: Option<Group>,
    /// Up to here all is on disk.
    committed: WalPosition,
    /// A commit mark that is on disk says that all before this place was: bad bytes there are no torn write.
    marked: WalPosition,
    /// The last file that is there. Bad bytes in an earlier one are no torn write either.
    last_file: u64,
    /// Segments that this disk has had, by name: a name is read back without taking it apart.
    names: BTreeMap<Vec<u8>, Segment>,
    /// Facts, for the checks.
    pub safe: Safe,
}

impl Lane {
    /// An empty log on an empty disk.
    pub fn new() -> Self {
        let (disk, folder) = (SimDisk::default(), PathBuf::from("/wal/0"));
        disk.create_dir_all(&folder).expect("it is in memory");
        let writer = WalWriter::new(Arc::new(disk.clone()), &folder, true);
        let begin = WalPosition { file: 1, offset: 0 };
        Lane {
            disk,
            folder,
            encoder: LaneEncoder::new(1, FILE_BYTES),
            writer,
            streams: Vec::new(),
            places: BTreeMap::new(),
            marks: Vec::new(),
            syncing: None,
            committed: begin,
            marked: begin,
            last_file: 1,
            names: BTreeMap::new(),
            safe: Safe::default(),
        }
    }

    /// The disk.
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// The encoder, for the batch that is logged next.
    pub fn encoder(&mut self) -> &mut LaneEncoder {
        &mut self.encoder
    }

    fn stream(&mut self, segment: &Segment) -> (StreamId, Vec<u8>) {
        let name = segment.to_string().into_bytes();
        self.names.entry(name.clone()).or_insert_with(|| segment.clone());
        let known = self.streams.iter().position(|stream| stream == segment);
        let number = known.unwrap_or_else(|| {
            self.streams.push(segment.clone());
            self.streams.len() - 1
        });
        (StreamId(number as u32), name)
    }

    /// Ends the encoder's batch.
    pub fn finish(&mut self, segment: &Segment, batch: Arc<Batch>) {
        let (stream, name) = self.stream(segment);
        let at = self.encoder.position();
        self.encoder.finish_batch(stream, &name, name_of(batch.id));
        let place = Place { at, end: self.encoder.position() };
        self.places.insert((segment.clone(), batch.id), place);
        self.marks.push(Mark::Batch(segment.clone(), batch));
    }

    /// Appends that a segment is sealed.
    pub fn seal(&mut self, segment: &Segment) {
        let (stream, name) = self.stream(segment);
        self.encoder.seal(stream, &name);
        self.marks.push(Mark::Seal(segment.clone()));
    }

    /// Begins to write what has gathered; false if there is nothing, or a sync goes on.
    pub fn begin_sync(&mut self) -> bool {
        if self.syncing.is_some() || self.marks.is_empty() {
            return false;
        }
        let pieces = self.encoder.take(Vec::new());
        let end = self.encoder.position();
        self.syncing = Some(Group { pieces, marks: std::mem::take(&mut self.marks), end });
        true
    }

    /// The sync that was begun has ended: what is durable now.
    pub fn end_sync(&mut self) -> Vec<Mark> {
        let Some(Group { mut pieces, marks, end }) = self.syncing.take() else { return Vec::new() };
        // The first record of what is written now is the commit mark.
        self.marked = self.committed;
        self.last_file = pieces.last().map_or(self.last_file, |piece| piece.file);
        self.writer.write(&mut pieces).expect("this disk has no faults");
        self.committed = end;
        for mark in &marks {
            if let Mark::Batch(segment, batch) = mark {
                let place = self.places.get(&(segment.clone(), batch.id)).copied();
                self.safe.insert(segment, batch, place);
            }
        }
        marks
    }

    /// Whether something waits to be synced.
    pub fn is_behind(&self) -> bool {
        !self.marks.is_empty()
    }

    /// A crash: of what was not synced any part may be there.
    pub fn crash(&mut self, mut kept: impl FnMut(usize) -> usize) {
        if let Some(Group { mut pieces, .. }) = self.syncing.take() {
            // Written, but the sync does not return.
            self.disk.set_faults(SimFaults { sync_fails: true, ..SimFaults::default() });
            self.writer.write(&mut pieces).expect_err("a group holds bytes, and their sync fails");
            self.disk.set_faults(SimFaults::default());
        }
        self.disk.crash(|_, bytes| kept(bytes));
        self.marks.clear();
    }

    /// A restart: what the log has, by segment. `lost` is what it should have had.
    pub fn recover(
        &mut self,
        catalog: &Arc<Catalog>,
        rules: &Rules,
        shelf: &Shelf,
        is_closed: &dyn Fn(&Segment) -> bool,
        lost: &mut Vec<Missing>,
    ) -> Recovered {
        let mut recovered = recover(&self.disk, &self.folder, &self.names, catalog, rules, shelf, is_closed);
        self.encoder = LaneEncoder::new(recovered.next_file, FILE_BYTES);
        self.writer = WalWriter::new(Arc::new(self.disk.clone()), &self.folder, true);
        self.streams.clear();
        self.committed = WalPosition { file: recovered.next_file, offset: 0 };
        self.marked = WalPosition { file: 0, offset: 0 };
        self.last_file = recovered.next_file - 1;
        for segment in recovered.damaged.clone() {
            recovered.forgotten.extend(self.safe.forget(&segment));
        }
        for (segment, batch) in self.safe.batches.keys() {
            if !recovered.segments.get(segment).is_some_and(|found| found.held.contains(*batch)) {
                lost.push(Missing { segment: segment.clone(), what: format!("{batch:?}"), point: None });
            }
        }
        for (segment, points) in &self.safe.points {
            let Some(found) = recovered.segments.get_mut(segment) else { continue };
            let shown = found.samples.shown();
            let missing = points.iter().filter(|(point, value)| {
                let at = shown.binary_search_by_key(*point, |(point, _)| *point);
                !at.is_ok_and(|at| wins(shown[at].1, **value))
            });
            lost.extend(missing.map(|(point, value)| Missing {
                segment: segment.clone(),
                what: format!("{point:?}"),
                point: Some((*point, *value)),
            }));
        }
        self.keep(&mut recovered);
        recovered
    }

    /// What was read is safe from now on, also what had not been synced.
    fn keep(&mut self, recovered: &mut Recovered) {
        for (segment, found) in &mut recovered.segments {
            if recovered.damaged.contains(segment) {
                continue;
            }
            let shown = found.samples.shown();
            self.safe.points.insert(segment.clone(), shown.iter().copied().collect());
            for (boot, first, last) in found.held.intervals() {
                for number in first.0..=last.0 {
                    let name = (segment.clone(), BatchId { boot, number: BatchNumber(number) });
                    let place = self.places.get(&name).copied();
                    self.safe.batches.entry(name).or_insert(place);
                }
            }
        }
    }

    /// Batches by name, as a peer wants them: those that can be read, and whether that is all. With `all_or_nothing` none
    /// is read if one is missing, and none behind one that cannot be decoded.
    pub fn read(
        &self,
        segment: &Segment,
        wanted: &BatchSet,
        all_or_nothing: bool,
    ) -> (Vec<LoggedBatch>, bool) {
        let names: HashSet<BatchName> = wanted
            .intervals()
            .flat_map(|(boot, first, last)| {
                (first.0..=last.0).map(move |n| BatchName { boot: boot.0, number: n })
            })
            .collect();
        let stream = segment.to_string().into_bytes();
        let read = |visit: &mut dyn FnMut(Result<LoggedBatch, BatchName>) -> ControlFlow<()>| {
            read_batches(&self.disk, &self.folder, self.committed, &stream, &names, visit)
                .expect("the disk is in memory")
        };
        // Looks for all before any is read, as the node does.
        let missing = read(&mut |_| ControlFlow::Break(()));
        if !missing.is_empty() && all_or_nothing {
            return (Vec::new(), false);
        }
        let (mut batches, mut is_whole) = (Vec::new(), true);
        let missing = read(&mut |batch| match batch {
            Ok(batch) => {
                batches.push(batch);
                ControlFlow::Continue(())
            }
            Err(_) => {
                is_whole = false;
                if all_or_nothing { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }
        });
        (batches, is_whole && missing.is_empty())
    }

    /// A batch whose record can go bad without being taken for a torn write.
    pub fn can_damage(&self, segment: &Segment, batch: BatchId) -> bool {
        let place = self.safe.batches.get(&(segment.clone(), batch)).copied().flatten();
        place.is_some_and(|place| place.at.file < self.last_file || place.end <= self.marked)
    }

    /// The last byte of a batch's record goes bad. Nobody notices before somebody reads it.
    pub fn damage(&mut self, segment: &Segment, batch: BatchId) {
        let place = self.safe.batches.get(&(segment.clone(), batch)).copied().flatten();
        let Some(Place { at, end }) = place else { return };
        let path = self.folder.join(format!("{:010}.wal", at.file));
        let flip = |bytes: &mut Vec<u8>| {
            let last = if end.file == at.file { end.offset as usize - 1 } else { bytes.len() - 1 };
            bytes[last] ^= 0x55;
        };
        self.disk.damage(&path, flip).expect("the file is there");
    }

    /// What is there of the segments that damage of its disk concerns is safe no more.
    pub fn forget(&mut self, segment: &Segment) -> Vec<(Segment, BatchId)> {
        self.safe.forget(segment)
    }
}

fn name_of(id: BatchId) -> BatchName {
    BatchName { boot: id.boot.0, number: id.number.0 }
}

/// The name of a logged batch.
pub fn id_of(name: BatchName) -> BatchId {
    BatchId { boot: BootId(name.boot), number: BatchNumber(name.number) }
}
