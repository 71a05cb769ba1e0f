//! Answers of the query API to the byte, over data that was written just before.

use crate::remote_write::{MetricMetadata, WriteRequest};
use crate::series::series;
use crate::server::Server;

fn now_seconds() -> i64 {
    let elapsed = std::time::UNIX_EPOCH.elapsed().expect("the clock is set");
    i64::try_from(elapsed.as_secs()).expect("not so far in the future")
}

#[test]
fn answers_have_prometheus_form_to_the_byte() {
    let server = Server::start();
    let t = now_seconds() - 60;
    let samples = [(t * 1000, 1.0), (t * 1000 + 15_500, 2.5), (t * 1000 + 30_000, 1e21)];
    let written = server.write(vec![
        series(&[("__name__", "m"), ("a", "<&>"), ("b", "x\"y")], &samples),
        series(&[("__name__", "m"), ("a", "z")], &[(t * 1000, -0.5)]),
    ]);
    assert_eq!(written.status, 200, "{}", written.text());
    let get = |path: String| server.get(&format!("/prometheus/api/v1/{path}")).text();

    assert_eq!(
        get(format!("query?query=1.5e-7&time={t}")),
        format!(r#"{{"status":"success","data":{{"resultType":"scalar","result":[{t},"0.00000015"]}}}}"#)
    );
    assert_eq!(
        get(format!("query?query=%22%3Ctext%3E%22&time={t}.25")),
        format!(
            r#"{{"status":"success","data":{{"resultType":"string","result":[{t}.250,"\u003ctext\u003e"]}}}}"#
        )
    );
    assert_eq!(
        get(format!("query?query=m%7Ba=%22z%22%7D&time={t}")),
        format!(
            r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{"__name__":"m","a":"z"}},"value":[{t},"-0.5"]}}]}}}}"#
        )
    );
    // A matrix, from a range selector and from a range query.
    let metric = r#"{"__name__":"m","a":"<&>","b":"x\"y"}"#;
    assert_eq!(
        get(format!("query?query=m%7Bb!=%22%22%7D[1m]&time={}", t + 30)),
        format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{metric},"values":[[{t},"1"],[{},"2.5"],[{},"1e+21"]]}}]}}}}"#,
            format_args!("{}.500", t + 15),
            t + 30,
        )
    );
    assert_eq!(
        get(format!("query_range?query=m%7Bb!=%22%22%7D&start={t}&end={}&step=20", t + 40)),
        format!(
            r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{metric},"values":[[{t},"1"],[{},"2.5"],[{},"1e+21"]]}}]}}}}"#,
            t + 20,
            t + 40,
        )
    );
    // The one sample lies in the windows of all three steps.
    let window = "count_over_time(m%7Ba=%22z%22%7D[1m])";
    let counted = get(format!("query_range?query={window}&start={t}&end={}&step=20&stats=all", t + 40));
    assert!(
        counted.contains(r#"}],"stats":{"timings":{"evalTotalTime":"#) && counted.contains(&format!(
            r#""samples":{{"totalQueryableSamplesPerStep":[[{t},1],[{},1],[{},1]],"totalQueryableSamples":3,"peakSamples":"#,
            t + 20,
            t + 40
        )),
        "{counted}"
    );
    assert_eq!(get("labels".to_owned()), r#"{"status":"success","data":["__name__","a","b"]}"#);
    assert_eq!(get("label/a/values".to_owned()), r#"{"status":"success","data":["\u003c\u0026\u003e","z"]}"#);
    assert_eq!(
        get("series?match[]=m%7Ba=%22z%22%7D".to_owned()),
        r#"{"status":"success","data":[{"__name__":"m","a":"z"}]}"#
    );
}

#[test]
fn a_limit_cuts_and_says_so() {
    let server = Server::start();
    let t = now_seconds();
    let written = ["a", "b", "c"].map(|x| series(&[("__name__", "m"), ("x", x)], &[(t * 1000, 1.0)]));
    assert_eq!(server.write(written.to_vec()).status, 200);
    for (path, all) in [
        ("label/x/values?".to_owned(), 3),
        ("labels?".to_owned(), 2),
        ("series?match[]=m&".to_owned(), 3),
        (format!("query?query=m&time={t}&"), 3),
        (format!("query_range?query=m&start={t}&end={t}&step=1&"), 3),
    ] {
        let length = |answer: &serde_json::Value| {
            let data = &answer["data"];
            data.get("result").unwrap_or(data).as_array().map(Vec::len)
        };
        let whole = server.get(&format!("/prometheus/api/v1/{path}limit={all}")).json();
        assert_eq!((length(&whole), whole.get("warnings")), (Some(all), None), "{path}");
        let cut = server.get(&format!("/prometheus/api/v1/{path}limit=1")).json();
        assert_eq!(length(&cut), Some(1), "{path}");
        assert_eq!(cut["warnings"], serde_json::json!(["results truncated due to limit"]), "{path}");
    }
}

#[test]
fn a_series_that_several_matchers_select_is_listed_once() {
    let server = Server::start();
    let t = now_seconds();
    let written = ["bb", "a", "ccc"].map(|x| series(&[("__name__", "m"), ("x", x)], &[(t * 1000, 1.0)]));
    assert_eq!(server.write(written.to_vec()).status, 200);
    let listed = |limit: usize| {
        let path =
            format!("/prometheus/api/v1/series?match[]=m&match[]=%7Bx=~%22a|bb|ccc%22%7D&limit={limit}");
        server.get(&path).json()
    };
    let all = ["a", "bb", "ccc"].map(|x| serde_json::json!({"__name__": "m", "x": x}));
    let whole = listed(3);
    let mut found = whole["data"].as_array().expect("a list").clone();
    found.sort_by_key(|labels| labels["x"].to_string());
    assert_eq!((found.as_slice(), whole.get("warnings")), (&all[..], None));
    let cut = listed(2);
    assert_eq!(cut["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(cut["warnings"], serde_json::json!(["results truncated due to limit"]));
}

#[test]
fn metadata_is_kept_and_listed_within_its_limits() {
    let server = Server::start();
    let entry = |family: &str, help: &str| MetricMetadata {
        metric_type: 1,
        metric_family_name: family.to_owned(),
        help: help.to_owned(),
        unit: "bytes".to_owned(),
    };
    let metadata = vec![entry("a", "one <two>"), entry("a", "another"), entry("b", "b's")];
    let request = WriteRequest { timeseries: vec![], metadata };
    let body = snap::raw::Encoder::new().compress_vec(&prost::Message::encode_to_vec(&request)).unwrap();
    assert_eq!(server.push(&body).status, 200);
    assert_eq!(
        server.get("/prometheus/api/v1/metadata?metric=b").text(),
        r#"{"status":"success","data":{"b":[{"type":"counter","unit":"bytes","help":"b's"}]}}"#
    );
    let length = |path: &str| {
        let data = server.get(&format!("/prometheus/api/v1/metadata{path}")).json()["data"].clone();
        let of = |metric: &str| data[metric].as_array().map_or(0, Vec::len);
        (of("a"), of("b"))
    };
    assert_eq!(length(""), (2, 1));
    assert_eq!(length("?limit=1"), (2, 0));
    assert_eq!(length("?limit_per_metric=1"), (1, 1));
    assert_eq!(length("?limit=0"), (0, 0));
    assert_eq!(length("?metric=none"), (0, 0));
}

#[test]
fn what_cannot_be_parsed_or_evaluated_says_so_in_prometheus_words() {
    let server = Server::start();
    let error = |query: &str| {
        let response = server.get(&format!("/prometheus/api/v1/query?query={query}"));
        let json = response.json();
        (response.status, json["errorType"].clone(), json["error"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(
        error("up%7B"),
        (
            400,
            "bad_data".into(),
            r#"invalid parameter "query": 1:4: parse error: unexpected end of input inside braces"#
                .to_owned()
        )
    );
    assert_eq!(
        error(""),
        (
            400,
            "bad_data".into(),
            r#"invalid parameter "query": unknown position: parse error: no expression found in input"#
                .to_owned()
        )
    );
    let range = server.get("/prometheus/api/v1/query_range?query=up[5m]&start=0&end=1&step=1").json();
    assert_eq!(
        range["error"],
        r#"invalid parameter "query": invalid expression type "range vector" for range query, must be Scalar or instant Vector"#
    );
}
