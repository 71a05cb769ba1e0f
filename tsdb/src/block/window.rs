//! Reads a file of a block from its front to its end in large pieces, and hands out small ones.

use std::sync::Arc;

use super::error::{BlockError, BlockFile, damaged};
use crate::disk::ReadAt;

/// A piece of a file in memory, which moves to where it is asked for.
pub(super) struct Window {
    source: Arc<dyn ReadAt>,
    file: BlockFile,
    begin: u64,
    bytes: Vec<u8>,
    /// How much is read at once.
    step: usize,
}

impl Window {
    pub(super) fn new(source: Arc<dyn ReadAt>, file: BlockFile, step: usize) -> Self {
        Window { source, file, begin: 0, bytes: Vec::new(), step }
    }

    /// The file's length.
    pub(super) fn len(&self) -> u64 {
        self.source.len()
    }

    /// The `len` bytes from an offset; an error if the file ends before, and then nothing is allocated for them.
    pub(super) fn get(&mut self, offset: u64, len: usize) -> Result<&[u8], BlockError> {
        if self.source.len().saturating_sub(offset) < len as u64 {
            return Err(damaged(self.file, offset, "the file ends within this"));
        }
        self.up_to(offset, len)
    }

    /// At most `max` bytes from an offset, fewer only where the file ends.
    pub(super) fn up_to(&mut self, offset: u64, max: usize) -> Result<&[u8], BlockError> {
        let left = usize::try_from(self.source.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = max.min(left);
        if offset < self.begin || offset + len as u64 > self.begin + self.bytes.len() as u64 {
            self.bytes.resize(len.max(self.step).min(left), 0);
            self.begin = offset;
            if let Err(source) = self.source.read_at(offset, &mut self.bytes) {
                self.bytes.clear();
                return Err(BlockError::Read { file: self.file, offset, source });
            }
        }
        let at = (offset - self.begin) as usize;
        Ok(&self.bytes[at..at + len])
    }
}

/// Reads a range of a file. What the file does not hold is an error, before memory is taken for it.
pub(super) fn read_range(
    source: &dyn ReadAt,
    file: BlockFile,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, BlockError> {
    if range.start > range.end || range.end > source.len() {
        return Err(damaged(file, range.start, "the file ends before the end of this"));
    }
    let len = usize::try_from(range.end - range.start).map_err(|_| damaged(file, range.start, "too long"))?;
    let mut bytes = vec![0; len];
    let read = source.read_at(range.start, &mut bytes);
    read.map_err(|source| BlockError::Read { file, offset: range.start, source })?;
    Ok(bytes)
}
