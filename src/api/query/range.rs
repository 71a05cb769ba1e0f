//! `query_range`: an expression at many times.

use actix_web::{HttpRequest, HttpResponse, web};
use gyre_promql::value::Value;

use super::error::ApiError;
use super::instant::{finish, name_the_query, parse_options};
use super::params::form::Form;
use super::params::limit::parse_limit;
use super::params::step::{check_resolution, parse_step_ms};
use super::params::time::parse_time_ms;
use super::{json, respond, tenant_of};
use crate::api::state::Api;
use crate::node::{Answer, RangeQuery};

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
    let query = parse(&form, api)?;
    let answer = api.node.query_range(&tenant, query).await.map_err(name_the_query)?;
    Ok(finish(answer, limit, &form))
}

fn parse(form: &Form, api: &Api) -> Result<RangeQuery, ApiError> {
    let start_ms =
        parse_time_ms(form.get("start")).map_err(|problem| ApiError::parameter("start", problem))?;
    let end_ms = parse_time_ms(form.get("end")).map_err(|problem| ApiError::parameter("end", problem))?;
    if end_ms < start_ms {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = parse_step_ms(form.get("step")).map_err(|problem| ApiError::parameter("step", problem))?;
    check_resolution(start_ms, end_ms, step_ms).map_err(ApiError::BadData)?;
    let options = parse_options(form, api)?;
    Ok(RangeQuery { expr: form.get("query").to_owned(), start_ms, end_ms, step_ms, options })
}
