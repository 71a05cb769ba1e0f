//! All series of an index in order, with little memory.

use std::sync::Arc;

use super::postings::PostingsStream;
use super::series::{Got, SeriesEntry, parse_series};
use super::toc::{IndexVersion, Toc};
use crate::block::error::{BlockError, BlockFile, damaged};
use crate::block::window::Window;
use crate::disk::ReadAt;

/// How much of the index is read at once.
const STEP_BYTES: usize = 256 << 10;

/// The series of a list, one after the other.
pub struct SeriesStream {
    version: IndexVersion,
    toc: Toc,
    list: PostingsStream,
    window: Window,
    entry: SeriesEntry,
}

impl SeriesStream {
    /// Begins with the first series of a list, which lies in a range of the index.
    pub fn open(
        index: Arc<dyn ReadAt>,
        version: IndexVersion,
        toc: &Toc,
        list: &std::ops::Range<u64>,
    ) -> Result<Self, BlockError> {
        Ok(SeriesStream {
            version,
            toc: *toc,
            list: PostingsStream::open(index.clone(), list)?,
            window: Window::new(index, BlockFile::Index, STEP_BYTES),
            entry: SeriesEntry::default(),
        })
    }

    /// The next series: its reference and its entry. That nothing was missing shows with the `None` at the end.
    pub fn advance(&mut self) -> Result<Option<(u32, &SeriesEntry)>, BlockError> {
        let Some(series) = self.list.next()? else { return Ok(None) };
        let offset = self.version.series_offset(series);
        let end = self.toc.end_of_section(offset);
        if !(self.toc.series..end).contains(&offset) || offset >= self.toc.postings {
            return Err(damaged(BlockFile::Index, offset, "a series is not among the series"));
        }
        let room = usize::try_from(end - offset).unwrap_or(usize::MAX);
        let mut bytes = 1 << 10;
        loop {
            let got = parse_series(self.window.up_to(offset, room.min(bytes))?, offset, &mut self.entry)?;
            match got {
                Got::All(()) => return Ok(Some((series, &self.entry))),
                Got::Needs(needed) if bytes < room && needed <= room as u64 => bytes = needed as usize,
                Got::Needs(_) => {
                    return Err(damaged(BlockFile::Index, offset, "a series is longer than its place"));
                }
            }
        }
    }
}
