//! Queries: the engine's storage over a tenant's shards, and the threads that evaluate.
//!
//! The engine is synchronous and runs on threads of its own. It pulls series from their [sources](source) in batches: a
//! shard copies what may change and hands out references to what does not, another node sends the bytes of both; the
//! engine's threads decode. A shard that has several segments is [merged](merged) series by series.
//!
//! An [`evaluator`] runs the engine. Where other nodes have whole shards of a query, it has them compute its [parts] at
//! their [places], and merges what they send.

pub mod blocks;
pub mod evaluator;
mod histograms;
pub mod limits;
pub mod matchers;
mod merged;
mod parts;
pub mod places;
pub mod pool;
mod source;
pub mod storage;
