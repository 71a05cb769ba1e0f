//! Why a call failed, and what that says about the work it asked for.

use std::sync::Arc;

use gyre_ring::Replica;

use super::handshake::HandshakeError;

/// What became of a request whose call failed. A write that was not taken may go elsewhere; one whose outcome is
/// unknown may be durable, and may still become so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer did not and will not do anything for it.
    NotExecuted,
    /// The peer may have done some or all of it, or may still.
    Unknown,
}

/// Why a peer could not be reached.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address does not answer.
    #[error("{0}")]
    Io(Arc<std::io::Error>),
    /// Nobody answered in time.
    #[error("no answer to a connection attempt")]
    Timeout,
    /// Somebody answers, but the two do not talk.
    #[error(transparent)]
    Handshake(HandshakeError),
}

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RpcError {
    /// Too much waits to be sent to the peer.
    #[error("too much is waiting to be sent to {peer}: {queued_bytes} bytes")]
    Overloaded {
        /// The peer.
        peer: Replica,
        /// Bytes that wait, or are on their way.
        queued_bytes: usize,
    },
    /// The peer has more to do than it takes.
    #[error("{peer} is overloaded: {text}")]
    PeerOverloaded {
        /// The peer.
        peer: Replica,
        /// What it says.
        text: Arc<str>,
    },
    /// The peer is shutting down.
    #[error("{peer} is shutting down")]
    GoingAway {
        /// The peer.
        peer: Replica,
    },
    /// There is no connection, and none could be made.
    #[error("{peer} cannot be reached: {error}")]
    Unreachable {
        /// The peer.
        peer: Replica,
        /// Why.
        error: ConnectError,
    },
    /// The connection broke before the answer came.
    #[error("the connection to {peer} was lost: {reason}")]
    ConnectionLost {
        /// The peer.
        peer: Replica,
        /// Why.
        reason: Arc<str>,
        /// Whether the request had been sent.
        outcome: Outcome,
    },
    /// The answer did not come in time.
    #[error("{peer} did not answer in time")]
    Deadline {
        /// The peer.
        peer: Replica,
        /// Whether the request had been sent.
        outcome: Outcome,
    },
    /// This side is not to call the peer any more.
    #[error("calls to {peer} have ended")]
    Ended {
        /// The peer.
        peer: Replica,
        /// Whether the request had been sent.
        outcome: Outcome,
    },
    /// The request is larger than any peer takes.
    #[error("the request for {peer} cannot be sent: {reason}")]
    TooLarge {
        /// The peer.
        peer: Replica,
        /// What is too large.
        reason: Arc<str>,
    },
    /// The peer does not know the method.
    #[error("{peer} does not know method {method}")]
    UnknownMethod {
        /// The peer.
        peer: Replica,
        /// The method's name.
        method: &'static str,
    },
    /// The peer tried and failed.
    #[error("{peer} failed: {text}")]
    Failed {
        /// The peer.
        peer: Replica,
        /// What it says.
        text: Arc<str>,
        /// Whether it says that another attempt may succeed.
        is_retryable: bool,
        /// Whether it says that nothing was done.
        outcome: Outcome,
    },
}

impl RpcError {
    /// Its kind in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            RpcError::Overloaded { .. } => "overloaded",
            RpcError::PeerOverloaded { .. } => "peer_overloaded",
            RpcError::GoingAway { .. } => "going_away",
            RpcError::Unreachable { .. } => "unreachable",
            RpcError::ConnectionLost { .. } => "connection_lost",
            RpcError::Deadline { .. } => "deadline",
            RpcError::Ended { .. } => "ended",
            RpcError::TooLarge { .. } => "too_large",
            RpcError::UnknownMethod { .. } => "unknown_method",
            RpcError::Failed { .. } => "failed",
        }
    }

    /// Whether the same call may succeed later, at this peer.
    pub fn is_retryable(&self) -> bool {
        match self {
            RpcError::Overloaded { .. }
            | RpcError::PeerOverloaded { .. }
            | RpcError::GoingAway { .. }
            | RpcError::ConnectionLost { .. }
            | RpcError::Deadline { .. } => true,
            RpcError::Unreachable { error, .. } => error.is_retryable(),
            RpcError::Ended { .. } | RpcError::TooLarge { .. } | RpcError::UnknownMethod { .. } => false,
            RpcError::Failed { is_retryable, .. } => *is_retryable,
        }
    }

    /// What became of the request.
    pub fn outcome(&self) -> Outcome {
        match self {
            RpcError::Overloaded { .. }
            | RpcError::PeerOverloaded { .. }
            | RpcError::GoingAway { .. }
            | RpcError::Unreachable { .. }
            | RpcError::TooLarge { .. }
            | RpcError::UnknownMethod { .. } => Outcome::NotExecuted,
            RpcError::ConnectionLost { outcome, .. }
            | RpcError::Deadline { outcome, .. }
            | RpcError::Ended { outcome, .. }
            | RpcError::Failed { outcome, .. } => *outcome,
        }
    }
}

impl ConnectError {
    /// Whether waiting can help: an address can come to life, a wrong secret or name stays wrong until somebody
    /// or a new epoch changes it.
    pub fn is_retryable(&self) -> bool {
        match self {
            ConnectError::Io(_) | ConnectError::Timeout => true,
            ConnectError::Handshake(error) => matches!(
                error,
                HandshakeError::Full
                    | HandshakeError::Deadline(_)
                    | HandshakeError::Closed
                    | HandshakeError::Io(_)
            ),
        }
    }
}

/// What a handler says when it cannot answer. Answers that the protocol knows, refusals among them, are replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No handler has this method.
    UnknownMethod,
    /// There is too much to do; nothing was done for this request.
    Overloaded(String),
    /// It was tried and failed.
    Failed {
        /// For the log of the calling side.
        text: String,
        /// Whether another attempt may succeed.
        is_retryable: bool,
        /// Whether something may have been done.
        outcome: Outcome,
    },
}

/// Errors as they travel: the code in the header of an error frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorCode {
    Overloaded,
    GoingAway,
    UnknownMethod,
    Deadline,
    /// The handler failed; flags in the frame say the rest.
    Failed,
}

/// Flag of an error frame with [`ErrorCode::Failed`]: another attempt may succeed.
pub(super) const FLAG_RETRYABLE: u8 = 1;
/// Flag of an error frame with [`ErrorCode::Failed`]: nothing was done.
pub(super) const FLAG_NOT_EXECUTED: u8 = 2;

impl ErrorCode {
    pub(super) fn number(self) -> u16 {
        self as u16 + 1
    }

    pub(super) fn of_number(number: u16) -> Option<Self> {
        use ErrorCode::{Deadline, Failed, GoingAway, Overloaded, UnknownMethod};
        [Overloaded, GoingAway, UnknownMethod, Deadline, Failed]
            .into_iter()
            .find(|code| code.number() == number)
    }
}
