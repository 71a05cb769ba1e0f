//! The symbols of several blocks as one table, without keeping any of them in memory.
//!
//! The tables are in order, so they are merged as they are read. Which of the united symbols a block has is a [set](Bits)
//! of one bit a symbol: the block's n-th symbol is the n-th member. Symbols that no wanted series uses are left out, by
//! one more such set.

use super::bits::Bits;
use super::error::{BlockError, BlockFile, damaged};
use super::index::{IndexVersion, SymbolStream};
use super::reader::Block;

/// How the symbols of one block are numbered in the union.
struct Source {
    /// Members: the block's symbols, by their numbers among all.
    has: Bits,
    /// Version 1 refers to symbols by these offsets, ascending.
    offsets: Option<Vec<u64>>,
}

/// All symbols of some blocks.
pub(super) struct SymbolsUnion {
    sources: Vec<Source>,
    /// Members: symbols that are wanted, by their numbers among all. `None`: all are.
    wanted: Option<Bits>,
}

impl SymbolsUnion {
    /// Merges the tables of blocks. `used` tells, if it is given, the wanted symbols of each block by their order. `symbol`
    /// gets each wanted one, in order.
    pub(super) fn read(
        blocks: &[Block],
        used: Option<&[Bits]>,
        mut symbol: impl FnMut(&[u8]) -> Result<(), BlockError>,
    ) -> Result<Self, BlockError> {
        let mut streams = Vec::new();
        let mut sources = Vec::new();
        for block in blocks {
            let open = || {
                let (version, toc) = block.toc()?;
                let mut stream = SymbolStream::open(block.index.clone(), &toc)?;
                let at = stream.advance()?;
                Ok((version, stream, at))
            };
            let (version, stream, at) = open().map_err(|error: BlockError| error.in_block(&block.meta))?;
            streams.push((stream, at));
            let offsets = (version == IndexVersion::V1).then(Vec::new);
            sources.push(Source { has: Bits::default(), offsets });
        }
        let mut wanted = used.map(|_| Bits::default());
        let mut least = Vec::new();
        for number in 0u32.. {
            let next = streams.iter().filter(|(_, at)| at.is_some()).map(|(stream, _)| stream.symbol()).min();
            let Some(next) = next else { break };
            least.clear();
            least.extend_from_slice(next);
            if number == u32::MAX {
                return Err(BlockError::Refused("too many symbols"));
            }
            let mut is_wanted = used.is_none();
            for (i, ((stream, at), source)) in streams.iter_mut().zip(&mut sources).enumerate() {
                let Some(offset) = *at else { continue };
                if stream.symbol() != least {
                    continue;
                }
                source.has.insert(number);
                is_wanted |= used.is_some_and(|used| used[i].has(stream.number()));
                source.offsets.iter_mut().for_each(|offsets| offsets.push(offset));
                *at = stream.advance().map_err(|error| error.in_block(&blocks[i].meta))?;
            }
            if is_wanted {
                wanted.iter_mut().for_each(|wanted| wanted.insert(number));
                symbol(&least)?;
            }
        }
        sources.iter_mut().for_each(|source| source.has.finish());
        wanted.iter_mut().for_each(Bits::finish);
        Ok(SymbolsUnion { sources, wanted })
    }

    /// The number among the wanted symbols of what a series of a block refers to.
    pub(super) fn number(&self, block: usize, reference: u32) -> Result<u32, BlockError> {
        let wrong = || damaged(BlockFile::Index, 0, "a series refers to a symbol that is not there");
        let source = &self.sources[block];
        let order = symbol_order(source.offsets.as_deref(), reference).ok_or_else(wrong)?;
        let number = source.has.select(order).ok_or_else(wrong)?;
        Ok(self.wanted.as_ref().map_or(number, |wanted| wanted.rank(number)))
    }
}

/// A symbol's place in the order of its table, from a reference to it.
fn symbol_order(offsets: Option<&[u64]>, reference: u32) -> Option<u32> {
    match offsets {
        None => Some(reference),
        Some(offsets) => offsets.binary_search(&u64::from(reference)).ok().map(|at| at as u32),
    }
}

/// Of one block: which symbols some series use.
pub(super) struct UsedSymbols {
    used: Bits,
    offsets: Option<Vec<u64>>,
}

impl UsedSymbols {
    pub(super) fn new(block: &Block) -> Result<Self, BlockError> {
        let (version, toc) = block.toc()?;
        let mut offsets = None;
        if version == IndexVersion::V1 {
            let mut stream = SymbolStream::open(block.index.clone(), &toc)?;
            let mut all = Vec::new();
            while let Some(offset) = stream.advance()? {
                all.push(offset);
            }
            offsets = Some(all);
        }
        Ok(UsedSymbols { used: Bits::default(), offsets })
    }

    /// Notes that a series uses symbols. References to none are reported when they are mapped.
    pub(super) fn add(&mut self, labels: &[(u32, u32)], symbols: u32) {
        for reference in labels.iter().flat_map(|(name, value)| [*name, *value]) {
            if let Some(order) =
                symbol_order(self.offsets.as_deref(), reference).filter(|order| *order < symbols)
            {
                self.used.insert(order);
            }
        }
    }

    pub(super) fn finish(self) -> Bits {
        self.used
    }
}
