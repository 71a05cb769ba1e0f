//! Which path leads where. A route's name is its `route` in `cortex_request_duration_seconds`.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_ENCODING;
use actix_web::middleware::{Compress, Next, from_fn};
use actix_web::web::{self, ServiceConfig};
use actix_web::{Error, HttpResponse, Route};

use super::response::text_error;
use super::{drain, flush, push, query, ring, rules, status};

/// Prefixes under which Prometheus's API lies whole: with its own view of rules and alerts.
const PREFIXES: [&str; 2] = ["/prometheus", "/api/prom"];

/// The paths of remote write, with their route names.
const PUSH_PATHS: [(&str, &str); 3] =
    [("/api/v1/push", "api_v1_push"), ("/api/prom/push", "api_prom_push"), ("/api/v1/write", "api_v1_write")];

/// All route names, so that a label can be made without allocating.
const ROUTES: [&str; 26] = [
    "api_v1_push",
    "api_prom_push",
    "api_v1_write",
    "api_v1_query",
    "api_v1_query_range",
    "api_v1_query_exemplars",
    "api_v1_format_query",
    "api_v1_parse_query",
    "api_v1_series",
    "api_v1_labels",
    "api_v1_label_values",
    "api_v1_metadata",
    "api_v1_status_buildinfo",
    "api_v1_rules",
    "api_v1_alerts",
    "config_v1_rules",
    "config_v1_alerts",
    "prom_rules",
    "index",
    "ready",
    "metrics",
    "config",
    "ring",
    "flush",
    "drain",
    "other",
];

/// The route label of a matched resource. Names of scopes' resources carry no prefix.
pub(super) fn route_label(name: &str) -> &'static str {
    ROUTES.into_iter().find(|route| *route == name).unwrap_or("other")
}

/// Adds all routes.
pub(super) fn configure(config: &mut ServiceConfig) {
    for (path, name) in PUSH_PATHS {
        config.service(web::resource(path).name(name).post(push::push));
    }
    for path in ["/flush", "/ingester/flush"] {
        let flushes = web::resource(path).name("flush").post(flush::flush);
        // As in Cortex.
        config.service(flushes.get(flush::flush));
    }
    config
        .service(web::resource("/").name("index").get(status::index))
        .service(web::resource("/ready").name("ready").get(status::ready))
        .service(web::resource("/metrics").name("metrics").wrap(Compress::default()).get(status::metrics))
        .service(web::resource("/ring").name("ring").wrap(Compress::default()).get(ring::ring))
        .service(
            web::resource("/drain").name("drain").post(drain::drain).delete(drain::stay).get(drain::status),
        )
        .service(web::resource("/config").name("config").get(status::config))
        .service(web::resource("/api/v1/rules").name("config_v1_rules").get(rules::configured_groups))
        .service(web::resource("/api/prom/rules").name("prom_rules").get(rules::configured_groups))
        .service(
            web::resource("/api/v1/alerts").name("config_v1_alerts").get(rules::configured_alertmanager),
        );
    for prefix in PREFIXES {
        config.service(
            web::scope(&format!("{prefix}/api/v1"))
                .wrap(Compress::default())
                .wrap(from_fn(unlabel_identity))
                .service(web::resource("/rules").name("api_v1_rules").get(rules::groups))
                .service(web::resource("/alerts").name("api_v1_alerts").get(rules::alerts))
                .configure(configure_queries),
        );
    }
    config.service(
        web::scope("/api/v1")
            .wrap(Compress::default())
            .wrap(from_fn(unlabel_identity))
            .configure(configure_queries),
    );
    config.default_service(web::to(not_found));
}

/// `Content-Encoding: identity` keeps the compression away from small answers; clients need not see it.
async fn unlabel_identity(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    if response.headers().get(CONTENT_ENCODING).is_some_and(|encoding| encoding == "identity") {
        response.headers_mut().remove(CONTENT_ENCODING);
    }
    Ok(response)
}

async fn not_found() -> HttpResponse {
    text_error(StatusCode::NOT_FOUND, "404 page not found")
}

/// The part of Prometheus's API that is the same under every prefix.
fn configure_queries(config: &mut ServiceConfig) {
    let asked = |path: &str, name: &str, get: Route, post: Route| {
        web::resource(path).name(name).route(get).route(post).default_service(web::to(not_allowed))
    };
    macro_rules! get_and_post {
        ($path:literal, $name:literal, $handler:path) => {
            asked($path, $name, web::get().to($handler), web::post().to($handler))
        };
    }
    macro_rules! get {
        ($path:literal, $name:literal, $handler:path) => {
            web::resource($path).name($name).get($handler).default_service(web::to(not_allowed))
        };
    }
    config
        .service(get_and_post!("/query", "api_v1_query", query::expression::instant))
        .service(get_and_post!("/query_range", "api_v1_query_range", query::expression::range))
        .service(get_and_post!("/query_exemplars", "api_v1_query_exemplars", query::language::exemplars))
        .service(get_and_post!("/format_query", "api_v1_format_query", query::language::format))
        .service(get_and_post!("/parse_query", "api_v1_parse_query", query::language::parse))
        .service(get_and_post!("/series", "api_v1_series", query::series::handle))
        .service(get_and_post!("/labels", "api_v1_labels", query::labels::names))
        .service(get!("/label/{name}/values", "api_v1_label_values", query::labels::values))
        .service(get!("/metadata", "api_v1_metadata", query::metadata::handle))
        .service(get!("/status/buildinfo", "api_v1_status_buildinfo", status::buildinfo));
}

/// As Prometheus's router answers a method that a path does not have.
async fn not_allowed() -> HttpResponse {
    text_error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}
