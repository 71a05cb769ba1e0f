//! Asking another replica: a control message there and one back.

use std::time::Duration;

use gyre_ring::Replica;
use tokio::time::Instant;

use super::messages::{self, Head, VectorsReply, VectorsRequest};
use crate::cluster::ClusterState;
use crate::rpc::codec::{self, CodecError, Decode, Encode};
use crate::rpc::{Method, Outgoing, Peer, RpcError};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The call failed.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The message, or the answer, makes no sense.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The answer came in parts where one was expected.
    #[error("the answer comes in parts")]
    Streamed,
    /// It answers something else than was asked.
    #[error("the answer makes no sense")]
    Nonsense,
}

/// Segments that one call asks about: their names may be some hundred bytes long.
const SEGMENTS_PER_CALL: usize = 500;

impl CallError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, CallError::Rpc(error) if error.is_retryable())
    }
}

/// The head of a request to a replica.
pub fn head_for(state: &ClusterState, replica: &Replica) -> Head {
    Head { incarnation: replica.incarnation.0, epoch: state.epoch().0 }
}

/// Calls a method whose request is a control message alone.
pub async fn control<Q: Encode, A: Decode<()>>(
    peer: &Peer,
    method: Method,
    request: &Q,
    longest: Duration,
) -> Result<A, CallError> {
    whole(peer, method, codec::encode(request)?.into(), Instant::now() + longest).await
}

/// What a replica holds of some segments, in their order. Asks again for what did not fit into a reply.
pub async fn vectors(
    peer: &Peer,
    head: Head,
    segments: Vec<String>,
    longest: Duration,
) -> Result<VectorsReply, CallError> {
    let deadline = Instant::now() + longest;
    let mut all = Vec::with_capacity(segments.len());
    let mut rest = segments;
    loop {
        let count = rest.len().min(SEGMENTS_PER_CALL);
        let request = VectorsRequest { head, segments: rest[..count].to_vec() };
        let request = codec::encode(&request)?.into();
        match whole(peer, messages::VECTORS, request, deadline).await? {
            VectorsReply::Vectors(some) if some.len() > count || (some.is_empty() && count > 0) => {
                return Err(CallError::Nonsense);
            }
            VectorsReply::Vectors(some) => {
                rest.drain(..some.len());
                all.extend(some);
            }
            refused @ VectorsReply::Refused(_) => return Ok(refused),
        }
        if rest.is_empty() {
            return Ok(VectorsReply::Vectors(all));
        }
    }
}

/// Whether a peer answers at all, whatever else it is at.
pub async fn answers(peer: &Peer, incarnation: u128, longest: Duration) -> bool {
    // Of epoch 0: it need not look for documents.
    let head = Head { incarnation, epoch: 0 };
    vectors(peer, head, Vec::new(), longest).await.is_ok()
}

/// Calls a method whose answer is a control message.
pub async fn whole<A: Decode<()>>(
    peer: &Peer,
    method: Method,
    request: Outgoing,
    deadline: Instant,
) -> Result<A, CallError> {
    let reply = peer.call(method, request, deadline).await?;
    let reply = reply.into_whole().ok_or(CallError::Streamed)?;
    Ok(codec::decode(&reply)?)
}
