//! Measures every request, and closes connections while the node is stopping.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONNECTION, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::routes::route_label;
use super::state::Api;

/// Runs the rest of the chain and counts its duration under the route's name.
pub(super) async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
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
