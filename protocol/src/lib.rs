//! The segment protocol: how replicas of a shard's segment take batches, end, and are read, without any of them being
//! in charge.
//!
//! These are state machines and nothing else: no I/O, clock, randomness or async. Whoever drives them sends what they
//! ask for and tells them what came back. So the node and the simulation run the same code, and the simulation can try
//! in seconds what a cluster meets in years.
//!
//! The rules behind them were found with a model checker; each has a trace of a few steps that loses or hides
//! acknowledged data without it. Comments name them by number:
//!
//! | rule | | where |
//! |---|---|---|
//! | 1 | a replica is a node and its incarnation; any other incarnation refuses everything | [`membership`] |
//! | 2 | a batch is named by coordinator run, segment and number, so names never repeat | `gyre_ring::BatchId` |
//! | 3 | of documents of one number, what is stored counts | the epoch store |
//! | 4, 5, 11 | segments follow from the documents; reads cover all that are not closed | `gyre_ring::Chain`, [`read`] |
//! | 6, 7 | order of checks before an append; a batch is held whole or not at all | [`segment`] |
//! | 8 | acks are counted over distinct replicas of one segment | [`write`] |
//! | 9 | a segment opens when all before it are sealed | [`activation`] |
//! | 10 | a seal is durable before anybody hears of it, and for ever | [`segment`] |
//! | 12, 13 | read one, check one; the fence | [`read`] |
//! | 14 to 16 | segments whose data is in blocks are closed | [`closing`]; those that ended empty: [`empty`] |
//!
//! Replicas that have lost their disks are the subject of [`lost`], nodes that say once for all what they do not hold
//! that of [`settled`].
//!
//! [`rules`] lists them as switches. The node has all of them on; the simulation turns one off at a time, and must
//! notice.

pub mod activation;
pub mod closing;
pub mod empty;
pub mod lost;
pub mod membership;
pub mod read;
pub mod rules;
pub mod segment;
pub mod settled;
pub mod write;

pub use activation::Activation;
pub use closing::{closable, to_close};
pub use empty::EmptyCheck;
pub use lost::{Disks, Loss};
pub use read::{DataReply, ReadOutcome, ReadRequest, ShardRead, VectorReply};
pub use rules::Rules;
pub use segment::{Append, Refusal, SegmentReplica};
pub use settled::{Said, Settled};
pub use write::{QuorumWrite, WriteState};
