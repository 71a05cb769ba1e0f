//! Asking another replica: a control message there and one back.

use std::time::Duration;

use gyre_ring::Replica;
use tokio::time::{Instant, timeout};

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

/// A peer that has not answered for so long is asked whether it is there.
const QUIET: Duration = Duration::from_millis(500);

/// It is not, if it does not say so within this.
const LIFE_SIGN_MAX: Duration = Duration::from_secs(1);

/// What is said of a peer that is not there.
pub const SILENT: &str = "it does not answer any more";

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

/// Waits for an answer as long as the peer shows that it is there; `None` if it does not. A peer that was stopped, or
/// cannot be reached any more, is noticed within a second or so, and one that is slow is waited for.
pub async fn while_there<T>(peer: &Peer, incarnation: u128, answer: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(answer);
    loop {
        if let Ok(answer) = timeout(QUIET, &mut answer).await {
            return Some(answer);
        }
        tokio::select! {
            answer = &mut answer => return Some(answer),
            is_there = answers(peer, incarnation) => if !is_there {
                return None;
            }
        }
    }
}

/// Whether a peer answers at all, whatever else it is at. It is asked on the connection for short calls.
async fn answers(peer: &Peer, incarnation: u128) -> bool {
    // Of epoch 0: it need not look for documents.
    let head = Head { incarnation, epoch: 0 };
    vectors(peer, head, Vec::new(), LIFE_SIGN_MAX).await.is_ok()
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
