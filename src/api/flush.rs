//! `/flush`: everything that this node holds becomes blocks in the bucket, now. Cortex's `/ingester/flush`.

use std::borrow::Cow;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use gyre_ring::TenantId;

use super::response;
use super::state::Api;

/// `/flush`, or `/flush?tenant=acme` for one tenant. 204 when the blocks are listed; else why not, and what is not in a
/// block stays where it was.
pub(super) async fn flush(api: web::Data<Api>, request: HttpRequest) -> HttpResponse {
    let node = match api.node.get() {
        Ok(node) => node,
        Err(starting) => return response::starting(&starting),
    };
    let tenant = match tenant(request.query_string()) {
        Ok(tenant) => tenant,
        Err(problem) => return response::text_error(StatusCode::BAD_REQUEST, &problem),
    };
    match node.flush(tenant.as_ref()).await {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(error) if error.is_retryable() => {
            response::text_error(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
        }
        Err(error) => response::text_error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn tenant(query: &str) -> Result<Option<TenantId>, String> {
    let mut tenant = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name {
            Cow::Borrowed("tenant") if tenant.is_none() => {
                let parsed = TenantId::new(&value);
                tenant = Some(parsed.map_err(|error| format!("tenant {value:?}: {error}"))?);
            }
            Cow::Borrowed("tenant") => return Err("parameter \"tenant\" is given more than once".to_owned()),
            name => return Err(format!("unknown parameter {name:?}; there is \"tenant\"")),
        }
    }
    Ok(tenant)
}
