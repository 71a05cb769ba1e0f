//! `labels` and `label/<name>/values`.

use actix_web::{HttpRequest, HttpResponse, web};
use gyre_promql::gostd::quote;

use super::error::ApiError;
use super::json::text::write_html_safe_string;
use super::params::form::Form;
use super::params::names::unescape_label_name;
use super::params::selection::{SelectionError, parse_selection};
use super::question::{Asked, Question};
use super::stream::{Answered, Entries};
use super::{envelope, respond, tenant_of};
use crate::api::handing;
use crate::api::state::Api;
use crate::node::{Answer, Selection};

/// The names of the selected series' labels.
pub(in crate::api) async fn names(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    let answered = async {
        let tenant = tenant_of(&api, &request)?;
        let form = Form::read(&request, payload).await?;
        handing::answer(&api, Asked::now(Question::LabelNames, tenant, form)).await
    };
    respond(answered.await)
}

/// The values of one label in the selected series.
pub(in crate::api) async fn values(
    request: HttpRequest,
    payload: web::Payload,
    name: web::Path<String>,
    api: web::Data<Api>,
) -> HttpResponse {
    let answered = async {
        let tenant = tenant_of(&api, &request)?;
        let name = unescape_label_name(&name);
        if name.is_empty() {
            return Err(ApiError::BadData(format!("invalid label name: {}", quote(name.as_bytes()))));
        }
        let form = Form::read(&request, payload).await?;
        handing::answer(&api, Asked::now(Question::LabelValues(name), tenant, form)).await
    };
    respond(answered.await)
}

/// This node's answer to the names that are asked for.
pub(super) async fn answer_names(api: &Api, asked: &Asked) -> Result<Answered, ApiError> {
    let selection = selection(&asked.form)?;
    Ok(strings(api.node.get()?.label_names(&asked.tenant, selection).await?))
}

/// This node's answer to the values that are asked for.
pub(super) async fn answer_values(api: &Api, asked: &Asked, name: &str) -> Result<Answered, ApiError> {
    let selection = selection(&asked.form)?;
    Ok(strings(api.node.get()?.label_values(&asked.tenant, name, selection).await?))
}

fn selection(form: &Form) -> Result<Selection, ApiError> {
    parse_selection(form).map_err(|error| match error {
        SelectionError::Matcher(problem) => ApiError::BadData(problem),
        SelectionError::Other(error) => error,
    })
}

fn strings(answer: Answer<Vec<String>>) -> Answered {
    envelope(answer.map(|strings| {
        Entries::list(strings, |out: &mut Vec<u8>, text: String| write_html_safe_string(out, &text))
    }))
}
