//! A list of series: `len u32 | count u32 | series u32 ... | crc32c`, ascending.

use std::sync::Arc;

use super::{CRC_BYTES, check_section, take_u32};
use crate::block::error::{BlockError, BlockFile, damaged};
use crate::block::window::Window;
use crate::disk::ReadAt;

/// Reads a list that begins at `offset` of the index.
pub fn parse_postings(bytes: &[u8], offset: u64) -> Result<Vec<u32>, BlockError> {
    let wrong = |what| damaged(BlockFile::Index, offset, what);
    let mut list = check_section(bytes, offset)?;
    let count = take_u32(&mut list).ok_or_else(|| wrong("a posting list without a count"))?;
    if list.len() as u64 != u64::from(count) * 4 {
        return Err(wrong("a posting list has another length than its count says"));
    }
    let series = list.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let series: Vec<u32> = series.collect();
    if !series.is_sorted_by(|a, b| a < b) {
        return Err(wrong("a posting list is not in order"));
    }
    Ok(series)
}

/// A list read piece by piece. That its checksum is right shows at the end only.
pub(in crate::block) struct PostingsStream {
    window: Window,
    list: u64,
    at: u64,
    left: u32,
    crc: u32,
    last: Option<u32>,
}

impl PostingsStream {
    /// Begins a list that lies in a range of the index.
    pub(in crate::block) fn open(
        index: Arc<dyn ReadAt>,
        range: &std::ops::Range<u64>,
    ) -> Result<Self, BlockError> {
        let mut window = Window::new(index, BlockFile::Index, 64 << 10);
        let mut head = window.get(range.start, 8)?;
        let (len, count) = (take_u32(&mut head).unwrap_or(0), take_u32(&mut head).unwrap_or(0));
        let end = range.start + 4 + u64::from(len) + CRC_BYTES as u64;
        if u64::from(len) != 4 + 4 * u64::from(count) || end > range.end {
            return Err(damaged(
                BlockFile::Index,
                range.start,
                "a posting list has another length than its count says",
            ));
        }
        let crc = crc32c::crc32c(&count.to_be_bytes());
        Ok(PostingsStream { window, list: range.start, at: range.start + 8, left: count, crc, last: None })
    }

    /// The next series.
    pub(in crate::block) fn next(&mut self) -> Result<Option<u32>, BlockError> {
        let bytes = self.window.get(self.at, 4)?;
        let word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if self.left == 0 {
            if word != self.crc {
                return Err(damaged(BlockFile::Index, self.list, "checksum mismatch"));
            }
            return Ok(None);
        }
        if self.last.is_some_and(|last| last >= word) {
            return Err(damaged(BlockFile::Index, self.at, "a posting list is not in order"));
        }
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.at += 4;
        self.left -= 1;
        self.last = Some(word);
        Ok(Some(word))
    }
}
