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

pub mod batch_set;
pub mod hash;
pub mod ids;
pub mod tenant;

pub use batch_set::BatchSet;
pub use hash::{HashSeed, SeriesKey, ShardCount};
pub use ids::{BatchId, BatchNumber, BootId, Epoch, Incarnation, NodeId, Segment, Shard, ShardIndex};
pub use tenant::{TenantId, TenantIdError};
