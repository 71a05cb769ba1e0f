//! The series of a selection in any number of blocks, as batches in order of their keys.
//!
//! A [pass](super::pass) looks at their entries in the indexes; then, some series at a time, the [chunks](super::chunks)
//! of all blocks are got and put together. Blocks that follow each other in time, as those of a shard do, so give one batch
//! whose chunks follow each other: they cost no merging. Where blocks overlap, whoever decodes the batch merges.
//!
//! What may go wrong: see [`failure`](super::failure). Entries have checksums, which are checked when they are
//! [decoded](super::entries).

use std::ops::Range;
use std::sync::Arc;

use gyre_tsdb::SeriesBatch;
use gyre_tsdb::block::{BatchAssembler, BlockError, ChunkMeta, Got, SeriesEntry, parse_series};

use super::Archive;
use super::chunks::Wanted;
use super::entries::{Decoded, Group, GroupKey};
use super::failure::BlockFailure;
use super::io::BlockIo;
use super::object::BlockRef;
use super::opened::OpenBlock;
use super::pass::{Keys, Pass};
use crate::shard::read::{LabelSets, SERIES_PER_READ, TimeRange};

/// Memory of a pass.
const PASS_BYTES: usize = 64 << 20;

/// Entries of an index that are looked at together.
const ENTRIES_PER_READ: usize = 1024;

/// Nearly every entry has fewer bytes; one that has more is read again.
const ENTRY_BYTES_GUESS: u64 = 256;

/// A batch has at most so many chunks, unless a single series has more.
const CHUNKS_PER_BATCH: usize = 16 << 10;

/// Series that were found in blocks, and not read yet.
pub struct BlockSeries {
    pub(super) archive: Arc<Archive>,
    pub(super) io: BlockIo,
    range: TimeRange,
    pub(super) blocks: Vec<Selected>,
    pass: Pass,
    /// The keys of this pass; `None`: there was none yet.
    keys: Option<Keys>,
}

/// The series of a block that are meant.
pub(super) struct Selected {
    pub(super) block: BlockRef,
    /// Keys that its series may have.
    pub(super) keys: Keys,
    /// Their references, ascending.
    pub(super) series: Vec<u32>,
}

impl BlockSeries {
    pub(super) fn new(archive: Arc<Archive>, io: BlockIo, range: TimeRange, blocks: Vec<Selected>) -> Self {
        BlockSeries { archive, io, range, blocks, pass: Pass::default(), keys: None }
    }

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

    fn try_next_batch(&mut self) -> Result<Option<SeriesBatch>, BlockFailure> {
        if !self.fill()? {
            return Ok(None);
        }
        let mut taken = Vec::with_capacity(SERIES_PER_READ);
        let mut wanted: Vec<Vec<Wanted>> = self.blocks.iter().map(|_| Vec::new()).collect();
        let mut count = 0;
        while taken.len() < SERIES_PER_READ && count < CHUNKS_PER_BATCH {
            let Some(series) = self.pass.take() else { break };
            let place = taken.len() as u32;
            taken.push(series);
            for (block, number, chunks) in self.pass.blocks_of(series) {
                wanted[block as usize].extend(Wanted::of(chunks, place, number));
                count += chunks.len();
            }
        }
        let mut batch = BatchAssembler::default();
        for (block, mut wanted) in (0..).zip(wanted) {
            // In this order chunks lie together that are got together.
            wanted.sort_unstable_by_key(|wanted| wanted.chunk.at);
            self.chunks(block, &wanted, &mut batch)?;
        }
        let labels = taken.iter().map(|series| self.pass.labels_of(*series));
        let batch = batch.finish(labels).map_err(|failed| {
            let selected = &self.blocks[failed.source as usize];
            BlockFailure::damaged(&selected.block, &failed.error)
        })?;
        Ok(Some(batch))
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
        for some in series.chunks(ENTRIES_PER_READ) {
            self.entries(block, &opened, some, |entry| {
                let in_range = |chunk: &&ChunkMeta| {
                    chunk.min_ms <= self.range.max_ms && self.range.min_ms <= chunk.max_ms
                };
                // They are in order of time.
                let begin = entry.chunks.iter().take_while(|chunk| !in_range(chunk)).count();
                let wanted = entry.chunks[begin..].iter().take_while(in_range).count();
                if wanted > 0 && keys.contains(entry.key) {
                    let chunks = &entry.chunks[begin..begin + wanted];
                    pass.add(entry.key, entry.labels, number as u32, entry.series, chunks);
                }
            })?;
            while pass.bytes() > PASS_BYTES {
                match pass.halve() {
                    Some(last) => keys.last = last,
                    None => break,
                }
            }
        }
        Ok(())
    }

    /// Looks at entries of a block's index: those that are known, and the others, which are decoded and then known.
    fn entries(
        &self,
        block: &BlockRef,
        opened: &OpenBlock,
        series: &[u32],
        mut each: impl FnMut(Decoded<'_>),
    ) -> Result<(), BlockFailure> {
        let entries = &self.archive.entries;
        let groups = series.chunk_by(GroupKey::is_same).map(|of_group| {
            let key = GroupKey::of(opened.index.block, of_group[0]);
            (of_group, key, entries.get(&key))
        });
        let groups: Vec<_> = groups.collect();
        let is_missing = |(series, found): (u32, Option<Decoded<'_>>)| found.is_none().then_some(series);
        let none = Group::default();
        let mut missing = Vec::new();
        for (of_group, _, known) in &groups {
            let known: &Group = known.as_deref().unwrap_or(&none);
            missing.extend(known.find(of_group).filter_map(is_missing));
        }
        let mut decoded = Vec::new();
        if !missing.is_empty() {
            decoded = self.decode(block, opened, &missing)?;
        }
        let mut decoded = decoded.into_iter().peekable();
        for (of_group, key, known) in groups {
            let new = decoded.next_if(|(of, _)| *of == key);
            let group = match (known, new) {
                (known, Some((_, new))) => entries.add(key, known.as_deref(), new),
                (Some(known), None) => known,
                (None, None) => continue,
            };
            group.find(of_group).filter_map(|(_, entry)| entry).for_each(&mut each);
        }
        Ok(())
    }

    /// Reads and decodes entries of a block's index, as groups.
    fn decode(
        &self,
        block: &BlockRef,
        opened: &OpenBlock,
        series: &[u32],
    ) -> Result<Vec<(GroupKey, Group)>, BlockFailure> {
        let damaged = |error: BlockError| BlockFailure::damaged(block, &error);
        let failed = |trouble| BlockFailure::new(block, trouble);
        let range = |series: u32| opened.header.series_range(series, ENTRY_BYTES_GUESS);
        let ranges: Vec<Range<u64>> = series.iter().map(|series| range(*series)).collect();
        let got = self.io.read(&opened.index, &ranges).map_err(failed)?;
        let mut groups: Vec<(GroupKey, Group)> = Vec::new();
        let (mut entry, mut labels) = (SeriesEntry::default(), Vec::new());
        for (series, bytes) in series.iter().zip(&got) {
            let begin = range(*series).start;
            if let Got::Needs(needed) = parse_series(bytes, begin, &mut entry).map_err(damaged)? {
                let bytes = self.long(&opened.index, begin, needed).map_err(failed)?;
                match parse_series(&bytes, begin, &mut entry).map_err(damaged)? {
                    Got::All(()) => {}
                    Got::Needs(_) => return Err(failed(opened.index.ends(begin))),
                }
            }
            labels.clear();
            opened.header.put_labels(&entry, &mut labels).map_err(damaged)?;
            let key = GroupKey::of(opened.index.block, *series);
            if groups.last().is_none_or(|(last, _)| *last != key) {
                groups.push((key, Group::default()));
            }
            if let Some((_, group)) = groups.last_mut() {
                group.push(*series, self.archive.seed.key(&labels), &labels, &entry.chunks);
            }
        }
        Ok(groups)
    }
}
