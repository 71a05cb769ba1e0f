//! Being the node that computes the answer to another node's client.
//!
//! Parts of an answer are encoded while they are sent, and listings are gathered, on threads of their own: those that talk
//! to other nodes must not be held up by it. They are made when the first question comes. What may go wrong: the caller or
//! its client goes away, or the deadline passes; then the question is dropped wherever it is, as one of this node's clients.

use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::available_parallelism;

use bytes::Bytes;
use futures_util::StreamExt;
use gyre_ring::TenantId;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::messages::{ASK, AskReply, AskRequest, QuestionOnWire};
use crate::api::query::error::ApiError;
use crate::api::query::params::form::Form;
use crate::api::query::question::{Asked, Question};
use crate::api::query::stream::Answered;
use crate::api::state::Api;
use crate::rpc::frame::CHUNK_BYTES_MAX;
use crate::rpc::{Failure, Handler, Outcome, ReplySink, Request, Response, codec};

/// Answers up to this are sent in one piece.
const WHOLE_BYTES_MAX: usize = 128 << 10;

/// Answers questions that other nodes hand on.
pub struct Taker {
    /// It outlives the node that this belongs to, unless the process is about to end.
    api: Weak<Api>,
    threads: OnceLock<io::Result<Runtime>>,
}

impl Taker {
    /// Answers as this interface does.
    pub fn new(api: &Arc<Api>) -> Self {
        Self { api: Arc::downgrade(api), threads: OnceLock::new() }
    }

    fn threads(&self) -> Result<&Runtime, Failure> {
        let start = || {
            let threads = available_parallelism().map_or(1, usize::from);
            Builder::new_multi_thread().worker_threads(threads).thread_name("questions").enable_all().build()
        };
        let threads = self.threads.get_or_init(start);
        threads.as_ref().map_err(|error| not_done(format!("cannot start threads: {error}"), false))
    }
}

impl Handler for Taker {
    fn handle(&self, request: Request, sink: ReplySink) -> Response {
        let begun = self.threads().and_then(|threads| {
            let api = self.api.upgrade().ok_or_else(|| not_done("it is shutting down".to_owned(), true))?;
            Ok(Running(threads.spawn(take(api, request, sink))))
        });
        Box::pin(async move {
            let mut running = begun?;
            match (&mut running.0).await {
                Ok(reply) => reply,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => Err(not_done("it is shutting down".to_owned(), true)),
                },
            }
        })
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        if let Some(Ok(threads)) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// A question at work; dropped, it ends.
struct Running(JoinHandle<Result<Bytes, Failure>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn not_done(text: String, is_retryable: bool) -> Failure {
    Failure::Failed { text, is_retryable, outcome: Outcome::NotExecuted }
}

fn failed(error: impl ToString) -> Failure {
    Failure::Failed { text: error.to_string(), is_retryable: true, outcome: Outcome::Unknown }
}

async fn take(api: Arc<Api>, request: Request, sink: ReplySink) -> Result<Bytes, Failure> {
    let Request { method, control, permit, .. } = request;
    if method != ASK.number {
        return Err(Failure::UnknownMethod);
    }
    let request: AskRequest = codec::decode(&control).map_err(|error| not_done(error.to_string(), false))?;
    let node = api.node.get().map_err(|starting| not_done(starting.to_string(), true))?;
    if !node.is_meant(&request.head).await {
        return Err(not_done("it is not who was meant".to_owned(), false));
    }
    api.telemetry.handing.taken();
    // Here, whatever the roles of this node: what was handed on is not handed on again.
    let answered = match asked(request)?.answer(&api).await {
        Ok(answered) => answered,
        Err(ApiError::Starting(starting)) => return Err(not_done(starting.to_string(), true)),
        Err(error) => error.to_answered(),
    };
    let sent = send(answered, sink).await;
    drop(permit);
    sent
}

fn asked(request: AskRequest) -> Result<Asked, Failure> {
    let AskRequest { tenant, question, values, problem, waited_ms, .. } = request;
    let tenant = TenantId::new(&tenant).map_err(|error| not_done(error.to_string(), false))?;
    let form = Form::of_parts(values, problem).map_err(|error| not_done(error.to_string(), false))?;
    let question = match question {
        QuestionOnWire::Instant => Question::Instant,
        QuestionOnWire::Range => Question::Range,
        QuestionOnWire::Series => Question::Series,
        QuestionOnWire::LabelNames => Question::LabelNames,
        QuestionOnWire::LabelValues(name) => Question::LabelValues(name),
    };
    Ok(Asked::waited_for(question, tenant, form, waited_ms))
}

async fn send(answered: Answered, mut sink: ReplySink) -> Result<Bytes, Failure> {
    let Answered { status, first, rest } = answered;
    let reply = |text| {
        let reply = codec::encode(&AskReply { status: status.as_u16(), text });
        reply.map(Bytes::from).map_err(failed)
    };
    if rest.is_none() && first.len() <= WHOLE_BYTES_MAX {
        return reply(first.into());
    }
    sink.send(reply(Vec::new())?).await.map_err(failed)?;
    send_piece(first, &mut sink).await?;
    if let Some(mut rest) = rest {
        while let Some(piece) = rest.next().await {
            send_piece(piece.map_err(failed)?, &mut sink).await?;
        }
    }
    Ok(Bytes::new())
}

async fn send_piece(mut piece: Bytes, sink: &mut ReplySink) -> Result<(), Failure> {
    while !piece.is_empty() {
        let part = piece.split_to(piece.len().min(CHUNK_BYTES_MAX));
        sink.send(part).await.map_err(failed)?;
    }
    Ok(())
}
