//! `series`: the label sets of the selected series.

use actix_web::{HttpRequest, HttpResponse, web};

use super::error::ApiError;
use super::params::form::Form;
use super::params::selection::{SelectionError, parse_selection};
use super::{json, respond, tenant_of, truncate};
use crate::api::state::Api;
use crate::node::{Answer, LabelPairs};

pub(in crate::api) async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    respond(answer(&request, payload, &api).await, |out, series| {
        json::value::write_list(out, series, |out, labels| json::value::write_labels(out, labels));
    })
}

async fn answer(
    request: &HttpRequest,
    payload: web::Payload,
    api: &Api,
) -> Result<Answer<Vec<LabelPairs>>, ApiError> {
    let tenant = tenant_of(api, request)?;
    let form = Form::read(request, payload).await?;
    if form.all("match[]").next().is_none() {
        return Err(ApiError::BadData("no match[] parameter provided".to_owned()));
    }
    let selection = parse_selection(&form).map_err(|error| match error {
        SelectionError::Matcher(problem) => ApiError::parameter("match[]", problem),
        SelectionError::Other(error) => error,
    })?;
    let limit = selection.limit;
    let mut answer = api.node.series(&tenant, selection).await?;
    truncate(&mut answer, limit);
    Ok(answer)
}
