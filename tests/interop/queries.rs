//! What both servers are asked.
//!
//! Where 2.42 and today's Prometheus differ by design there are lists of their own; the reasons are in
//! `docs/promql-differences.md`. Windows are whole seconds, so that an
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
    r#"histogram_quantile(-1, prometheus_http_request_duration_seconds_bucket{handler="/metrics"})"#,
    r#"histogram_quantile(scalar(up{job="prometheus"}) / 2, prometheus_http_response_size_bytes_bucket{handler="/metrics"})"#,
    "histogram_count(up)",
    "histogram_sum(up)",
    "histogram_fraction(0, 1, up)",
    // Everything over time.
    "avg_over_time(node_load1[15s])",
    "min_over_time(node_memory_MemFree_bytes[15s])",
    "max_over_time(node_memory_MemFree_bytes[15s])",
    "sum_over_time(node_load1[15s])",
    "count_over_time(node_load1[15s])",
    "quantile_over_time(0.75, node_memory_MemFree_bytes[15s])",
    "quantile_over_time(-1, node_load1[15s])",
    "quantile_over_time(2, node_load1[15s])",
    "stddev_over_time(node_memory_MemFree_bytes[15s])",
    "stdvar_over_time(node_load1[15s])",
    r#"last_over_time(node_cpu_seconds_total{cpu="0"}[15s])"#,
    "present_over_time(node_load1[15s])",
    "absent_over_time(node_load1[15s])",
    r#"absent_over_time(nosuch{a="b"}[15s])"#,
    "count_over_time(up[3s])",
    "sum_over_time(up[7s] offset 5s)",
    "changes(node_memory_MemFree_bytes[15s])",
    "changes(node_boot_time_seconds[15s])",
    "resets(node_memory_MemFree_bytes[15s])",
    "resets(node_context_switches_total[15s])",
    "delta(node_memory_MemFree_bytes[15s])",
    "idelta(node_memory_MemFree_bytes[15s])",
    "irate(node_cpu_seconds_total[10s])",
    "irate(node_context_switches_total[10s] offset 3s)",
    "deriv(node_memory_MemFree_bytes[15s])",
    "predict_linear(node_memory_MemFree_bytes[15s], 60)",
    "predict_linear(node_load1[15s], -30)",
    // Functions of each value.
    "abs(node_load1 - 1)",
    "ceil(node_load1)",
    "floor(node_load1)",
    "round(node_load1)",
    "round(node_load1, 0.1)",
    "round(-node_load1, 5)",
    "exp(node_load1)",
    "ln(node_load1)",
    "log2(node_load1)",
    "log10(node_memory_MemFree_bytes)",
    "sqrt(node_load1)",
    "sgn(node_load1 - 1)",
    "clamp(node_load1, 0.5, 1)",
    "clamp(node_load1, 1, 0.5)",
    "clamp_min(node_load1, 1)",
    "clamp_max(node_load1, 1)",
    "sin(node_load1)",
    "cos(node_load1)",
    "tan(node_load1)",
    "asin(node_load1 / 1000)",
    "acos(node_load1 / 1000)",
    "atan(node_load1)",
    "sinh(node_load1)",
    "cosh(node_load1)",
    "tanh(node_load1)",
    "asinh(node_load1)",
    "acosh(node_load1 + 1)",
    "atanh(node_load1 / 1000)",
    "deg(node_load1)",
    "rad(node_load1)",
    "sum(node_load1 atan2 node_load5)",
    "pi() * up",
    // Time.
    "time()",
    "timestamp(node_load1)",
    "timestamp(node_load1 offset 5s)",
    "timestamp(node_load1 * 1)",
    "time() - node_boot_time_seconds",
    "minute()",
    "minute(node_boot_time_seconds)",
    "hour(node_time_seconds)",
    "day_of_month(node_boot_time_seconds)",
    "day_of_week(node_boot_time_seconds)",
    "day_of_year(node_boot_time_seconds)",
    "days_in_month(node_boot_time_seconds)",
    "month(node_time_seconds)",
    "year(vector(0))",
    "year(vector(-1e9))",
    // Scalars, vectors, absence.
    r#"scalar(up{job="prometheus"})"#,
    "scalar(up)",
    "vector(time())",
    "vector(scalar(nosuch))",
    "absent(up)",
    r#"absent(nosuch{job="x",a=~"b",c!="d"})"#,
    "absent(sum(nosuch))",
    "NaN",
    "-Inf",
    "1 / 0",
    "0x1F + 1e3",
    "5 % -3 ^ 2",
    "node_load1 / 0",
    "-node_load1 / 0",
    "0 * (node_load1 / 0)",
    "node_load1 > NaN",
    "node_load1 != NaN",
    "+node_load1",
    "-(-node_load1)",
    "2 * -node_load1 ^ 2",
    // Order.
    "sort(node_load1)",
    "sort_desc(node_cpu_seconds_total)",
    r#"topk(3, {__name__=~"go_memstats_(sys|heap_idle|mspan_sys|stack_sys|other_sys)_bytes",job="prometheus"})"#,
    r#"bottomk(2, {__name__=~"go_memstats_(sys|heap_idle|mspan_sys|stack_sys|other_sys)_bytes",job="prometheus"})"#,
    r#"topk(scalar(up{job="prometheus"}), {__name__=~"go_memstats_(sys|mspan_sys)_bytes",job="prometheus"})"#,
    "topk(0, up)",
    "topk by (cpu) (100, node_cpu_seconds_total)",
    "bottomk without (mode) (100, node_cpu_seconds_total)",
    // The other aggregations.
    "stddev(node_cpu_seconds_total)",
    "stddev by (mode) (node_cpu_seconds_total)",
    "stdvar by (cpu) (node_cpu_seconds_total)",
    "quantile(0.9, node_cpu_seconds_total)",
    "quantile by (instance) (0.1, node_cpu_seconds_total)",
    "quantile(2, up)",
    r#"count_values("value", up)"#,
    r#"count_values by (job) ("value", up)"#,
    r#"count_values without (instance) ("cores", count by (instance, job) (node_cpu_seconds_total{mode="idle"}))"#,
    "group(up)",
    "group by (mode) (node_cpu_seconds_total)",
    "count without (cpu) (node_cpu_seconds_total > 1)",
    "sum by () (up)",
    "avg(node_memory_MemFree_bytes)",
    "max(rate(node_cpu_seconds_total[10s])) by (cpu)",
    // Matching.
    "node_memory_MemFree_bytes + ignoring (job) node_memory_Cached_bytes",
    "node_memory_MemFree_bytes / on (instance) node_memory_MemTotal_bytes",
    "node_cpu_seconds_total * on (instance) group_left (nodename) node_uname_info",
    "node_uname_info * on (instance) group_right (nodename) node_cpu_seconds_total",
    "node_cpu_seconds_total / ignoring (cpu, mode) group_left node_boot_time_seconds",
    r#"sum by (mode, instance) (node_cpu_seconds_total) > bool on (instance) group_left sum by (instance) (node_cpu_seconds_total{mode="user"})"#,
    "node_memory_MemFree_bytes ^ on (instance, job) (node_load1 / 100)",
    r#"up and on (instance) node_load1"#,
    r#"up or node_load1"#,
    "up unless on (instance) node_load1",
    r#"node_cpu_seconds_total and ignoring (mode, cpu) node_load1"#,
    r#"node_cpu_seconds_total{mode="idle"} or node_cpu_seconds_total{cpu="0"}"#,
    r#"node_cpu_seconds_total unless node_cpu_seconds_total{mode="idle"}"#,
    "up and vector(1)",
    "vector(1) or up",
    "node_load1 >= node_load5 or node_load1 < node_load5",
    "node_load1 <= bool node_load5",
    "10000 > node_load1",
    "node_load1 == node_load1",
    // Labels.
    r#"label_replace(up, "port", "$1", "instance", ".*:(.*)")"#,
    r#"label_replace(up, "job", "${1}_x", "job", "(p.*)")"#,
    r#"label_replace(up, "job", "", "job", ".*")"#,
    r#"label_replace(up, "new", "same", "nosuch", "")"#,
    r#"label_join(up, "both", "-", "job", "instance", "nosuch")"#,
    r#"label_join(up, "empty", "-")"#,
    r#"sum by (port) (label_replace(node_load1, "port", "$1", "instance", ".*:(.*)"))"#,
    // Pinned and shifted.
    "node_load1 @ $AT",
    "node_load1 @ $AT offset 5s",
    "node_load1 @ $AT offset -5s",
    "node_memory_MemFree_bytes @ start()",
    "node_memory_MemFree_bytes @ end() - node_memory_MemFree_bytes",
    "rate(node_cpu_seconds_total[10s] @ end())",
    "sum_over_time(node_load1[12s] @ $AT offset 2s)",
    "topk(1, max by (mode) (node_cpu_seconds_total @ end()))",
    // Subqueries.
    "avg_over_time(node_load1[15s:2s])",
    "max_over_time(rate(node_cpu_seconds_total[5s])[12s:3s])",
    "min_over_time(rate(node_cpu_seconds_total[5s])[12s:3s] offset 2s)",
    "sum_over_time((node_memory_MemFree_bytes > 0)[10s:1s])",
    "quantile_over_time(0.5, sum by (mode) (irate(node_cpu_seconds_total[4s]))[14s:2s])",
    "rate(node_context_switches_total[12s:2s])",
    "max_over_time(avg_over_time(node_load1[6s500ms:2s])[9s:3s])",
    "count_over_time(up[12s:2s] @ $AT)",
    "last_over_time(node_load1[8s:3s])",
    "absent_over_time(nosuch[8s:3s])",
    "node_load1[10s:2s]",
    "sum by (mode) (rate(node_cpu_seconds_total[6s]))[9s:3s]",
];

/// Those with no result on purpose.
pub const MAY_BE_EMPTY: &[&str] = &[
    r#"node_network_receive_bytes_total{device=""}"#,
    "node_memory_MemFree_bytes offset 10m",
    "up != 1",
    "histogram_count(up)",
    "histogram_sum(up)",
    "histogram_fraction(0, 1, up)",
    "absent_over_time(node_load1[15s])",
    "absent(up)",
    "clamp(node_load1, 1, 0.5)",
    "node_load1 > NaN",
    "topk(0, up)",
    "up and vector(1)",
];

/// An expression of 2.42, and what it is called today.
pub const RENAMED: &[(&str, &str)] = &[
    (
        "holt_winters(node_memory_MemFree_bytes[15s], 0.5, 0.3)",
        "double_exponential_smoothing(node_memory_MemFree_bytes[15s], 0.5, 0.3)",
    ),
    (
        "holt_winters(node_load1[15s:3s], 0.1, 0.9)",
        "double_exponential_smoothing(node_load1[15s:3s], 0.1, 0.9)",
    ),
];

/// Who does not understand an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 2.42, which is too old for it.
    There,
    /// Gyre, as today's Prometheus.
    Here,
}

/// What one of the two refuses. `docs/promql-differences.md` has the reasons, under these numbers.
pub const DIFFERENT: &[(u32, Refused, &str)] = &[
    (1, Refused::Here, "holt_winters(node_load1[15s], 0.5, 0.5)"),
    (2, Refused::There, r#"{"up"}"#),
    (2, Refused::There, r#"up{"instance"=~".+"}"#),
    (3, Refused::There, r#"label_replace(up, "a-b", "$1", "job", "(.*)")"#),
    (3, Refused::There, r#"label_join(up, "a-b", "-", "job")"#),
    (3, Refused::There, r#"count_values("a-b", up)"#),
    (4, Refused::There, "rate(node_cpu_seconds_total[10])"),
    (4, Refused::There, "node_load1 offset 5"),
    (4, Refused::There, "time() + 5m"),
    (5, Refused::There, "rate(node_cpu_seconds_total[5s + 2 * 2s])"),
    (6, Refused::There, "histogram_avg(up)"),
    (6, Refused::There, "histogram_stddev(up)"),
    (6, Refused::There, "first_over_time(node_load1[10s])"),
    (6, Refused::There, "mad_over_time(node_load1[10s])"),
    (6, Refused::There, r#"sort_by_label(up, "instance")"#),
    (6, Refused::There, "limitk(1, up)"),
    (6, Refused::There, "ts_of_max_over_time(node_load1[10s])"),
    (7, Refused::There, "1_000 + 1"),
];

/// What both answer, but not alike, under the numbers of the same document.
pub const ANSWERED_DIFFERENTLY: &[(u32, &str)] = &[(9, "node_load1 atan2 node_load5")];

/// Whether the expression evaluates something at multiples of its own step.
pub fn has_subquery(expr: &str) -> bool {
    expr.split('[').skip(1).any(|rest| rest.split(']').next().is_some_and(|window| window.contains(':')))
}

/// Whether the expression is a range vector, which a range query refuses.
pub fn is_range_vector(expr: &str) -> bool {
    expr.ends_with(']') || (!expr.contains('(') && expr.contains('['))
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
