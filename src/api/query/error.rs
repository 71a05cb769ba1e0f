//! Errors of the query API: kind, status code, envelope.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::json::envelope;
use super::stream::Answered;
use crate::api::response::text_error;
use crate::node::QueryError;
use crate::node::handle::Starting;

/// Why a request to the query API has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// There is no tenant and there must be one.
    #[error("no org id")]
    NoTenant,
    /// The tenant's id is not allowed.
    #[error("{0}")]
    InvalidTenant(String),
    /// A parameter cannot be used.
    #[error("invalid parameter \"{parameter}\": {problem}")]
    InvalidParameter {
        /// Its name.
        parameter: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The request is wrong in another way.
    #[error("{0}")]
    BadData(String),
    /// The request's form is over its limit.
    #[error("request body larger than {max} bytes")]
    FormTooLarge {
        /// Bytes allowed.
        max: usize,
    },
    /// The form did not arrive in time.
    #[error("request body did not arrive in time")]
    FormSlow,
    /// Too many clients are being sent large results.
    #[error("too many bytes of query results are being sent by this node (limit: {max}); try again later")]
    TooMuchToSend {
        /// Bytes allowed.
        max: usize,
    },
    /// The node is not there yet.
    #[error(transparent)]
    Starting(#[from] Starting),
    /// The node could not answer.
    #[error(transparent)]
    Query(#[from] QueryError),
}

impl ApiError {
    /// An unusable parameter.
    pub fn parameter(parameter: &'static str, problem: impl ToString) -> Self {
        Self::InvalidParameter { parameter, problem: problem.to_string() }
    }

    fn kind(&self) -> (&'static str, u16) {
        match self {
            Self::NoTenant | Self::InvalidTenant(_) => ("bad_data", 401),
            Self::InvalidParameter { .. } | Self::BadData(_) => ("bad_data", 400),
            Self::FormTooLarge { .. } => ("bad_data", 413),
            Self::FormSlow => ("bad_data", 408),
            Self::TooMuchToSend { .. } | Self::Starting(_) => ("unavailable", 503),
            Self::Query(error) => match error {
                QueryError::Parse(_) | QueryError::BadData(_) => ("bad_data", 400),
                QueryError::Execution(_) => ("execution", 422),
                QueryError::Timeout(_) => ("timeout", 503),
                QueryError::Canceled(_) => ("canceled", 499),
                QueryError::Internal(_) => ("internal", 500),
                QueryError::Unavailable(_) => ("unavailable", 503),
                QueryError::TooManyRequests(_) => ("too_many_requests", 429),
            },
        }
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.kind().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The answer of the API.
    pub fn to_answered(&self) -> Answered {
        let first = envelope::error(self.kind().0, &self.to_string()).into();
        Answered { status: self.status(), first, rest: None }
    }

    /// The answer to send.
    pub fn to_response(&self) -> HttpResponse {
        match self {
            // Refused before the API is reached, in plain text, as Cortex's middleware and Prometheus's readiness do.
            Self::NoTenant | Self::InvalidTenant(_) | Self::Starting(_) => {
                text_error(self.status(), &self.to_string())
            }
            _ => self.to_answered().into_response(),
        }
    }
}
