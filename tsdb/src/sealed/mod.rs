//! Sealed chunks, spilled from memory into append-only files.
//!
//! A chunk that takes no more samples is appended to the shard's current file (format:
//! `docs/format/sealed-chunks.md`). Bytes gather in memory first and go to disk in pieces of some 64 KiB, on
//! a thread that may block; until then they are read from memory. The files are a spill area, not the record
//! of truth: after a crash everything in them beyond the last snapshot is written again from the WAL.

mod frame;
mod store;

pub use frame::{FrameError, SealedChunk};
pub use store::{Flush, Location, SealedStore};
pub(crate) use store::{Stored, read_frame};

/// Checks a whole frame; gives its header and its data.
pub(crate) fn check_frame(frame: &[u8]) -> Result<(SealedChunk, &[u8]), FrameError> {
    Ok((frame::check(frame)?, &frame[frame::HEADER_BYTES..]))
}

/// The folder of a shard's sealed files.
pub(crate) const FOLDER: &str = "sealed";
