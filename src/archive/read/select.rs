//! The series of a selection in any number of blocks, as batches in order of their keys.
//!
//! Three steps: posting lists say which series of each block are meant ([`BlockQuery::select`]); a [pass](super::pass) looks
//! at their entries in the index; then, some series at a time, the chunks of all blocks are got and put together. Blocks
//! that follow each other in time, as those of a shard do, so give one batch whose chunks follow each other: they cost no
//! merging. Where blocks overlap, whoever decodes the batch merges.
//!
//! What may go wrong: see [`failure`](super::failure). Every entry and every chunk has a checksum, and is checked each time.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use gyre_tsdb::block::{
    BatchAssembler, BlockError, BlockFile, ChunkMeta, Got, PostingsPlan, SeriesEntry, Ulid, parse_chunk,
    parse_series,
};
use gyre_tsdb::{Matcher, SeriesBatch};

use super::Archive;
use super::failure::{BlockFailure, Trouble};
use super::io::{BlockIo, ITEM_BYTES_MAX};
use super::object::{BlockRef, Object};
use super::opened::OpenBlock;
use super::pass::{Keys, Pass};
use crate::shard::read::{LabelSets, SERIES_PER_READ, TimeRange};

/// Memory of a pass.
const PASS_BYTES: usize = 64 << 20;

/// Entries of an index that are read at a time.
const ENTRIES_PER_READ: usize = 1024;

/// Nearly every entry has fewer bytes; one that has more is read again.
const ENTRY_BYTES_GUESS: u64 = 256;

/// Nearly every chunk has fewer bytes.
const CHUNK_BYTES_GUESS: u64 = 1024;

/// A batch has at most so many chunks, unless a single series has more.
const CHUNKS_PER_BATCH: usize = 16 << 10;

/// The blocks that a query reads.
pub struct BlockQuery {
    archive: Arc<Archive>,
    blocks: Vec<BlockRef>,
    io: BlockIo,
    /// What was left out, if a query may be answered in part.
    lost: Option<Mutex<Vec<BlockFailure>>>,
}

/// Series that were found in blocks, and not read yet.
pub struct BlockSeries {
    archive: Arc<Archive>,
    io: BlockIo,
    range: TimeRange,
    blocks: Vec<Selected>,
    pass: Pass,
    /// The keys of this pass; `None`: there was none yet.
    keys: Option<Keys>,
}

/// The series of a block that are meant.
struct Selected {
    block: BlockRef,
    keys: Keys,
    series: Vec<u32>,
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
        let (archive, io) = (self.archive.clone(), self.io.clone());
        Ok(BlockSeries { archive, io, range, blocks, pass: Pass::default(), keys: None })
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

impl BlockSeries {
    /// Whether no block has any.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The next series with their chunks, in order of keys; `None` at the end. Blocks.
    pub fn next_batch(&mut self) -> Result<Option<SeriesBatch>, BlockFailure> {
        let archive = self.archive.clone();
        archive.judge(self.try_next_batch())
    }

    /// The labels of the next series, in order of keys; `None` at the end. Blocks.
    pub fn next_labels(&mut self) -> Result<Option<LabelSets>, BlockFailure> {
        let archive = self.archive.clone();
        if !archive.judge(self.fill())? {
            return Ok(None);
        }
        let taken: Vec<u32> = std::iter::from_fn(|| self.pass.take()).take(SERIES_PER_READ).collect();
        Ok(Some(taken.iter().map(|series| self.pass.labels_of(*series)).collect()))
    }

    /// Begins the next pass if this one has come to its end; false if that was the last.
    fn fill(&mut self) -> Result<bool, BlockFailure> {
        while self.pass.is_empty() {
            let first = match self.keys {
                None => 0,
                Some(Keys { last: u128::MAX, .. }) => return Ok(false),
                Some(Keys { last, .. }) => last + 1,
            };
            let mut keys = Keys { first, last: u128::MAX };
            let mut pass = Pass::default();
            for number in 0..self.blocks.len() {
                self.look_at(number, &mut keys, &mut pass)?;
            }
            pass.sort();
            (self.pass, self.keys) = (pass, Some(keys));
        }
        Ok(true)
    }

    /// Adds a block's series to a pass, whose keys get fewer if that takes too much memory.
    fn look_at(&self, number: usize, keys: &mut Keys, pass: &mut Pass) -> Result<(), BlockFailure> {
        let Selected { block, keys: own, series } = &self.blocks[number];
        if own.last < keys.first || keys.last < own.first {
            return Ok(());
        }
        let opened = self.archive.open(block, &self.io)?;
        let seed = self.archive.seed;
        let (mut entry, mut labels) = (SeriesEntry::default(), Vec::new());
        for some in series.chunks(ENTRIES_PER_READ) {
            let mut each = |number_in_block: u32, entry: &SeriesEntry| {
                let in_range = |chunk: &&ChunkMeta| {
                    chunk.min_ms <= self.range.max_ms && self.range.min_ms <= chunk.max_ms
                };
                // They are in order of time.
                let begin = entry.chunks.iter().take_while(|chunk| !in_range(chunk)).count();
                let wanted = entry.chunks[begin..].iter().take_while(in_range).count();
                if wanted == 0 {
                    return Ok(());
                }
                labels.clear();
                opened.header.put_labels(entry, &mut labels)?;
                let key = seed.key(&labels);
                if keys.contains(key) {
                    let chunks = &entry.chunks[begin..begin + wanted];
                    pass.add(key, &labels, number as u32, number_in_block, chunks);
                }
                Ok(())
            };
            self.entries(block, &opened, some, &mut entry, &mut each)?;
            while pass.bytes() > PASS_BYTES {
                match pass.halve() {
                    Some(last) => keys.last = last,
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Reads entries of a block's index.
    fn entries(
        &self,
        block: &BlockRef,
        opened: &OpenBlock,
        series: &[u32],
        entry: &mut SeriesEntry,
        each: &mut impl FnMut(u32, &SeriesEntry) -> Result<(), BlockError>,
    ) -> Result<(), BlockFailure> {
        let damaged = |error: BlockError| BlockFailure::damaged(block, &error);
        let failed = |trouble| BlockFailure::new(block, trouble);
        let range = |series: u32| opened.header.series_range(series, ENTRY_BYTES_GUESS);
        let ranges: Vec<Range<u64>> = series.iter().map(|series| range(*series)).collect();
        let got = self.io.read(&opened.index, &ranges).map_err(failed)?;
        for (series, bytes) in series.iter().zip(&got) {
            let begin = range(*series).start;
            if let Got::Needs(needed) = parse_series(bytes, begin, entry).map_err(damaged)? {
                let bytes = self.long(&opened.index, begin, needed).map_err(failed)?;
                match parse_series(&bytes, begin, entry).map_err(damaged)? {
                    Got::All(()) => {}
                    Got::Needs(_) => return Err(failed(ends(&opened.index, begin))),
                }
            }
            each(*series, entry).map_err(damaged)?;
        }
        Ok(())
    }

    /// Reads something that has more bytes than was guessed.
    fn long(&self, object: &Object, begin: u64, needed: u64) -> Result<bytes::Bytes, Trouble> {
        if needed > ITEM_BYTES_MAX {
            return Err(Trouble::at(object.block_file(), begin, "a length that nothing has"));
        }
        let got = self.io.read(object, std::slice::from_ref(&(begin..begin + needed)))?;
        got.into_iter().next().ok_or_else(|| ends(object, begin))
    }

    fn try_next_batch(&mut self) -> Result<Option<SeriesBatch>, BlockFailure> {
        if !self.fill()? {
            return Ok(None);
        }
        let mut taken = Vec::with_capacity(SERIES_PER_READ);
        // Block, file, offset: in this order chunks lie together that are got together.
        let mut wanted: Vec<Wanted> = Vec::new();
        while taken.len() < SERIES_PER_READ && wanted.len() < CHUNKS_PER_BATCH {
            let Some(series) = self.pass.take() else { break };
            let place = taken.len() as u32;
            taken.push(series);
            for (block, number, chunks) in self.pass.blocks_of(series) {
                for (i, chunk) in chunks.iter().enumerate() {
                    let next = chunks.get(i + 1).map_or(u64::MAX, |next| next.at.0);
                    wanted.push(Wanted { block, place, number, chunk: *chunk, next });
                }
            }
        }
        wanted.sort_unstable_by_key(|wanted| (wanted.block, wanted.chunk.at));
        let mut batch = BatchAssembler::default();
        for of_block in wanted.chunk_by(|a, b| a.block == b.block) {
            self.chunks(of_block, &mut batch)?;
        }
        let labels = taken.iter().map(|series| self.pass.labels_of(*series));
        let batch = batch.finish(labels).map_err(|failed| {
            let selected = &self.blocks[failed.source as usize];
            BlockFailure::damaged(&selected.block, &failed.error)
        })?;
        Ok(Some(batch))
    }

    /// Adds chunks of one block to a batch.
    fn chunks(&self, wanted: &[Wanted], batch: &mut BatchAssembler) -> Result<(), BlockFailure> {
        let number = wanted[0].block;
        let Selected { block, .. } = &self.blocks[number as usize];
        let failed = |trouble| BlockFailure::new(block, trouble);
        let stats = block.meta.thanos.as_ref().and_then(|thanos| thanos.index_stats);
        let guess = stats.map(|stats| stats.chunk_max_size).filter(|bytes| *bytes > 0);
        let guess = guess.map_or(CHUNK_BYTES_GUESS, |bytes| bytes.min(CHUNK_BYTES_GUESS));
        for of_file in wanted.chunk_by(|a, b| a.chunk.at.segment() == b.chunk.at.segment()) {
            let segment = of_file[0].chunk.at.segment();
            let object = self.archive.tenants.object(block, BlockFile::Segment(segment));
            let ranges: Vec<Range<u64>> = of_file.iter().map(|wanted| wanted.range(guess)).collect();
            let got = self.io.read(&object, &ranges).map_err(failed)?;
            for (wanted, bytes) in of_file.iter().zip(&got) {
                self.chunk(block, &object, wanted, bytes, batch)?;
            }
        }
        if block.meta.stats.num_tombstones > 0 {
            let opened = self.archive.open(block, &self.io)?;
            for of_series in wanted.chunk_by(|a, b| a.place == b.place) {
                for range in opened.tombstones.of(u64::from(of_series[0].number)) {
                    batch.delete(of_series[0].place, number, *range);
                }
            }
        }
        Ok(())
    }

    fn chunk(
        &self,
        block: &BlockRef,
        object: &Object,
        wanted: &Wanted,
        bytes: &[u8],
        batch: &mut BatchAssembler,
    ) -> Result<(), BlockFailure> {
        let damaged = |error: BlockError| BlockFailure::damaged(block, &error);
        let failed = |trouble| BlockFailure::new(block, trouble);
        let (at, long);
        at = wanted.chunk.at;
        let chunk = match parse_chunk(bytes, at).map_err(damaged)? {
            Got::All(chunk) => chunk,
            Got::Needs(needed) => {
                long = self.long(object, at.offset(), needed).map_err(failed)?;
                match parse_chunk(&long, at).map_err(damaged)? {
                    Got::All(chunk) => chunk,
                    Got::Needs(_) => return Err(failed(ends(object, at.offset()))),
                }
            }
        };
        batch.chunk(wanted.place, wanted.block, chunk, &wanted.chunk).map_err(damaged)
    }
}

/// A chunk to get.
struct Wanted {
    block: u32,
    /// The series' place in the batch.
    place: u32,
    /// The series' number in the block.
    number: u32,
    chunk: ChunkMeta,
    /// Where the next chunk of the series is.
    next: u64,
}

impl Wanted {
    fn range(&self, guess: u64) -> Range<u64> {
        let begin = self.chunk.at.offset();
        let next = self.next.checked_sub(self.chunk.at.0).filter(|distance| *distance > 0);
        begin..begin + next.map_or(guess, |distance| distance.min(guess))
    }
}

fn ends(object: &Object, offset: u64) -> Trouble {
    Trouble::at(object.block_file(), offset, "the file ends within this")
}
