//! Tenant shards on this node: the actors that own them, and the lanes that make them durable.
//!
//! A shard is an [actor](actor) on an arbiter (a thread that runs nothing else). It owns its
//! [head](gyre_tsdb::Head) alone. A batch is [admitted](append) sample by sample, applied to the head and
//! encoded into the arbiter's [lane](lane) in one go, without waiting; the answer waits for the lane's next
//! fdatasync, which serves all batches that came meanwhile. Another replica's batch is [applied](apply) whole. Which
//! batches a replica holds is its [state](segment_state).
//!
//! From time to time a shard is [snapshotted](snapshot), so that a restart ([`recover`]) has little to read.
//! An actor that panics is [rebuilt](supervisor) from disk; its neighbours don't notice.

pub mod actor;
pub mod append;
pub mod apply;
mod compared;
pub mod damage;
pub mod forget;
mod histogram;
pub mod lane;
pub mod pins;
pub mod read;
pub mod recover;
#[cfg(test)]
mod recover_tests;
pub mod refusal;
pub mod release;
pub mod released;
pub mod segment_name;
pub mod segment_state;
pub mod snapshot;
pub mod spill;
pub mod supervisor;
#[cfg(test)]
mod supervisor_tests;
pub mod tenant_state;
pub mod windows;
