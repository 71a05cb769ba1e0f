//! Clusters of real processes: how they come to be, who is refused, and what a dead, paused, wiped or restarted node costs.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/cluster.rs"]
mod cluster;

mod already_there;
mod bootstrap;
mod ledger;
mod load;
mod refusals;
mod replication;
