//! Listings of rules and alerts. There is no ruler yet, so all of them are valid and empty: Grafana and Cortex's tools
//! ask for them at their start.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::query::json::{Annotations, envelope};
use super::response::{json, text_error};

/// `<prefix>/api/v1/rules`: Prometheus's view of rule groups.
pub(super) async fn groups() -> HttpResponse {
    let document =
        envelope::success(&Annotations::default(), |out| out.extend_from_slice(b"{\"groups\":[]}"));
    json(StatusCode::OK, document)
}

/// `<prefix>/api/v1/alerts`: Prometheus's view of alerts.
pub(super) async fn alerts() -> HttpResponse {
    let document =
        envelope::success(&Annotations::default(), |out| out.extend_from_slice(b"{\"alerts\":[]}"));
    json(StatusCode::OK, document)
}

/// `/api/v1/rules`: Cortex's configuration API, which answers 404 where there are no groups.
pub(super) async fn configured_groups() -> HttpResponse {
    text_error(StatusCode::NOT_FOUND, "no rule groups found")
}

/// `/api/v1/alerts`: the configuration of Cortex's Alertmanager.
pub(super) async fn configured_alertmanager() -> HttpResponse {
    text_error(StatusCode::NOT_FOUND, "alertmanager storage object not found")
}
