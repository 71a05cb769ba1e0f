//! `query` and `query_range`: an expression at one time, or at many.

use actix_web::{HttpRequest, HttpResponse, web};
use gyre_promql::value::Value;

use super::error::ApiError;
use super::json::data::QueryData;
use super::json::stats;
use super::params::form::Form;
use super::params::limit::parse_limit;
use super::params::step::{check_resolution, parse_duration_param_ns, parse_step_ms};
use super::params::time::{parse_optional_time_ms, parse_time_ms};
use super::question::{Asked, Question};
use super::stream::Answered;
use super::{envelope, respond, tenant_of};
use crate::api::handing;
use crate::api::state::Api;
use crate::node::{Evaluated, QueryError, QueryOptions, QueryRequest, QueryTimes, cut};

/// `query`
pub(in crate::api) async fn instant(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    respond(handle(&request, payload, &api, Question::Instant).await)
}

/// `query_range`
pub(in crate::api) async fn range(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    respond(handle(&request, payload, &api, Question::Range).await)
}

async fn handle(
    request: &HttpRequest,
    payload: web::Payload,
    api: &Api,
    question: Question,
) -> Result<Answered, ApiError> {
    let tenant = tenant_of(api, request)?;
    let form = Form::read(request, payload).await?;
    handing::answer(api, Asked::now(question, tenant, form)).await
}

/// This node's answer at one time.
pub(super) async fn answer_instant(api: &Api, asked: &Asked) -> Result<Answered, ApiError> {
    answer(api, asked, parse_instant).await
}

/// This node's answer at many times.
pub(super) async fn answer_range(api: &Api, asked: &Asked) -> Result<Answered, ApiError> {
    answer(api, asked, parse_range).await
}

type ParseTimes = fn(&Form, &Api) -> Result<QueryTimes, ApiError>;

async fn answer(api: &Api, asked: &Asked, parse_times: ParseTimes) -> Result<Answered, ApiError> {
    let form = &asked.form;
    // In the order in which Prometheus complains.
    let limit = parse_limit(form.get("limit")).map_err(|problem| ApiError::parameter("limit", problem))?;
    let times = parse_times(form, api)?;
    let mut options = parse_options(form, api)?;
    options.timeout_ms = asked.left_of(options.timeout_ms);
    let query = QueryRequest { expr: form.get("query").to_owned(), times, options };
    let mut answer = api.node.get()?.query(&asked.tenant, query).await.map_err(|error| match error {
        QueryError::Parse(problem) => ApiError::parameter("query", problem),
        other => other.into(),
    })?;
    match &mut answer.value.value {
        Value::Vector(samples) => cut(samples, limit, &mut answer.warnings),
        Value::Matrix(series) => cut(series, limit, &mut answer.warnings),
        Value::Scalar { .. } | Value::String { .. } => {}
    }
    answer.warnings.extend(stats_warning(form.get("stats")));
    let mut behind = Vec::new();
    if !form.get("stats").is_empty() {
        let steps = (form.get("stats") == "all").then_some(times);
        stats::write_member(&mut behind, &answer.value.stats, steps);
    }
    let share = api.sending.share(answer.value.value.size_bytes());
    let share = share.ok_or(ApiError::TooMuchToSend { max: api.sending.max() })?;
    Ok(envelope(answer.map(|Evaluated { value, .. }| QueryData::new(value, behind, Some(share)))))
}

fn parse_instant(form: &Form, api: &Api) -> Result<QueryTimes, ApiError> {
    let time_ms = parse_optional_time_ms("time", form.get("time"), api.node.get()?.now_ms())
        .map_err(|problem| ApiError::parameter("time", problem))?;
    Ok(QueryTimes::Instant { time_ms })
}

fn parse_range(form: &Form, _: &Api) -> Result<QueryTimes, ApiError> {
    let start_ms =
        parse_time_ms(form.get("start")).map_err(|problem| ApiError::parameter("start", problem))?;
    let end_ms = parse_time_ms(form.get("end")).map_err(|problem| ApiError::parameter("end", problem))?;
    if end_ms < start_ms {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = parse_step_ms(form.get("step")).map_err(|problem| ApiError::parameter("step", problem))?;
    check_resolution(start_ms, end_ms, step_ms).map_err(ApiError::BadData)?;
    Ok(QueryTimes::Range { start_ms, end_ms, step_ms })
}

fn parse_options(form: &Form, api: &Api) -> Result<QueryOptions, ApiError> {
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
    Ok(QueryOptions { timeout_ms, lookback_ms, count_samples: !form.get("stats").is_empty() })
}

fn stats_warning(stats: &str) -> Option<String> {
    if matches!(stats, "" | "true" | "all") {
        return None;
    }
    let value = gyre_promql::gostd::quote(stats.as_bytes());
    Some(format!(
        "value {value} for parameter \"stats\" is deprecated and will be rejected in the next major release, use \
         \"true\" or \"all\""
    ))
}
