//! `query`: an expression at one time.

use actix_web::{HttpRequest, HttpResponse, web};
use gyre_promql::value::Value;

use super::error::ApiError;
use super::params::form::Form;
use super::params::limit::parse_limit;
use super::params::step::parse_duration_param_ns;
use super::params::time::parse_optional_time_ms;
use super::{TRUNCATED, json, respond, tenant_of};
use crate::api::state::Api;
use crate::node::{Answer, InstantQuery, QueryError, QueryOptions};

pub(in crate::api) async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    respond(answer(&request, payload, &api).await, json::value::write)
}

async fn answer(request: &HttpRequest, payload: web::Payload, api: &Api) -> Result<Answer<Value>, ApiError> {
    let tenant = tenant_of(api, request)?;
    let form = Form::read(request, payload).await?;
    let limit = parse_limit(form.get("limit")).map_err(|problem| ApiError::parameter("limit", problem))?;
    let time_ms = parse_optional_time_ms("time", form.get("time"), api.node.now_ms())
        .map_err(|problem| ApiError::parameter("time", problem))?;
    let options = parse_options(&form, api)?;
    let query = InstantQuery { expr: form.get("query").to_owned(), time_ms, options };
    let answer = api.node.query(&tenant, query).await.map_err(name_the_query)?;
    Ok(finish(answer, limit, &form))
}

/// Reads what both kinds of query have.
pub(super) fn parse_options(form: &Form, api: &Api) -> Result<QueryOptions, ApiError> {
    let timeout_ms = match form.get("timeout") {
        "" => api.config.query_timeout_ms,
        text => {
            let timeout_ns =
                parse_duration_param_ns(text).map_err(|problem| ApiError::parameter("timeout", problem))?;
            (timeout_ns / 1_000_000).min(api.config.query_timeout_ms)
        }
    };
    let lookback_ms = match form.get("lookback_delta") {
        "" => None,
        text => {
            let lookback_ns = parse_duration_param_ns(text).map_err(|problem| {
                ApiError::BadData(format!("error parsing lookback delta duration: {problem}"))
            })?;
            // Anything not above zero stands for the default.
            Some(lookback_ns / 1_000_000).filter(|lookback_ms| *lookback_ms > 0)
        }
    };
    Ok(QueryOptions { timeout_ms, lookback_ms })
}

/// A parse error is an error of the parameter that holds the expression.
pub(super) fn name_the_query(error: QueryError) -> ApiError {
    match error {
        QueryError::Parse(problem) => ApiError::parameter("query", problem),
        other => other.into(),
    }
}

/// Applies the limit, and warns of what the request should not have asked for.
pub(super) fn finish(mut answer: Answer<Value>, limit: Option<usize>, form: &Form) -> Answer<Value> {
    if let Some(limit) = limit {
        let length = match &mut answer.value {
            Value::Vector(samples) => {
                let length = samples.len();
                samples.truncate(limit);
                length
            }
            Value::Matrix(series) => {
                let length = series.len();
                series.truncate(limit);
                length
            }
            Value::Scalar { .. } | Value::String { .. } => 0,
        };
        if length > limit {
            answer.warnings.push(TRUNCATED.to_owned());
        }
    }
    match form.get("stats") {
        "" | "true" | "all" => {}
        other => {
            let value = gyre_promql::gostd::quote(other.as_bytes());
            answer.warnings.push(format!(
                "value {value} for parameter \"stats\" is deprecated and will be rejected in the next major \
                 release, use \"true\" or \"all\""
            ));
        }
    }
    answer
}
