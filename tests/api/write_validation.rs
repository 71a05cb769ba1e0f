//! Bad series and samples: each is refused by itself, with 400 and the first reason, and the good ones beside it are
//! stored.

use serde_json::json;

use crate::remote_write::TimeSeries;
use crate::series::series;
use crate::server::{Response, Server};

fn now_ms() -> i64 {
    let elapsed = std::time::UNIX_EPOCH.elapsed().expect("the clock is set");
    i64::try_from(elapsed.as_millis()).expect("not so far in the future")
}

fn seconds(t_ms: i64) -> String {
    format!("{}.{:03}", t_ms / 1000, t_ms % 1000)
}

#[track_caller]
fn assert_refused(response: &Response, text: &str) {
    assert_eq!((response.status, response.text()), (400, format!("{text}\n")));
}

fn discarded(server: &Server, reason: &str) -> Option<f64> {
    server.metric(&format!("cortex_discarded_samples_total{{reason=\"{reason}\",user=\"fake\"}}"))
}

/// Writes a bad series between two good ones and checks that just the good ones are there.
#[track_caller]
fn assert_only_this_series_is_refused(bad: TimeSeries, reason: &str, text: &str) {
    let server = Server::start();
    let t_ms = now_ms();
    let good = |name: &str| series(&[("__name__", name)], &[(t_ms, 1.0)]);
    assert_refused(&server.write(vec![good("first"), bad, good("last")]), text);
    assert_eq!(server.query("count(first) + count(last)", &seconds(t_ms))[0]["value"][1], "2");
    assert_eq!(server.metric("cortex_ingester_memory_series"), Some(2.0));
    assert_eq!(discarded(&server, reason), Some(1.0));
}

#[test]
fn a_series_without_labels_is_refused() {
    let bad = series(&[], &[(now_ms(), 1.0)]);
    assert_only_this_series_is_refused(bad, "missing_metric_name", "sample missing metric name");
}

#[test]
fn duplicate_label_names_are_refused() {
    let bad = series(&[("__name__", "up"), ("a", "1"), ("a", "2")], &[(now_ms(), 1.0)]);
    let text = r#"duplicate label name: "a" metric "up{a=\"1\", a=\"2\"}""#;
    assert_only_this_series_is_refused(bad, "duplicate_label_names", text);
}

#[test]
fn ten_megabytes_of_label_are_refused_with_a_short_text() {
    let server = Server::start();
    let huge = "v".repeat(10 << 20);
    let response = server.write(vec![series(&[("__name__", "up"), ("big", &huge)], &[(now_ms(), 1.0)])]);
    assert_eq!(response.status, 400);
    let text = response.text();
    assert!(
        text.starts_with("label value too long for metric (actual: 10485760, limit: 2048) metric: \"up{big=")
    );
    assert!(text.len() < 1500, "{} bytes", text.len());
    assert_eq!(discarded(&server, "label_value_too_long"), Some(1.0));
}

#[test]
fn too_many_labels_are_refused() {
    let names: Vec<String> = (0..30).map(|number| format!("l{number:02}")).collect();
    let mut labels = vec![("__name__", "up")];
    labels.extend(names.iter().map(|name| (name.as_str(), "x")));
    let response = Server::start().write(vec![series(&labels, &[(now_ms(), 1.0)])]);
    assert_eq!(response.status, 400);
    assert!(
        response
            .text()
            .starts_with("series has too many labels (actual: 31, limit: 30) series: 'up{l00=\"x\"")
    );
}

#[test]
fn unsorted_labels_and_empty_values_make_the_same_series() {
    let server = Server::start();
    let t_ms = now_ms() - 10_000;
    for (step, labels) in [
        &[("__name__", "up"), ("a", "1"), ("b", "2")][..],
        &[("b", "2"), ("a", "1"), ("__name__", "up")],
        &[("b", "2"), ("empty", ""), ("__name__", "up"), ("a", "1")],
    ]
    .into_iter()
    .enumerate()
    {
        let response = server.write(vec![series(labels, &[(t_ms + step as i64, step as f64)])]);
        assert_eq!(response.status, 200, "{labels:?}: {}", response.text());
    }
    assert_eq!(server.metric("cortex_ingester_memory_series"), Some(1.0));
    assert_eq!(
        server.query("up[1m]", &seconds(t_ms + 1000)),
        json!([{
            "metric": {"__name__": "up", "a": "1", "b": "2"},
            "values": [
                [t_ms as f64 / 1000.0, "0"],
                [(t_ms + 1) as f64 / 1000.0, "1"],
                [(t_ms + 2) as f64 / 1000.0, "2"],
            ],
        }])
    );
}

#[test]
fn utf8_names_are_stored_and_found() {
    let server = Server::start();
    let t_ms = now_ms();
    let labels = [("__name__", "température"), ("http.route", "/ü")];
    assert_eq!(server.write(vec![series(&labels, &[(t_ms, 1.0)])]).status, 200);
    let found = server.query(r#"{"température", "http.route"="/ü"}"#, &seconds(t_ms));
    assert_eq!(found[0]["metric"], json!({"__name__": "température", "http.route": "/ü"}));
    let values = server.get("/prometheus/api/v1/label/U__http_2e_route/values").json();
    assert_eq!(values["data"], json!(["/ü"]));
}

#[test]
fn extreme_times_are_refused_and_the_samples_beside_them_kept() {
    let server = Server::start();
    let t_ms = now_ms();
    let up = [("__name__", "up")];
    assert_eq!(server.write(vec![series(&up, &[(t_ms, 1.0)])]).status, 200);
    for (extreme, reason) in
        [(i64::MIN, "sample-too-old"), (0, "sample-too-old"), (i64::MAX, "too_far_in_future")]
    {
        let before = discarded(&server, reason).unwrap_or(0.0);
        let response = server.write(vec![series(&up, &[(extreme, 9.0)])]);
        assert_eq!(response.status, 400, "{extreme}: {}", response.text());
        assert_eq!(discarded(&server, reason), Some(before + 1.0), "{extreme}");
    }
    let text = server.write(vec![series(&up, &[(i64::MAX, 9.0)])]).text();
    assert_eq!(text, "timestamp too new: 9223372036854775807 metric: \"up\"\n");
    let both = server.write(vec![series(&up, &[(i64::MIN, 9.0), (t_ms + 1, 2.0)])]);
    assert_eq!(both.status, 400);
    assert_eq!(server.query("up", &seconds(t_ms + 1))[0]["value"][1], "2");
    // Eleven minutes ahead is too far, nine are not.
    assert_eq!(server.write(vec![series(&up, &[(t_ms + 11 * 60_000, 3.0)])]).status, 400);
    assert_eq!(server.write(vec![series(&up, &[(t_ms + 9 * 60_000, 3.0)])]).status, 200);
}

#[test]
fn nan_payloads_are_values_and_the_stale_marker_ends_a_series() {
    let server = Server::start();
    let t_ms = now_ms() - 60_000;
    let payload = f64::from_bits(0xfff8_dead_beef_0001);
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let samples =
        [(t_ms, 1.0), (t_ms + 1000, payload), (t_ms + 2000, f64::NEG_INFINITY), (t_ms + 3000, stale)];
    assert_eq!(server.write(vec![series(&[("__name__", "x")], &samples)]).status, 200);
    assert_eq!(server.query("x", &seconds(t_ms + 1000))[0]["value"][1], "NaN");
    assert_eq!(server.query("x", &seconds(t_ms + 2000))[0]["value"][1], "-Inf");
    assert_eq!(server.query("x", &seconds(t_ms + 3000)), json!([]), "the series has ended");
    // The payload is not the stale marker, and a NaN is the same sample only if its bits are the same.
    assert_eq!(server.write(vec![series(&[("__name__", "x")], &[(t_ms + 1000, payload)])]).status, 200);
    assert_eq!(server.write(vec![series(&[("__name__", "x")], &[(t_ms + 1000, f64::NAN)])]).status, 400);
}

#[test]
fn the_same_sample_again_is_a_success_and_another_value_is_refused() {
    let server = Server::start();
    let t_ms = now_ms();
    let up = |value| vec![series(&[("__name__", "up"), ("job", "a")], &[(t_ms, value)])];
    assert_eq!(server.write(up(1.0)).status, 200);
    assert_eq!(server.write(up(1.0)).status, 200);
    let refused = server.write(up(2.0));
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("duplicate sample for timestamp"), "{}", refused.text());
    assert!(refused.text().contains(r#"{__name__="up", job="a"}"#), "{}", refused.text());
    assert_eq!(server.query("up", &seconds(t_ms))[0]["value"][1], "1");
}

#[test]
fn series_over_the_limit_are_refused_and_known_ones_go_on() {
    let server = Server::start_with(&[], Some("limits: {max_series_per_user: 2}\n"));
    let t_ms = now_ms();
    let write = |names: &[&str], t_ms| {
        server.write(names.iter().map(|name| series(&[("__name__", name)], &[(t_ms, 1.0)])).collect())
    };
    assert_eq!(write(&["a", "b"], t_ms).status, 200);
    let refused = write(&["c", "a"], t_ms + 1);
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().starts_with("user=fake: per-user series limit of 2 exceeded"),
        "{}",
        refused.text()
    );
    assert_eq!(server.query("count_over_time(a[1m])", &seconds(t_ms + 1))[0]["value"][1], "2");
    assert_eq!(server.query("c", &seconds(t_ms + 1)), json!([]));
}

#[test]
fn a_tenant_sees_nothing_of_another() {
    let server = Server::start_with(&["--auth.mode=header"], None);
    let t_ms = now_ms();
    let request = crate::remote_write::WriteRequest {
        timeseries: vec![series(&[("__name__", "secret"), ("key", "value")], &[(t_ms, 1.0)])],
        metadata: vec![],
    };
    let body = snap::raw::Encoder::new().compress_vec(&prost::Message::encode_to_vec(&request)).unwrap();
    let tenant = |id: &'static str| [("X-Scope-OrgID", id)];
    assert_eq!(server.send("POST", "/api/v1/push", &tenant("acme"), &body).status, 200);
    for (path, empty) in [
        ("labels", json!([])),
        ("label/key/values", json!([])),
        ("series?match[]=secret", json!([])),
        ("query?query=secret", json!({"resultType": "vector", "result": []})),
        ("metadata", json!({})),
    ] {
        let path = format!("/prometheus/api/v1/{path}");
        assert_eq!(server.send("GET", &path, &tenant("other"), &[]).json()["data"], empty, "{path}");
    }
    let own = server.send("GET", "/prometheus/api/v1/series?match[]=secret", &tenant("acme"), &[]).json();
    assert_eq!(own["data"], json!([{"__name__": "secret", "key": "value"}]));
}
