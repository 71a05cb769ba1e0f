//! What a node has on its disk beside its log: which blocks have what it has dropped, what snapshots no longer have, and
//! which segments it has removed.

use std::collections::{BTreeMap, BTreeSet};

use gyre_ring::{BatchId, BatchSet, Segment};

use crate::blocks::BlockId;

/// By window, the batches that have points in it.
pub type Windows = BTreeMap<i64, BatchSet>;

/// By segment and window, the batches whose points have been dropped.
pub type Dropped = BTreeMap<Segment, Windows>;

/// A block that has something that was dropped, and when it was named.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// The block.
    pub block: BlockId,
    /// When.
    pub at_us: u64,
}

/// By segment, the blocks that have what was dropped of it.
pub type Released = BTreeMap<Segment, Vec<Named>>;

/// What is there.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    /// As it was written before something was dropped.
    pub released: Released,
    /// As of the last snapshot; what was dropped since comes back with the log.
    pub dropped: Dropped,
    /// Removed since they were closed.
    pub closed: BTreeSet<Segment>,
}

impl Shelf {
    /// Whether a snapshot says that what a batch had in a window was dropped.
    pub fn has_dropped(&self, segment: &Segment, window: i64, batch: BatchId) -> bool {
        let windows = self.dropped.get(segment);
        windows.and_then(|windows| windows.get(&window)).is_some_and(|batches| batches.contains(batch))
    }

    /// Writes a snapshot after something was dropped.
    pub fn note_dropped(&mut self, dropped: &mut Dropped) {
        for (segment, windows) in std::mem::take(dropped) {
            let known = self.dropped.entry(segment).or_default();
            for (window, batches) in windows {
                known.entry(window).or_default().extend(&batches);
            }
        }
    }

    /// Removes what there is of a segment.
    pub fn close(&mut self, segment: &Segment) {
        self.released.remove(segment);
        self.dropped.remove(segment);
        self.closed.insert(segment.clone());
    }
}
