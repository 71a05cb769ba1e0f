//! Native histograms of a node that is killed.

use bench::http::Connection;
use prost::Message;
use serde_json::Value;

use crate::histogram_messages::{floats, histogram_series, integers};
use crate::node::Node;
use crate::remote_write::{Histogram, TimeSeries, WriteRequest};

const STEP_MS: i64 = 15_000;

/// One request: integers that get more buckets, floats, gauges, custom bounds, and a series that is a float now
/// and then. Sums use all their bits.
fn scrape(step: i64, t_ms: i64) -> Vec<TimeSeries> {
    let counts: Vec<u64> = (0..3 + step / 20).map(|bucket| (step * (bucket + 1)) as u64).collect();
    let float_counts: Vec<f64> = counts.iter().map(|count| *count as f64 / 3.0).collect();
    let sum = (step as f64 + 0.1).sqrt();
    let gauge =
        Histogram { reset_hint: 3, ..integers(t_ms, (step % 4) as i32, &[(step % 5) as u64, 2], -sum) };
    let custom = Histogram {
        schema: -53,
        zero_threshold: 0.0,
        custom_values: (0..40).map(|bound| f64::from(bound) * 0.3).collect(),
        ..floats(t_ms, 0, &float_counts, sum)
    };
    let named = |name: &str, histogram| histogram_series(&[("__name__", name)], vec![histogram]);
    let mut all = vec![
        named("h_custom", custom),
        named("h_floats", floats(t_ms, 0, &float_counts, sum)),
        named("h_gauge", gauge),
        named("h_integers", integers(t_ms, -2, &counts, sum)),
    ];
    let mixed = if step % 50 < 10 {
        let sample = crate::remote_write::Sample { value: sum, timestamp: t_ms };
        TimeSeries { samples: vec![sample], ..histogram_series(&[("__name__", "h_mixed")], vec![]) }
    } else {
        named("h_mixed", integers(t_ms, 0, &counts, sum))
    };
    all.push(mixed);
    if step % 9 == 8 {
        all.push(named("h_integers", integers(t_ms - STEP_MS / 2, 3, &[7], sum)));
    }
    all
}

fn push(node: &Node, timeseries: Vec<TimeSeries>) -> u16 {
    let body = WriteRequest { timeseries, metadata: vec![] }.encode_to_vec();
    let body = snap::raw::Encoder::new().compress_vec(&body).unwrap();
    Connection::new(node.address()).post_remote_write("/api/v1/push", &body).unwrap().status
}

/// Everything there is, as JSON.
fn stored(node: &Node, end_ms: i64) -> Value {
    let at = (end_ms / 1000).to_string();
    let answer =
        node.get("/prometheus/api/v1/query", &[("query", r#"{__name__=~"h_.+"}[4h]"#), ("time", &at)]);
    let mut series = answer["data"]["result"].as_array().unwrap().clone();
    series.sort_by_key(|series| series["metric"].to_string());
    Value::Array(series)
}

#[test]
fn histograms_are_the_same_after_a_kill_and_after_a_shutdown() {
    let mut node = Node::start();
    let start_ms = bench::stream::now_ms() / 1000 * 1000 - 3_000_000;
    let end_ms = start_ms + 200 * STEP_MS;
    for step in 0..150 {
        assert_eq!(push(&node, scrape(step, start_ms + step * STEP_MS)), 200);
    }
    let before = stored(&node, end_ms);
    let samples = |series: &Value| {
        ["values", "histograms"].iter().filter_map(|key| series[*key].as_array()).map(Vec::len).sum::<usize>()
    };
    let counts: Vec<usize> = before.as_array().unwrap().iter().map(samples).collect();
    assert_eq!(counts, [150, 150, 150, 166, 150]);

    node.kill();
    node.relaunch();
    assert_eq!(stored(&node, end_ms), before, "after kill -9");
    assert_eq!(node.metric("gyre_wal_damaged_total"), 0.0);

    // A shutdown leaves snapshots, and what follows goes on where they end.
    node.terminate();
    node.relaunch();
    assert_eq!(stored(&node, end_ms), before, "after a shutdown");
    assert_eq!(push(&node, scrape(149, start_ms + 149 * STEP_MS)), 200, "the same again is no conflict");
    assert_eq!(stored(&node, end_ms), before);
    assert_eq!(push(&node, scrape(150, start_ms + 150 * STEP_MS)), 200);
    let after = stored(&node, end_ms);
    node.kill();
    node.relaunch();
    assert_eq!(stored(&node, end_ms), after, "after another kill -9");
}
