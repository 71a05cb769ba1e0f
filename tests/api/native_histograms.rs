//! Native histograms over HTTP: written, queried, refused where they are invalid.

use serde_json::json;

use crate::histograms::{floats, histogram_series, integers};
use crate::remote_write::{BucketSpan, Count, Histogram, TimeSeries, ZeroCount};
use crate::series::series;
use crate::server::Server;

fn now_ms() -> i64 {
    let elapsed = std::time::UNIX_EPOCH.elapsed().expect("the clock is set");
    i64::try_from(elapsed.as_millis()).expect("not so far in the future") / 1000 * 1000
}

fn seconds(t_ms: i64) -> String {
    (t_ms / 1000).to_string()
}

fn discarded(server: &Server, reason: &str) -> Option<f64> {
    server.metric(&format!("cortex_discarded_samples_total{{reason=\"{reason}\",user=\"fake\"}}"))
}

fn latency(histograms: Vec<Histogram>) -> TimeSeries {
    histogram_series(&[("__name__", "latency"), ("job", "web")], histograms)
}

#[test]
fn histograms_are_answered_as_they_were_written() {
    let server = Server::start();
    let t_ms = now_ms() - 60_000;
    let samples = vec![integers(t_ms, 0, &[1, 0, 2], 5.5), integers(t_ms + 15_000, 0, &[1, 1, 2], f64::MAX)];
    assert_eq!(server.write(vec![latency(samples)]).status, 200);
    let first = server.query("latency", &seconds(t_ms));
    // Schema 0: bucket i is (2^(i-1), 2^i]; the empty one is not shown.
    let expected = json!({
        "count": "3", "sum": "5.5", "buckets": [[0, "0.5", "1", "1"], [0, "2", "4", "2"]],
    });
    assert_eq!(first[0]["histogram"], json!([t_ms / 1000, expected]));
    assert_eq!(first[0]["metric"], json!({"__name__": "latency", "job": "web"}));

    let path = format!(
        "/prometheus/api/v1/query_range?query=histogram_count(latency)&start={}&end={}&step=15",
        seconds(t_ms),
        seconds(t_ms + 15_000)
    );
    let range = server.get(&path).json();
    let values = json!([[t_ms / 1000, "3"], [t_ms / 1000 + 15, "4"]]);
    assert_eq!(range["data"]["result"][0]["values"], values);

    let around = format!("start={}&end={}", seconds(t_ms), seconds(t_ms + 20_000));
    let found = server.get(&format!("/prometheus/api/v1/series?match[]=latency&{around}")).json();
    assert_eq!(found["data"], json!([{"__name__": "latency", "job": "web"}]));
    let names = server.get(&format!("/prometheus/api/v1/labels?{around}")).json();
    assert_eq!(names["data"], json!(["__name__", "job"]));

    let kind =
        |kind: &str| format!("cortex_distributor_received_samples_total{{user=\"fake\",type=\"{kind}\"}}");
    assert_eq!(server.metric(&kind("histogram")), Some(2.0));
    assert_eq!(server.metric(&kind("float")), Some(0.0));
}

#[test]
fn float_histograms_with_custom_bounds_and_gauges_are_kept() {
    let server = Server::start();
    let t_ms = now_ms() - 60_000;
    let custom = Histogram {
        schema: -53,
        custom_values: vec![0.1, 0.5],
        zero_threshold: 0.0,
        ..floats(t_ms, 0, &[1.5, 2.0, 0.25], 7.0)
    };
    let gauge = |t_ms, counts: &[u64]| Histogram { reset_hint: 3, ..integers(t_ms, 0, counts, 1.0) };
    let gauges = vec![gauge(t_ms, &[5, 5]), gauge(t_ms + 1000, &[1])];
    let written = server.write(vec![
        histogram_series(&[("__name__", "custom")], vec![custom]),
        histogram_series(&[("__name__", "gauge")], gauges),
    ]);
    assert_eq!(written.status, 200);
    // The first bucket of custom bounds is closed on both sides.
    let buckets = json!([[3, "-Inf", "0.1", "1.5"], [0, "0.1", "0.5", "2"], [0, "0.5", "+Inf", "0.25"]]);
    let answer = server.query("custom", &seconds(t_ms));
    assert_eq!(answer[0]["histogram"][1], json!({"count": "3.75", "sum": "7", "buckets": buckets}));
    let answer = server.query("histogram_count(delta(gauge[10s:1s]))", &seconds(t_ms + 1000));
    assert!(answer.as_array().is_some_and(|found| found.len() == 1), "{answer}");
    assert_eq!(server.query("histogram_count(gauge)", &seconds(t_ms + 1000))[0]["value"][1], "1");
}

#[test]
fn a_series_may_change_between_floats_and_histograms() {
    let server = Server::start();
    let t_ms = now_ms() - 60_000;
    let name = [("__name__", "mixed")];
    for step in 0..6 {
        let t_ms = t_ms + step * 5000;
        let sample = if step / 2 % 2 == 0 {
            series(&name, &[(t_ms, step as f64)])
        } else {
            histogram_series(&name, vec![integers(t_ms, 0, &[step as u64], 1.0)])
        };
        assert_eq!(server.write(vec![sample]).status, 200);
    }
    assert_eq!(server.query("count_over_time(mixed[1h])", &seconds(t_ms + 30_000))[0]["value"][1], "6");
    assert_eq!(server.query("mixed", &seconds(t_ms + 5000))[0]["value"][1], "1");
    assert_eq!(server.query("mixed", &seconds(t_ms + 10_000))[0]["histogram"][1]["count"], "2");
    // The other kind at a time that is taken.
    let answer = server.write(vec![series(&name, &[(t_ms + 10_000, 2.0)])]);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("duplicate sample for timestamp"), "{}", answer.text());
    assert_eq!(discarded(&server, "new-value-for-timestamp"), Some(1.0));
}

#[test]
fn a_late_histogram_is_found_and_a_repeated_one_changes_nothing() {
    let server = Server::start();
    let t_ms = now_ms() - 60_000;
    for offset in [0, 30_000, 15_000, 15_000, 0] {
        let count = 10 + offset as u64 / 1000;
        let sample = integers(t_ms + offset, 0, &[count], 1.0);
        assert_eq!(server.write(vec![latency(vec![sample])]).status, 200);
    }
    let all = server.query("latency[1h]", &seconds(t_ms + 40_000));
    let counts: Vec<_> =
        all[0]["histograms"].as_array().unwrap().iter().map(|h| h[1]["count"].clone()).collect();
    assert_eq!(counts, ["10", "25", "40"]);
}

#[test]
fn an_invalid_histogram_is_refused_by_itself_with_cortex_s_text() {
    let t_ms = now_ms();
    let good = integers(t_ms, 0, &[1, 2], 1.0);
    let span = |offset, length| BucketSpan { offset, length };
    let invalid = |text: &str| {
        let text = format!("invalid native histogram, validation err: {text}, metric: ");
        ("native_histogram_invalid", text + r#""latency{job=\"web\"}""#)
    };
    let count_mismatch = "histogram's observation count should equal the number of observations found in the buckets \
                          (in absence of NaN)";
    let cases = [
        (Histogram { schema: 9, ..good.clone() }, (
            "native_histogram_invalid_schema",
            r#"invalid native histogram schema 9 for metric: "latency{job=\"web\"}". supported schema from -4 to 8"#
                .to_owned(),
        )),
        (Histogram { count: Some(Count::Int(4)), ..good.clone() }, invalid(&format!(
            "3 observations found in buckets, but the Count field is 4: {count_mismatch}"
        ))),
        (Histogram { count: Some(Count::Int(2)), sum: f64::NAN, ..good.clone() }, invalid(
            "3 observations found in buckets, but the Count field is 2: histogram's observation count should be at \
             least the number of observations found in the buckets",
        )),
        (Histogram { positive_spans: vec![span(0, 3)], ..good.clone() }, invalid(
            "positive side: spans need 3 buckets, have 2 buckets: histogram spans specify different number of \
             buckets than provided",
        )),
        (Histogram { positive_spans: vec![span(0, 1), span(-1, 1)], ..good.clone() }, invalid(
            "positive side: span number 2 with offset -1: histogram has a span whose offset is negative",
        )),
        (Histogram { positive_deltas: vec![1, -2], ..good.clone() }, invalid(
            "positive side: bucket number 2 has observation count of -1: histogram has a bucket whose observation \
             count is negative",
        )),
        (Histogram { custom_values: vec![1.0], ..good.clone() }, invalid(
            "histogram with exponential schema must not have custom bounds",
        )),
        (Histogram { schema: -53, zero_threshold: 0.0, custom_values: vec![2.0, 1.0], ..good.clone() }, invalid(
            "custom buckets: previous bound is 2.000000 and current is 1.000000: histogram custom bounds must be in \
             strictly increasing order",
        )),
        (Histogram { zero_count: Some(ZeroCount::Float(-1.0)), ..floats(t_ms, 0, &[1.0], 1.0) }, invalid(
            "zero bucket has observation count of -1: histogram has a bucket whose observation count is negative",
        )),
    ];
    let server = Server::start();
    for (i, (bad, (reason, text))) in cases.into_iter().enumerate() {
        let before = discarded(&server, reason).unwrap_or(0.0);
        let good =
            |name| histogram_series(&[("__name__", name)], vec![integers(t_ms + i as i64, 0, &[1], 1.0)]);
        let answer = server.write(vec![good("first"), latency(vec![bad]), good("last")]);
        assert_eq!((answer.status, answer.text()), (400, format!("{text}\n")));
        assert_eq!(discarded(&server, reason), Some(before + 1.0), "{text}");
        assert_eq!(server.metric("cortex_ingester_memory_series"), Some(2.0), "only the good ones are there");
    }
    let stored = server.query("count_over_time(last[1m])", &seconds(t_ms + 1000));
    assert_eq!(stored[0]["value"][1], "9", "the good ones beside the bad ones are stored");
}

#[test]
fn a_histogram_larger_than_any_real_one_is_refused() {
    let server = Server::start();
    let t_ms = now_ms();
    let huge = integers(t_ms, 0, &[1; 17_000], 1.0);
    let small = integers(t_ms, 0, &[1], 1.0);
    let answer =
        server.write(vec![latency(vec![huge]), histogram_series(&[("__name__", "small")], vec![small])]);
    assert_eq!(answer.status, 400);
    let text = answer.text();
    assert!(
        text.starts_with("native histogram sample size bytes exceeded for metric (actual: 170"),
        "{text}"
    );
    assert!(text.ends_with("limit: 16384) metric: \"latency{job=\\\"web\\\"}\"\n"), "{text}");
    assert_eq!(discarded(&server, "native_histogram_sample_size_bytes_exceeded"), Some(1.0));
    assert_eq!(server.query("histogram_count(small)", &seconds(t_ms))[0]["value"][1], "1");
}

#[test]
fn a_histogram_with_too_many_buckets_is_stored_at_a_lower_resolution() {
    let server = Server::start_with(&[], Some("limits: {max_native_histogram_buckets: 3}\n"));
    let t_ms = now_ms();
    // Buckets 1 to 6 of schema 0 are those of schema -1, two by two.
    let sample = integers(t_ms, 1, &[1, 2, 3, 4, 5, 6], 1.0);
    let custom = Histogram {
        schema: -53,
        zero_threshold: 0.0,
        custom_values: vec![1.0, 2.0, 3.0],
        ..integers(t_ms, 0, &[1, 2, 3, 4], 1.0)
    };
    let answer =
        server.write(vec![latency(vec![sample]), histogram_series(&[("__name__", "custom")], vec![custom])]);
    let text = "native histogram bucket count exceeded for metric (limit: 3) metric: \"custom\"\n";
    assert_eq!((answer.status, answer.text()), (400, text.to_owned()));
    let buckets = json!([[0, "1", "4", "3"], [0, "4", "16", "7"], [0, "16", "64", "11"]]);
    assert_eq!(server.query("latency", &seconds(t_ms))[0]["histogram"][1]["buckets"], buckets);
    let reduced = "cortex_reduced_resolution_histogram_samples_total{user=\"fake\"}";
    assert_eq!(server.metric(reduced), Some(1.0));
    assert_eq!(discarded(&server, "native_histogram_buckets_exceeded"), Some(1.0));
}

#[test]
fn a_series_ends_with_a_stale_marker_of_either_kind() {
    let server = Server::start();
    let t_ms = now_ms() - 60_000;
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    for (name, marker) in [
        ("a", series(&[("__name__", "a")], &[(t_ms + 15_000, stale)])),
        (
            "b",
            histogram_series(
                &[("__name__", "b")],
                vec![Histogram { sum: stale, timestamp: t_ms + 15_000, ..Default::default() }],
            ),
        ),
    ] {
        let sample = histogram_series(&[("__name__", name)], vec![integers(t_ms, 0, &[1], 1.0)]);
        assert_eq!(server.write(vec![sample]).status, 200);
        assert_eq!(server.write(vec![marker]).status, 200);
        assert_eq!(server.query(name, &seconds(t_ms + 14_000)).as_array().map(Vec::len), Some(1));
        assert_eq!(server.query(name, &seconds(t_ms + 15_000)), json!([]));
    }
}

#[test]
fn times_outside_the_windows_are_refused_as_those_of_floats_are() {
    let server = Server::start();
    let t_ms = now_ms();
    let far = |t_ms| histogram_series(&[("__name__", "far")], vec![integers(t_ms, 0, &[1], 1.0)]);
    let answer = server.write(vec![far(t_ms + 3_600_000)]);
    let text = format!("timestamp too new: {} metric: \"far\"\n", t_ms + 3_600_000);
    assert_eq!((answer.status, answer.text()), (400, text));
    assert_eq!(server.metric("cortex_ingester_memory_series"), Some(0.0), "no series without a sample");
    assert_eq!(server.write(vec![far(t_ms)]).status, 200);
    let answer = server.write(vec![far(t_ms - 7_200_000)]);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("too old sample"), "{}", answer.text());
}
