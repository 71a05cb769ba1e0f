//! `gyre status`: the ring of a running node, in the terminal.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::table::push_table;
use crate::cluster::status::{GossipStatus, RingStatus, SegmentStatus};

/// A node that takes longer is not well.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Asks the node at a URL and returns what to print.
pub(super) fn status(url: &str, json: bool) -> Result<String, String> {
    let body = fetch(url).map_err(|problem| format!("{url}: {problem}"))?;
    if json {
        return Ok(format!("{body}\n"));
    }
    let status: RingStatus = serde_json::from_str(&body)
        .map_err(|error| format!("{url}: this is not the answer of a gyre node: {error}"))?;
    Ok(table(&status))
}

fn fetch(url: &str) -> Result<String, String> {
    let wanted = "must be a URL such as http://127.0.0.1:9009";
    let rest = url.strip_prefix("http://").ok_or(wanted)?;
    let (host, prefix) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if host.is_empty() {
        return Err(wanted.to_owned());
    }
    let port =
        if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) { "" } else { ":80" };
    let answer = exchange(&format!("{host}{port}"), host, prefix.trim_end_matches('/'));
    let answer = answer.map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("the answer is cut short")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        code => Err(format!("answered {}: {}", code.unwrap_or("nothing"), body.trim())),
    }
}

/// HTTP/1.0, so that the answer ends with the connection and comes in one piece.
fn exchange(address: &str, host: &str, prefix: &str) -> io::Result<String> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address of this name");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                let request = format!("GET {prefix}/ring?format=json HTTP/1.0\r\nHost: {host}\r\n\r\n");
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
    out.extend(status.problem.iter().map(|problem| format!("this node does not serve: {problem}\n")));
    out.extend(status.alarms.iter().map(|alarm| format!("alarm: {alarm}\n")));
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
    let ended: Vec<&SegmentStatus> =
        status.segments.iter().filter(|segment| segment.ended.is_some()).collect();
    let gone = ended.iter().filter(|segment| segment.is_lost()).count();
    out.push_str(&format!(
        "\n{} tenants, {} segments not closed: {} take writes, {} ended, {gone} of these gone\n",
        status.tenants_total,
        status.segments.len(),
        status.segments.len() - ended.len(),
        ended.len(),
    ));
    if status.tenants.len() < status.tenants_total {
        out.push_str(&format!("segments are those of the first {} tenants\n", status.tenants.len()));
    }
    out
}

/// State, epoch and address as gossip has them.
fn heard(gossip: Option<&GossipStatus>) -> [String; 3] {
    let none = || "-".to_owned();
    let Some(gossip) = gossip else { return ["not heard of".to_owned(), none(), none()] };
    let epoch = gossip.epoch.map_or_else(none, |epoch| epoch.to_string());
    [gossip.state().to_owned(), epoch, gossip.address.clone().unwrap_or_else(none)]
}
