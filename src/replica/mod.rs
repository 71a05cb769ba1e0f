//! Between the HTTP request and the shards: the coordinator's side of the replica protocol.
//!
//! On one node every shard's only replica is here, and a write is acknowledged when that one has it on disk.
//! The messages are those that will travel between nodes.

mod write;

pub use write::{Coordinator, WriteError, WriteOutcome};
