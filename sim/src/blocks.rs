//! Blocks in the object store, and lists of them.
//!
//! A block is one window of one segment as a replica had it when it cut the block, or two blocks that were compacted. It says
//! which batches it covers, window by window. A block all of whose sources another one has is in no list; it is removed
//! some time later, whoever may still be reading by an older list.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gyre_ring::{BatchSet, Segment};

use crate::message::Answer;
use crate::rng::Rng;
use crate::series::wins;

/// A block's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockId(pub u64);

/// What a block covers of one window of one segment.
#[derive(Clone, Debug)]
pub struct Cover {
    /// The segment.
    pub segment: Segment,
    /// The [window](gyre_tsdb::window_of).
    pub window: i64,
    /// All points that these batches have there are in the block.
    pub batches: BatchSet,
}

/// A block.
#[derive(Debug)]
pub struct Block {
    /// Its name.
    pub id: BlockId,
    /// The blocks that were cut from heads and are in it: itself, or what it was compacted from.
    pub sources: BTreeSet<BlockId>,
    /// What it covers.
    pub covers: Vec<Cover>,
    /// What it holds.
    pub points: Answer,
    gone: AtomicBool,
}

impl Block {
    /// A block of a head.
    pub fn cut(id: BlockId, cover: Cover, points: Answer) -> Self {
        Block { id, sources: BTreeSet::from([id]), covers: vec![cover], points, gone: AtomicBool::new(false) }
    }

    /// Two blocks as one. Its name follows from its sources, so that whoever does it again makes the same block.
    pub fn compacted(one: &Block, other: &Block) -> Self {
        let sources: BTreeSet<BlockId> = one.sources.union(&other.sources).copied().collect();
        let id = sources.iter().fold(0, |id, source| Rng::new(id ^ source.0).next());
        let mut covers = one.covers.clone();
        for cover in &other.covers {
            let is_same = |known: &&mut Cover| known.segment == cover.segment && known.window == cover.window;
            match covers.iter_mut().find(is_same) {
                Some(known) => known.batches.extend(&cover.batches),
                None => covers.push(cover.clone()),
            }
        }
        let points = merge([&one.points, &other.points].into_iter(), |_| true);
        Block { id: BlockId(id), sources, covers, points, gone: AtomicBool::new(false) }
    }

    /// Whether it was removed from the store.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// It is removed from the store.
    pub fn remove(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

/// Points of several sources as one answer; of two values for one point the winner stays.
pub fn merge<'a>(sources: impl Iterator<Item = &'a Answer>, is_asked: impl Fn(u128) -> bool) -> Answer {
    let mut answer = concat(sources, is_asked);
    answer.dedup_by(|later, kept| {
        let is_same = later.0 == kept.0;
        if is_same && wins(later.1, kept.1) {
            kept.1 = later.1;
        }
        is_same
    });
    answer
}

/// Points of several sources in order, those that several have as often.
pub fn concat<'a>(sources: impl Iterator<Item = &'a Answer>, is_asked: impl Fn(u128) -> bool) -> Answer {
    let mut answer: Answer = sources.flatten().filter(|(point, _)| is_asked(point.0)).copied().collect();
    answer.sort_by_key(|(point, _)| *point);
    answer
}

/// What listed blocks cover of a window of a segment.
#[derive(Clone, Debug, Default)]
pub struct Covering {
    /// The batches.
    pub batches: BatchSet,
    /// The blocks that cover them.
    pub blocks: Vec<BlockId>,
}

/// The blocks that queries read, as they were at one moment.
#[derive(Debug, Default)]
pub struct Listing {
    blocks: Vec<Arc<Block>>,
    /// Their names, and those of their sources.
    names: BTreeSet<BlockId>,
    points: Answer,
}

impl Listing {
    /// A list of those of these blocks that no other one replaces.
    pub fn of(all: &[Arc<Block>]) -> Self {
        let replaces = |other: &Arc<Block>, block: &Block| {
            other.sources.len() > block.sources.len() && block.sources.is_subset(&other.sources)
        };
        let is_read = |block: &&Arc<Block>| !all.iter().any(|other| replaces(other, block));
        let blocks: Vec<Arc<Block>> = all.iter().filter(is_read).cloned().collect();
        let names = blocks.iter().flat_map(|block| block.sources.iter().copied().chain([block.id])).collect();
        let points = merge(blocks.iter().map(|block| &block.points), |_| true);
        Listing { blocks, names, points }
    }

    /// The same list with one more block, which replaces none.
    pub fn with(&self, block: Arc<Block>) -> Self {
        let points = merge([&self.points, &block.points].into_iter(), |_| true);
        let mut names = self.names.clone();
        names.insert(block.id);
        let blocks = self.blocks.iter().cloned().chain([block]).collect();
        Listing { blocks, names, points }
    }

    /// The blocks.
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// All that the blocks hold.
    pub fn points(&self) -> &Answer {
        &self.points
    }

    /// What can still be read of it.
    pub fn readable(&self) -> Cow<'_, Answer> {
        if !self.has_gone() {
            return Cow::Borrowed(&self.points);
        }
        let left = self.blocks.iter().filter(|block| !block.is_gone());
        Cow::Owned(merge(left.map(|block| &block.points), |_| true))
    }

    /// Whether a block is in the list, or one that has it as a source.
    pub fn has(&self, block: BlockId) -> bool {
        self.names.contains(&block)
    }

    /// Whether one of its blocks was removed since.
    pub fn has_gone(&self) -> bool {
        self.blocks.iter().any(|block| block.is_gone())
    }

    /// Whether it has something of a segment.
    pub fn has_some_of(&self, segment: &Segment) -> bool {
        self.blocks.iter().any(|block| block.covers.iter().any(|cover| cover.segment == *segment))
    }

    /// What it covers of a window.
    pub fn covering(&self, segment: &Segment, window: i64) -> Covering {
        let mut covering = Covering::default();
        for block in &self.blocks {
            for cover in &block.covers {
                if cover.window == window && cover.segment == *segment {
                    covering.batches.extend(&cover.batches);
                    covering.blocks.push(block.id);
                }
            }
        }
        covering
    }
}
