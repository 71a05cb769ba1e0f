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
use gyre_ring::NodeId;
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
    let mut tries = Tries::default();
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
        if let Err(error) = tries.failed(&reader.replica.node, failure) {
            metrics.handed_on(Outcome::Refused);
            return Err(error);
        }
    }
    if let Err(error) = tries.may_answer_here() {
        metrics.handed_on(Outcome::Refused);
        return Err(error);
    }
    metrics.handed_on(Outcome::Here);
    asked.answer(api).await
}

/// What became of a question so far.
#[derive(Default)]
struct Tries {
    is_busy: bool,
    /// Nodes that went away with it.
    over_it: Vec<NodeId>,
}

impl Tries {
    /// A node has not begun to answer. The error: no further one is to be asked.
    fn failed(&mut self, node: &NodeId, failure: Failure) -> Result<(), ApiError> {
        match failure {
            Failure::NotThere(_) => {}
            Failure::Busy(_) => self.is_busy = true,
            Failure::OverIt(_) => self.over_it.push(node.clone()),
            Failure::Final(_, error) => return Err(error),
        }
        if self.over_it.len() < FAILED_OVER_IT_MAX {
            return Ok(());
        }
        let names: Vec<&str> = self.over_it.iter().map(NodeId::as_str).collect();
        Err(QueryError::Unavailable(format!("nodes failed over this query: {}", names.join(", "))).into())
    }

    /// Nobody else can be asked. The error: this node is not to do it either. Those that have the work as their role are
    /// there, and what is too much for them would be too much for whoever has another.
    fn may_answer_here(&self) -> Result<(), ApiError> {
        match self.is_busy {
            true => Err(QueryError::TooManyRequests("too many outstanding requests".to_owned()).into()),
            false => Ok(()),
        }
    }
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
#[derive(Debug)]
enum Failure {
    /// It is not there, or does not do this.
    NotThere(&'static str),
    /// It has too much to do.
    Busy(&'static str),
    /// It went away, or panicked, when it had the question.
    OverIt(&'static str),
    /// Nobody else needs to be asked.
    Final(&'static str, ApiError),
}

impl Failure {
    fn reason(&self) -> &'static str {
        match self {
            Failure::NotThere(reason)
            | Failure::Busy(reason)
            | Failure::OverIt(reason)
            | Failure::Final(reason, _) => reason,
        }
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Overloaded { .. } | RpcError::PeerOverloaded { .. } => Failure::Busy(error.kind()),
            RpcError::Deadline { .. } => {
                let text = "query timed out in query execution".to_owned();
                Failure::Final(error.kind(), QueryError::Timeout(text).into())
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
                let error = ApiError::TooMuchToSend { max: api.sending.max() };
                return Err(Failure::Final("too_much_to_send", error));
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

#[cfg(test)]
mod tests {
    use gyre_ring::{Incarnation, Replica};

    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn failures(peer: &Replica) -> [RpcError; 4] {
        let (peer, reason) = (peer.clone(), Arc::<str>::from("reset"));
        let outcome = rpc::Outcome::Unknown;
        [
            RpcError::UnknownMethod { peer: peer.clone(), method: ASK.name },
            RpcError::GoingAway { peer: peer.clone() },
            RpcError::PeerOverloaded { peer: peer.clone(), text: reason.clone() },
            RpcError::ConnectionLost { peer, reason, outcome },
        ]
    }

    #[test]
    fn nodes_that_are_away_or_older_are_passed_over_and_busy_ones_are_believed() {
        let replica = Replica { node: node("r"), incarnation: Incarnation(1) };
        let [unknown, going, busy, lost] = failures(&replica);
        let mut tries = Tries::default();
        for error in [unknown, going, lost] {
            assert!(tries.failed(&replica.node, error.into()).is_ok());
        }
        assert!(tries.may_answer_here().is_ok());
        assert!(tries.failed(&replica.node, busy.into()).is_ok());
        let error = tries.may_answer_here().unwrap_err();
        assert_eq!(error.to_response().status(), StatusCode::TOO_MANY_REQUESTS);
    }

    #[test]
    fn a_question_that_two_nodes_went_away_with_goes_to_no_third() {
        let replica = Replica { node: node("r"), incarnation: Incarnation(1) };
        let mut tries = Tries::default();
        let [_, _, _, lost] = failures(&replica);
        assert!(tries.failed(&node("r"), lost.clone().into()).is_ok());
        let error = tries.failed(&node("s"), lost.into()).unwrap_err();
        assert_eq!(error.to_string(), "nodes failed over this query: r, s");
        assert_eq!(error.to_response().status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn what_is_no_reply_is_none() {
        for bytes in [&b""[..], b"\x01", b"\x02\xc8\0\0\0\0\0\0\0\0\0"] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        let reply = |status| codec::encode(&AskReply { status, text: b"{}".to_vec() }).unwrap();
        // Not the head of an HTTP answer.
        assert!(parse(&reply(100)).is_err() && parse(&reply(1000)).is_err());
        assert_eq!(
            parse(&reply(422)).unwrap(),
            (StatusCode::UNPROCESSABLE_ENTITY, Bytes::from_static(b"{}"))
        );
    }
}
