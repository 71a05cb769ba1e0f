//! Prometheus's query API: `query`, `query_range`, `series`, `labels`, `label/<name>/values`, `metadata`,
//! `format_query`, `parse_query`, `query_exemplars`.
//!
//! Parameters are read to the letter as Prometheus reads them, and errors carry its texts, since clients match on
//! them. Source: `web/api/v1/api.go` of Prometheus.
//!
//! - [`params`]: from a form to typed parameters.
//! - [`error`]: from errors to the envelope and its status code.
//! - [`json`]: the answer's encoding.
//! - [`stream`]: sends it as it is encoded.
//! - [`question`]: what is asked of data, whoever computes the answer.
//! - one file an endpoint.

pub mod error;
pub(super) mod expression;
pub mod json;
pub(super) mod labels;
pub(super) mod language;
pub(super) mod metadata;
pub mod params;
pub mod question;
pub(super) mod series;
pub mod stream;

use std::borrow::Cow;

use actix_web::{HttpRequest, HttpResponse};
use gyre_ring::TenantId;

use self::error::ApiError;
use self::json::Annotations;
use self::stream::{Answered, Data};
use super::state::Api;
use crate::node::Answer;

/// The tenant whose data is asked for.
fn tenant_of(api: &Api, request: &HttpRequest) -> Result<TenantId, ApiError> {
    let id: Cow<'_, str> = api.tenant_id(request).ok_or(ApiError::NoTenant)?;
    TenantId::new(&id).map_err(|error| ApiError::InvalidTenant(error.to_string()))
}

/// The envelope around a value.
fn envelope(answer: Answer<impl Data + Send + 'static>) -> Answered {
    let Answer { value, warnings, infos } = answer;
    stream::success(value, Annotations { warnings, infos })
}

/// The answer, or why there is none.
fn respond(answer: Result<Answered, ApiError>) -> HttpResponse {
    match answer {
        Ok(answered) => answered.into_response(),
        Err(error) => error.to_response(),
    }
}
