//! Snapshots of a head: they bound how much of the WAL a restart has to read.
//!
//! A snapshot is a file of checksummed blocks (`docs/format/snapshot.md`), written while appends go on: the
//! shard encodes some series at a time, another thread compresses and writes them. It becomes valid by being
//! renamed, after it and the sealed chunks it refers to are on disk. The last two are kept: should the newest
//! not be readable, the one before and the WAL from there on give the same head.

mod load;
mod write;

pub use load::{LoadError, Loaded, load};
pub use write::{SnapshotEnd, SnapshotWriter, encode_block};

use std::path::{Path, PathBuf};

use crate::wal::WalPosition;

/// Magic, then the format's version.
const FILE_HEADER: [u8; 12] = *b"GYRESNAP\x03\0\0\0";

/// Version 2 has no series that are gone. Version 1 is version 2 without histograms.
const OLD_FILE_HEADERS: [[u8; 12]; 2] = [*b"GYRESNAP\x01\0\0\0", *b"GYRESNAP\x02\0\0\0"];

/// Type, length, length when compressed, checksum.
const BLOCK_HEADER_BYTES: usize = 13;

/// No block is longer before compression.
const BLOCK_BYTES_MAX: usize = 64 << 20;

const BLOCK_BEGIN: u8 = 1;
const BLOCK_SERIES: u8 = 2;
const BLOCK_END: u8 = 3;

/// What a snapshot begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotBegin {
    /// Records before this place are in the snapshot; later ones may be.
    pub position: WalPosition,
    /// What the node wants to find again (the segment and the batches it held at `position`).
    pub note: Vec<u8>,
}

fn file_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.snapshot"))
}

fn file_number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".snapshot")?.parse().ok()
}
