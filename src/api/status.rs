//! The node about itself: start page, readiness, metrics, configuration, build.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{HttpResponse, web};

use super::query::json;
use super::response;
use super::state::Api;
use crate::version;

/// `/ready`: 200 `ready`, or 503 and why not.
pub(super) async fn ready(api: web::Data<Api>) -> HttpResponse {
    if api.is_draining() {
        return response::text_error(StatusCode::SERVICE_UNAVAILABLE, "this node is shutting down");
    }
    match api.node.readiness() {
        Ok(()) => response::text("ready\n"),
        Err(reason) => response::text_error(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

/// `/metrics`, in OpenMetrics text format.
pub(super) async fn metrics(api: web::Data<Api>) -> HttpResponse {
    let media_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    HttpResponse::Ok().insert_header((CONTENT_TYPE, media_type)).body(api.telemetry.to_text())
}

/// `/config`: the effective configuration.
pub(super) async fn config(api: web::Data<Api>) -> HttpResponse {
    response::text(api.config.to_yaml())
}

/// `/api/v1/status/buildinfo`. Grafana reads `features` as a map of strings; an empty one says that rules cannot be
/// edited here, which is so.
pub(super) async fn buildinfo() -> HttpResponse {
    let document = json::envelope::success(&json::Annotations::default(), |out| {
        out.extend_from_slice(b"{\"application\":\"Gyre\"");
        let fields = [
            ("version", version::VERSION),
            ("revision", version::REVISION),
            ("branch", ""),
            ("buildUser", ""),
            ("buildDate", ""),
            ("goVersion", ""),
        ];
        for (name, value) in fields {
            out.push(b',');
            json::text::write_string(out, name);
            out.push(b':');
            json::text::write_string(out, value);
        }
        out.extend_from_slice(b",\"features\":{}}");
    });
    response::json(StatusCode::OK, document)
}

/// `/`: what this is, what it holds, and where to go on.
pub(super) async fn index(api: web::Data<Api>) -> HttpResponse {
    let node = match api.node.get() {
        Ok(node) => node,
        Err(starting) => return response::starting(&starting),
    };
    let stats = node.stats();
    let page = format!(
        include_str!("index.html"),
        version = version::VERSION,
        node = node.id(),
        series = stats.memory_series,
        tenants = stats.memory_tenants,
    );
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    HttpResponse::Ok().insert_header((CONTENT_TYPE, html)).body(page)
}
