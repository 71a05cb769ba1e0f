//! The query mix: shapes that dashboards, alert rules and Grafana's explorer send, over the k8s stream.

use super::api::Call;

/// Ranges look back over the whole stream.
pub const SPAN_MS: i64 = 6 * 3_600 * 1_000;
const MINUTE_MS: i64 = 60_000;

/// How long after the stream's begin ranges begin. No window of a rate may reach back beyond the first sample: there
/// Prometheus 2.42 extrapolates otherwise than later versions, which `promtool test rules` shows. Of
/// `increase(x_total[10m])` at 11m over `_ _ _ _ _ _ 80+100x20` it makes 580: the counter would have been zero 48 s before
/// the first sample, which is within a scrape interval. Later versions, and gyre, make 550: they first cut the 5 minutes
/// before the first sample to half an interval, 30 s, which is less than 48.
const BEGIN_AFTER_MS: i64 = 20 * MINUTE_MS;

/// One query of the mix.
#[derive(Debug, Clone)]
pub struct Query {
    /// Short name for tables.
    pub name: &'static str,
    /// What is sent.
    pub call: Call,
    /// Of a `topk`: how many, and of what.
    pub top: Option<(usize, Call)>,
}

/// The mix, ending at `end_ms`, which must be odd so that no sample is on the edge of a range.
pub fn mix(end_ms: i64) -> Vec<Query> {
    let start_ms = end_ms - SPAN_MS;
    let query = |name, call| Query { name, call, top: None };
    let instant = |name, expr: &str| query(name, Call::Instant { expr: expr.into(), at_ms: end_ms });
    let over_range = |expr: &str| Call::Range {
        expr: expr.into(),
        start_ms: start_ms + BEGIN_AFTER_MS,
        end_ms,
        step_ms: MINUTE_MS,
    };
    let range = |name, expr: &str| query(name, over_range(expr));
    let top_range = |name, k: usize, of: &str| Query {
        top: Some((k, over_range(of))),
        ..range(name, &format!("topk({k}, {of})"))
    };
    vec![
        instant("instant: one pod", r#"process_resident_memory_bytes{instance="10.0.0.1:4191"}"#),
        instant("instant: sum of rates", "sum(rate(request_total[5m]))"),
        instant("instant: count by name", r#"count by (__name__) ({namespace=~".+"})"#),
        instant(
            "instant: error ratio alert",
            r#"sum by (namespace, deployment) (rate(response_total{classification="failure"}[5m]))
               / sum by (namespace, deployment) (rate(response_total[5m])) > 0.01"#,
        ),
        range("range: raw, one pod", r#"process_cpu_seconds_total{instance="10.0.0.1:4191"}"#),
        range("range: raw fetch of 150 series", r#"tcp_open_connections{peer="src",direction="outbound"}"#),
        range("range: rate by deployment", "sum by (namespace, deployment) (rate(response_total[5m]))"),
        range("range: sum without", "sum without (pod, instance) (increase(request_total[10m]))"),
        range(
            "range: p99 over all buckets",
            "histogram_quantile(0.99, sum by (le, namespace, deployment) (rate(response_latency_ms_bucket[5m])))",
        ),
        range(
            "range: p50 of one namespace",
            r#"histogram_quantile(0.5, sum by (le) (rate(response_latency_ms_bucket{namespace="emojivoto"}[5m])))"#,
        ),
        top_range("range: topk of rates", 10, "sum by (pod) (rate(tcp_read_bytes_total[5m]))"),
        range(
            "range: max_over_time",
            "max by (namespace) (max_over_time(process_resident_memory_bytes[30m]))",
        ),
        range(
            "range: group_left join",
            "sum by (node) (rate(process_cpu_seconds_total[5m]) \
             * on (namespace, pod) group_left (node) max by (namespace, pod, node) (kube_pod_info))",
        ),
        range(
            "range: regex matchers",
            r#"sum by (namespace, tls) (rate(response_total{namespace=~"(book|check).*|search",pod!~".*-0[0-9a-f]+"}[5m]))"#,
        ),
        range("range: arithmetic", "response_latency_ms_sum / response_latency_ms_count"),
        instant("instant: subquery", "max_over_time(sum(rate(response_total[5m]))[3h:1m])"),
        query(
            "label values: pods",
            Call::LabelValues { label: "pod".into(), matching: "request_total".into(), start_ms, end_ms },
        ),
        query(
            "series of one namespace",
            Call::Series { matching: r#"{namespace="search"}"#.into(), start_ms, end_ms },
        ),
    ]
}
