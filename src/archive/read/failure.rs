//! Why a block was not read. Which of these it is decides what becomes of the query.
//!
//! - *Damaged*: its bytes are not what they must be. Asking again does not help: the block is [set
//!   aside](super::quarantine).
//! - *Unavailable*: the bucket does not answer, or says no. It may pass.
//! - *Gone*: a file of the block is not there. Compaction has replaced the block since it was listed: a newer list has what
//!   replaced it.

use std::collections::BTreeSet;

use gyre_ring::TenantId;
use gyre_tsdb::block::{BlockError, BlockFile, Ulid};

use super::object::BlockRef;

/// Blocks that a warning names; the rest is counted.
const NAMED_MAX: usize = 5;

/// A block that was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {ulid} {trouble}")]
pub struct BlockFailure {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub ulid: Ulid,
    /// Why.
    pub trouble: Trouble,
}

/// What is wrong with a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Its bytes are not what they must be.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// It cannot be had now.
    #[error("cannot be read now: {0}")]
    Unavailable(String),
    /// It is not there any more.
    #[error("is not there any more: there is no {0}")]
    Gone(String),
}

impl BlockFailure {
    /// A failure to read a block.
    pub fn new(block: &BlockRef, trouble: Trouble) -> Self {
        BlockFailure { tenant: block.tenant.clone(), ulid: block.meta.ulid, trouble }
    }

    /// A block whose bytes do not parse.
    pub fn damaged(block: &BlockRef, error: &BlockError) -> Self {
        Self::new(block, Trouble::Damaged(error.to_string()))
    }
}

impl Trouble {
    /// A file that ends too early, or has a length that cannot be.
    pub fn at(file: BlockFile, offset: u64, what: &'static str) -> Self {
        Trouble::Damaged(BlockError::Damaged { file, offset, what }.to_string())
    }
}

/// What is to be said of an answer without some blocks.
pub fn warning(lost: &[BlockFailure]) -> Option<String> {
    // A query with several selectors misses a block several times.
    let lost: BTreeSet<String> = lost.iter().map(BlockFailure::to_string).collect();
    let named = lost.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
    match lost.len() {
        0 => None,
        count if count > NAMED_MAX => {
            Some(format!("partial answer: blocks left out: {named} and {} more", count - NAMED_MAX))
        }
        _ => Some(format!("partial answer: blocks left out: {named}")),
    }
}
