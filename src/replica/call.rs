//! Asking another replica: a control message there and one back.

use std::time::Duration;

use gyre_ring::Replica;
use tokio::time::Instant;

use super::messages::Head;
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
}

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
