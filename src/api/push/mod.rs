//! Remote write: `POST /api/v1/push`, `/api/prom/push` and `/api/v1/write`.
//!
//! - [`headers`](self): content type and encoding, or 415.
//! - `body`: receives, bounded in bytes and time; [`inflight`] bounds all requests together.
//! - [`snappy`], [`wire`], [`decode`]: from bytes to a [`WriteBatch`] (`batch`), in buffers of a [`pool`].
//! - [`histogram`]: one native histogram, where it is stored. `schema`: what is only validated while scanning.
//! - `metadata`: limits on metric metadata.
//!
//! Status codes are Cortex's, because senders act on them: 4xx is never retried, so a request of which some samples
//! are refused stores the others and answers 400 with the first reason; 5xx is retried until it succeeds.

mod batch;
mod body;
pub mod decode;
mod headers;
pub mod histogram;
pub mod inflight;
mod metadata;
pub mod pool;
mod rebuild;
mod schema;
pub mod snappy;
pub mod wire;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use actix_web::{HttpRequest, HttpResponse, web};

use self::body::BodyError;
use self::decode::{DecodeError, WriteBatch};
use self::inflight::Reservation;
use self::snappy::SnappyError;
use super::response::text_error;
use super::state::Api;
use crate::node::WriteError;
use crate::node::handle::Starting;
use crate::tenant::registry::{RateLimited, Tenant, TenantError};

/// What a refused write is told.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string() }
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::InflightFull(_) => StatusCode::SERVICE_UNAVAILABLE,
            BodyError::Slow => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error)
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let status = match error {
            DecodeError::Snappy(SnappyError::TooLarge { .. }) | DecodeError::TooMany { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            DecodeError::Snappy(_) | DecodeError::Wire { .. } => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error)
    }
}

impl From<TenantError> for Refusal {
    fn from(error: TenantError) -> Self {
        let status = match error {
            TenantError::InvalidId(_) => StatusCode::UNAUTHORIZED,
            TenantError::TooMany => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error)
    }
}

impl From<Starting> for Refusal {
    fn from(error: Starting) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }
}

impl From<RateLimited> for Refusal {
    fn from(error: RateLimited) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, error)
    }
}

impl From<WriteError> for Refusal {
    fn from(error: WriteError) -> Self {
        let retry = error.is_retryable();
        let status = if retry { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR };
        Self::new(status, error)
    }
}

/// Handles one write request.
pub(super) async fn push(request: HttpRequest, payload: web::Payload, api: web::Data<Api>) -> HttpResponse {
    match try_push(&request, payload, &api).await {
        Ok(()) => HttpResponse::Ok().finish(),
        Err(Refusal { status, message }) => {
            tracing::debug!(status = status.as_u16(), message, "push refused");
            text_error(status, &message)
        }
    }
}

async fn try_push(request: &HttpRequest, payload: web::Payload, api: &Api) -> Result<(), Refusal> {
    let Some(tenant_id) = api.tenant_id(request) else {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "no org id"));
    };
    let node = api.node.get()?;
    let header = |name: HeaderName| match request.headers().get(name) {
        Some(value) => value.to_str().unwrap_or("an unreadable"),
        None => "",
    };
    headers::check(header(CONTENT_TYPE), header(CONTENT_ENCODING))
        .map_err(|message| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))?;
    let tenant = api.tenants.get_or_create(&tenant_id)?;

    let mut reservation = api.inflight.reservation();
    let mut batch = receive_batch(request, payload, api, &mut reservation).await?;
    count_incoming(&tenant, &batch);
    let samples = (batch.samples.len() + batch.histograms.len()) as u64;
    let metadata = batch.metadata.len() as u64;
    if let Err(error) = tenant.admit(samples, metadata, node.monotonic_ns()) {
        tenant.counters.discard_samples("rate_limited".into(), samples);
        tenant.counters.discard_metadata("rate_limited", metadata);
        return Err(error.into());
    }

    let refused_metadata = metadata::remove_invalid(&mut batch, &tenant.limits);
    for (reason, count) in &refused_metadata.counts {
        tenant.counters.discard_metadata(reason, *count);
    }
    tenant.counters.received_metadata.inc_by(batch.metadata.len() as u64);
    let outcome = node.write(&tenant.id, batch).await?;
    let histograms = outcome.accepted_histograms;
    tenant.counters.received_samples.inc_by(outcome.accepted_samples - histograms);
    tenant.counters.received_histograms.inc_by(histograms);
    tenant.counters.reduced_histograms.inc_by(outcome.reduced_histograms);
    for (reason, count) in outcome.refused {
        tenant.counters.discard_samples(reason, count);
    }
    for (reason, count) in &outcome.refused_metadata {
        tenant.counters.discard_metadata(reason, *count);
    }
    match outcome.first_error.or(refused_metadata.first_error) {
        Some(error) => Err(Refusal::new(StatusCode::BAD_REQUEST, error)),
        None => Ok(()),
    }
}

/// Receives and decodes. The compressed body is given back before the batch is written.
async fn receive_batch(
    request: &HttpRequest,
    payload: web::Payload,
    api: &Api,
    reservation: &mut Reservation<'_>,
) -> Result<WriteBatch, Refusal> {
    let max = api.config.push_request_bytes_max;
    let body = body::receive(request, payload, max, reservation, &api.pool).await?;
    let declared = snappy::declared_len(body.bytes(), max).map_err(DecodeError::from)? as u64;
    reservation.grow_to(declared + body.bytes().len() as u64).map_err(BodyError::from)?;
    Ok(WriteBatch::decode(&api.pool, body.bytes(), max)?)
}

fn count_incoming(tenant: &Tenant, batch: &WriteBatch) {
    tenant.counters.samples_in.inc_by(batch.samples.len() as u64);
    tenant.counters.histograms_in.inc_by(batch.histograms.len() as u64);
    tenant.counters.metadata_in.inc_by(batch.metadata.len() as u64);
    tenant.counters.discard_exemplars("exemplar_storage_missing", batch.dropped_exemplars);
}
