//! Clusters of real processes: how they come to be, who is refused, and what a dead, paused, wiped or restarted node costs.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../support/cluster.rs"]
mod cluster;

#[path = "../support/network.rs"]
mod network;
#[path = "../support/remote_write.rs"]
mod remote_write;
#[path = "../support/series.rs"]
mod series;

mod already_there;
mod away;
mod blocks;
mod bootstrap;
mod damage;
mod degraded;
mod forgotten;
mod ledger;
mod load;
mod new_tenants;
mod parts;
mod reads;
mod refusals;
mod replication;
mod roles;
mod shape;
mod split;
