//! A block's index, format versions 1 and 2.
//!
//! `BA AA D7 00 | version | symbols | series | postings | table of postings | TOC`, between which old versions have
//! parts that nobody needs. Integers of fixed size are big-endian. The facts are those of Prometheus's
//! `tsdb/docs/format/index.md` and, where that is silent, of what its writer does.
//!
//! Reading is split in two, so that the bytes may come from anywhere, piece by piece:
//!
//! - [`IndexHeader`] holds what every lookup needs, symbols and the table of postings: three ranges of the file.
//!   `Toc::range`, [`Toc::parse`] and [`Toc::header_ranges`] tell which.
//! - [`IndexHeader::plan`] tells which posting lists label matchers take, [`PostingsPlan::select`] which series they mean.
//! - The header tells which ranges hold a posting list or a series; [`parse_postings`] and [`parse_series`] read them.
//!
//! Whoever reads all series in order takes [`SeriesStream`] instead, which keeps nothing in memory.
//!
//! Traps: a reference to a series is its offset divided by 16 in version 2, its offset in version 1; a reference to a
//! symbol is a number in version 2, an offset in version 1; version 1's table of postings is in no order.

mod header;
mod postings;
mod select;
mod series;
mod stream;
mod symbols;
mod table;
mod toc;

pub use header::{IndexHeader, SERIES_BYTES_GUESS};
pub use postings::parse_postings;
pub use select::PostingsPlan;
pub use series::{ChunkMeta, Got, SeriesEntry, parse_series};
pub use stream::SeriesStream;
pub(super) use symbols::SymbolStream;
pub use symbols::SymbolTable;
pub(super) use table::put_entry;
pub use table::{PostingsList, PostingsTable};
pub(super) use toc::MAGIC;
pub use toc::{HEADER_BYTES, HeaderRanges, IndexVersion, Toc};

use super::error::{BlockError, BlockFile, damaged};

pub(super) const CRC_BYTES: usize = 4;

/// Entries of tables between two of which the place is remembered.
const SPARSENESS: usize = 32;

/// The payload of a section, which begins at `offset` of the index: `len u32 | payload | crc32c`. What stands behind the
/// section in `bytes` does not count.
fn check_section(bytes: &[u8], offset: u64) -> Result<&[u8], BlockError> {
    let wrong = |what| damaged(BlockFile::Index, offset, what);
    let (len, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| wrong("a section is cut off"))?;
    let len = u32::from_be_bytes(*len) as usize;
    let (payload, rest) =
        rest.split_at_checked(len).ok_or_else(|| wrong("a section is longer than its place"))?;
    let crc = rest.first_chunk::<CRC_BYTES>().ok_or_else(|| wrong("a section has no checksum"))?;
    if crc32c::crc32c(payload) != u32::from_be_bytes(*crc) {
        return Err(wrong("checksum mismatch"));
    }
    Ok(payload)
}

/// Takes a text with its length from the front.
fn take_text<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(crate::varint::take_u64(from)?).ok()?;
    let (text, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(text)
}

/// Takes a fixed 32-bit integer from the front.
fn take_u32(from: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u32::from_be_bytes(*bytes))
}
