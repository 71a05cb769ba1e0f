//! Queries through a node that has none of a tenant's data: other nodes compute them, and the answers are theirs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use bench::http::Connection;
use serde_json::Value;

use crate::cluster::{Cluster, Node, list};
use crate::degraded::try_ask;
use crate::reads::{ask, metric, now_ms, some_series, write};

/// Tenants that are tried until one has no data at some node; of eight about two are such.
const TENANTS_MAX: usize = 200;

/// Answers before and after a node is killed.
const ANSWERS: usize = 40;

/// The open segments of a tenant, by name, as the nodes tell them: who holds each.
fn holders(cluster: &Cluster, tenant: &str) -> BTreeMap<String, Vec<String>> {
    let rings: Vec<Value> = cluster.nodes.iter().map(|node| node.ring().unwrap()).collect();
    let segments = rings.iter().flat_map(|ring| list(&ring["segments"]));
    let open = segments.filter(|segment| segment["ended"].is_null());
    let of_tenant =
        open.filter(|segment| segment["segment"].as_str().unwrap().starts_with(&format!("{tenant}/")));
    let names = |segment: &Value| {
        let replicas = list(&segment["replicas"]).iter();
        replicas.map(|replica| replica["node"].as_str().unwrap().to_owned()).collect()
    };
    of_tenant.map(|segment| (segment["segment"].as_str().unwrap().to_owned(), names(segment))).collect()
}

/// Writes some series of one tenant after the other, until one has none at some node: the tenant, that node, and another
/// one.
fn a_tenant_that_is_elsewhere(cluster: &Cluster, now_ms: i64) -> (String, usize, usize) {
    for number in 0..TENANTS_MAX {
        let tenant = format!("tenant-{number}");
        write(&cluster.nodes[number % 4], &tenant, some_series("web", now_ms));
        let segments = holders(cluster, &tenant);
        assert_eq!(segments.len(), 2, "{segments:?}");
        let has_none = |node: &Node| segments.values().all(|holders| !holders.contains(&node.name));
        let Some(without) = cluster.nodes.iter().position(has_none) else { continue };
        write(&cluster.nodes[without], &tenant, some_series("api", now_ms));
        return (tenant, without, (without + 1) % 4);
    }
    panic!("all of {TENANTS_MAX} tenants have a shard at each of four nodes, of which each shard is at three")
}

/// Until segments of earlier epochs are known to be empty they may stand in the way.
fn wait_until_others_compute(cluster: &Cluster, without: &Node, tenant: &str) {
    cluster.wait_for("others compute its queries", || {
        let before = evaluated(cluster);
        ask(without, tenant, "query", &[("query", "sum(requests_total)")]);
        (evaluated(cluster) > before).then_some(())
    });
}

/// Fragments that nodes evaluated for others.
fn evaluated(cluster: &Cluster) -> f64 {
    cluster.nodes.iter().map(|node| metric(node, "gyre_read_fragments_total")).sum()
}

const QUERIES: [&str; 12] = [
    "requests_total",
    "sum by (app) (rate(requests_total[1m]))",
    "avg(requests_total) by (app)",
    "topk(5, requests_total{app=\"web\"})",
    "count(requests_total) - count(requests_total{app=\"web\"})",
    "quantile(0.5, requests_total)",
    "max_over_time(sum(requests_total)[1m:15s])",
    "requests_total{pod=\"pod-7\"} / ignoring (app) group_left requests_total{pod=\"pod-7\",app=\"api\"}",
    // Annotations.
    "sum(rate({app=\"web\"}[1m]))",
    "histogram_quantile(0.9, requests_total)",
    // Errors.
    "requests_total{app=\"web\"} + on (app) requests_total{pod=\"pod-1\",app=\"web\"}",
    "label_replace(requests_total, \"pod\", \"x\", \"\", \"\")",
];

#[test]
fn a_node_without_a_tenants_data_has_its_queries_computed_by_those_that_have_it() {
    let cluster = Cluster::start(4);
    let now_ms = now_ms();
    let (tenant, without, with) = a_tenant_that_is_elsewhere(&cluster, now_ms);
    let [without, with] = [without, with].map(|node| &cluster.nodes[node]);
    let [start, end] = [now_ms / 1000 - 60, now_ms / 1000].map(|time| time.to_string());
    wait_until_others_compute(&cluster, without, &tenant);
    let before = evaluated(&cluster);
    for query in QUERIES {
        for (path, parameters) in [
            ("query", vec![("query", query), ("time", end.as_str())]),
            ("query_range", vec![("query", query), ("start", &start), ("end", &end), ("step", "15")]),
        ] {
            let [own, other] = [with, without].map(|node| {
                let (status, mut answer) = try_ask(node, &tenant, path, &parameters);
                for list in ["/data/result", "/infos", "/warnings"] {
                    if let Some(list) = answer.pointer_mut(list).and_then(Value::as_array_mut) {
                        list.sort_by_cached_key(Value::to_string);
                    }
                }
                (status, answer)
            });
            assert_eq!(own, other, "{query} at {} and {}", with.name, without.name);
        }
    }
    // Each at one time and at several; a replica that is slow for once may have had chunks travel instead.
    assert!(evaluated(&cluster) - before > QUERIES.len() as f64, "the exception, not the rule");
}

/// A query, by whichever thread; series in order of their text.
fn query(node: SocketAddr, tenant: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
    let mut connection = Connection::new(node).with_tenant(tenant);
    let answer = connection.get("/prometheus/api/v1/query", parameters).map_err(|error| error.to_string())?;
    let mut json: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    if let Some(series) = json.pointer_mut("/data/result").and_then(Value::as_array_mut) {
        series.sort_by_cached_key(Value::to_string);
    }
    Ok(json)
}

#[test]
fn a_node_that_is_killed_while_it_computes_for_another_costs_no_answer() {
    let mut cluster = Cluster::start(4);
    let now_ms = now_ms();
    let (tenant, without, _) = a_tenant_that_is_elsewhere(&cluster, now_ms);
    wait_until_others_compute(&cluster, &cluster.nodes[without], &tenant);
    // All samples are before it.
    let time = (now_ms / 1000 + 1).to_string();
    let parameters = [("query", "sum by (app) (requests_total)"), ("time", time.as_str())];
    let right = ask(&cluster.nodes[without], &tenant, "query", &parameters)["data"].take();
    // Each pod has its number of hundreds, of 0 to 299.
    assert_eq!(right["result"][0]["value"][1], (100 * 299 * 300 / 2).to_string(), "{right}");
    let (answers, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let wrong = Mutex::new(Vec::new());
    let reader = cluster.nodes[without].http;
    let killed = (without + 1) % 4;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let answer = query(reader, &tenant, &parameters);
                    if answer.as_ref().map(|answer| &answer["data"]) != Ok(&right) {
                        wrong.lock().unwrap().push(answer);
                    }
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let more = |cluster: &Cluster| {
            let until = answers.load(Ordering::Relaxed) + ANSWERS;
            cluster.wait_for("answers", || (answers.load(Ordering::Relaxed) >= until).then_some(()));
        };
        more(&cluster);
        cluster.nodes[killed].kill();
        more(&cluster);
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(wrong.into_inner().unwrap(), [], "wrong answers");
}
