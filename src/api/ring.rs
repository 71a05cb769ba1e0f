//! `/ring`: who is a member, and who holds what. A page for people, JSON for programs.

use std::fmt::Write;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use super::response;
use super::state::Api;
use crate::cluster::status::{GossipStatus, RingStatus, SegmentStatus};

/// Segments on the page; the JSON has more.
const SEGMENTS_ON_PAGE_MAX: usize = 200;

/// `/ring`. JSON if the request's `Accept` has `application/json` in it, as in Cortex, or with `?format=json`.
pub(super) async fn ring(api: web::Data<Api>, request: HttpRequest) -> HttpResponse {
    let status = match api.node.ring() {
        Ok(status) => status,
        Err(starting) => return response::starting(&starting),
    };
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let asked = request.query_string().split('&').any(|parameter| parameter == "format=json");
    if asked || accept.contains("application/json") {
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
        tenants = tenants(status),
        segments = segments(status),
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

fn segments(status: &RingStatus) -> String {
    let mut rows = String::new();
    for segment in status.segments.iter().take(SEGMENTS_ON_PAGE_MAX) {
        push_row(&mut rows, &[escape(&segment.segment), state(segment), holders(segment)]);
    }
    push_rest(&mut rows, status.segments.len().saturating_sub(SEGMENTS_ON_PAGE_MAX), 3);
    rows
}

fn state(segment: &SegmentStatus) -> String {
    match segment.ended {
        None => "takes writes".to_owned(),
        Some(epoch) if segment.is_lost() => format!("<strong>gone</strong>, ended with epoch {epoch}"),
        Some(epoch) => format!("ended with epoch {epoch}"),
    }
}

fn holders(segment: &SegmentStatus) -> String {
    let holder = |replica: &crate::cluster::status::ReplicaStatus| {
        let gone = if replica.member { "" } else { " (gone)" };
        format!("{}{gone}", escape(&replica.node))
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
