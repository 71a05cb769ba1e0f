//! The parameters that `series`, `labels` and `label/<name>/values` share.

use gyre_promql::syntax::{Matcher, ParserOptions, parse_selector};

use super::form::Form;
use super::limit::parse_limit;
use super::time::{MAX_TIME_MS, MIN_TIME_MS, parse_optional_time_ms};
use crate::api::query::error::ApiError;
use crate::node::Selection;

/// Reads `limit`, `start`, `end` and `match[]`, in the order in which Prometheus complains about them.
///
/// An unusable `match[]` is the text alone; `series` names the parameter in front of it.
pub fn parse_selection(form: &Form) -> Result<Selection, SelectionError> {
    let limit = parse_limit(form.get("limit")).map_err(|problem| ApiError::parameter("limit", problem))?;
    let start_ms = parse_optional_time_ms("start", form.get("start"), MIN_TIME_MS)
        .map_err(|problem| ApiError::parameter("start", problem))?;
    let end_ms = parse_optional_time_ms("end", form.get("end"), MAX_TIME_MS)
        .map_err(|problem| ApiError::parameter("end", problem))?;
    let options = ParserOptions::default();
    let matcher_sets = form
        .all("match[]")
        .map(|text| parse_matchers(text, &options))
        .collect::<Result<_, _>>()
        .map_err(SelectionError::Matcher)?;
    Ok(Selection { matcher_sets, start_ms, end_ms, limit })
}

/// Why a selection cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectionError {
    /// A `match[]` is no selector, or selects everything.
    Matcher(String),
    /// Another parameter is wrong.
    Other(ApiError),
}

impl From<ApiError> for SelectionError {
    fn from(error: ApiError) -> Self {
        Self::Other(error)
    }
}

fn parse_matchers(text: &str, options: &ParserOptions) -> Result<Vec<Matcher>, String> {
    let selector = parse_selector(text, options).map_err(|error| error.to_string())?;
    let matchers = selector.matchers.into_vec();
    if matchers.iter().all(Matcher::matches_empty) {
        return Err("match[] must contain at least one non-empty matcher".to_owned());
    }
    Ok(matchers)
}
