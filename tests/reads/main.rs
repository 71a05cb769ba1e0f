//! Reads across nodes, in one process: what is written is found, from whichever node, whoever is slow, away or behind.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/remote_write.rs"]
mod remote_write;
mod rig;
#[path = "../support/series.rs"]
mod series;

mod health;
mod merging;
mod parts;
mod replicas;
