//! Waiting for what a call brings back. Dropping any of these cancels the call at the peer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::Sleep;

use super::call::{Call, Event};
use super::lane::LaneQueue;
use crate::rpc::error::RpcError;

/// A reply.
#[derive(Debug)]
pub enum Reply {
    /// All of it.
    Whole(Bytes),
    /// It comes in parts.
    Stream(ReplyStream),
}

impl Reply {
    /// The reply, if it came in one piece.
    pub fn into_whole(self) -> Option<Bytes> {
        match self {
            Reply::Whole(bytes) => Some(bytes),
            Reply::Stream(_) => None,
        }
    }

    /// The reply as a stream, if it comes in parts.
    pub fn into_stream(self) -> Option<ReplyStream> {
        match self {
            Reply::Whole(_) => None,
            Reply::Stream(stream) => Some(stream),
        }
    }
}

/// A call that waits for its reply.
pub struct PendingCall {
    state: Pending,
}

enum Pending {
    Failed(Arc<LaneQueue>, RpcError),
    Waiting(Waiter),
    Done,
}

/// Parts of a reply, in order.
pub struct ReplyStream {
    waiter: Waiter,
    /// The part that was there when the reply was found to be a stream.
    first: Option<Bytes>,
    trailer: Option<Bytes>,
}

/// The caller's end of a call.
struct Waiter {
    call: Arc<Call>,
    lane: Arc<LaneQueue>,
    deadline: Pin<Box<Sleep>>,
}

impl PendingCall {
    pub(super) fn failed(lane: &Arc<LaneQueue>, error: RpcError) -> Self {
        PendingCall { state: Pending::Failed(Arc::clone(lane), error) }
    }

    pub(super) fn waiting(call: Arc<Call>, lane: Arc<LaneQueue>, deadline: Sleep) -> Self {
        PendingCall { state: Pending::Waiting(Waiter { call, lane, deadline: Box::pin(deadline) }) }
    }
}

impl Future for PendingCall {
    type Output = Result<Reply, RpcError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, Pending::Done) {
            // After the end nothing more comes.
            Pending::Done => Poll::Pending,
            Pending::Failed(lane, error) => {
                lane.count_error(&error);
                Poll::Ready(Err(error))
            }
            Pending::Waiting(mut waiter) => match waiter.poll(context) {
                Poll::Pending => {
                    self.state = Pending::Waiting(waiter);
                    Poll::Pending
                }
                Poll::Ready(Event::End(end)) => Poll::Ready(end.map(Reply::Whole)),
                Poll::Ready(Event::Chunk(first, _)) => {
                    Poll::Ready(Ok(Reply::Stream(ReplyStream { waiter, first: Some(first), trailer: None })))
                }
            },
        }
    }
}

impl ReplyStream {
    /// The next part; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RpcError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.trailer.is_some() {
            return Ok(None);
        }
        match std::future::poll_fn(|context| self.waiter.poll(context)).await {
            Event::Chunk(chunk, _) => Ok(Some(chunk)),
            Event::End(end) => {
                self.trailer = Some(end?);
                Ok(None)
            }
        }
    }

    /// What the peer said at the end, once [`ReplyStream::next`] gave none.
    pub fn trailer(&self) -> Option<&Bytes> {
        self.trailer.as_ref()
    }
}

impl std::fmt::Debug for ReplyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyStream").field("call", &self.waiter.call.id).finish_non_exhaustive()
    }
}

impl Waiter {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        let polled = match self.call.poll(context) {
            Poll::Pending if self.deadline.as_mut().poll(context).is_ready() => {
                self.lane.expire(&self.call);
                self.call.poll(context)
            }
            polled => polled,
        };
        if let Poll::Ready(event) = &polled {
            match event {
                Event::Chunk(_, Some(credit)) => self.lane.give_credit(self.call.id, *credit),
                Event::Chunk(_, None) | Event::End(Ok(_)) => {}
                Event::End(Err(error)) => self.lane.count_error(error),
            }
        }
        polled
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.lane.abandon(&self.call);
    }
}
