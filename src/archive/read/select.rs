//! The blocks of a query, and which of their series it means: by posting lists.
//!
//! [`BlockQuery::select`] gives [`BlockSeries`], which reads them. What may go wrong: see [`failure`](super::failure).

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use gyre_tsdb::Matcher;
use gyre_tsdb::block::{BlockError, PostingsPlan, Ulid};

use super::Archive;
use super::failure::{BlockFailure, Trouble};
use super::io::BlockIo;
use super::object::BlockRef;
use super::opened::OpenBlock;
use super::pass::Keys;
use super::series::{BlockSeries, Selected};
use crate::shard::read::TimeRange;

/// The blocks that a query reads.
pub struct BlockQuery {
    archive: Arc<Archive>,
    blocks: Vec<BlockRef>,
    io: BlockIo,
    /// What was left out, if a query may be answered in part.
    lost: Option<Mutex<Vec<BlockFailure>>>,
}

impl std::fmt::Debug for BlockQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockQuery").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

impl BlockQuery {
    pub(super) fn new(archive: Arc<Archive>, blocks: Vec<BlockRef>, io: BlockIo) -> Self {
        BlockQuery { archive, blocks, io, lost: None }
    }

    /// Leaves blocks out that cannot be read, and these: what the answer lacks then, [`BlockQuery::lost`] says.
    pub fn in_part(self, without: Vec<BlockFailure>) -> Self {
        BlockQuery { lost: Some(Mutex::new(without)), ..self }
    }

    /// The blocks that were left out.
    pub fn lost(&self) -> Vec<BlockFailure> {
        let lost = self.lost.as_ref().map(|lost| lost.lock().unwrap_or_else(PoisonError::into_inner).clone());
        lost.unwrap_or_default()
    }

    /// The blocks that overlap a range of time, without those that were left out.
    fn wanted(&self, range: TimeRange) -> impl Iterator<Item = &BlockRef> {
        let lost: BTreeSet<Ulid> = self.lost().iter().map(|lost| lost.ulid).collect();
        let overlapping = self.blocks.iter().filter(move |block| block.overlaps(range.min_ms, range.max_ms));
        overlapping.filter(move |block| !lost.contains(&block.meta.ulid))
    }

    /// Reads something of a block; `None` if that fails and the query does without it.
    fn of<T>(
        &self,
        block: &BlockRef,
        read: impl FnOnce() -> Result<T, BlockFailure>,
    ) -> Result<Option<T>, BlockFailure> {
        let mut lost = self.lost.as_ref().map(|lost| lost.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(lost) = &mut lost
            && let Some(down) = lost.iter().find(|lost| matches!(lost.trouble, Trouble::Unavailable(_)))
        {
            // The bucket does not answer: each block that is tried would be waited for.
            let failure = BlockFailure::new(block, down.trouble.clone());
            lost.push(failure);
            return Ok(None);
        }
        match (self.archive.judge(read()), lost) {
            (Ok(value), _) => Ok(Some(value)),
            // A newer list may know better.
            (Err(failure), Some(mut lost)) if !matches!(failure.trouble, Trouble::Gone(_)) => {
                lost.push(failure);
                Ok(None)
            }
            (Err(failure), _) => Err(failure),
        }
    }

    /// Whether what a block of a head had is in one of these.
    pub fn holds(&self, source: Ulid) -> bool {
        let holds =
            |block: &BlockRef| block.meta.ulid == source || block.meta.compaction.sources.contains(&source);
        self.blocks.iter().any(holds)
    }

    /// Whether any block may have samples in a range of time.
    pub fn overlaps(&self, range: TimeRange) -> bool {
        self.blocks.iter().any(|block| block.overlaps(range.min_ms, range.max_ms))
    }

    /// Finds the series that satisfy all matchers. Blocks while it reads posting lists.
    pub fn select(&self, matchers: &[Matcher], range: TimeRange) -> Result<BlockSeries, BlockFailure> {
        let mut blocks = Vec::new();
        for block in self.wanted(range) {
            let series = self.of(block, || self.postings(block, matchers))?.unwrap_or_default();
            if !series.is_empty() {
                let (first, last) = block.keys();
                blocks.push(Selected { block: block.clone(), keys: Keys { first, last }, series });
            }
        }
        Ok(BlockSeries::new(self.archive.clone(), self.io.clone(), range, blocks))
    }

    fn postings(&self, block: &BlockRef, matchers: &[Matcher]) -> Result<Vec<u32>, BlockFailure> {
        let damaged = |error: BlockError| BlockFailure::damaged(block, &error);
        let opened = self.archive.open(block, &self.io)?;
        let plan: PostingsPlan = opened.header.plan(matchers).map_err(damaged)?;
        let mut ranges: Vec<Range<u64>> = plan.ranges().cloned().collect();
        ranges.sort_unstable_by_key(|range| (range.start, range.end));
        ranges.dedup();
        let lists =
            self.io.read(&opened.index, &ranges).map_err(|trouble| BlockFailure::new(block, trouble))?;
        let find = |range: &Range<u64>| {
            let key = |range: &Range<u64>| (range.start, range.end);
            let at = ranges.binary_search_by_key(&key(range), key).ok()?;
            Some(&lists[at][..])
        };
        plan.select(find).map_err(damaged)
    }

    /// The label names in blocks that overlap a range of time. Blocks.
    pub fn label_names(&self, range: TimeRange) -> Result<Vec<String>, BlockFailure> {
        let mut names = Vec::new();
        self.each_opened(range, |opened| {
            names.extend(opened.header.postings().names().map(str::to_owned));
            Ok(())
        })?;
        Ok(names)
    }

    /// The values of a label in blocks that overlap a range of time. Blocks.
    pub fn label_values(&self, name: &str, range: TimeRange) -> Result<Vec<String>, BlockFailure> {
        let mut values = Vec::new();
        self.each_opened(range, |opened| {
            for list in opened.header.postings().lists(name) {
                values.push(list?.value.to_owned());
            }
            Ok(())
        })?;
        values.retain(|value| !value.is_empty());
        Ok(values)
    }

    fn each_opened(
        &self,
        range: TimeRange,
        mut each: impl FnMut(&OpenBlock) -> Result<(), BlockError>,
    ) -> Result<(), BlockFailure> {
        for block in self.wanted(range) {
            self.of(block, || {
                let opened = self.archive.open(block, &self.io)?;
                each(&opened).map_err(|error| BlockFailure::damaged(block, &error))
            })?;
        }
        Ok(())
    }
}
