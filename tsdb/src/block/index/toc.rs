//! The table of contents: where the index's sections begin. It stands at the end of the file.

use std::ops::Range;

use super::CRC_BYTES;
use crate::block::error::{BlockError, BlockFile, damaged};

/// Magic and version.
pub const HEADER_BYTES: u64 = 5;

pub(in crate::block) const MAGIC: [u8; 4] = [0xba, 0xaa, 0xd7, 0x00];

const OFFSETS: usize = 6;
const TOC_BYTES: usize = OFFSETS * 8 + CRC_BYTES;

/// The index's format version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexVersion {
    /// Before Prometheus 2.3.
    V1,
    /// Since then.
    V2,
}

impl IndexVersion {
    /// Reads the file's first bytes.
    pub fn parse(head: &[u8]) -> Result<Self, BlockError> {
        let version = head.strip_prefix(&MAGIC).and_then(|rest| rest.first());
        match version {
            None => Err(damaged(BlockFile::Index, 0, "not an index")),
            Some(1) => Ok(IndexVersion::V1),
            Some(2) => Ok(IndexVersion::V2),
            Some(other) => Err(BlockError::Unsupported {
                file: BlockFile::Index,
                offset: MAGIC.len() as u64,
                what: "version",
                number: u64::from(*other),
            }),
        }
    }

    /// Where a series' entry is.
    pub fn series_offset(self, series: u32) -> u64 {
        match self {
            IndexVersion::V1 => u64::from(series),
            IndexVersion::V2 => u64::from(series) * 16,
        }
    }
}

/// Where the sections begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toc {
    /// All names and values.
    pub symbols: u64,
    /// Series with their labels and chunks.
    pub series: u64,
    /// Not needed any more; may be 0.
    pub label_indices: u64,
    /// Not needed any more; may be 0.
    pub label_indices_table: u64,
    /// Lists of series.
    pub postings: u64,
    /// Where these lists are.
    pub postings_table: u64,
    /// Where the sections end.
    pub end: u64,
}

/// The ranges of an index that its header is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRanges {
    /// Magic and version.
    pub head: Range<u64>,
    /// The symbols.
    pub symbols: Range<u64>,
    /// The table of postings.
    pub postings_table: Range<u64>,
}

impl Toc {
    /// The range that holds the table of contents of an index of so many bytes.
    pub fn range(index_bytes: u64) -> Result<Range<u64>, BlockError> {
        match index_bytes.checked_sub(TOC_BYTES as u64) {
            Some(begin) if begin >= HEADER_BYTES => Ok(begin..index_bytes),
            _ => Err(damaged(BlockFile::Index, 0, "the file is too short for an index")),
        }
    }

    /// Reads the bytes of [`Toc::range`].
    pub fn parse(bytes: &[u8], index_bytes: u64) -> Result<Self, BlockError> {
        let end = Toc::range(index_bytes)?.start;
        let wrong = |what| damaged(BlockFile::Index, end, what);
        let bytes: &[u8; TOC_BYTES] =
            bytes.try_into().map_err(|_| wrong("the table of contents is cut off"))?;
        let (fields, crc) = bytes.split_at(OFFSETS * 8);
        if crc32c::crc32c(fields).to_be_bytes() != crc {
            return Err(wrong("checksum mismatch"));
        }
        let mut offsets =
            fields.chunks_exact(8).map(|b| b.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte)));
        let mut next = || offsets.next().expect("there are six fields");
        let toc = Toc {
            symbols: next(),
            series: next(),
            label_indices: next(),
            label_indices_table: next(),
            postings: next(),
            postings_table: next(),
            end,
        };
        let needed = [HEADER_BYTES, toc.symbols, toc.series, toc.postings, toc.postings_table, end];
        if !needed.is_sorted() || toc.label_indices > end || toc.label_indices_table > end {
            return Err(wrong("sections are in another order"));
        }
        Ok(toc)
    }

    /// The ranges to get for an [`IndexHeader`](super::IndexHeader).
    pub fn header_ranges(&self) -> HeaderRanges {
        HeaderRanges {
            head: 0..HEADER_BYTES,
            symbols: self.symbols..self.series,
            postings_table: self.postings_table..self.end,
        }
    }

    /// The begins of all sections, in the order of the file's fields.
    fn begins(&self) -> [u64; OFFSETS] {
        [
            self.symbols,
            self.series,
            self.label_indices,
            self.label_indices_table,
            self.postings,
            self.postings_table,
        ]
    }

    /// Where the section that holds an offset ends.
    pub(super) fn end_of_section(&self, offset: u64) -> u64 {
        let begins = self.begins();
        begins.into_iter().filter(|begin| *begin > offset).min().unwrap_or(self.end).min(self.end)
    }

    pub(in crate::block) fn put(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        let offsets = self.begins();
        out.extend(offsets.iter().flat_map(|offset| offset.to_be_bytes()));
        let crc = crc32c::crc32c(&out[begin..]);
        out.extend(crc.to_be_bytes());
    }
}
