//! Per series: where its sealed chunks lie.
//!
//! Blocks of a few references, linked from the newest to the oldest. A chunk's end is not kept: chunks of a
//! series do not overlap, so a chunk ends before the next one begins.

use crate::mem::Paged;
use crate::sealed::Location;

/// No block.
pub(super) const NO_BLOCK: u32 = u32::MAX;

const PER_BLOCK: usize = 3;

/// A sealed chunk of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealedRef {
    /// The first sample's time.
    pub(super) min_ms: i64,
    pub(super) at: Location,
}

struct Block {
    refs: [SealedRef; PER_BLOCK],
    count: u8,
    previous: u32,
}

/// The references of all series of a head.
#[derive(Default)]
pub(super) struct SealedRefs {
    blocks: Paged<Block>,
    /// Blocks that nobody links to.
    free: Vec<u32>,
}

impl SealedRefs {
    /// Adds the newest reference of a series, whose newest block is `newest`, and tells which block is now.
    pub(super) fn push(&mut self, newest: u32, sealed: SealedRef) -> u32 {
        if newest != NO_BLOCK {
            let block = &mut self.blocks[newest as usize];
            if let Some(free) = block.refs.get_mut(usize::from(block.count)) {
                *free = sealed;
                block.count += 1;
                return newest;
            }
        }
        let block = Block { refs: [sealed; PER_BLOCK], count: 1, previous: newest };
        match self.free.pop() {
            Some(free) => {
                self.blocks[free as usize] = block;
                free
            }
            None => self.blocks.push(block) as u32,
        }
    }

    /// Forgets those references of a series, whose newest block is `newest`, that `is_dropped` says; tells which block is
    /// the newest then. The memory is used for other series.
    pub(super) fn drop_some(&mut self, newest: u32, mut is_dropped: impl FnMut(&SealedRef) -> bool) -> u32 {
        let before: Vec<SealedRef> = self.newest_first(newest).collect();
        let kept: Vec<SealedRef> = before.iter().filter(|sealed| !is_dropped(sealed)).copied().collect();
        if kept.len() == before.len() {
            return newest;
        }
        let mut at = newest;
        while at != NO_BLOCK {
            self.free.push(at);
            at = self.blocks[at as usize].previous;
        }
        kept.into_iter().rev().fold(NO_BLOCK, |newest, sealed| self.push(newest, sealed))
    }

    /// A series' references from the newest to the oldest.
    pub(super) fn newest_first(&self, newest: u32) -> impl Iterator<Item = SealedRef> {
        let mut at = newest;
        let blocks = std::iter::from_fn(move || {
            if at == NO_BLOCK {
                return None;
            }
            let block = &self.blocks[at as usize];
            at = block.previous;
            Some(block)
        });
        blocks.flat_map(|block| block.refs[..usize::from(block.count)].iter().rev().copied())
    }

    /// A series' references to chunks that may hold samples from `min_ms` to `max_ms`, newest first.
    pub(super) fn overlapping(
        &self,
        newest: u32,
        min_ms: i64,
        max_ms: i64,
    ) -> impl Iterator<Item = SealedRef> {
        // The chunk that begins before the range is the last that can reach into it.
        let mut reached_begin = false;
        self.newest_first(newest)
            .take_while(move |sealed| {
                let wanted = !reached_begin;
                reached_begin = sealed.min_ms <= min_ms;
                wanted
            })
            .filter(move |sealed| sealed.min_ms <= max_ms)
    }
}
