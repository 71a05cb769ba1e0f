//! What is safe on a disk, as whoever wrote it knows: for the checks, never for the node.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gyre_ring::{BatchId, BatchSet, Segment};
use gyre_tsdb::wal::WalPosition;

use crate::message::{Batch, Point, Written};
use crate::series::{window_of_time, wins};
use crate::shelf::Dropped;
use crate::store::Store;

/// Where a batch's record is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Where it begins.
    pub at: WalPosition,
    /// And ends.
    pub end: WalPosition,
}

/// What is safe on a disk, as whoever wrote it knows.
#[derive(Clone, Debug, Default)]
pub struct Safe {
    pub(crate) batches: BTreeMap<(Segment, BatchId), Option<Place>>,
    pub(crate) points: BTreeMap<Segment, HashMap<Point, u64>>,
    last: Option<(Segment, BatchId)>,
    /// What was dropped to blocks, and may be gone after the next restart.
    dropped: Dropped,
    /// Segments that were dropped as a whole.
    closed: BTreeSet<Segment>,
}

impl Safe {
    /// A batch is on the disk.
    pub fn insert(&mut self, segment: &Segment, batch: &Batch, place: Option<Place>) {
        if self.closed.contains(segment) {
            return;
        }
        self.batches.insert((segment.clone(), batch.id), place);
        let points = self.points.entry(segment.clone()).or_default();
        let dropped = self.dropped.get(segment);
        let is_dropped = |time: u64| {
            let batches = dropped.and_then(|windows| windows.get(&window_of_time(time)));
            batches.is_some_and(|batches| batches.contains(batch.id))
        };
        for (point, value) in batch.points.iter().filter(|(point, _)| !is_dropped(point.1)) {
            let best = points.entry(*point).or_insert(*value);
            *best = if wins(*value, *best) { *value } else { *best };
        }
        self.last = Some((segment.clone(), batch.id));
    }

    /// Whether a batch is there.
    pub fn has(&self, segment: &Segment, batch: BatchId) -> bool {
        self.batches.contains_key(&(segment.clone(), batch))
    }

    /// Whether a batch is there, and for all of its points a value that counts as its own, here or in a block.
    pub fn has_all(&self, written: &Written, store: &Store) -> bool {
        let Written { segment, batch } = written;
        let mut points = batch.points.iter();
        self.has(segment, batch.id)
            && points.all(|(point, value)| {
                self.has_point(segment, point, *value) || store.has_point(point, *value)
            })
    }

    /// A window was dropped, with what these batches had in it.
    pub fn release(&mut self, segment: &Segment, window: i64, batches: &BatchSet) {
        if let Some(points) = self.points.get_mut(segment) {
            points.retain(|point, _| window_of_time(point.1) != window);
        }
        let dropped = self.dropped.entry(segment.clone()).or_default();
        dropped.entry(window).or_default().extend(batches);
    }

    /// A segment was dropped.
    pub fn close(&mut self, segment: &Segment) {
        self.forget(segment);
        self.closed.insert(segment.clone());
    }

    /// Whether a segment has a value for a point that counts as this one.
    pub fn has_point(&self, segment: &Segment, point: &Point, value: u64) -> bool {
        let stored = self.points.get(segment).and_then(|points| points.get(point));
        stored.is_some_and(|stored| wins(*stored, value))
    }

    /// The batch that became safe last.
    pub fn last(&self) -> Option<&(Segment, BatchId)> {
        self.last.as_ref()
    }

    /// All batches.
    pub fn batches(&self) -> impl Iterator<Item = &(Segment, BatchId)> {
        self.batches.keys()
    }

    /// Takes out what is there of a segment.
    pub fn forget(&mut self, segment: &Segment) -> Vec<(Segment, BatchId)> {
        let forgotten: Vec<_> = self.batches.keys().filter(|(of, _)| of == segment).cloned().collect();
        self.batches.retain(|(of, _), _| of != segment);
        self.points.remove(segment);
        self.last = None;
        forgotten
    }
}

/// Something that was synced, and that a restart did not find.
#[derive(Clone, Debug)]
pub struct Missing {
    /// Of which segment.
    pub segment: Segment,
    /// What, in words.
    pub what: String,
    /// If it is a point, it may be in a block: a head that has dropped a window still knows each series' newest sample, and logs
    /// it no second time.
    pub point: Option<(Point, u64)>,
}
