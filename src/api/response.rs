//! Plain-text answers, as Go's `http.Error` writes them.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};

use crate::node::handle::Starting;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// The media type of query answers.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An error as plain text, with a newline at its end.
pub(super) fn text_error(status: StatusCode, message: &str) -> HttpResponse {
    HttpResponseBuilder::new(status)
        .insert_header((header::CONTENT_TYPE, TEXT))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .body(format!("{message}\n"))
}

/// What is answered before the node is there.
pub(super) fn starting(starting: &Starting) -> HttpResponse {
    text_error(StatusCode::SERVICE_UNAVAILABLE, &starting.to_string())
}

/// Plain text, as it is.
pub(super) fn text(message: impl Into<String>) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, TEXT)).body(message.into())
}

/// A JSON document.
pub(super) fn json(status: StatusCode, document: Vec<u8>) -> HttpResponse {
    HttpResponseBuilder::new(status).insert_header((header::CONTENT_TYPE, JSON)).body(document)
}
