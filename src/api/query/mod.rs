//! Prometheus's query API: `query`, `query_range`, `series`, `labels`, `label/<name>/values`, `metadata`.
//!
//! Parameters are read to the letter as Prometheus reads them, and errors carry its texts, since clients match on
//! them. Source: `web/api/v1/api.go` of Prometheus.
//!
//! - [`params`]: from a form to typed parameters.
//! - [`error`]: from errors to the envelope and its status code.
//! - [`json`]: the answer's encoding.
//! - one file an endpoint.

pub mod error;
pub(super) mod instant;
pub mod json;
pub(super) mod labels;
pub(super) mod metadata;
pub mod params;
pub(super) mod range;
pub(super) mod series;

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use gyre_ring::TenantId;

use self::error::ApiError;
use self::json::{Annotations, envelope};
use super::response;
use super::state::Api;
use crate::node::Answer;

/// The annotation of an answer that is not whole because of its `limit`.
const TRUNCATED: &str = "results truncated due to limit";

/// The tenant whose data is asked for.
fn tenant_of(api: &Api, request: &HttpRequest) -> Result<TenantId, ApiError> {
    let id: Cow<'_, str> = api.tenant_id(request).ok_or(ApiError::NoTenant)?;
    TenantId::new(&id).map_err(|error| ApiError::InvalidTenant(error.to_string()))
}

/// The envelope around a value, or around why there is none.
fn respond<T>(
    answer: Result<Answer<T>, ApiError>,
    write_value: impl FnOnce(&mut Vec<u8>, &T),
) -> HttpResponse {
    match answer {
        Ok(Answer { value, warnings, infos }) => {
            let annotations = Annotations { warnings, infos };
            let document = envelope::success(&annotations, |out| write_value(out, &value));
            response::json(StatusCode::OK, document)
        }
        Err(error) => error.to_response(),
    }
}

/// Cuts a listing to its limit, and says so.
fn truncate<T>(answer: &mut Answer<Vec<T>>, limit: Option<usize>) {
    if let Some(limit) = limit
        && answer.value.len() > limit
    {
        answer.value.truncate(limit);
        answer.warnings.push(TRUNCATED.to_owned());
    }
}
