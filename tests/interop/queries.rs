//! What both servers are asked.
//!
//! Left out are shapes in which 2.42 and today's Prometheus differ by design. Windows are whole seconds, so that an
//! evaluation off the scrapes' milliseconds stays off them at every range's edge.

use bench::query::api::Call;

/// Evaluated as instant and as range queries.
pub const EXPRESSIONS: &[&str] = &[
    // Selectors, each matcher, offsets.
    "up",
    r#"up{job="node"}"#,
    r#"{__name__="node_load1"}"#,
    r#"node_cpu_seconds_total{mode!="idle"}"#,
    r#"node_cpu_seconds_total{mode=~"user|system"}"#,
    r#"node_cpu_seconds_total{mode!~"i.*|steal",cpu="0"}"#,
    r#"{__name__=~"node_memory_(MemFree|Cached)_bytes"}"#,
    r#"node_network_receive_bytes_total{device=~".+",nosuch=""}"#,
    r#"node_network_receive_bytes_total{device=""}"#,
    "node_memory_MemFree_bytes offset 7s",
    "node_memory_MemFree_bytes offset 10m",
    "node_cpu_seconds_total[10s]",
    "node_load1[20s] offset 5s",
    "node_memory_MemFree_bytes{}",
    // Rates.
    "rate(node_cpu_seconds_total[10s])",
    "rate(node_cpu_seconds_total[10s] offset 4s)",
    "increase(node_cpu_seconds_total[15s])",
    "increase(node_context_switches_total[9s])",
    "rate(node_network_receive_bytes_total[2s])",
    r#"rate(prometheus_http_requests_total{handler="/metrics"}[12s])"#,
    // Aggregations.
    "sum(node_cpu_seconds_total)",
    "sum by (mode) (rate(node_cpu_seconds_total[10s]))",
    "sum without (cpu, instance) (rate(node_cpu_seconds_total[10s]))",
    "avg(rate(node_context_switches_total[10s]))",
    "avg by (instance) (node_cpu_seconds_total)",
    "avg without (mode) (node_cpu_seconds_total)",
    "min by (mode) (node_cpu_seconds_total)",
    "max by (mode) (node_cpu_seconds_total)",
    "min(node_memory_MemFree_bytes)",
    "max without (instance) (node_memory_MemFree_bytes)",
    "count(up)",
    r#"count by (__name__) ({__name__=~"node_.+"})"#,
    "count by (mode, nosuch) (node_cpu_seconds_total)",
    "sum by (job) (up)",
    "sum(sum by (mode) (rate(node_cpu_seconds_total[10s])))",
    "max by (instance) (increase(node_cpu_seconds_total[10s]))",
    // Arithmetic.
    "1 + 2 * 3 ^ 2 % 5 - -4 / 8",
    "node_memory_MemTotal_bytes - node_memory_MemFree_bytes",
    "1 - node_memory_MemFree_bytes / node_memory_MemTotal_bytes",
    "node_memory_MemFree_bytes / 1024 / 1024",
    "100 * sum by (instance) (rate(node_cpu_seconds_total[10s])) / 3",
    "-node_load1",
    "node_load1 % 0.3",
    "2 ^ node_load1",
    r#"sum by (instance) (rate(node_cpu_seconds_total{mode!="idle"}[10s]))
       / sum by (instance) (rate(node_cpu_seconds_total[10s]))"#,
    // Comparison.
    "node_cpu_seconds_total > 1",
    "node_cpu_seconds_total <= 1",
    "up == 1",
    "up != 1",
    "up == bool 1",
    "node_load1 > bool node_load5",
    "node_memory_MemFree_bytes < node_memory_MemTotal_bytes",
    "1 < bool 2",
    // Histograms.
    r#"histogram_quantile(0.9, rate(prometheus_http_request_duration_seconds_bucket{handler="/metrics"}[15s]))"#,
    r#"histogram_quantile(0.5, sum by (le) (rate(prometheus_http_response_size_bytes_bucket{handler="/metrics"}[15s])))"#,
    r#"histogram_quantile(0.99, sum by (le) (prometheus_http_request_duration_seconds_bucket{handler="/metrics"}))"#,
    r#"histogram_quantile(1.5, prometheus_http_request_duration_seconds_bucket{handler="/metrics"})"#,
];

/// Those with no result on purpose.
pub const MAY_BE_EMPTY: &[&str] =
    &[r#"node_network_receive_bytes_total{device=""}"#, "node_memory_MemFree_bytes offset 10m", "up != 1"];

/// Whether the expression is a matrix, which a range query refuses.
pub fn is_range_selector(expr: &str) -> bool {
    !expr.contains('(') && expr.contains('[')
}

/// Label values and series lists.
pub fn listings(start_ms: i64, end_ms: i64) -> Vec<Call> {
    let values = |label: &str, matching: &str| Call::LabelValues {
        label: label.into(),
        matching: matching.into(),
        start_ms,
        end_ms,
    };
    let series = |matching: &str| Call::Series { matching: matching.into(), start_ms, end_ms };
    vec![
        values("mode", "node_cpu_seconds_total"),
        values("__name__", r#"{job="node"}"#),
        values("device", r#"{__name__=~"node_network_.+"}"#),
        values("nosuch", "up"),
        series("up"),
        series(r#"node_cpu_seconds_total{mode=~"user|idle"}"#),
        series(r#"{job="node",__name__!~"node_cpu.*"}"#),
    ]
}
