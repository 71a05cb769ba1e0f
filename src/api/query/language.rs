//! `format_query`, `parse_query` and `query_exemplars`: what can be said about an expression without any data.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use gyre_promql::syntax::{Expr, parse_expr};

use super::error::ApiError;
use super::json::ast;
use super::json::text::write_html_safe_string;
use super::params::form::Form;
use super::params::time::{MAX_TIME_MS, MIN_TIME_MS, parse_optional_time_ms};
use super::stream::Whole;
use super::{envelope, respond, tenant_of};
use crate::api::state::Api;
use crate::node::Answer;

/// `format_query`: the expression in its canonical form, over several lines if it is long.
pub(in crate::api) async fn format(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    let answer = parsed(&request, payload, &api).await;
    respond(answer.map(|expr| {
        let mut text = Vec::new();
        write_html_safe_string(&mut text, &expr.pretty());
        envelope(Answer::plain(Whole(text)))
    }))
}

/// `parse_query`: the expression as a tree.
pub(in crate::api) async fn parse(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    let answer = parsed(&request, payload, &api).await;
    respond(answer.map(|expr| {
        let mut tree = Vec::new();
        ast::write(&mut tree, &expr);
        envelope(Answer::plain(Whole(tree)))
    }))
}

/// The parameters. Nothing is asked of a tenant's data, but whoever asks must be one.
async fn form_of(request: &HttpRequest, payload: web::Payload, api: &Api) -> Result<Form, ApiError> {
    tenant_of(api, request)?;
    Form::read(request, payload).await
}

async fn parsed(request: &HttpRequest, payload: web::Payload, api: &Api) -> Result<Expr, ApiError> {
    let form = form_of(request, payload, api).await?;
    parse_expr(form.get("query"), api.node.get()?.parser_options())
        .map_err(|error| ApiError::parameter("query", error))
}

/// `query_exemplars`: none, since exemplars are not stored yet.
pub(in crate::api) async fn exemplars(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    match selects_series(&request, payload, &api).await {
        Ok(true) => envelope(Answer::plain(Whole(b"[]".to_vec()))).into_response(),
        // As Prometheus answers an expression that selects nothing.
        Ok(false) => HttpResponse::new(StatusCode::NO_CONTENT),
        Err(error) => error.to_response(),
    }
}

/// Checks the parameters of `query_exemplars`; true if the expression reads any series.
async fn selects_series(request: &HttpRequest, payload: web::Payload, api: &Api) -> Result<bool, ApiError> {
    let form = form_of(request, payload, api).await?;
    let time = |name: &'static str, default_ms: i64| {
        parse_optional_time_ms(name, form.get(name), default_ms)
            .map_err(|problem| ApiError::parameter(name, problem))
    };
    let start_ms = time("start", MIN_TIME_MS)?;
    if time("end", MAX_TIME_MS)? < start_ms {
        return Err(ApiError::BadData("end timestamp must not be before start timestamp".to_owned()));
    }
    let expr = parse_expr(form.get("query"), api.node.get()?.parser_options())
        .map_err(|error| ApiError::BadData(error.to_string()))?;
    Ok(has_selector(&expr))
}

fn has_selector(expr: &Expr) -> bool {
    matches!(expr, Expr::Vector(_) | Expr::Matrix(_)) || expr.children().any(has_selector)
}
