//! `series`: the label sets of the selected series.

use actix_web::{HttpRequest, HttpResponse, web};

use super::error::ApiError;
use super::params::form::Form;
use super::params::selection::{SelectionError, parse_selection};
use super::stream::Entries;
use super::{json, respond, tenant_of};
use crate::api::state::Api;
use crate::node::{Answer, LabelSet};

pub(in crate::api) async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    let answer = answer(&request, payload, &api).await;
    respond(answer.map(|answer| {
        answer.map(|series| {
            Entries::list(series, |out: &mut Vec<u8>, labels: LabelSet| {
                json::value::write_labels(out, labels.iter())
            })
        })
    }))
}

async fn answer(
    request: &HttpRequest,
    payload: web::Payload,
    api: &Api,
) -> Result<Answer<Vec<LabelSet>>, ApiError> {
    let tenant = tenant_of(api, request)?;
    let form = Form::read(request, payload).await?;
    form.check()?;
    if form.all("match[]").next().is_none() {
        return Err(ApiError::BadData("no match[] parameter provided".to_owned()));
    }
    let selection = parse_selection(&form).map_err(|error| match error {
        SelectionError::Matcher(problem) => ApiError::parameter("match[]", problem),
        SelectionError::Other(error) => error,
    })?;
    Ok(api.node.get()?.series(&tenant, selection).await?)
}
