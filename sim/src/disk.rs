//! A node's log: what was appended, and how much of it is safe.

use std::sync::Arc;

use gyre_ring::{BatchId, Segment};

use crate::message::Batch;
use crate::rng::Rng;

/// One record.
#[derive(Clone, Debug)]
pub enum Record {
    /// A batch of a segment.
    Batch(Segment, Arc<Batch>),
    /// The segment is sealed.
    Seal(Segment),
}

/// A log that loses its unsynced end in a crash.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// All records.
    pub records: Vec<Record>,
    /// So many are safe.
    pub synced: usize,
    /// How far the sync under way reaches.
    pub syncing: Option<usize>,
}

impl Disk {
    /// A crash: what was not synced is lost from some record on.
    pub fn crash(&mut self, rng: &mut Rng) {
        let kept = rng.range(self.synced as u64, self.records.len() as u64) as usize;
        self.records.truncate(kept);
        self.synced = kept;
        self.syncing = None;
    }

    /// Where a batch is safe.
    pub fn find(&self, segment: &Segment, id: BatchId) -> Option<usize> {
        let is_it = |record: &Record| match record {
            Record::Batch(of, batch) => of == segment && batch.id == id,
            Record::Seal(_) => false,
        };
        self.safe().iter().rposition(is_it)
    }

    /// The records that are safe.
    pub fn safe(&self) -> &[Record] {
        &self.records[..self.synced]
    }
}
