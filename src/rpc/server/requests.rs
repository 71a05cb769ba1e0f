//! The requests of one connection that are being answered.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout_at;
use tracing::error;

use super::handler::{Handler, ReplySink, Request};
use super::outbox::Outbox;
use crate::rpc::error::{ErrorCode, FLAG_NOT_EXECUTED, FLAG_RETRYABLE, Failure, Outcome};
use crate::rpc::frame::{CallId, ERROR_BYTES_MAX, FrameError, Header, Kind, PAYLOAD_BYTES_MAX};

/// The running requests. They end when this is dropped.
pub(super) struct Requests {
    running: Arc<Mutex<HashMap<CallId, Running>>>,
    outbox: Arc<Outbox>,
}

struct Running {
    task: AbortHandle,
    credit: Arc<Semaphore>,
    window_bytes: u32,
}

impl Requests {
    pub(super) fn new(outbox: Arc<Outbox>) -> Self {
        Requests { running: Arc::default(), outbox }
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.running).len()
    }

    /// Has a request answered by a task of its own.
    pub(super) fn start(
        &self,
        handler: &Arc<dyn Handler>,
        call: CallId,
        window_bytes: u32,
        request: Request,
    ) {
        let credit = Arc::new(Semaphore::new(window_bytes as usize));
        let sink = ReplySink { call, credit: Arc::clone(&credit), outbox: Arc::clone(&self.outbox) };
        let (handler, outbox) = (Arc::clone(handler), Arc::clone(&self.outbox));
        let all = Arc::clone(&self.running);
        // Held while the task starts, so that it cannot end before it is known.
        let mut running = lock(&self.running);
        let task = tokio::spawn(async move {
            let (header, payload) = answer(&*handler, call, request, sink).await;
            // Only then is the request over: those that wait for room count as running.
            let room = outbox.room(payload.len()).await;
            let mut running = lock(&all);
            if running.remove(&call).is_some() {
                // Under the lock: a connection without requests and with nothing to write may be closed.
                outbox.push(header, payload, Some(room));
            }
        });
        running.insert(call, Running { task: task.abort_handle(), credit, window_bytes });
    }

    /// Nobody waits for the answer any more.
    pub(super) fn cancel(&self, call: CallId) {
        if let Some(running) = lock(&self.running).remove(&call) {
            running.task.abort();
        }
        // A connection that is to be closed after its last reply may have none to wait for now.
        self.outbox.wake.notify_one();
    }

    /// The caller has room for more bytes.
    pub(super) fn add_credit(&self, call: CallId, bytes: u32) -> Result<(), FrameError> {
        let running = lock(&self.running);
        let Some(Running { credit, window_bytes, .. }) = running.get(&call) else { return Ok(()) };
        if credit.available_permits() + bytes as usize > *window_bytes as usize {
            return Err(FrameError::Malformed(Kind::Credit));
        }
        credit.add_permits(bytes as usize);
        Ok(())
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        for (_, running) in lock(&self.running).drain() {
            running.task.abort();
        }
    }
}

/// Each change is complete before the lock goes: a poisoned one is as good.
fn lock(running: &Mutex<HashMap<CallId, Running>>) -> MutexGuard<'_, HashMap<CallId, Running>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The frame that ends a request.
async fn answer(handler: &dyn Handler, call: CallId, request: Request, sink: ReplySink) -> (Header, Bytes) {
    let (peer, method, deadline) = (request.peer.clone(), request.method, request.deadline);
    let response = AssertUnwindSafe(async { handler.handle(request, sink).await }).catch_unwind();
    let failure = match timeout_at(deadline, response).await {
        Ok(Ok(Ok(reply))) if reply.len() <= PAYLOAD_BYTES_MAX => {
            return (Header::new(Kind::Reply, call), reply);
        }
        Ok(Ok(Ok(reply))) => Failure::Failed {
            text: format!("the reply has {} bytes, at most {PAYLOAD_BYTES_MAX} can be sent", reply.len()),
            is_retryable: false,
            outcome: Outcome::Unknown,
        },
        Ok(Ok(Err(failure))) => failure,
        Ok(Err(panic)) => {
            error!(%peer, method, "a handler panicked: {}", text_of(&*panic));
            let text = "it panicked over the request".to_owned();
            Failure::Failed { text, is_retryable: false, outcome: Outcome::Unknown }
        }
        Err(_) => return error_frame(call, ErrorCode::Deadline, 0, ""),
    };
    match failure {
        Failure::UnknownMethod => error_frame(call, ErrorCode::UnknownMethod, 0, ""),
        Failure::Overloaded(text) => error_frame(call, ErrorCode::Overloaded, 0, &text),
        Failure::Failed { text, is_retryable, outcome } => {
            let mut flags = 0;
            if is_retryable {
                flags |= FLAG_RETRYABLE;
            }
            if outcome == Outcome::NotExecuted {
                flags |= FLAG_NOT_EXECUTED;
            }
            error_frame(call, ErrorCode::Failed, flags, &text)
        }
    }
}

pub(super) fn error_frame(call: CallId, code: ErrorCode, flags: u8, text: &str) -> (Header, Bytes) {
    let text = &text[..text.floor_char_boundary(ERROR_BYTES_MAX)];
    let header = Header { kind: Kind::Error, flags, code: code.number(), call };
    (header, Bytes::copy_from_slice(text.as_bytes()))
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
