//! Between the HTTP request and the shards: the replica protocol (`protocol` has its state machines).
//!
//! - [`write`](mod@write): splits a request by shard and hands each part to a replica;
//! - [`first`]: which admits it, numbers it and sees to it that a quorum has it on disk;
//! - [`outgoing`]: the batch on its way to the other replicas;
//! - [`forward`]: a part of which this node is no replica;
//! - [`local`]: what this node does as a replica: activate, seal;
//! - [`lost`]: segments that have lost replicas for good;
//! - [`settled`]: segments that ended without data, and closing the others; [`closed`]: drops what is closed;
//! - [`splitting`]: how many shards a tenant should have;
//! - [`pull`]: gets what it missed; [`health`]: who has missed what, for `/ring`;
//! - [`read`]: which replicas answer a question, and reading what other nodes hold;
//! - [`metadata`]: what all nodes know of metrics;
//! - [`service`]: answers other nodes;
//! - [`messages`], [`call`]: what is said.

pub mod call;
pub mod closed;
pub mod first;
pub mod forward;
pub mod health;
pub mod local;
pub mod lost;
pub mod messages;
pub mod metadata;
pub mod outgoing;
pub mod pull;
pub mod read;
pub mod service;
pub mod settled;
pub mod splitting;
mod write;

pub use write::{Coordinator, WriteError, WriteOutcome};
