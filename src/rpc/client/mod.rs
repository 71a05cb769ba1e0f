//! The calling side: one [`Peer`] for each node that this one talks to.
//!
//! A call is put into the queue of its method's lane; the lane's task, on the runtime that the peer was given,
//! connects when there is something to send and writes what has gathered. Callers may live on any thread and under
//! any executor: all they do is lock, enqueue and wait to be woken.
//!
//! What may go wrong: a peer that does not read (the queue is bounded in bytes, calls past it fail at once), that is
//! gone (a connection that stays silent is given up; calls in flight fail with an unknown outcome), that cannot be
//! reached (calls fail at once until the back-off is over), a caller that does not read its streamed reply (the peer
//! sends no more than the window), or that loses interest (the call is cancelled at the peer).
//!
//! - [`peer`]: a node to call.
//! - [`reply`]: waiting for what comes back.
//! - `call`: what a call's two ends share.
//! - `lane`: a lane's queue and its task.
//! - `connection`: one connection, while it lasts.

mod call;
mod connection;
mod lane;
pub mod peer;
pub mod reply;

pub(super) use call::CHUNK_COST_BYTES;
pub use peer::{Outgoing, Peer, PeerConfig};
pub use reply::{PendingCall, Reply, ReplyStream};
