//! The HTTP face of a node.
//!
//! - [`server`]: listens, times out, stops.
//! - [`routes`]: which path leads where.
//! - [`push`]: remote write.
//! - [`query`]: Prometheus's query API.
//! - [`handing`]: questions that another node answers.
//! - [`ring`]: members and who holds what.
//! - [`rules`]: listings of rules and alerts.
//! - [`status`]: the start page, readiness, metrics, configuration and build.
//! - [`state`]: what handlers share.
//!
//! Handlers stay thin: they read a request, ask the [`Node`](crate::node::Node) and write the answer. Push errors are
//! plain text and query errors a JSON envelope, as in Cortex.

mod drain;
mod flush;
pub mod handing;
mod observe;
pub mod push;
pub mod query;
mod response;
mod ring;
mod routes;
mod rules;
pub mod server;
pub mod state;
mod status;
