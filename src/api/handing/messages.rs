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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::codec;

    /// A string, or a list's length, as `docs/format/rpc.md` has it.
    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    #[test]
    fn messages_have_the_bytes_that_the_format_describes() {
        let request = AskRequest {
            head: Head { incarnation: 7, epoch: 3 },
            tenant: "acme".to_owned(),
            question: QuestionOnWire::LabelValues("pod".to_owned()),
            values: vec![("limit".to_owned(), "5".to_owned())],
            problem: None,
            waited_ms: 20,
        };
        let described = [
            vec![1],
            7u128.to_le_bytes().to_vec(),
            3u64.to_le_bytes().to_vec(),
            text("acme"),
            4u32.to_le_bytes().to_vec(),
            text("pod"),
            1u64.to_le_bytes().to_vec(),
            text("limit"),
            text("5"),
            vec![0],
            20u64.to_le_bytes().to_vec(),
        ]
        .concat();
        assert_eq!(codec::encode(&request).unwrap(), described);
        assert_eq!(codec::decode::<AskRequest>(&described).unwrap(), request);

        let reply = AskReply { status: 422, text: b"{}".to_vec() };
        let described = [vec![1], 422u16.to_le_bytes().to_vec(), text("{}")].concat();
        assert_eq!(codec::encode(&reply).unwrap(), described);
        assert_eq!(codec::decode::<AskReply>(&described).unwrap(), reply);
    }
}
