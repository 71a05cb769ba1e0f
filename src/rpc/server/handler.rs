//! What answers requests.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use gyre_ring::Replica;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::outbox::Outbox;
use crate::actor::Permit;
use crate::rpc::client::CHUNK_COST_BYTES;
use crate::rpc::error::Failure;
use crate::rpc::frame::{CHUNK_BYTES_MAX, CallId, Header, Kind};
use crate::rpc::method::Lane;
use crate::rpc::samples::PooledBatch;

/// What becomes of a request. Dropped when nobody waits for it any more.
pub type Response = Pin<Box<dyn Future<Output = Result<Bytes, Failure>> + Send>>;

/// Answers requests. Called on the server's runtime, where it must not block; its futures may wait for whatever lives
/// elsewhere.
pub trait Handler: Send + Sync + 'static {
    /// Begins to answer a request. What the future gives is the reply, or the trailer of one that was sent in parts
    /// through `sink` before.
    fn handle(&self, request: Request, sink: ReplySink) -> Response;
}

/// A request.
#[derive(Debug)]
pub struct Request {
    /// Who asks. It has proved to belong to the cluster.
    pub peer: Replica,
    /// The connection it came on.
    pub lane: Lane,
    /// The method's number.
    pub method: u16,
    /// What the method defines.
    pub control: Bytes,
    /// Samples that came with it.
    pub samples: Option<PooledBatch>,
    /// When nobody waits for the answer any more.
    pub deadline: Instant,
    /// Its share of the bytes that a node holds of requests; ends with it.
    pub permit: RequestPermit,
}

/// A request's share of the bytes that the node holds of requests. Whoever keeps a request's bytes keeps this.
pub struct RequestPermit(#[expect(dead_code, reason = "held for its drop")] pub(super) Permit);

impl std::fmt::Debug for RequestPermit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RequestPermit")
    }
}

/// Sends a reply in parts.
pub struct ReplySink {
    pub(super) call: CallId,
    /// Bytes that the caller still has room for.
    pub(super) credit: Arc<Semaphore>,
    pub(super) outbox: Arc<Outbox>,
}

/// A part that was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It is too long.
    #[error("a part of a reply has {got} bytes, at most {CHUNK_BYTES_MAX} can be sent")]
    TooLong {
        /// Its bytes.
        got: usize,
    },
    /// The connection is gone.
    #[error("the connection is gone")]
    Gone,
}

impl ReplySink {
    /// Sends a part of at most [`CHUNK_BYTES_MAX`] bytes, once the caller and the connection have room for it. Parts
    /// arrive as they were sent, one by one.
    pub async fn send(&mut self, part: Bytes) -> Result<(), SendError> {
        if part.len() > CHUNK_BYTES_MAX {
            return Err(SendError::TooLong { got: part.len() });
        }
        let cost = (part.len() + CHUNK_COST_BYTES) as u32;
        self.credit.acquire_many(cost).await.map_err(|_| SendError::Gone)?.forget();
        let room = self.outbox.room(part.len()).await;
        self.outbox.push(Header::new(Kind::Chunk, self.call), part, Some(room));
        Ok(())
    }
}
