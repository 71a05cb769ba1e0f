//! The cluster: what its nodes agree on, and how they come to agree.
//!
//! The one agreement is a chain of numbered documents in the object store, each made with a conditional create. Gossip
//! tells nodes of each other and of new documents; it decides nothing.
//!
//! - [`store`]: the object store, with deadlines on everything.
//! - [`identity`]: the cluster's id and hash seed.
//! - [`epochs`]: creates and loads epoch documents; what is stored counts.
//! - [`local`]: this node's durable copies of all that, without which it acts on nothing.
//! - [`bootstrap`]: what a node does next to become a member, as a pure function.
//! - [`membership`]: who else is there, by gossip; `absent`: who has not been there for long.
//! - [`start`]: does what `bootstrap` says, step by step.
//! - [`run`]: takes the steps of a node among others, for as long as it runs.
//! - [`state`]: what a member acts upon.
//! - [`live`]: the running cluster as the rest of the node sees it; `ways`: how it calls others.
//! - [`status`]: what `/ring` shows; [`health`]: whether segments have all their replicas.

mod absent;
pub mod bootstrap;
pub mod epochs;
pub mod health;
pub mod identity;
pub mod live;
pub mod local;
pub mod membership;
pub mod run;
pub mod start;
pub mod state;
pub mod status;
pub mod store;
mod ways;

pub use live::LiveCluster;
pub use state::ClusterState;
pub use ways::Calls;
