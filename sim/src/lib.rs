//! A whole cluster in one thread, in virtual time: the protocol's state machines over a network, disks, clocks and an
//! object store that fail as a seed says.
//!
//! A run has two phases. In the first everything goes wrong that may: messages are lost, late, twice, out of order and
//! cut off; nodes crash with what they had not synced, pause, and one loses its disk; the store times out after it has
//! stored; nodes learn of epochs late. Meanwhile clients write and read, and [`checks`] look at every answer. In the
//! second phase all faults end, and everything must come to rest: all nodes answer, replicas are equal.
//!
//! All randomness is drawn from the seed, so a failure repeats. What is not simulated here: bytes on disk (the storage
//! crate's tests do that), flushing, and time limits of real clients.

pub mod checks;
mod client;
pub mod cluster;
pub mod directed;
mod lane;
mod message;
mod network;
mod node;
pub mod planted;
mod recover;
mod rng;
mod series;
mod store;
pub mod swarm;

pub use checks::Violation;
pub use cluster::{Cluster, Report, run};
pub use swarm::Swarm;
