//! Takes a lane's bytes to disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::encoder::Piece;
use super::format::file_path;
use crate::disk::{Disk, DiskFile};

/// Why bytes are not on disk.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// Writing failed, for instance because the disk is full. Trying again is right.
    #[error("cannot write to WAL file {file}: {source}")]
    Write {
        /// The file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// fdatasync failed. The kernel may have dropped the bytes and forgotten about it: a later success would
    /// mean nothing. The log is not written to again by this process.
    #[error("cannot sync WAL file {file}: {source}")]
    Sync {
        /// The file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// A sync failed earlier.
    #[error("the WAL takes no more writes since an fsync failed")]
    Poisoned,
}

impl WalError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, WalError::Write { .. })
    }
}

/// A lane's files, for writing.
pub struct WalWriter {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// Whether to sync at all.
    sync: bool,
    current: Option<Current>,
    poisoned: bool,
}

struct Current {
    number: u64,
    file: Box<dyn DiskFile>,
    /// Up to here the file is written.
    len: u64,
    /// Up to here it is synced.
    synced: u64,
}

impl WalWriter {
    /// A writer of files in `folder`. Without `sync` it leaves durability to the operating system.
    pub fn new(disk: Arc<dyn Disk>, folder: &Path, sync: bool) -> Self {
        WalWriter { disk, folder: folder.to_owned(), sync, current: None, poisoned: false }
    }

    /// Appends the pieces and makes them durable. On success `pieces` is empty, and a buffer is given back to
    /// be filled again; after a retryable error it holds what remains to be done, and the call can be repeated.
    pub fn write(&mut self, pieces: &mut Vec<Piece>) -> Result<Option<Vec<u8>>, WalError> {
        if self.poisoned {
            return Err(WalError::Poisoned);
        }
        let mut spare = None;
        while let Some(piece) = pieces.first() {
            if self.current.as_ref().is_none_or(|current| current.number != piece.file) {
                // The file before is complete: nothing in the new one may count as committed unless all of
                // the old one is.
                self.sync()?;
                self.begin_file(piece.file)?;
            }
            let current = self.current.as_mut().expect("the file was just opened");
            // A failed write is repeated at the same offset.
            current.file.write_all_at(&piece.bytes, current.len).map_err(|source| WalError::Write {
                file: file_path(&self.folder, piece.file).display().to_string(),
                source,
            })?;
            current.len += piece.bytes.len() as u64;
            let mut bytes = pieces.remove(0).bytes;
            bytes.clear();
            spare = Some(bytes);
        }
        self.sync()?;
        Ok(spare)
    }

    fn begin_file(&mut self, number: u64) -> Result<(), WalError> {
        let path = file_path(&self.folder, number);
        let failed = |source| WalError::Write { file: path.display().to_string(), source };
        self.current = None;
        let file = match self.disk.create(&path) {
            // Left by an attempt that failed further down.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => self.disk.open(&path),
            other => other,
        }
        .map_err(failed)?;
        if self.sync {
            self.disk.sync_dir(&self.folder).map_err(failed)?;
        }
        self.current = Some(Current { number, file, len: 0, synced: 0 });
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WalError> {
        let Some(current) = self.current.as_mut().filter(|c| self.sync && c.synced < c.len) else {
            return Ok(());
        };
        if let Err(source) = current.file.sync_data() {
            self.poisoned = true;
            let file = file_path(&self.folder, current.number).display().to_string();
            return Err(WalError::Sync { file, source });
        }
        current.synced = current.len;
        Ok(())
    }
}
