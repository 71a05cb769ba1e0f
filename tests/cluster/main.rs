//! How nodes come to agree: the object store, the documents in it, joining, gossip. Through public interfaces, on real
//! stores and disks that fail as real ones do.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/faulty.rs"]
#[expect(dead_code, reason = "more than is needed here")]
mod faulty;
mod scene;

mod bootstrap_decisions;
mod epoch_store;
mod gossip;
mod joining;
mod live;
mod local_copies;
