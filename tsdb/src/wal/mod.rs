//! The write-ahead log: what was accepted, in order, so that a restart can do it again.
//!
//! All shards of an arbiter share one log (a *lane*), so that one fdatasync commits them all. A lane is a
//! series of files; a file is a header and records; a record is a batch of one shard, a name for a shard
//! (*stream*), that a shard is sealed, or a commit mark. Byte by byte: `docs/format/wal.md`.
//!
//! - [`LaneEncoder`] turns batches into bytes, on the arbiter. It does no I/O.
//! - [`WalWriter`] takes these bytes to disk, on a thread that may block.
//! - [`retire`] puts files aside that no restart needs.
//! - [`replay`] reads a lane's files back; [`read_batches`] looks for single batches while the lane is in use.
//!
//! Values are written as the XOR with a *base*: the value that the same series had when it first appeared in
//! the current *frame* (a stretch of a file). A chain of differences would be a little smaller, but one damaged
//! record would make every later one of its series unreadable, or worse, wrong; with bases a damaged record
//! costs itself, unless it held the bases, and a missing base is noticed, never guessed.
//!
//! What may go wrong, and what is done: the last write of a crashed process may be torn: everything from the
//! first bad byte after the last commit mark is cut. A bad record before a commit mark is damage: it is reported
//! with file and offset, and reading goes on at the next good record.

mod batch;
mod damage;
mod encoder;
mod format;
mod histograms;
mod kept;
mod pull;
mod reader;
mod record;
mod writer;

pub use batch::{Bases, BatchName, DecodedSample};
pub use damage::Damage;
pub use encoder::{FILE_BYTES, LaneEncoder, Piece, StreamId, WalPosition};
pub use kept::{first_free, retire};
pub use pull::{LoggedBatch, LoggedHistogram, LoggedSample, read_batches};
pub use reader::{Replay, ReplayReport, replay, replay_until};
pub use writer::{WalError, WalWriter};
