//! The answering side: accepts connections, lets them prove who they are, gives their requests to a [`Handler`].
//!
//! Each request is a task of its own, so that a slow one holds up nobody; a cancelled call, a passed deadline and a
//! broken connection drop the handler's future. What may go wrong: strangers (they hold a few hundred bytes for a few
//! seconds, and newer ones push out older ones), a peer that asks for too much (requests are bounded in bytes over all
//! connections and in number per connection; past that they are refused), one that does not read its replies (they
//! are bounded in bytes per connection, then handlers wait, then requests are refused, then the connection is not read
//! any more), a handler that panics (its caller is told, nobody else notices).
//!
//! - [`handler`]: what a user of this module writes.
//! - [`listener`]: accepting, bounds on connections, the end.
//! - `strangers`: connections that have proved nothing.
//! - `session`: one connection.
//! - `requests`: its requests.
//! - `outbox`: its replies.

pub mod handler;
pub mod listener;
mod outbox;
mod requests;
mod session;
mod strangers;

pub use handler::{Handler, ReplySink, Request, Response, SendError};
pub use listener::{Server, ServerConfig};
