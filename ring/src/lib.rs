//! Names and placement of tenant shards. Pure: no I/O, clock, randomness or async runtime.
//!
//! What may go wrong here is disagreement: two nodes that compute a different shard for the same series, or
//! read the same name as two things. So every function is a pure function of its arguments, the hash is a
//! published one ([XXH3-128](https://github.com/Cyan4973/xxHash)), and the values that must never drift are
//! pinned by tests.
//!
//! - [`tenant`]: whose data it is, and which ids are allowed.
//! - [`ids`]: nodes, incarnations, epochs, shards, segments, batches.
//! - [`hash`]: from label bytes to the 128-bit series key, and from there to a shard.
//! - [`batch_set`]: the set of batches a replica holds, as intervals with holes.
//! - [`member`]: who may hold data, and where they stand.
//! - [`tokens`] and [`placement`]: from members to the replicas of a shard.
//! - [`document`]: the numbered versions of the membership.
//! - [`chain`]: from the documents to the segments of a shard.
//! - [`diff`]: what one document changes against another.
//! - [`quorum`]: how many replicas must answer.

pub mod batch_set;
pub mod chain;
pub mod diff;
pub mod document;
pub mod hash;
pub mod ids;
pub mod member;
pub mod placement;
pub mod quorum;
pub mod tenant;
pub mod tokens;

pub use batch_set::BatchSet;
pub use chain::{Chain, Span};
pub use document::{DocumentError, EpochDocument, Proposer};
pub use hash::{HashSeed, SeriesKey, ShardCount};
pub use ids::{
    BatchId, BatchNumber, BootId, ClusterId, Epoch, Incarnation, NodeId, Segment, Shard, ShardIndex,
};
pub use member::{Member, Replica, Role, Weight, Zone};
pub use placement::Placement;
pub use quorum::Quorum;
pub use tenant::{TenantId, TenantIdError};
