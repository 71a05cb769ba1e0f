//! The node's own pages.

use crate::server::Server;

#[test]
fn the_start_page_says_what_this_is_and_leads_on() {
    let server = Server::start();
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    for link in ["ready", "ring", "metrics", "config", "api/v1/status/buildinfo"] {
        assert!(page.text().contains(&format!("href=\"{link}\"")), "{link}");
        assert_eq!(server.get(&format!("/{link}")).status, 200, "{link}");
    }
}

#[test]
fn the_effective_configuration_is_shown() {
    let config = "limits: {ingestion_rate: 7}\noverrides:\n  acme: {max_series_per_metric: 9}\n";
    let server = Server::start_with(&["--wal.sync=os"], Some(config));
    let text = server.get("/config").text();
    for line in ["  sync: os", "  ingestion_rate: 7", "  acme:", "    max_series_per_metric: 9"] {
        assert!(text.lines().any(|shown| shown == line), "{line:?} in {text}");
    }
}

#[test]
fn metrics_are_openmetrics_and_count_requests_by_route() {
    let server = Server::start();
    assert_eq!(server.get("/prometheus/api/v1/labels").status, 200);
    assert_eq!(server.get("/nowhere").status, 404);
    let metrics = server.get("/metrics");
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    assert!(metrics.text().ends_with("# EOF\n"));
    let count = |route: &str, status: u16| {
        server.metric(&format!(
            "cortex_request_duration_seconds_count{{method=\"GET\",route=\"{route}\",status_code=\"{status}\",ws=\"false\"}}"
        ))
    };
    assert_eq!(count("api_v1_labels", 200), Some(1.0));
    assert_eq!(count("other", 404), Some(1.0));
    assert_eq!(server.metric("cortex_ingester_memory_series"), Some(0.0));
    assert!(server.metric("process_start_time_seconds").is_none_or(|start| start > 1.6e9));
}

#[test]
fn cortexs_configuration_apis_answer_that_there_is_nothing() {
    let server = Server::start();
    for (path, text) in [
        ("/api/v1/rules", "no rule groups found\n"),
        ("/api/prom/rules", "no rule groups found\n"),
        ("/api/v1/alerts", "alertmanager storage object not found\n"),
        ("/nowhere", "404 page not found\n"),
        ("/api/v1/nowhere", "404 page not found\n"),
    ] {
        let response = server.get(path);
        assert_eq!((response.status, response.text().as_str()), (404, text), "{path}");
    }
}
