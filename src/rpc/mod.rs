//! Calls between nodes.
//!
//! A node has a [`Peer`] for each node it calls and one [`Server`] for those that call it. Between two nodes there is
//! one TCP connection for each [`Lane`], made when it is needed; on it both prove that they know the cluster's secret
//! and are who the other side expects, then frames carry any number of calls at a time. The bytes are described in
//! `docs/format/rpc.md`.
//!
//! What every part keeps to: a call ends, by a reply or an [`RpcError`] that says whether the request may have been
//! executed; a deadline is on everything that waits; all that a peer can make grow has a limit in bytes.
//!
//! - [`identity`], [`handshake`]: who is there.
//! - [`frame`], `frame_reader`, `write`, `request`: bytes on the wire.
//! - [`method`]: what can be called, and on which connection.
//! - [`client`]: the calling side.
//! - [`server`]: the answering side.
//! - [`error`]: how calls fail.
//! - [`codec`]: control messages to bytes.
//! - [`samples`]: samples to bytes.
//! - [`metrics`]: what travels.

pub mod client;
pub mod codec;
pub mod error;
pub mod frame;
mod frame_reader;
pub mod handshake;
pub mod identity;
pub mod method;
pub mod metrics;
mod request;
pub mod samples;
pub mod server;
mod write;

pub use client::{Outgoing, Peer, PeerConfig, PendingCall, Reply, ReplyStream};
pub use error::{ConnectError, Failure, Outcome, RpcError};
pub use identity::{ClusterId, LocalNode, Secret, Versions};
pub use method::{Lane, Method};
pub use metrics::RpcMetrics;
pub use server::{Handler, ReplySink, Request, Response, SendError, Server, ServerConfig};
