//! What goes wrong in the archive. Each error names the object, block or file.

use std::path::PathBuf;

use gyre_tsdb::block::{BlockError, Ulid};

use crate::cluster::store::StoreError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An object is not what it must be.
    #[error("{object}: {problem}")]
    Object {
        /// Bucket and path.
        object: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A block on this machine cannot be used.
    #[error("{}: {source}", path.display())]
    Block {
        /// Its folder.
        path: PathBuf,
        /// Why.
        source: BlockError,
    },
    /// A file or folder of this machine cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The bucket has another block of that name.
    #[error("{object} is there already and describes another block than {ulid} in {}", path.display())]
    Taken {
        /// Bucket and path of its meta.json.
        object: String,
        /// The name.
        ulid: Ulid,
        /// The folder of the block that has the name here.
        path: PathBuf,
    },
}

impl ArchiveError {
    /// Whether doing it again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, ArchiveError::Store(error) if error.is_retryable())
    }
}
