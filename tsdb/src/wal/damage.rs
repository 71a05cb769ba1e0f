//! Where a lane is damaged, and whose records may have been there.
//!
//! A replica that may have lost a batch it acknowledged must not count as holding it, so what cannot be ruled out
//! is assumed. What can be: a file names each of its streams once, before the stream's first batch in it. So bytes
//! in front of the only name held nothing of that stream.

use std::ops::Range;
use std::path::{Path, PathBuf};

use super::encoder::WalPosition;

/// Bytes of a file that are not as they were written, or files that should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file; of files that are missing, the one that comes after them.
    pub file: PathBuf,
    /// The first bad byte.
    pub offset: u64,
    /// How many bytes were skipped; none if files are missing.
    pub bytes: u64,
    /// The first file concerned.
    first_file: u64,
    /// Where what follows is good again.
    end: WalPosition,
    /// Streams that the file names only further on.
    spared: Vec<usize>,
}

impl Damage {
    /// Damaged bytes of a file.
    pub(super) fn of_bytes(file: &Path, number: u64, bytes: Range<u64>) -> Self {
        Damage {
            file: file.to_owned(),
            offset: bytes.start,
            bytes: bytes.end - bytes.start,
            first_file: number,
            end: WalPosition { file: number, offset: bytes.end },
            spared: Vec::new(),
        }
    }

    /// Files that are missing in front of one that is there.
    pub(super) fn of_missing_files(next: &Path, missing: Range<u64>) -> Self {
        let end = WalPosition { file: missing.end, offset: 0 };
        let (file, first_file) = (next.to_owned(), missing.start);
        Damage { file, offset: 0, bytes: 0, first_file, end, spared: Vec::new() }
    }

    /// Spares streams by where the file names them.
    pub(super) fn spare(&mut self, named: &[(u64, usize)]) {
        let is_before = |stream: usize| named.iter().any(|(at, named)| *named == stream && *at < self.offset);
        self.spared = named.iter().map(|(_, stream)| *stream).filter(|stream| !is_before(*stream)).collect();
    }

    /// Whether files are missing, and the first of them.
    pub fn missing_file(&self) -> Option<u64> {
        (self.first_file < self.end.file).then_some(self.first_file)
    }

    /// Whether records of a stream may have been lost, of which those before `begin` do not count, since a snapshot
    /// has them. `stream` is what [`Replay::stream`](super::Replay::stream) gave.
    ///
    /// Samples that build on lost records are not meant: of these replay tells, each by itself.
    pub fn may_concern(&self, stream: usize, begin: Option<WalPosition>) -> bool {
        !self.spared.contains(&stream) && begin.is_none_or(|begin| begin < self.end)
    }
}
