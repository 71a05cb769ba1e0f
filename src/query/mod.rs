//! Queries: the engine's storage over this node's shards, and the threads that evaluate.
//!
//! The engine is synchronous and runs on threads of its own. It pulls series from the shards in batches: the
//! shard copies what may change and hands out references to what does not, the engine's threads decode.

mod histograms;
pub mod limits;
pub mod matchers;
pub mod pool;
pub mod storage;
