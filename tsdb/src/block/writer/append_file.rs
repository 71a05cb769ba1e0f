//! A new file that grows at its end, by large writes.

use std::io;
use std::path::{Path, PathBuf};

use crate::block::error::BlockError;
use crate::disk::{Disk, DiskFile};

/// Bytes that gather before they are written.
const BUFFER_BYTES: usize = 1 << 20;

pub(super) struct AppendFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// Bytes that are written.
    written: u64,
    buffer: Vec<u8>,
}

impl AppendFile {
    pub(super) fn create(disk: &dyn Disk, path: &Path) -> Result<Self, BlockError> {
        let file = disk.create(path).map_err(|source| BlockError::Write { path: path.to_owned(), source })?;
        Ok(AppendFile { path: path.to_owned(), file, written: 0, buffer: Vec::new() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends what `write` puts into a buffer.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), BlockError> {
        write(&mut self.buffer);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    pub(super) fn put_bytes(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        self.put(|out| out.extend_from_slice(bytes))
    }

    /// Appends zeros up to a multiple of a length.
    pub(super) fn pad(&mut self, multiple: u64) -> Result<(), BlockError> {
        let zeros = self.len().next_multiple_of(multiple) - self.len();
        self.put(|out| out.resize(out.len() + zeros as usize, 0))
    }

    /// Writes what has gathered, so that it can be read.
    pub(super) fn flush(&mut self) -> Result<(), BlockError> {
        let result = self.file.write_all_at(&self.buffer, self.written);
        self.check(result)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes over bytes that are there.
    pub(super) fn patch(&mut self, offset: u64, bytes: &[u8]) -> Result<(), BlockError> {
        self.flush()?;
        let result = self.file.write_all_at(bytes, offset);
        self.check(result)
    }

    /// Makes the file durable.
    pub(super) fn sync(&mut self) -> Result<(), BlockError> {
        self.flush()?;
        let result = self.file.sync_data();
        self.check(result)
    }

    fn check(&self, result: io::Result<()>) -> Result<(), BlockError> {
        result.map_err(|source| BlockError::Write { path: self.path.clone(), source })
    }
}
