//! What the blocks of a list cover of a window.
//!
//! What may go wrong: a block that nobody reads, or that is about to be removed, would be counted, and a window dropped for it.

use gyre_ring::{BatchSet, Segment};
use gyre_tsdb::WINDOW_MS;
use gyre_tsdb::block::Ulid;

use crate::archive::cover::covers_of;
use crate::archive::list::TenantBlocks;

/// What listed blocks cover of a window.
#[derive(Default)]
pub struct Covering {
    /// The batches.
    pub batches: BatchSet,
    /// The blocks that cover them.
    pub blocks: Vec<Ulid>,
}

impl Covering {
    /// Whether all of these are covered.
    pub fn contains(&self, batches: &BatchSet) -> bool {
        self.batches.contains_all(batches)
    }

    /// Batches that need no block.
    pub fn add(&mut self, batches: &BatchSet) {
        self.batches.extend(batches);
    }
}

/// What blocks of a list cover of a window. Only those that queries read count.
pub fn covering(listed: &TenantBlocks, segment: &Segment, window: i64) -> Covering {
    let mut covering = Covering::default();
    let (begin_ms, end_ms) =
        (window.saturating_mul(WINDOW_MS), window.saturating_add(1).saturating_mul(WINDOW_MS));
    // One that is marked for removal will not be there for long.
    for block in listed.to_query(i64::MAX) {
        if block.meta.min_ms >= end_ms || block.meta.end_ms <= begin_ms {
            continue;
        }
        for cover in covers_of(&block.meta) {
            if cover.segment == *segment && cover.window == window {
                covering.add(&cover.batches);
                covering.blocks.push(block.meta.ulid);
            }
        }
    }
    covering
}
