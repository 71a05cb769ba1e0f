//! A whole cluster in one thread, in virtual time: the protocol's state machines and the storage crate's head and log, over
//! a network, disks, clocks and an object store that fail as a seed says.
//!
//! A run has two phases. In the first everything goes wrong that may: messages are lost, late, twice, out of order and
//! cut off; nodes crash with what they had not synced, pause, and lose their disks; a record goes bad unseen; the store
//! times out after it has stored; nodes learn of epochs late. Meanwhile clients write and read, and [`checks`] look at
//! every answer and every restart. In the second phase all faults end, and everything must come to rest: all nodes
//! answer, replicas hold the same batches and samples, and still do when all lights went out once more.
//!
//! All randomness is drawn from the seed, so a failure repeats. What random walks miss is played step by step
//! ([`directed`]), and each rule is left out once ([`planted`]).
//!
//! As in the node, a write is admitted by one replica of its shard, logged there and sent to the others; a restart reads
//! the log; what a replica lacks it pulls from a peer's log. What the node does around this with actors and calls is
//! imitated here, in `node` and `client`, and so is what the archive does: windows of heads become blocks in the store and are
//! dropped, blocks are compacted and removed, readers have lists of them, documents close segments, and nodes that have left are
//! switched off for good. A block is its points and what it covers; of snapshots there is only that what was dropped before one
//! does not come back.
//!
//! Not simulated: the removal of log files, spilled chunks, histograms, limits, labels on their way between nodes, full disks and
//! failing syncs; of blocks their files, retention, partial uploads and failing reads; windows that are dropped slice by slice and
//! the pins of readers on the same node.

mod blocks;
pub mod checks;
mod client;
pub mod cluster;
pub mod conduct;
pub mod directed;
mod lane;
mod message;
mod network;
mod node;
pub mod planted;
mod recover;
mod rng;
mod safe;
mod series;
mod shelf;
mod store;
pub mod swarm;

pub use checks::Violation;
pub use cluster::{Cluster, Report, run};
pub use conduct::Conduct;
pub use swarm::Swarm;
