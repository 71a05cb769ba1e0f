//! Several blocks become one; or a part of some, by labels or by time.
//!
//! Series are merged by their labels, chunks by [`merge`](super::merge). Nothing of a block is in memory as a whole: the
//! index and the chunks of each are read in order, in pieces. Memory: what [`BlockWriter`] takes, some 2 MiB a block, and
//! one bit a block and symbol; with a filter also the symbols of one block at a time.
//!
//! Trap: `compaction.sources`. Others remove a block whose sources another one has too. So a block that does not hold all of
//! what it was made of must not have the sources of that: see [`Meta::of_part`].

use std::path::Path;
use std::sync::Arc;

use super::bits::Bits;
use super::error::{BlockError, damaged};
use super::index::{ChunkMeta, SeriesStream, SymbolTable};
use super::merge::SeriesMerge;
use super::meta::{Compaction, Meta, Parent};
use super::reader::{Block, ChunkReader};
use super::symbols_union::{SymbolsUnion, UsedSymbols};
use super::ulid::Ulid;
use super::writer::{BlockWriter, NewChunk};
use crate::disk::Disk;
use crate::labels::Labels;

/// Whether a series is wanted.
pub type SeriesFilter<'a> = &'a dyn Fn(Labels<'_>) -> bool;

impl Meta {
    /// The description of a block that will hold all samples of others.
    pub fn of_whole(ulid: Ulid, blocks: &[&Meta]) -> Self {
        let mut sources: Vec<Ulid> = blocks.iter().flat_map(|meta| meta.compaction.sources.clone()).collect();
        sources.sort_unstable();
        sources.dedup();
        let min_ms = blocks.iter().map(|meta| meta.min_ms).min().unwrap_or(0);
        let end_ms = blocks.iter().map(|meta| meta.end_ms).max().unwrap_or(0);
        Meta::new(ulid, min_ms, end_ms, Compaction { sources, ..made_of(blocks) })
    }

    /// The description of a block that will hold some samples of others, none of them before `min_ms` nor from `end_ms`
    /// on. It is its own source.
    pub fn of_part(ulid: Ulid, min_ms: i64, end_ms: i64, blocks: &[&Meta]) -> Self {
        Meta::new(ulid, min_ms, end_ms, Compaction { sources: vec![ulid], ..made_of(blocks) })
    }
}

fn made_of(blocks: &[&Meta]) -> Compaction {
    let parent = |meta: &&Meta| Parent { ulid: meta.ulid, min_ms: meta.min_ms, end_ms: meta.end_ms };
    Compaction {
        level: blocks.iter().map(|meta| meta.compaction.level).max().unwrap_or(0) + 1,
        parents: blocks.iter().map(parent).collect(),
        ..Compaction::default()
    }
}

/// Writes one block of several into `folder`: the samples from `meta.min_ms` to before `meta.end_ms` of the series that
/// `filter` accepts, without those that tombstones name. Of several values for one time the [winner](crate::winner)
/// counts. `None` if nothing is left. After an error nothing is there, but perhaps an unfinished folder.
pub fn compact(
    disk: Arc<dyn Disk>,
    folder: &Path,
    blocks: &[Block],
    filter: Option<SeriesFilter<'_>>,
    meta: Meta,
) -> Result<Option<Meta>, BlockError> {
    let (min_ms, end_ms) = (meta.min_ms, meta.end_ms);
    let is_part = |block: &Block| block.meta.min_ms < min_ms || block.meta.end_ms > end_ms;
    let mut selections = None;
    if filter.is_some() || blocks.iter().any(is_part) {
        let selection = |block: &Block| {
            Selection::of(block, filter, (min_ms, end_ms)).map_err(|error| error.in_block(&block.meta))
        };
        selections = Some(blocks.iter().map(selection).collect::<Result<Vec<_>, _>>()?);
    }
    let (used, wanted): (Option<Vec<Bits>>, Option<Vec<Bits>>) = match selections {
        None => (None, None),
        Some(selections) => {
            let (used, wanted) = selections.into_iter().map(|s| (s.symbols, s.series)).unzip();
            (Some(used), Some(wanted))
        }
    };
    let mut writer = BlockWriter::begin(disk, folder, meta)?;
    let symbols = SymbolsUnion::read(blocks, used.as_deref(), |symbol| writer.symbol(symbol).map(drop))?;
    drop(used);

    let mut inputs = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let wanted = wanted.as_ref().map(|wanted| &wanted[number]);
        let input = Input::begin(block, number, wanted, &symbols);
        inputs.push(input.map_err(|error| error.in_block(&block.meta))?);
    }
    let mut labels = Vec::new();
    let mut merge = SeriesMerge::default();
    while let Some(next) = inputs.iter().filter(|input| input.has_series).map(|input| &input.labels).min() {
        labels.clone_from(next);
        merge.clear();
        for input in inputs.iter_mut().filter(|input| input.has(&labels)) {
            input.add_to(&mut merge).map_err(|error| error.in_block(&input.block.meta))?;
        }
        // Times are milliseconds, so the last one before the end is the one before it.
        merge.run(min_ms, end_ms.saturating_sub(1)).map_err(|error| {
            let input = &inputs[error.source as usize];
            error.at(input.places[error.number as usize].at).in_block(&input.block.meta)
        })?;
        let chunks: Vec<NewChunk<'_>> = merge.chunks().collect();
        writer.series(&labels, &chunks)?;
        for input in inputs.iter_mut().filter(|input| input.has(&labels)) {
            input.advance(&symbols).map_err(|error| error.in_block(&input.block.meta))?;
        }
    }
    writer.finish()
}

/// What is wanted of a block.
struct Selection {
    /// Which series, by their order.
    series: Bits,
    /// Which symbols, by their order.
    symbols: Bits,
}

impl Selection {
    fn of(
        block: &Block,
        filter: Option<SeriesFilter<'_>>,
        (min_ms, end_ms): (i64, i64),
    ) -> Result<Self, BlockError> {
        let (version, toc) = block.toc()?;
        let table = filter.map(|_| SymbolTable::open(block.index.as_ref(), version, &toc)).transpose()?;
        let symbols = block.symbol_count()?;
        let mut used = UsedSymbols::new(block)?;
        let mut wanted = Bits::default();
        let mut stream = block.series()?;
        let mut labels = Vec::new();
        for number in 0u32.. {
            let Some((_, series)) = stream.advance()? else { break };
            if !series.chunks.iter().any(|chunk| chunk.min_ms < end_ms && min_ms <= chunk.max_ms) {
                continue;
            }
            if let (Some(filter), Some(table)) = (filter, &table) {
                labels.clear();
                table.put_labels(series, &mut labels)?;
                // A foreign block may hold labels in another order.
                let Ok(labels) = Labels::parse(&labels) else {
                    return Err(BlockError::Refused("a series' labels are not in order"));
                };
                if !filter(labels) {
                    continue;
                }
            }
            wanted.insert(number);
            used.add(&series.labels, symbols);
        }
        Ok(Selection { series: wanted, symbols: used.finish() })
    }
}

/// A block on its way into another one.
struct Input<'a> {
    block: &'a Block,
    number: usize,
    series: SeriesStream,
    /// How many series were read.
    read: u32,
    wanted: Option<&'a Bits>,
    chunks: ChunkReader<'a>,
    has_series: bool,
    reference: u32,
    /// The series' labels, as references in the block and in the new one.
    own_labels: Vec<(u32, u32)>,
    labels: Vec<(u32, u32)>,
    places: Vec<ChunkMeta>,
}

impl<'a> Input<'a> {
    fn begin(
        block: &'a Block,
        number: usize,
        wanted: Option<&'a Bits>,
        symbols: &SymbolsUnion,
    ) -> Result<Self, BlockError> {
        let mut input = Input {
            block,
            number,
            series: block.series()?,
            read: 0,
            wanted,
            chunks: block.chunks(),
            has_series: false,
            reference: 0,
            own_labels: Vec::new(),
            labels: Vec::new(),
            places: Vec::new(),
        };
        input.advance(symbols)?;
        Ok(input)
    }

    /// Goes on to the next series that is wanted.
    fn advance(&mut self, symbols: &SymbolsUnion) -> Result<(), BlockError> {
        loop {
            let Some((reference, series)) = self.series.advance()? else {
                self.has_series = false;
                return Ok(());
            };
            self.read += 1;
            if self.wanted.is_some_and(|wanted| !wanted.has(self.read - 1)) {
                continue;
            }
            // Neighbours share most labels.
            self.labels.truncate(series.labels.len());
            for (at, own) in series.labels.iter().enumerate() {
                if at < self.labels.len() && self.own_labels.get(at) == Some(own) {
                    continue;
                }
                let before = self.own_labels.get(at).zip(self.labels.get(at));
                let name = match before {
                    Some((before, mapped)) if before.0 == own.0 => mapped.0,
                    _ => symbols.number(self.number, own.0)?,
                };
                let label = (name, symbols.number(self.number, own.1)?);
                match self.labels.get_mut(at) {
                    Some(place) => *place = label,
                    None => self.labels.push(label),
                }
            }
            self.own_labels.clone_from(&series.labels);
            self.places.clone_from(&series.chunks);
            self.reference = reference;
            self.has_series = true;
            return Ok(());
        }
    }

    /// Whether the block has a series of these labels.
    fn has(&self, labels: &[(u32, u32)]) -> bool {
        self.has_series && self.labels == labels
    }

    /// Adds the series' chunks.
    fn add_to(&mut self, merge: &mut SeriesMerge) -> Result<(), BlockError> {
        let source = self.number as u32;
        for range in self.block.tombstones.of(u64::from(self.reference)) {
            merge.delete(source, *range);
        }
        // A series may name a chunk as often as it likes, and all of its chunks are in memory at once.
        let mut bytes_left = self.block.segments.iter().map(|segment| segment.len()).sum::<u64>();
        for place in &self.places {
            let chunk = self.chunks.read(place.at)?;
            let (encoding, data) = (chunk.encoding, chunk.data);
            bytes_left = bytes_left.checked_sub(data.len() as u64).ok_or_else(|| {
                damaged(place.at.file(), place.at.offset(), "a series has more chunks than the files hold")
            })?;
            merge.add(source, NewChunk { encoding, data, min_ms: place.min_ms, max_ms: place.max_ms });
        }
        Ok(())
    }
}
