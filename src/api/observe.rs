//! Measures every request, holds those for data until the node has started, and closes connections while it is stopping.

use std::time::{Duration, Instant};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONNECTION, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::routes::route_label;
use super::state::Api;

/// How long writes and queries wait for a node that is starting.
const START_WAIT_MAX: Duration = Duration::from_secs(3);

/// Runs the rest of the chain and counts its duration under the route's name.
pub(super) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    if let Some(api) = request.app_data::<web::Data<Api>>().cloned()
        && request.path().contains("/api/")
    {
        api.node.wait(START_WAIT_MAX).await;
    }
    let mut response = next.call(request).await?;
    let request = response.request();
    let route = request.match_name().map_or("other", route_label);
    let method = match request.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        // Anybody can invent methods, and each would make new series.
        _ => "other",
    };
    let Some(api) = request.app_data::<web::Data<Api>>() else { return Ok(response) };
    api.telemetry.requests.observe(method, route, response.status().as_u16(), started.elapsed());
    if api.is_draining() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}
