//! `/ring`: who is a member, and who holds what. A page for people, JSON for programs.

use std::fmt::Write;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use super::response;
use super::state::Api;
use crate::cluster::health::{ReplicaState, ReplicaStatus, SegmentStatus};
use crate::cluster::status::{GossipStatus, RingStatus, Shown};

/// Segments on the page; the JSON has more.
const SEGMENTS_ON_PAGE_MAX: usize = 200;

/// `/ring`. JSON if the request's `Accept` has `application/json` in it, as in Cortex, or with `?format=json`. With
/// `?all=true` the JSON has all tenants and segments.
pub(super) async fn ring(api: web::Data<Api>, request: HttpRequest) -> HttpResponse {
    let has = |wanted| request.query_string().split('&').any(|parameter| parameter == wanted);
    let shown = if has("all=true") { Shown::ALL } else { Shown::FIRST };
    let status = match api.node.ring(shown) {
        Ok(status) => status,
        Err(starting) => return response::starting(&starting),
    };
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if has("format=json") || accept.contains("application/json") {
        let document = serde_json::to_vec(&status).expect("texts and numbers always serialize");
        return response::json(StatusCode::OK, document);
    }
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    HttpResponse::Ok().insert_header((CONTENT_TYPE, html)).body(page(&status))
}

fn page(status: &RingStatus) -> String {
    format!(
        include_str!("ring.html"),
        node = escape(&status.node),
        cluster = escape(status.cluster.as_deref().unwrap_or("(none yet)")),
        notices = notices(status),
        bucket = escape(&status.bucket),
        epoch = status.epoch,
        factor = status.replication_factor,
        members = members(status),
        health = health(status),
        tenants = tenants(status),
        segments = segments(&status.segments, status.health.shards + status.health.ended_segments),
    )
}

fn members(status: &RingStatus) -> String {
    let mut rows = String::new();
    for member in &status.members {
        let share = member.share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0));
        let cells = [
            escape(&member.node),
            escape(&member.zone),
            member.roles.join(", "),
            member.weight.to_string(),
            share,
            heard(member.gossip.as_ref()),
            format!("<code>{}</code>", escape(&member.incarnation)),
        ];
        push_row(&mut rows, &cells);
    }
    for other in &status.others {
        let cells = [
            escape(&other.node),
            escape(&other.zone),
            "<em>no member</em>".to_owned(),
            String::new(),
            String::new(),
            heard(Some(&other.gossip)),
            format!("<code>{}</code>", escape(&other.incarnation)),
        ];
        push_row(&mut rows, &cells);
    }
    rows
}

/// What gossip says.
fn heard(gossip: Option<&GossipStatus>) -> String {
    let Some(gossip) = gossip else { return "not heard of".to_owned() };
    let epoch = gossip.epoch.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
    let address =
        gossip.address.as_deref().map(|address| format!(", {}", escape(address))).unwrap_or_default();
    format!("{}{epoch}{address}", gossip.state())
}

fn notices(status: &RingStatus) -> String {
    let problem = status.problem.iter().map(|problem| format!("this node does not serve: {problem}"));
    let notices = problem.chain(status.alarms.iter().cloned());
    notices.map(|notice| format!("<p><strong>{}</strong></p>\n", escape(&notice))).collect()
}

fn tenants(status: &RingStatus) -> String {
    let mut rows = String::new();
    for tenant in &status.tenants {
        push_row(&mut rows, &[escape(&tenant.tenant), tenant.shards.to_string()]);
    }
    push_rest(&mut rows, status.tenants_total - status.tenants.len(), 2);
    rows
}

/// How many segments lack a replica, and which.
fn health(status: &RingStatus) -> String {
    let health = &status.health;
    let under_replicated = health.shards_under_replicated + health.ended_segments_under_replicated;
    let mut out = String::new();
    // Writing to a string cannot fail.
    if health.missing_batches > 0 {
        let _ = writeln!(
            out,
            "<p>This node lacks {} batches that others hold; {} of them are in no log that it could get them from.</p>",
            health.missing_batches, health.unobtainable_batches
        );
    }
    if under_replicated == 0 {
        let _ = writeln!(out, "<p>All {} shards have all their replicas.</p>", health.shards);
        return out;
    }
    let _ = write!(
        out,
        "<p><strong>{} of {} shards, and {} of {} segments that have ended, lack a replica.</strong></p>\n\
         <table>\n<tr><th>segment</th><th>state</th><th>held by</th></tr>\n{}</table>\n",
        health.shards_under_replicated,
        health.shards,
        health.ended_segments_under_replicated,
        health.ended_segments,
        segments(&status.under_replicated, under_replicated)
    );
    out
}

fn segments(segments: &[SegmentStatus], total: u64) -> String {
    let mut rows = String::new();
    let shown = &segments[..segments.len().min(SEGMENTS_ON_PAGE_MAX)];
    for segment in shown {
        push_row(&mut rows, &[escape(&segment.segment), state(segment), holders(segment)]);
    }
    push_rest(&mut rows, usize::try_from(total).unwrap_or(usize::MAX).saturating_sub(shown.len()), 3);
    rows
}

fn state(segment: &SegmentStatus) -> String {
    match segment.ended {
        None => "takes writes".to_owned(),
        Some(epoch) if segment.empty => format!("ended with epoch {epoch}, empty"),
        Some(epoch) if segment.is_gone() => format!("<strong>gone</strong>, ended with epoch {epoch}"),
        Some(epoch) => format!("ended with epoch {epoch}"),
    }
}

fn holders(segment: &SegmentStatus) -> String {
    let holder = |replica: &ReplicaStatus| {
        let mut said = Vec::new();
        if !replica.member {
            said.push("gone".to_owned());
        }
        if replica.state != ReplicaState::Ok {
            said.push(format!("<strong>{}</strong>", replica.state.as_str()));
        }
        said.extend(replica.behind.map(|behind| behind.to_string()));
        if replica.sealed == Some(true) {
            said.push("sealed".to_owned());
        }
        let said = if said.is_empty() { String::new() } else { format!(" ({})", said.join(", ")) };
        format!("{}{said}", escape(&replica.node))
    };
    segment.replicas.iter().map(holder).collect::<Vec<_>>().join(", ")
}

fn push_row(rows: &mut String, cells: &[String]) {
    // Writing to a string cannot fail.
    let _ = writeln!(rows, "<tr><td>{}</td></tr>", cells.join("</td><td>"));
}

fn push_rest(rows: &mut String, rest: usize, columns: usize) {
    if rest > 0 {
        let _ = writeln!(rows, "<tr><td colspan=\"{columns}\">and {rest} more</td></tr>");
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
