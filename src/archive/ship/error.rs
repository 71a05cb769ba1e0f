//! Why a window is not shipped, and whether trying again may help.

use std::path::PathBuf;

use gyre_ring::Segment;
use gyre_tsdb::block::Ulid;

use super::cut::CutError;
use crate::archive::error::ArchiveError;
use crate::cluster::epochs::EpochError;

/// Why a window was not shipped. It stays in the head.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// It could not be read, or written to this machine's disk.
    #[error("cannot write a block of {segment}: {source}")]
    Cut {
        /// Whose window it is.
        segment: Segment,
        /// Why.
        source: CutError,
    },
    /// The bucket.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The bucket is another one.
    #[error(transparent)]
    Bucket(EpochError),
    /// A file of this machine.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bucket's listing does not show its block yet.
    #[error("block {ulid} of {segment} is in the object store, but not listed yet")]
    NotListed {
        /// Whose window it is.
        segment: Segment,
        /// The block.
        ulid: Ulid,
    },
    /// The thread that cut it ended.
    #[error("the thread that writes a block of {0} ended unexpectedly; see the log")]
    Panicked(Segment),
}

impl ShipError {
    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            ShipError::Archive(error) => error.is_retryable(),
            ShipError::Bucket(error) => error.is_retryable(),
            ShipError::Cut { source: CutError::Gone(_), .. } | ShipError::NotListed { .. } => true,
            _ => false,
        }
    }
}
