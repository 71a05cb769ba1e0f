//! Reads: which replicas' data answers a question, and how data of other nodes gets here.
//!
//! Read one, check one (`gyre_protocol::ShardRead`): of each segment, one replica says which batches it holds, another
//! one's data is read as of these. This node reads its own data where it can, so in a cluster of three a query costs one
//! small call to one peer.
//!
//! - [`plan`]: from a tenant to a [`plan::ReadPlan`], whose data is complete;
//! - `attempt`: one try at that, under one state of the cluster;
//! - `empty`: segments that need not be read;
//! - `partial`: what is read all the same, where a tenant wants it;
//! - [`fetch`]: getting what this node's own data lacks;
//! - [`remote`]: reading a segment at another node;
//! - [`serve`]: being that other node;
//! - [`place`]: having parts of a query computed at another node;
//! - [`evaluate`]: computing them for another node;
//! - [`messages`], [`parts`]: what is said;
//! - [`metrics`]: what is counted.
//!
//! What may go wrong: a replica is away, slow, lacks a batch, or says that the documents are old. Then others are asked,
//! or newer documents, for a few seconds at most; an answer that might lack acknowledged data is never given without a
//! warning, and only to tenants that want it.

mod attempt;
mod empty;
pub mod evaluate;
pub mod fetch;
pub mod messages;
pub mod metrics;
mod partial;
pub mod parts;
pub mod place;
pub mod plan;
pub mod remote;
pub mod serve;
