//! What is said when a question is handed on. `docs/format/rpc.md` describes how it travels.

use crate::replica::messages::Head;
use crate::rpc::codec::{Decode, Encode};
use crate::rpc::{Lane, Method};

/// A request of the query API that the caller's client has made.
pub const ASK: Method = Method { number: 20, name: "ask", lane: Lane::Bulk };

/// Request of [`ASK`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AskRequest {
    /// Whom it is for.
    pub head: Head,
    /// Whose data. The caller has found out that its client may ask for it.
    pub tenant: String,
    /// The endpoint.
    pub question: QuestionOnWire,
    /// Names and values of the request's form, in order.
    pub values: Vec<(String, String)>,
    /// What is wrong with the first pair of the form that was left out.
    pub problem: Option<String>,
    /// Milliseconds that the client has waited for already: they count as spent.
    pub waited_ms: u64,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum QuestionOnWire {
    /// `query`
    Instant,
    /// `query_range`
    Range,
    /// `series`
    Series,
    /// `labels`
    LabelNames,
    /// `label/<name>/values`
    LabelValues(String),
}

/// Reply of [`ASK`], or the first part of a streamed one. Further parts continue the text, the trailer is empty.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AskReply {
    /// The status for the client.
    pub status: u16,
    /// The text for the client, which is JSON, or how it begins.
    pub text: Vec<u8>,
}
