//! The disk as the storage engine sees it: a handful of operations that an implementation must get right.
//!
//! Everything durable goes through [`Disk`], so that a test can run the same code on a disk that loses what
//! was not fsynced ([`SimDisk`]). Contract of every implementation:
//!
//! - bytes written survive the process at once, and a crash of the machine only after `sync_data` returned;
//! - a created, renamed or removed name survives a crash only after `sync_dir` of its folder returned;
//! - a failed `sync_data` means that bytes written before it may be lost, whatever a later one returns.

mod os;
mod sim;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use os::OsDisk;
pub use sim::{SimDisk, SimFaults};

/// Where files live.
pub trait Disk: Send + Sync {
    /// Makes a folder and those above it.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes a new file; an error if it exists.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// A view of a file that sees later writes to it, up to `len` bytes (the file may be shorter still).
    fn map(&self, path: &Path, len: u64) -> io::Result<Arc<dyn FileView>>;
    /// Opens a file that nobody writes to any more, for reading parts of it.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn ReadAt>>;
    /// A file's whole content.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// A file's length in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Moves a file over another, or a folder to where none is.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder with all that is below it; no error if it does not exist.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in a folder, sorted; empty if it does not exist.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// Puts a file in the place of one that may be there, durably: after a crash there is one or the other, whole.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = disk.create(&unfinished)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&unfinished, path)?;
    disk.sync_dir(path.parent().unwrap_or(path))
}

/// An open file.
pub trait DiskFile: Send {
    /// Writes all bytes at an offset. After an error any prefix of them may have been written.
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync_data(&mut self) -> io::Result<()>;
    /// Cuts or extends the file.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
}

/// A read-only view of a file, for the threads that decode chunks.
pub trait FileView: Send + Sync {
    /// Fills `out` from an offset; an error if the view ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
}

/// Bytes of a known number that can be read in any order: a file, or an object in a store.
pub trait ReadAt: Send + Sync {
    /// How many bytes there are.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `out` from an offset; an error if the bytes end before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
}

impl ReadAt for Vec<u8> {
    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let begin = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let source = self.get(begin..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(source.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}
