//! Clusters of real processes: how they come to be, and who is refused.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/cluster.rs"]
mod cluster;

mod already_there;
mod bootstrap;
mod refusals;
