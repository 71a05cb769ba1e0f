//! `labels` and `label/<name>/values`.

use actix_web::{HttpRequest, HttpResponse, web};
use gyre_promql::gostd::quote;

use super::error::ApiError;
use super::json::text::write_html_safe_string;
use super::params::form::Form;
use super::params::names::unescape_label_name;
use super::params::selection::{SelectionError, parse_selection};
use super::stream::Entries;
use super::{respond, tenant_of};
use crate::api::state::Api;
use crate::node::{Answer, Selection};

/// The names of the selected series' labels.
pub(in crate::api) async fn names(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    let answer = async {
        let tenant = tenant_of(&api, &request)?;
        let form = Form::read(&request, payload).await?;
        let selection = selection(&form)?;
        Ok(api.node.get()?.label_names(&tenant, selection).await?)
    };
    respond_strings(answer.await)
}

/// The values of one label in the selected series.
pub(in crate::api) async fn values(
    request: HttpRequest,
    payload: web::Payload,
    name: web::Path<String>,
    api: web::Data<Api>,
) -> HttpResponse {
    let answer = async {
        let tenant = tenant_of(&api, &request)?;
        let name = unescape_label_name(&name);
        if name.is_empty() {
            return Err(ApiError::BadData(format!("invalid label name: {}", quote(name.as_bytes()))));
        }
        let form = Form::read(&request, payload).await?;
        let selection = selection(&form)?;
        Ok(api.node.get()?.label_values(&tenant, &name, selection).await?)
    };
    respond_strings(answer.await)
}

fn selection(form: &Form) -> Result<Selection, ApiError> {
    parse_selection(form).map_err(|error| match error {
        SelectionError::Matcher(problem) => ApiError::BadData(problem),
        SelectionError::Other(error) => error,
    })
}

fn respond_strings(answer: Result<Answer<Vec<String>>, ApiError>) -> HttpResponse {
    respond(answer.map(|answer| {
        answer.map(|strings| {
            Entries::list(strings, |out: &mut Vec<u8>, text: String| write_html_safe_string(out, &text))
        })
    }))
}
