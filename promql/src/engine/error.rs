//! Why a query failed.

use crate::storage::{StorageError, StorageErrorKind};
use crate::syntax::ParseError;

/// A failed query. The text is Prometheus's, without the prefix that the API adds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// What kind of failure it is.
    pub kind: QueryErrorKind,
    /// The reason.
    pub message: String,
}

/// Kinds of failures, by Prometheus's `errorType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// `bad_data`: the query is wrong.
    BadData,
    /// `execution`: it could not be computed, or hit a limit.
    Execution,
    /// `timeout`
    Timeout,
    /// `canceled`
    Canceled,
    /// `internal`: storage failed, or there is a bug.
    Internal,
}

impl QueryErrorKind {
    /// The `errorType` of Prometheus's API.
    pub fn error_type(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
        }
    }
}

impl QueryError {
    /// An error of `kind`.
    pub fn new(kind: QueryErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn bad_data(message: String) -> Self {
        Self::new(QueryErrorKind::BadData, message)
    }

    pub(crate) fn execution(message: impl Into<String>) -> Self {
        Self::new(QueryErrorKind::Execution, message)
    }

    pub(crate) fn internal(message: String) -> Self {
        Self::new(QueryErrorKind::Internal, message)
    }

    /// It would hold more bytes than a query may.
    pub fn too_many_bytes(bytes_max: u64) -> Self {
        Self::execution(format!(
            "query would use more than {bytes_max} bytes of memory (the limit on bytes per query)"
        ))
    }

    /// Its time is up.
    pub fn timeout() -> Self {
        Self::new(QueryErrorKind::Timeout, "query timed out in expression evaluation")
    }

    pub(crate) fn canceled() -> Self {
        Self::new(QueryErrorKind::Canceled, "query was canceled in expression evaluation")
    }

    pub(crate) fn same_labelset() -> Self {
        Self::execution("vector cannot contain metrics with the same labelset")
    }

    /// Whether the same query may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, QueryErrorKind::Timeout | QueryErrorKind::Internal)
    }
}

impl From<ParseError> for QueryError {
    fn from(error: ParseError) -> Self {
        Self::bad_data(error.to_string())
    }
}

impl From<StorageError> for QueryError {
    fn from(error: StorageError) -> Self {
        let kind = match error.kind {
            StorageErrorKind::Timeout => QueryErrorKind::Timeout,
            StorageErrorKind::Canceled => QueryErrorKind::Canceled,
            StorageErrorKind::LimitReached => QueryErrorKind::Execution,
            StorageErrorKind::Unavailable | StorageErrorKind::Internal => QueryErrorKind::Internal,
        };
        Self::new(kind, format!("expanding series: {}", error.message))
    }
}
