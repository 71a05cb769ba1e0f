//! What every lookup in an index needs: symbols and the table of postings.

use std::ops::Range;

use super::series::SeriesEntry;
use super::symbols::SymbolTable;
use super::table::PostingsTable;
use super::toc::{IndexVersion, Toc};
use crate::block::error::{BlockError, BlockFile};
use crate::block::window::read_range;
use crate::disk::ReadAt;

/// Bytes in which nearly every series' entry fits: Thanos's and Cortex's guess.
pub const SERIES_BYTES_GUESS: u64 = 64 << 10;

/// The part of an index that is kept. It takes as much memory as the two sections have bytes, and a little more.
#[derive(Debug)]
pub struct IndexHeader {
    version: IndexVersion,
    toc: Toc,
    symbols: SymbolTable,
    postings: PostingsTable,
}

impl IndexHeader {
    /// Makes it of the bytes of the [ranges](Toc::header_ranges) that the table of contents names.
    pub fn parse(toc: Toc, head: &[u8], symbols: Vec<u8>, postings_table: &[u8]) -> Result<Self, BlockError> {
        let version = IndexVersion::parse(head)?;
        let symbols = SymbolTable::parse(symbols, toc.symbols, version)?;
        let postings = PostingsTable::parse(postings_table, &toc, version)?;
        Ok(IndexHeader { version, toc, symbols, postings })
    }

    /// Reads it, with four reads.
    pub fn open(index: &dyn ReadAt) -> Result<Self, BlockError> {
        let read = |range| read_range(index, BlockFile::Index, range);
        let toc = Toc::parse(&read(Toc::range(index.len())?)?, index.len())?;
        let ranges = toc.header_ranges();
        let head = read(ranges.head)?;
        Self::parse(toc, &head, read(ranges.symbols)?, &read(ranges.postings_table)?)
    }

    /// The index's version.
    pub fn version(&self) -> IndexVersion {
        self.version
    }

    /// The table of contents.
    pub fn toc(&self) -> &Toc {
        &self.toc
    }

    /// All label names and values.
    pub fn symbols(&self) -> &SymbolTable {
        &self.symbols
    }

    /// Which posting list is where.
    pub fn postings(&self) -> &PostingsTable {
        &self.postings
    }

    /// The range that holds a series' entry if that has at most so many bytes, such as [`SERIES_BYTES_GUESS`]. Should it
    /// have more, [`parse_series`](super::parse_series) says how many.
    pub fn series_range(&self, series: u32, bytes: u64) -> Range<u64> {
        let begin = self.version.series_offset(series);
        let end = self.toc.end_of_section(begin);
        begin..begin.saturating_add(bytes).min(end).max(begin)
    }

    /// Appends a series' labels in their canonical form. Labels without a value are left out: they say nothing.
    pub fn put_labels(&self, series: &SeriesEntry, out: &mut Vec<u8>) -> Result<(), BlockError> {
        self.symbols.put_labels(series, out)
    }
}
