//! What the two ends of a call share: the caller on one side, the lane's task on the other.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::time::Instant;

use super::peer::Outgoing;
use crate::actor::Permit;
use crate::rpc::error::{Outcome, RpcError};
use crate::rpc::frame::{CallId, FrameError, Kind};
use crate::rpc::method::Method;

/// What a chunk costs of the window beside its bytes, so that empty ones are bounded, too.
pub(crate) const CHUNK_COST_BYTES: usize = 64;

/// A call on its way.
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) method: Method,
    pub(super) deadline: Instant,
    pub(super) window_bytes: u32,
    state: Mutex<State>,
}

struct State {
    /// The request and its share of the queue, until it is sent.
    request: Option<(Outgoing, Permit)>,
    is_sent: bool,
    chunks: VecDeque<Bytes>,
    /// What the chunks that came cost, less what the caller gave credit for again.
    window_used_bytes: usize,
    /// What the chunks that the caller took cost, and it gave no credit for yet.
    taken_bytes: usize,
    end: Option<Result<Bytes, RpcError>>,
    waker: Option<Waker>,
}

/// What comes next of a reply.
pub(super) enum Event {
    /// A part, and the credit to be given for parts that were taken, if it is due.
    Chunk(Bytes, Option<u32>),
    /// The end, or all of a reply that came at once.
    End(Result<Bytes, RpcError>),
}

/// What was left to do for a call when its caller lost interest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Abandoned {
    /// Its empty shell may still be in the queue.
    Unsent,
    /// The peer works on it.
    Running,
    Over,
}

impl Call {
    pub(super) fn new(
        id: CallId,
        method: Method,
        deadline: Instant,
        window_bytes: u32,
        request: Outgoing,
        permit: Permit,
    ) -> Self {
        let state = State {
            request: Some((request, permit)),
            is_sent: false,
            chunks: VecDeque::new(),
            window_used_bytes: 0,
            taken_bytes: 0,
            end: None,
            waker: None,
        };
        Call { id, method, deadline, window_bytes, state: Mutex::new(state) }
    }

    /// The request, to be sent now; none if nobody waits for the answer. From here on the peer may have seen it.
    pub(super) fn take_to_send(&self) -> Option<(Outgoing, Permit)> {
        let mut state = self.state();
        let request = state.request.take();
        state.is_sent |= request.is_some();
        request
    }

    /// A part of the reply came.
    pub(super) fn chunk(&self, chunk: Bytes) -> Result<(), FrameError> {
        let mut state = self.state();
        state.window_used_bytes += chunk.len() + CHUNK_COST_BYTES;
        if state.window_used_bytes > self.window_bytes as usize {
            return Err(FrameError::Malformed(Kind::Chunk));
        }
        state.chunks.push_back(chunk);
        state.wake();
        Ok(())
    }

    /// The call is over; what came before stays readable. The first end counts.
    pub(super) fn end(&self, end: Result<Bytes, RpcError>) {
        let mut state = self.state();
        state.request = None;
        state.end.get_or_insert(end);
        state.wake();
    }

    /// The call is over because of an error that depends on whether it was sent.
    pub(super) fn fail(&self, error: impl FnOnce(Outcome) -> RpcError) {
        let outcome = self.outcome();
        self.end(Err(error(outcome)));
    }

    /// What is known of a request whose answer will not come.
    pub(super) fn outcome(&self) -> Outcome {
        if self.state().is_sent { Outcome::Unknown } else { Outcome::NotExecuted }
    }

    /// Nobody waits any more.
    pub(super) fn abandon(&self) -> Abandoned {
        let mut state = self.state();
        state.request = None;
        state.chunks.clear();
        match (state.is_sent, &state.end) {
            (false, _) => Abandoned::Unsent,
            (true, None) => Abandoned::Running,
            (true, Some(_)) => Abandoned::Over,
        }
    }

    /// Whether it is still to be sent.
    pub(super) fn is_unsent(&self) -> bool {
        self.state().request.is_some()
    }

    /// What comes next, in order.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Event> {
        let mut state = self.state();
        if let Some(chunk) = state.chunks.pop_front() {
            state.taken_bytes += chunk.len() + CHUNK_COST_BYTES;
            let is_due = state.taken_bytes >= self.window_bytes as usize / 2 && state.end.is_none();
            let credit = is_due.then(|| std::mem::take(&mut state.taken_bytes));
            state.window_used_bytes -= credit.unwrap_or(0);
            return Poll::Ready(Event::Chunk(chunk, credit.map(|bytes| bytes as u32)));
        }
        if let Some(end) = &state.end {
            return Poll::Ready(Event::End(end.clone()));
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Each change of the state is complete before the lock goes: a poisoned one is as good.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
