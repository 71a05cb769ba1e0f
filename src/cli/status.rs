//! `gyre status`: the ring of a running node, in the terminal.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::table::push_table;
use crate::cluster::health::{ReplicaStatus, SegmentStatus};
use crate::cluster::status::{GossipStatus, RingStatus};

/// A node that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Segments that lack a replica that are printed; the JSON has more.
const SEGMENTS_PRINTED_MAX: usize = 20;

/// Asks the node at a URL and returns what to print.
pub(super) fn status(url: &str, json: bool) -> Result<String, String> {
    let body = fetch("GET", url, "/ring?format=json").map_err(|problem| format!("{url}: {problem}"))?;
    if json {
        return Ok(format!("{body}\n"));
    }
    let status: RingStatus = serde_json::from_str(&body)
        .map_err(|error| format!("{url}: this is not the answer of a gyre node: {error}"))?;
    Ok(table(&status))
}

/// The body of a successful answer. The error is a text.
pub(super) fn fetch(method: &str, url: &str, path: &str) -> Result<String, String> {
    let wanted = "must be a URL such as http://127.0.0.1:9009";
    let rest = url.strip_prefix("http://").ok_or(wanted)?;
    let (host, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if host.is_empty() {
        return Err(wanted.to_owned());
    }
    let port =
        if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) { "" } else { ":80" };
    let path = format!("{}{path}", prefix.trim_end_matches('/'));
    let answer = exchange(&format!("{host}{port}"), host, method, &path);
    let answer = answer.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer is cut short")?;
    match head.split(' ').nth(1) {
        Some("200" | "202") => Ok(body.to_owned()),
        code => Err(format!("answered {}: {}", code.unwrap_or("nothing"), body.trim())),
    }
}

/// HTTP/1.0, so that the answer ends with the connection and comes in one piece.
fn exchange(address: &str, host: &str, method: &str, path: &str) -> io::Result<String> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address of this name");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                let request =
                    format!("{method} {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(request.as_bytes())?;
                let mut answer = String::new();
                stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
                return Ok(answer);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn table(status: &RingStatus) -> String {
    let RingStatus { node, cluster, bucket, epoch, replication_factor, .. } = status;
    let mut out = match cluster {
        Some(cluster) => format!(
            "epoch {epoch} of cluster {cluster}, as node {node} sees it\n\
             documents in {bucket}; replication factor {replication_factor}\n"
        ),
        None => format!("node {node} is in no cluster yet; documents in {bucket}\n"),
    };
    let wrong = what_is_wrong(status);
    if wrong.is_empty() {
        out.push_str(&format!("all is well: {} shards have all their replicas\n", status.health.shards));
    } else {
        out.push_str("not all is well\n");
        out.extend(wrong.iter().map(|line| format!("- {line}\n")));
    }
    out.push('\n');
    let names = ["NODE", "ZONE", "ROLES", "WEIGHT", "SHARE", "STATE", "EPOCH", "ADDRESS", "DATA DIRECTORY"];
    let mut rows = vec![names.map(str::to_owned)];
    rows.extend(status.members.iter().map(|member| {
        let share = member.share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}%", share * 100.0));
        let (roles, weight) = (member.roles.join(","), member.weight.to_string());
        let [state, epoch, address] = heard(member.gossip.as_ref());
        let (node, zone) = (member.node.clone(), member.zone.clone());
        [node, zone, roles, weight, share, state, epoch, address, member.incarnation.clone()]
    }));
    rows.extend(status.others.iter().map(|other| {
        let [state, epoch, address] = heard(Some(&other.gossip));
        let (node, zone) = (other.node.clone(), other.zone.clone());
        let [roles, weight, share] = ["no member", "-", "-"].map(str::to_owned);
        [node, zone, roles, weight, share, state, epoch, address, other.incarnation.clone()]
    }));
    push_table(&mut out, &rows);
    let health = &status.health;
    out.push_str(&format!(
        "\n{} tenants, {} segments not closed: {} take writes, {} ended, {} of these gone\n",
        status.tenants_total,
        health.shards + health.ended_segments,
        health.shards,
        health.ended_segments,
        health.ended_segments_gone,
    ));
    push_under_replicated(&mut out, status);
    out
}

/// A line for each thing that an operator should know.
fn what_is_wrong(status: &RingStatus) -> Vec<String> {
    let health = &status.health;
    let mut wrong: Vec<String> =
        status.problem.iter().map(|problem| format!("this node does not serve: {problem}")).collect();
    wrong.extend(status.alarms.iter().map(|alarm| format!("alarm: {alarm}")));
    for member in &status.members {
        match &member.gossip {
            Some(gossip) if gossip.alive && gossip.ready => {}
            // What the node that answers says of itself stands above.
            Some(_) if member.node == status.node && status.problem.is_some() => {}
            gossip => wrong.push(format!("node {} is {}", member.node, heard(gossip.as_ref())[0])),
        }
    }
    if health.shards_under_replicated > 0 {
        wrong.push(format!(
            "{} of {} shards are under-replicated",
            health.shards_under_replicated, health.shards
        ));
    }
    if health.ended_segments_under_replicated > 0 {
        wrong.push(format!(
            "{} of {} ended segments lack a replica",
            health.ended_segments_under_replicated, health.ended_segments
        ));
    }
    if health.missing_batches > 0 {
        wrong.push(format!(
            "this node lacks {} batches that others hold; {} of them are in no log that it could get them from",
            health.missing_batches, health.unobtainable_batches
        ));
    }
    wrong
}

fn push_under_replicated(out: &mut String, status: &RingStatus) {
    if status.under_replicated.is_empty() {
        return;
    }
    let mut rows = vec![["UNDER-REPLICATED", "STATE", "REPLICAS"].map(str::to_owned)];
    rows.extend(status.under_replicated.iter().take(SEGMENTS_PRINTED_MAX).map(|segment| {
        let ended = segment.ended.map_or_else(|| "takes writes".to_owned(), |epoch| format!("ended {epoch}"));
        [segment.segment.clone(), ended, holders(segment)]
    }));
    out.push('\n');
    push_table(out, &rows);
    let total = status.health.shards_under_replicated + status.health.ended_segments_under_replicated;
    let printed = status.under_replicated.len().min(SEGMENTS_PRINTED_MAX) as u64;
    if total > printed {
        out.push_str(&format!("and {} more; --json has them\n", total - printed));
    }
}

fn holders(segment: &SegmentStatus) -> String {
    let holder = |replica: &ReplicaStatus| {
        let behind = replica.behind.map(|behind| format!(" ({behind})")).unwrap_or_default();
        format!("{} {}{behind}", replica.node, replica.state.as_str())
    };
    segment.replicas.iter().map(holder).collect::<Vec<_>>().join(", ")
}

/// State, epoch and address as gossip has them.
fn heard(gossip: Option<&GossipStatus>) -> [String; 3] {
    let none = || "-".to_owned();
    let Some(gossip) = gossip else { return ["not heard of".to_owned(), none(), none()] };
    let epoch = gossip.epoch.map_or_else(none, |epoch| epoch.to_string());
    [gossip.state().to_owned(), epoch, gossip.address.clone().unwrap_or_else(none)]
}
