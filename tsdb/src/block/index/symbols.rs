//! The symbols: all label names and values, sorted, each once. `len u32 | count u32 | (uvarint len, bytes)* | crc32c`.

use std::sync::Arc;

use super::series::SeriesEntry;
use super::toc::{IndexVersion, Toc};
use super::{CRC_BYTES, check_section, take_text, take_u32};
use crate::block::error::{BlockError, BlockFile, damaged};
use crate::block::window::{Window, read_range};
use crate::disk::ReadAt;
use crate::{labels, varint};

/// Symbols between two of which the place is remembered. A query looks up some twenty for each series, so few are skipped: it
/// costs a byte for each.
const SPARSENESS: usize = 4;

/// Bytes of a section in front of the first symbol.
const BEFORE_FIRST: u64 = 8;

/// All symbols of an index, in memory.
#[derive(Debug)]
pub struct SymbolTable {
    version: IndexVersion,
    /// The section.
    bytes: Vec<u8>,
    /// Where it begins.
    offset: u64,
    /// Where in `bytes` every fourth symbol is.
    sparse: Vec<u32>,
    count: u32,
    /// Where in `bytes` the last symbol ends.
    end: usize,
}

impl SymbolTable {
    /// Reads the section at `offset`.
    pub(super) fn parse(bytes: Vec<u8>, offset: u64, version: IndexVersion) -> Result<Self, BlockError> {
        let wrong = |at: usize, what| damaged(BlockFile::Index, offset + at as u64, what);
        let payload = check_section(&bytes, offset)?;
        let end = 4 + payload.len();
        let mut rest = payload;
        let count = take_u32(&mut rest).ok_or_else(|| wrong(4, "symbols without a count"))?;
        let mut sparse = Vec::new();
        let mut last: Option<&[u8]> = None;
        for number in 0..count {
            let at = end - rest.len();
            if (number as usize).is_multiple_of(SPARSENESS) {
                sparse.push(at as u32);
            }
            let symbol = take_text(&mut rest).ok_or_else(|| wrong(at, "a symbol is cut off"))?;
            if last.is_some_and(|last| last >= symbol) {
                return Err(wrong(at, "symbols are not in order"));
            }
            if str::from_utf8(symbol).is_err() {
                return Err(wrong(at, "a symbol is not UTF-8"));
            }
            last = Some(symbol);
        }
        Ok(SymbolTable { version, bytes, offset, sparse, count, end })
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All symbols, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = &self.bytes[BEFORE_FIRST as usize..self.end];
        (0..self.count)
            .map_while(move |_| take_text(&mut rest).and_then(|symbol| str::from_utf8(symbol).ok()))
    }

    /// The symbol that a reference of a series means.
    pub fn get(&self, reference: u32) -> Result<&str, BlockError> {
        let wrong =
            || damaged(BlockFile::Index, self.offset, "a series refers to a symbol that is not there");
        let (at, skip) = match self.version {
            IndexVersion::V1 => {
                let at = u64::from(reference).checked_sub(self.offset).filter(|at| *at >= BEFORE_FIRST);
                (at.and_then(|at| usize::try_from(at).ok()).ok_or_else(wrong)?, 0)
            }
            IndexVersion::V2 if reference < self.count => {
                (self.sparse[reference as usize / SPARSENESS] as usize, reference as usize % SPARSENESS)
            }
            IndexVersion::V2 => return Err(wrong()),
        };
        let mut rest = self.bytes.get(at..self.end).ok_or_else(wrong)?;
        for _ in 0..skip {
            take_text(&mut rest).ok_or_else(wrong)?;
        }
        let symbol = take_text(&mut rest).ok_or_else(wrong)?;
        str::from_utf8(symbol).map_err(|_| wrong())
    }
}

impl SymbolTable {
    /// Reads the section of an index.
    pub(in crate::block) fn open(
        index: &dyn ReadAt,
        version: IndexVersion,
        toc: &Toc,
    ) -> Result<Self, BlockError> {
        let bytes = read_range(index, BlockFile::Index, toc.header_ranges().symbols)?;
        Self::parse(bytes, toc.symbols, version)
    }

    /// Appends a series' labels in their canonical form. Labels without a value are left out: they say nothing.
    pub(in crate::block) fn put_labels(
        &self,
        series: &SeriesEntry,
        out: &mut Vec<u8>,
    ) -> Result<(), BlockError> {
        for (name, value) in &series.labels {
            let (name, value) = (self.get(*name)?, self.get(*value)?);
            if !value.is_empty() {
                labels::put_label(out, name, value);
            }
        }
        Ok(())
    }
}

/// The symbols one after the other, from a file.
pub(in crate::block) struct SymbolStream {
    window: Window,
    section: u64,
    at: u64,
    /// Where the section's checksum is.
    end: u64,
    left: u32,
    count: u32,
    crc: u32,
    /// The last symbol.
    symbol: Vec<u8>,
}

impl SymbolStream {
    pub(in crate::block) fn open(index: Arc<dyn ReadAt>, toc: &Toc) -> Result<Self, BlockError> {
        let mut window = Window::new(index, BlockFile::Index, 64 << 10);
        let mut head = window.get(toc.symbols, BEFORE_FIRST as usize)?;
        let (len, count) = (take_u32(&mut head).unwrap_or(0), take_u32(&mut head).unwrap_or(0));
        let end = toc.symbols + 4 + u64::from(len);
        if len < 4 || end + CRC_BYTES as u64 > toc.series {
            return Err(damaged(BlockFile::Index, toc.symbols, "a section is longer than its place"));
        }
        // Each takes a byte at least: whoever keeps something for each keeps no more than the file has.
        if count > len - 4 {
            return Err(damaged(BlockFile::Index, toc.symbols + 4, "a symbol is cut off"));
        }
        let (section, at, left) = (toc.symbols, toc.symbols + BEFORE_FIRST, count);
        let crc = crc32c::crc32c(&count.to_be_bytes());
        Ok(SymbolStream { window, section, at, end, left, count, crc, symbol: Vec::new() })
    }

    /// How many there are.
    pub(in crate::block) fn len(&self) -> u32 {
        self.count
    }

    /// The number of the symbol that [`SymbolStream::advance`] went to.
    pub(in crate::block) fn number(&self) -> u32 {
        (self.count - self.left).saturating_sub(1)
    }

    /// Goes on to the next symbol; gives its offset, or `None` at the end.
    pub(in crate::block) fn advance(&mut self) -> Result<Option<u64>, BlockError> {
        let at = self.at;
        let wrong = |what| damaged(BlockFile::Index, at, what);
        if self.left == 0 {
            self.crc = crc32c::crc32c_append(self.crc, self.window.get(at, (self.end - at) as usize)?);
            self.at = self.end;
            if self.window.get(self.end, CRC_BYTES)? != self.crc.to_be_bytes() {
                return Err(damaged(BlockFile::Index, self.section, "checksum mismatch"));
            }
            return Ok(None);
        }
        let room = (self.end - at) as usize;
        let head = self.window.up_to(at, room.min(varint::LEN_MAX))?;
        let mut rest = head;
        let len = varint::take_u64(&mut rest).and_then(|len| usize::try_from(len).ok());
        let len_bytes = head.len() - rest.len();
        let len = len.filter(|len| *len <= room - len_bytes).ok_or_else(|| wrong("a symbol is cut off"))?;
        let entry = self.window.get(at, len_bytes + len)?;
        self.crc = crc32c::crc32c_append(self.crc, entry);
        let symbol = &entry[len_bytes..];
        if self.left < self.count && symbol <= &self.symbol[..] {
            return Err(wrong("symbols are not in order"));
        }
        self.symbol.clear();
        self.symbol.extend_from_slice(symbol);
        self.at += (len_bytes + len) as u64;
        self.left -= 1;
        Ok(Some(at))
    }

    /// The symbol that [`SymbolStream::advance`] went to.
    pub(in crate::block) fn symbol(&self) -> &[u8] {
        &self.symbol
    }
}
