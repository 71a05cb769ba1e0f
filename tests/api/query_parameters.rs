//! Parameters of the query API: what is refused, in Prometheus's words.

use crate::server::{Response, Server};

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];

#[track_caller]
fn assert_error(response: &Response, status: u16, kind: &str, text: &str) {
    let expected = serde_json::json!({"status": "error", "errorType": kind, "error": text});
    assert_eq!((response.status, response.json()), (status, expected));
    assert_eq!(response.header("content-type"), "application/json");
}

#[test]
fn every_prefix_answers_every_endpoint() {
    let server = Server::start();
    for prefix in ["/prometheus", "/api/prom", ""] {
        for (path, data) in [
            ("query?query=up", serde_json::json!({"resultType": "vector", "result": []})),
            (
                "query_range?query=up&start=0&end=60&step=15",
                serde_json::json!({"resultType": "matrix", "result": []}),
            ),
            ("series?match[]=up", serde_json::json!([])),
            ("labels", serde_json::json!([])),
            ("label/job/values", serde_json::json!([])),
            ("metadata", serde_json::json!({})),
            ("format_query?query=up", serde_json::json!("up")),
            ("parse_query?query=1", serde_json::json!({"type": "numberLiteral", "val": "1"})),
            ("query_exemplars?query=up", serde_json::json!([])),
        ] {
            let response = server.get(&format!("{prefix}/api/v1/{path}"));
            let expected = serde_json::json!({"status": "success", "data": data});
            assert_eq!((response.status, response.json()), (200, expected), "{prefix} {path}");
        }
    }
}

// Texts of Prometheus's `web/api/v1/api.go`.
#[test]
fn unusable_parameters_are_named() {
    let server = Server::start();
    for (path, text) in [
        (
            "query?query=up&time=x",
            r#"invalid parameter "time": invalid time value for 'time': cannot parse "x" to a valid timestamp"#,
        ),
        ("query?query=up&limit=-3", r#"invalid parameter "limit": limit must be non-negative"#),
        ("query?query=up&limit=x", r#"invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax"#),
        ("query?query=up&timeout=x", r#"invalid parameter "timeout": cannot parse "x" to a valid duration"#),
        (
            "query?query=up&lookback_delta=x",
            r#"error parsing lookback delta duration: cannot parse "x" to a valid duration"#,
        ),
        (
            "query_range?query=up&end=2&step=1",
            r#"invalid parameter "start": cannot parse "" to a valid timestamp"#,
        ),
        (
            "query_range?query=up&start=1&step=1",
            r#"invalid parameter "end": cannot parse "" to a valid timestamp"#,
        ),
        (
            "query_range?query=up&start=2&end=1&step=1",
            r#"invalid parameter "end": end timestamp must not be before start time"#,
        ),
        (
            "query_range?query=up&start=1&end=2",
            r#"invalid parameter "step": cannot parse "" to a valid duration"#,
        ),
        (
            "query_range?query=up&start=1&end=2&step=0",
            r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
        ),
        (
            "query_range?query=up&start=148966367200.372&end=1489667272.372&step=148966367200.372",
            r#"invalid parameter "end": end timestamp must not be before start time"#,
        ),
        (
            "query_range?query=up&start=0&end=11001&step=1",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        ("series", "no match[] parameter provided"),
        (
            "series?match[]=%7B%7D",
            r#"invalid parameter "match[]": match[] must contain at least one non-empty matcher"#,
        ),
        (
            "series?match[]=up&start=x",
            r#"invalid parameter "start": invalid time value for 'start': cannot parse "x" to a valid timestamp"#,
        ),
        ("labels?match[]=%7Ba=~%22.*%22%7D", "match[] must contain at least one non-empty matcher"),
        (
            "labels?end=x",
            r#"invalid parameter "end": invalid time value for 'end': cannot parse "x" to a valid timestamp"#,
        ),
        ("label/U__/values", r#"invalid label name: """#),
        ("metadata?limit=x", "limit must be a number"),
        ("metadata?limit_per_metric=x", "limit_per_metric must be a number"),
    ] {
        assert_error(&server.get(&format!("/prometheus/api/v1/{path}")), 400, "bad_data", text);
    }
}

#[test]
fn parameters_may_be_posted_and_the_body_comes_first() {
    let server = Server::start();
    let post = |path: &str, body: &str| server.send("POST", path, &FORM, body.as_bytes());
    assert_eq!(post("/api/prom/api/v1/query", "query=up&time=4").status, 200);
    assert_eq!(post("/api/prom/api/v1/query_range", "query=up&start=0&end=1&step=1").status, 200);
    assert_eq!(post("/api/prom/api/v1/labels", "match%5B%5D=up").status, 200);
    assert_eq!(post("/api/prom/api/v1/series", "match%5B%5D=up").status, 200);
    let conflicting = post("/api/prom/api/v1/query?limit=1&query=up", "limit=x");
    assert_error(
        &conflicting,
        400,
        "bad_data",
        r#"invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax"#,
    );
    let not_allowed = post("/api/prom/api/v1/label/job/values", "");
    assert_eq!((not_allowed.status, not_allowed.text().as_str()), (405, "Method Not Allowed\n"));
}

#[test]
fn a_form_over_ten_mebibytes_is_refused() {
    let server = Server::start();
    let body = format!("query={}", "x".repeat(10 << 20));
    let response = server.send("POST", "/api/v1/query", &FORM, body.as_bytes());
    assert_error(&response, 413, "bad_data", "request body larger than 10485760 bytes");
}

#[test]
fn long_answers_are_compressed_for_those_who_ask() {
    let server = Server::start();
    let path = format!("/api/v1/format_query?query=%22{}%22", "x".repeat(5000));
    let get = |path: &str, encoding: &str| server.send("GET", path, &[("Accept-Encoding", encoding)], &[]);
    for (asked, given) in [
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd;q=0.5", "gzip"),
        ("identity", ""),
        ("snappy", ""),
    ] {
        let response = get(&path, asked);
        assert_eq!((response.status, response.header("content-encoding")), (200, given), "{asked}");
        assert_eq!(response.body.len() < 1000, !given.is_empty(), "{asked}");
    }
    assert_eq!(server.get(&path).header("content-encoding"), "");
    // Not worth the work.
    let short = get("/api/v1/labels", "gzip");
    assert_eq!((short.header("content-encoding"), short.header("content-length")), ("", "30"));
    assert_eq!(short.text(), r#"{"status":"success","data":[]}"#);
}

#[test]
fn whatever_is_accepted_the_answer_is_json() {
    let server = Server::start();
    for accept in ["application/json", "*/*", "text/html", "application/x-protobuf", "nonsense"] {
        let response = server.send("GET", "/api/v1/labels", &[("Accept", accept)], &[]);
        assert_eq!((response.status, response.header("content-type")), (200, "application/json"), "{accept}");
    }
}

#[test]
fn what_is_left_out_of_a_form_is_only_an_error_where_prometheus_says_so() {
    let server = Server::start();
    assert_eq!(server.get("/api/v1/query?query=%zz&query=1").status, 200);
    assert_eq!(server.get("/api/v1/query?query=up;a=1&query=1").status, 200);
    assert_error(
        &server.get("/api/v1/series?match[]=up&x=%zz"),
        400,
        "bad_data",
        r#"error parsing form values: invalid URL escape "%zz""#,
    );
    // A body counts only where something is posted.
    let got = server.send("GET", "/api/v1/query?query=1", &FORM, b"query=up{");
    assert_eq!(got.status, 200);
}

#[test]
fn statistics_are_shown_to_those_who_ask() {
    let server = Server::start();
    let get = |stats: &str| server.get(&format!("/api/v1/query?query=1%2B1&time=1&stats={stats}")).json();
    let parts = ["queryPreparationTime", "innerEvalTime", "resultSortTime"];
    assert_eq!(get("")["data"].get("stats"), None);
    for asked in ["true", "all", "1"] {
        let answer = get(asked);
        let timings = &answer["data"]["stats"]["timings"];
        let seconds = |name: &str| timings[name].as_f64().unwrap_or_else(|| panic!("no {name}: {answer}"));
        assert!(seconds("queryPreparationTime") > 0.0 && seconds("innerEvalTime") > 0.0, "{answer}");
        // The parts are measured one after the other, within the whole.
        assert!(parts.map(seconds).iter().sum::<f64>() <= seconds("evalTotalTime") + 1e-9, "{answer}");
        let total = seconds("execQueueTime") + seconds("evalTotalTime");
        assert!((seconds("execTotalTime") - total).abs() < 1e-9, "{answer}");
        let samples = &answer["data"]["stats"]["samples"];
        assert_eq!(
            (samples["totalQueryableSamples"].as_u64(), samples["peakSamples"].is_u64()),
            (Some(0), true)
        );
        let is_known = asked != "1";
        assert_eq!(answer.get("warnings").is_none(), is_known, "{answer}");
    }
    assert_eq!(
        get("1")["warnings"][0],
        r#"value "1" for parameter "stats" is deprecated and will be rejected in the next major release, use "true" or "all""#
    );
}

#[test]
fn grafanas_first_questions_are_answered() {
    let server = Server::start();
    // "Save & test" of the data source, then what it asks for when a dashboard opens.
    let post = server.send("POST", "/prometheus/api/v1/query", &FORM, b"query=1%2B1&time=4");
    assert_eq!(post.status, 200);
    let build = server.get("/prometheus/api/v1/status/buildinfo").json();
    assert_eq!(build["data"]["application"], "Gyre");
    assert!(
        build["data"]["features"]
            .as_object()
            .is_some_and(|features| { features.values().all(serde_json::Value::is_string) })
    );
    assert_eq!(server.get("/prometheus/api/v1/metadata?limit=40000").status, 200);
    let rules = server.get("/prometheus/api/v1/rules?exclude_alerts=true").json();
    assert_eq!(rules, serde_json::json!({"status": "success", "data": {"groups": []}}));
    let alerts = server.get("/api/prom/api/v1/alerts").json();
    assert_eq!(alerts, serde_json::json!({"status": "success", "data": {"alerts": []}}));
    let all = "/prometheus/api/v1/labels?start=1763800000&end=1763803600&limit=40000&match[]=%7B__name__!%3D%22%22%7D";
    assert_eq!(server.get(all).status, 200);
}
