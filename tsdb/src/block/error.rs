//! What goes wrong with blocks: always with the file of the block, and the place in it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::meta::Meta;
use super::ulid::Ulid;
use crate::chunk::ChunkError;

/// A file of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockFile {
    /// What the block is.
    Meta,
    /// Labels, postings, and where chunks lie.
    Index,
    /// Samples, by the number in chunk references: from 0.
    Segment(u32),
    /// Samples that do not count any more.
    Tombstones,
    /// The block is to be removed.
    DeletionMark,
    /// The block is not to be compacted.
    NoCompactMark,
}

impl fmt::Display for BlockFile {
    /// The path within the block's folder.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockFile::Meta => f.write_str("meta.json"),
            BlockFile::Index => f.write_str("index"),
            BlockFile::Segment(number) => write!(f, "chunks/{:06}", u64::from(*number) + 1),
            BlockFile::Tombstones => f.write_str("tombstones"),
            BlockFile::DeletionMark => f.write_str("deletion-mark.json"),
            BlockFile::NoCompactMark => f.write_str("no-compact-mark.json"),
        }
    }
}

/// Why a block was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The bytes could not be had.
    #[error("cannot read {file} at byte {offset}: {source}")]
    Read {
        /// Which file.
        file: BlockFile,
        /// From where.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// The bytes are not what they must be.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Damaged {
        /// Which file.
        file: BlockFile,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A chunk whose checksum is right does not decode.
    #[error("{file} is damaged at byte {offset}: {source}")]
    Chunk {
        /// Which file.
        file: BlockFile,
        /// The chunk's begin.
        offset: u64,
        /// Why.
        source: ChunkError,
    },
    /// A JSON file does not parse.
    #[error("{file} is not what it must be: {source}")]
    Json {
        /// Which file.
        file: BlockFile,
        /// Why.
        source: serde_json::Error,
    },
    /// A version, or an encoding, that this program does not know.
    #[error("{file} at byte {offset}: {what} {number} is not supported")]
    Unsupported {
        /// Which file.
        file: BlockFile,
        /// Where.
        offset: u64,
        /// Of what.
        what: &'static str,
        /// Which.
        number: u64,
    },
    /// One of several blocks could not be read.
    #[error("block {ulid}: {source}")]
    InBlock {
        /// Which.
        ulid: Ulid,
        /// Why.
        source: Box<BlockError>,
    },
    /// The disk refused a write.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is to be written does not fit into the format, or breaks its rules.
    #[error("cannot write a block: {0}")]
    Refused(&'static str),
}

impl BlockError {
    /// Says in which of several blocks this happened.
    pub(super) fn in_block(self, meta: &Meta) -> Self {
        BlockError::InBlock { ulid: meta.ulid, source: Box::new(self) }
    }
}

/// Names the place of damage.
pub(super) fn damaged(file: BlockFile, offset: u64, what: &'static str) -> BlockError {
    BlockError::Damaged { file, offset, what }
}
