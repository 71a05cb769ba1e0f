//! Handing a question on, and passing the answer on.
//!
//! Bytes of an answer are held up to a call's window and in the connection to the client; the node that computes it
//! waits meanwhile. When the client goes away the call is dropped, which ends the question there.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::time::{Instant, timeout};

use super::messages::{ASK, AskReply, AskRequest, QuestionOnWire};
use super::metrics::{HandingMetrics, Outcome};
use crate::api::query::error::ApiError;
use crate::api::query::question::{Asked, Question};
use crate::api::query::stream::{Answered, Piece, SEND_LIMIT, SendingShare};
use crate::api::state::Api;
use crate::node::readers::ReaderNode;
use crate::node::{Node, QueryError};
use crate::replica::call;
use crate::rpc::{self, PeerConfig, Reply, ReplyStream, RpcError, codec};

/// A node that has begun to answer, and sends nothing for so long although it is there, has failed.
const PIECE_MAX: Duration = Duration::from_secs(60);

/// Nodes that may fail over one question. It may be the question that harms them: then neither others nor this one,
/// which holds heads, are to be harmed, too.
const FAILED_OVER_IT_MAX: usize = 2;

/// The answer of a node that has the role `read`, or this node's if there is none.
pub(super) async fn answer(api: &Api, node: &Arc<Node>, asked: Asked) -> Result<Answered, ApiError> {
    let metrics = &api.telemetry.handing;
    // The client's patience, which is this node's limit at most, and the time that the answer may take on its way.
    let patience = Duration::from_millis(api.config.query_timeout_ms.max(0).unsigned_abs());
    let deadline = Instant::now() + patience + SEND_LIMIT;
    let readers = node.readers(&asked.tenant);
    let mut request = request(&asked);
    let (mut busy, mut failed_over_it) = (false, Vec::new());
    for reader in &readers {
        request.head = reader.head;
        request.waited_ms = u64::try_from(asked.waited().as_millis()).unwrap_or(u64::MAX);
        // One that is too long for a message is answered here.
        let Ok(message) = codec::encode(&request) else { break };
        let failure = match ask(api, reader, message, deadline).await {
            Ok(answered) => {
                if answered.rest.is_none() {
                    metrics.handed_on(Outcome::Answered);
                }
                return Ok(answered);
            }
            Err(failure) => failure,
        };
        metrics.failure(failure.reason());
        tracing::debug!(peer = %reader.replica, reason = failure.reason(), "a question cannot be handed on");
        match failure {
            Failure::Final(error) => return refused(metrics, error),
            Failure::Busy(_) => busy = true,
            Failure::OverIt(_) => {
                failed_over_it.push(reader.replica.node.to_string());
                if failed_over_it.len() == FAILED_OVER_IT_MAX {
                    let text = format!("{} failed over this query", failed_over_it.join(" and "));
                    return refused(metrics, QueryError::Unavailable(text).into());
                }
            }
            Failure::NotThere(_) => {}
        }
    }
    if busy {
        let text = "too many outstanding requests".to_owned();
        return refused(metrics, QueryError::TooManyRequests(text).into());
    }
    metrics.handed_on(Outcome::Here);
    asked.answer(api).await
}

fn refused(metrics: &HandingMetrics, error: ApiError) -> Result<Answered, ApiError> {
    metrics.handed_on(Outcome::Refused);
    Err(error)
}

fn request(asked: &Asked) -> AskRequest {
    let (values, problem) = asked.form.clone().into_parts();
    AskRequest {
        head: Default::default(),
        tenant: asked.tenant.to_string(),
        question: match &asked.question {
            Question::Instant => QuestionOnWire::Instant,
            Question::Range => QuestionOnWire::Range,
            Question::Series => QuestionOnWire::Series,
            Question::LabelNames => QuestionOnWire::LabelNames,
            Question::LabelValues(name) => QuestionOnWire::LabelValues(name.clone()),
        },
        values,
        problem,
        waited_ms: 0,
    }
}

/// Why a node does not begin to answer. The texts are for metrics.
enum Failure {
    /// It is not there, or does not do this.
    NotThere(&'static str),
    /// It has too much to do.
    Busy(&'static str),
    /// It went away, or panicked, when it had the question.
    OverIt(&'static str),
    /// Nobody else needs to be asked.
    Final(ApiError),
}

impl Failure {
    fn reason(&self) -> &'static str {
        match self {
            Failure::NotThere(reason) | Failure::Busy(reason) | Failure::OverIt(reason) => reason,
            Failure::Final(_) => "final",
        }
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Overloaded { .. } | RpcError::PeerOverloaded { .. } => Failure::Busy(error.kind()),
            RpcError::Deadline { .. } => {
                Failure::Final(QueryError::Timeout("query timed out in query execution".to_owned()).into())
            }
            RpcError::ConnectionLost { outcome: rpc::Outcome::Unknown, .. }
            | RpcError::Failed { outcome: rpc::Outcome::Unknown, .. } => Failure::OverIt(error.kind()),
            _ => Failure::NotThere(error.kind()),
        }
    }
}

/// Asks one node. When this returns an answer, it has begun.
async fn ask(
    api: &Api,
    reader: &ReaderNode,
    message: Vec<u8>,
    deadline: Instant,
) -> Result<Answered, Failure> {
    let call = reader.peer.call(ASK, message, deadline);
    let reply = call::while_there(&reader.peer, reader.head.incarnation, call).await;
    match reply.ok_or(Failure::NotThere("silent"))?? {
        Reply::Whole(reply) => {
            let (status, first) = parse(&reply)?;
            Ok(Answered { status, first, rest: None })
        }
        Reply::Stream(mut stream) => {
            // It is there already.
            let head = stream.next().await?.unwrap_or_default();
            let (status, first) = parse(&head)?;
            let share = api.sending.share(PeerConfig::default().window_bytes as usize);
            let Some(share) = share else {
                return Err(Failure::Final(ApiError::TooMuchToSend { max: api.sending.max() }));
            };
            let metrics = api.telemetry.handing.clone();
            let rest = Rest { reader: reader.clone(), stream, metrics, is_counted: false, _share: share };
            Ok(Answered { status, first, rest: Some(rest.into_pieces()) })
        }
    }
}

fn parse(reply: &[u8]) -> Result<(StatusCode, Bytes), Failure> {
    let reply: Result<AskReply, _> = codec::decode(reply);
    let parsed = reply.ok().and_then(|AskReply { status, text }| {
        Some((StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 200)?, text.into()))
    });
    parsed.ok_or(Failure::NotThere("nonsense"))
}

/// What of an answer is on its way.
struct Rest {
    reader: ReaderNode,
    stream: ReplyStream,
    metrics: HandingMetrics,
    is_counted: bool,
    /// For the window.
    _share: SendingShare,
}

impl Rest {
    fn into_pieces(self) -> BoxStream<'static, Piece> {
        stream::unfold(self, |mut rest| async {
            let piece = rest.next().await?;
            Some((piece, rest))
        })
        .boxed()
    }

    /// The next piece; `None` at the end, and behind an error.
    async fn next(&mut self) -> Option<Piece> {
        if self.is_counted {
            return None;
        }
        let ReaderNode { peer, head, replica } = &self.reader;
        let next = call::while_there(peer, head.incarnation, self.stream.next());
        let reason = match timeout(PIECE_MAX, next).await {
            Ok(Some(Ok(Some(piece)))) => return Some(Ok(piece)),
            Ok(Some(Ok(None))) => {
                self.count(Outcome::Answered);
                return None;
            }
            Ok(Some(Err(error))) => error.to_string(),
            Ok(None) => format!("{replica}: {}", call::SILENT),
            Err(_) => format!("nothing came from {replica} for {} s", PIECE_MAX.as_secs()),
        };
        self.count(Outcome::BrokenOff);
        Some(Err(QueryError::Unavailable(reason)))
    }

    fn count(&mut self, outcome: Outcome) {
        self.is_counted = true;
        self.metrics.handed_on(outcome);
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        // The client went away: the other node did what it could.
        if !self.is_counted {
            self.count(Outcome::Answered);
        }
    }
}
