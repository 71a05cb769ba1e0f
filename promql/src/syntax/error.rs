//! Why a text is not a valid expression.

use super::Span;

/// A rejected query: where and why, in Prometheus's words.
///
/// Displays as `1:5: parse error: unexpected character: 'x'`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: parse error: {message}")]
pub struct ParseError {
    /// The bytes of the query that are to blame.
    pub span: Span,
    /// The start of `span` as `line:column`.
    pub position: String,
    /// The reason, without position.
    pub message: String,
}

impl ParseError {
    /// An error at `span` of `query`.
    pub fn new(query: &str, span: Span, message: impl Into<String>) -> Self {
        Self { span, position: span.start_position(query), message: message.into() }
    }
}
