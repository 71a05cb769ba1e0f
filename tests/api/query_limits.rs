//! Limits of queries: each says which one it is.

use crate::series::series;
use crate::server::Server;

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];

/// A node with some limits, and a hundred series of two metrics.
fn start(flags: &[&str], limits: &str) -> Server {
    let config = format!("limits: {{{limits}}}\noverrides: {{free: {{max_fetched_series_per_query: 0}}}}\n");
    let server = Server::start_with(flags, Some(&config));
    let now_ms = std::time::UNIX_EPOCH.elapsed().expect("the clock is set").as_millis() as i64;
    let written = (0..100).map(|i| {
        let name = if i < 60 { "a" } else { "b" };
        series(&[("__name__", name), ("i", &i.to_string())], &[(now_ms, 1.0)])
    });
    assert_eq!(server.write(written.collect()).status, 200);
    server
}

fn error(server: &Server, path: &str, form: &str) -> (u16, String, String) {
    let response = server.send("POST", &format!("/prometheus/api/v1/{path}"), &FORM, form.as_bytes());
    let json = response.json();
    let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
    (response.status, text("errorType"), text("error"))
}

fn refused(status: u16, kind: &str, text: impl Into<String>) -> (u16, String, String) {
    (status, kind.to_owned(), text.into())
}

#[test]
fn samples_held_at_a_time_are_limited() {
    let server = start(&["--query.max-samples=50"], "");
    assert_eq!(
        error(&server, "query", "query=a"),
        refused(
            422,
            "execution",
            "query processing would load too many samples into memory in query execution"
        )
    );
    assert_eq!(error(&server, "query", "query=b").0, 200);
}

#[test]
fn bytes_held_at_a_time_are_limited() {
    let server = start(&["--query.bytes-max=500"], "");
    assert_eq!(
        error(&server, "query", "query=a"),
        refused(
            422,
            "execution",
            "query would use more than 500 bytes of memory (the limit on bytes per query); raise it with \
             --query.bytes-max"
        )
    );
}

// Cortex's texts, but for the last part.
#[test]
fn a_tenants_queries_may_read_so_many_series() {
    let server = start(&[], "max_fetched_series_per_query: 60");
    assert_eq!(error(&server, "query", "query=a%2Ba").0, 200, "the same series twice is one");
    assert_eq!(
        error(&server, "query", "query=count(a)%2Bcount(b)"),
        refused(
            422,
            "execution",
            "expanding series: the query hit the max number of series limit (limit: 60 series); the limit is \
             max_fetched_series_per_query"
        )
    );
    let others = server.send("GET", "/api/v1/query?query=a", &[("X-Scope-OrgID", "free")], &[]);
    assert_eq!(others.status, 200);
}

#[test]
fn a_tenants_queries_may_be_so_long() {
    let server = start(&[], "max_query_length: 1d");
    let range = |seconds: u32| format!("query=a&start=0&end={seconds}&step=60");
    assert_eq!(error(&server, "query_range", &range(86_000)).0, 200);
    assert_eq!(
        error(&server, "query_range", &range(90_000)),
        refused(
            400,
            "bad_data",
            "the query time range exceeds the limit (query length: 25h0m0s, limit: 24h0m0s); the limit is \
             max_query_length"
        )
    );
    let (status, _, text) = error(&server, "query", "query=rate(a[2d])");
    assert_eq!(status, 422);
    assert!(text.contains("the query time range exceeds the limit (query length: 47h59m59.999s,"), "{text}");
    // Grafana's test of a data source is about 1970.
    assert_eq!(error(&server, "query", "query=1%2B1&time=4").0, 200);
}

#[test]
fn no_time_is_no_answer() {
    let server = Server::start();
    for timeout in ["0", "-1"] {
        assert_eq!(
            error(&server, "query", &format!("query=1&timeout={timeout}")),
            refused(503, "timeout", "query timed out in query execution"),
            "{timeout}"
        );
    }
    // Three million evaluations.
    let much = "query=count_over_time(vector(1)[3000000s:1s])&timeout=1ms";
    let (status, kind, text) = error(&server, "query", much);
    assert_eq!((status, kind.as_str()), (503, "timeout"), "{text}");
}

#[test]
fn the_length_of_a_query_and_its_depth_are_limited() {
    let server = Server::start();
    let long = format!("query=\"{}\"", "x".repeat(1 << 20));
    let (status, kind, text) = error(&server, "query", &long);
    assert_eq!((status, kind.as_str()), (400, "bad_data"));
    assert!(text.ends_with("query of 1048578 bytes is longer than the limit of 1048576"), "{text}");
    let deep = format!("query={}1{}", "(".repeat(1000), ")".repeat(1000));
    let (status, _, text) = error(&server, "query", &deep);
    assert_eq!(status, 400);
    assert!(text.ends_with("expression nests deeper than 400 levels"), "{text}");
    let large = r#"query=up{a=~"\\p{L}{1000}"}"#;
    let (status, _, text) = error(&server, "query", large);
    assert_eq!(status, 400);
    assert!(text.ends_with(r"expression too large: `\p{L}{1000}` needs more than 16777216 bytes"), "{text}");
}
