//! `metadata`: type, help and unit of metrics.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};

use super::error::ApiError;
use super::json::text::write_html_safe_string;
use super::json::value::write_list;
use super::params::form::Form;
use super::params::limit::parse_int;
use super::stream::Entries;
use super::{envelope, respond, tenant_of};
use crate::api::state::Api;
use crate::node::{Answer, MetricMetadata};

type ByMetric = BTreeMap<String, Vec<MetricMetadata>>;

pub(in crate::api) async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    api: web::Data<Api>,
) -> HttpResponse {
    let answer = answer(&request, payload, &api).await;
    respond(answer.map(|answer| envelope(answer.map(|by_metric| Entries::object(by_metric, write_metric)))))
}

async fn answer(
    request: &HttpRequest,
    payload: web::Payload,
    api: &Api,
) -> Result<Answer<ByMetric>, ApiError> {
    let tenant = tenant_of(api, request)?;
    let form = Form::read(request, payload).await?;
    // Unlike elsewhere, a limit of 0 means nothing at all, and a negative one no limit.
    let number = |name: &str| match form.get(name) {
        "" => Ok(-1),
        text => parse_int(text).map_err(|_| ApiError::BadData(format!("{name} must be a number"))),
    };
    let limit = number("limit")?;
    let limit_per_metric = number("limit_per_metric")?;
    let metric = Some(form.get("metric")).filter(|metric| !metric.is_empty());
    let mut by_metric = api.node.get()?.metadata(&tenant, metric).await?;
    if let Ok(limit) = usize::try_from(limit) {
        by_metric = by_metric.into_iter().take(limit).collect();
    }
    if let Some(limit) = usize::try_from(limit_per_metric).ok().filter(|limit| *limit > 0) {
        by_metric.values_mut().for_each(|entries| entries.truncate(limit));
    }
    Ok(Answer::plain(by_metric))
}

fn write_metric(out: &mut Vec<u8>, (metric, entries): (String, Vec<MetricMetadata>)) {
    write_html_safe_string(out, &metric);
    out.push(b':');
    write_list(out, &entries, |out, entry| {
        for (key, text) in [
            (&b"{\"type\":"[..], &*entry.metric_type),
            (b",\"unit\":", entry.unit.as_str()),
            (b",\"help\":", entry.help.as_str()),
        ] {
            out.extend_from_slice(key);
            write_html_safe_string(out, text);
        }
        out.push(b'}');
    });
}
