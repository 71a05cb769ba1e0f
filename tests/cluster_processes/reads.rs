//! Whichever node is asked gives the same answers, whether it holds the data or not.

use prost::Message;
use serde_json::Value;

use crate::cluster::{Cluster, Node};
use crate::remote_write::{TimeSeries, WriteRequest};
use crate::series::series;

const TENANTS: [&str; 3] = ["acme", "umbrella", "hooli"];

/// A write request as it goes over the wire.
pub fn encode(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    let message = WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec();
    snap::raw::Encoder::new().compress_vec(&message).unwrap()
}

/// Writes series.
pub fn write(node: &Node, tenant: &str, timeseries: Vec<TimeSeries>) {
    let body = encode(timeseries);
    let answer = node.connect().with_tenant(tenant).post_remote_write("/api/v1/push", &body);
    answer.and_then(|answer| answer.into_text()).unwrap();
}

/// The data of an answer; series in order of their text, which is no part of the question.
pub fn ask(node: &Node, tenant: &str, path: &str, parameters: &[(&str, &str)]) -> Value {
    let answer = node.connect().with_tenant(tenant).get(&format!("/prometheus/api/v1/{path}"), parameters);
    let text = answer.and_then(|answer| answer.into_text());
    let text = text.unwrap_or_else(|error| panic!("{path} at {}: {error}", node.name));
    let mut json: Value = serde_json::from_str(&text).unwrap();
    for place in ["/data/result", "/data"] {
        if let Some(series) = json.pointer_mut(place).and_then(Value::as_array_mut) {
            series.sort_by_cached_key(Value::to_string);
        }
    }
    json
}

/// A counter of a node, all labels together.
pub fn metric(node: &Node, name: &str) -> f64 {
    let text = node.connect().get("/metrics", &[]).unwrap().into_text().unwrap();
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Some hundred series, with samples at three times. `which` are told apart by a label.
pub fn some_series(which: &str, now_ms: i64) -> Vec<TimeSeries> {
    let of = |number: usize| {
        let name = format!("pod-{number}");
        let labels = [("__name__", "requests_total"), ("app", which), ("pod", name.as_str())];
        let at = |ago: i64| (now_ms - ago * 15_000, (number as i64 * 100 - ago) as f64);
        series(&labels, &[at(2), at(1), at(0)])
    };
    (0..300).map(of).collect()
}

fn check_all_answer_alike(cluster: &Cluster, now_ms: i64) {
    let (start, end) = ((now_ms / 1000 - 60).to_string(), (now_ms / 1000).to_string());
    for tenant in TENANTS {
        let instant = |query: &'static str| ("query", vec![("query", query), ("time", end.as_str())]);
        let window = || vec![("start", start.as_str()), ("end", end.as_str())];
        let range = [window(), vec![("query", "sum by (app) (rate(requests_total[1m]))"), ("step", "15")]];
        let some = vec![("match[]", r#"requests_total{pod=~"pod-1.*"}"#)];
        for (path, parameters) in [
            instant("requests_total"),
            instant("requests_total[1m]"),
            instant("count(requests_total)"),
            ("query_range", range.concat()),
            ("series", [window(), some.clone()].concat()),
            ("labels", window()),
            ("labels", [window(), some.clone()].concat()),
            ("label/pod/values", window()),
            ("label/pod/values", [window(), some].concat()),
        ] {
            let answers: Vec<Value> =
                cluster.nodes.iter().map(|node| ask(node, tenant, path, &parameters)).collect();
            for (node, answer) in cluster.nodes.iter().zip(&answers) {
                assert_eq!(
                    *answer, answers[0],
                    "{path} of {tenant} at {} and {}",
                    node.name, cluster.nodes[0].name
                );
            }
        }
        let count = ask(&cluster.nodes[0], tenant, "query", &instant("count(requests_total)").1);
        assert_eq!(count["data"]["result"][0]["value"][1], "600", "{count}");
    }
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    gyre::env::OsEnv::shared().now_ms()
}

#[test]
fn all_nodes_of_four_give_the_same_answers_and_some_read_elsewhere() {
    let cluster = Cluster::start(4);
    let now_ms = now_ms();
    for tenant in TENANTS {
        write(&cluster.nodes[0], tenant, some_series("web", now_ms));
        write(&cluster.nodes[3], tenant, some_series("api", now_ms));
    }
    check_all_answer_alike(&cluster, now_ms);
    let reads = |source: &str| {
        let name = format!("gyre_read_segments_total{{source=\"{source}\"}}");
        cluster.nodes.iter().map(|node| metric(node, &name)).sum::<f64>()
    };
    assert!(reads("local") > 0.0 && reads("remote") > 0.0, "each shard is at three of the four");
}
