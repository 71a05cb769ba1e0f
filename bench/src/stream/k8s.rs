//! A Kubernetes cluster meshed by Linkerd: about 200 series a pod, about 11 labels a series.
//!
//! Each pod's proxy serves flows (inbound and outbound, by status); a flow is a latency histogram of 26
//! cumulative buckets, its sum and count, and request and response counters that move together, as real ones do.
//! Some flows are idle most of the time, as real ones are. Beside them: TCP counters and gauges, process and
//! container metrics, and the pod's info series. Metric and label names are those of linkerd2-proxy and
//! kube-state-metrics.

use std::path::Path;

use super::{MetricId, MetricNames, Sample, Shape, Stream, StreamWriter};
use crate::error::Result;
use crate::remote_write::EncodedLabels;
use crate::rng::Rng;

/// Upper bounds of `response_latency_ms`, as linkerd2-proxy has them.
const LATENCY_BOUNDS_MS: [&str; 26] = [
    "1", "2", "3", "4", "5", "10", "20", "30", "40", "50", "100", "200", "300", "400", "500", "1000", "2000",
    "3000", "4000", "5000", "10000", "20000", "30000", "40000", "50000", "+Inf",
];
const NAMESPACES: [&str; 8] =
    ["emojivoto", "booksapp", "checkout", "payments", "search", "identity", "telemetry", "batch"];
const APPS: [&str; 12] = [
    "web", "voting", "emoji", "authors", "books", "traffic", "cart", "ledger", "indexer", "gateway",
    "sessions", "mailer",
];
const REPLICAS: usize = 5;
/// Every pod has it, and few series of it: made for polling.
const PROBE_METRIC: &str = "response_total";

/// What moves one series.
#[derive(Debug, Clone, Copy)]
enum Source {
    Bucket { flow: usize, bucket: usize },
    LatencySum(usize),
    Responses(usize),
    Requests { first: usize, last: usize },
    TcpOpened(usize),
    TcpClosed(usize),
    TcpOpen(usize),
    TcpBytes { flow: usize, bytes_per_request: u64 },
    CpuSeconds,
    MemoryBytes,
    OpenFiles,
    Constant(f64),
}

#[derive(Debug)]
struct Flow {
    /// Mean requests a second.
    rate: f64,
    /// Share of steps with any traffic.
    busy: f64,
    /// Index of the bucket where latencies lie.
    centre: f64,
    buckets: [u64; 26],
    latency_sum_ms: u64,
    opened: u64,
    open: u64,
}

impl Flow {
    fn new(rng: &mut Rng) -> Flow {
        let quiet = rng.chance(0.35);
        Flow {
            rate: (rng.normal() * 1.3 + 1.0).exp(),
            busy: if quiet { 0.05 } else { 0.95 },
            centre: 1.0 + 14.0 * rng.unit(),
            buckets: [0; 26],
            latency_sum_ms: 0,
            opened: 1,
            open: 1,
        }
    }

    fn advance(&mut self, seconds: f64, rng: &mut Rng) {
        if !rng.chance(self.busy) {
            return;
        }
        let requests = rng.poisson(self.rate * seconds);
        // At most 32 draws: beyond that each stands for several requests.
        let draws = requests.min(32);
        for draw in 0..draws {
            let weight = requests / draws + u64::from(draw < requests % draws);
            let place = (self.centre + 2.5 * rng.normal()).clamp(0.0, 25.0) as usize;
            // Cumulative buckets: a request counts in its own and in every wider one.
            self.buckets[place..].iter_mut().for_each(|count| *count += weight);
            let bound_ms: f64 = LATENCY_BOUNDS_MS[place].parse().unwrap_or(60_000.0);
            let bound_ms = if bound_ms.is_finite() { bound_ms } else { 60_000.0 };
            self.latency_sum_ms += weight * (bound_ms * (0.5 + 0.5 * rng.unit())) as u64;
        }
        if rng.chance(0.2) {
            self.opened += rng.below(3);
            self.open = (self.open + rng.below(3)).saturating_sub(rng.below(3)).clamp(1, self.opened);
        }
    }

    fn count(&self) -> u64 {
        self.buckets[25]
    }
}

#[derive(Debug)]
struct Series {
    labels: EncodedLabels,
    source: Source,
    metric: MetricId,
}

#[derive(Debug)]
struct Pod {
    flows: Vec<Flow>,
    series: Vec<Series>,
    cpu_seconds: f64,
    memory_bytes: u64,
    open_files: u64,
}

/// Makes the stream in a file of `folder`. The same seed, series count and shape give the same bytes.
pub fn generate(folder: &Path, series: usize, shape: Shape, seed: u64) -> Result<Stream> {
    let mut rng = Rng::new(seed);
    let mut metrics = MetricNames::default();
    let mut pods = Vec::new();
    let mut total = 0;
    while total < series {
        let mut pod = Pod::new(pods.len(), &mut metrics, &mut rng);
        pod.series.truncate(series - total);
        total += pod.series.len();
        pods.push(pod);
    }

    let mut writer = StreamWriter::create(folder, shape, metrics, PROBE_METRIC)?;
    let seconds = shape.step_ms as f64 / 1_000.0;
    let targets = pods.len();
    'steps: for step in 0..=shape.steps {
        if step == shape.steps {
            writer.begin_tail(step)?;
        }
        let mut index = 0;
        for (target, pod) in pods.iter_mut().enumerate() {
            pod.advance(seconds, &mut rng);
            let timestamp_ms = shape.timestamp_ms(step, target, targets);
            for series in &pod.series {
                let sample = Sample {
                    labels: &series.labels,
                    timestamp_ms,
                    value: pod.value(series.source),
                    metric: series.metric,
                };
                if !writer.push(step, index, sample)? {
                    break 'steps;
                }
                index += 1;
            }
        }
    }
    writer.finish(total as u64)
}

impl Pod {
    fn new(index: usize, metrics: &mut MetricNames, rng: &mut Rng) -> Pod {
        let deployment_index = index / REPLICAS;
        let namespace = NAMESPACES[deployment_index % NAMESPACES.len()];
        let app = APPS[(deployment_index / NAMESPACES.len() + deployment_index) % APPS.len()];
        let deployment = format!("{app}-{}", deployment_index / NAMESPACES.len());
        let hash = format!("{:08x}", Rng::new(deployment_index as u64).next_u64() as u32);
        let pod = format!("{deployment}-{hash}-{:05x}", rng.below(1 << 20));
        let node = format!("node-{}", index % 40);
        let address = format!("10.{}.{}.{}", index >> 16, (index >> 8) & 255, index & 255);
        let instance = format!("{address}:4191");

        let of_proxy = [
            ("control_plane_ns", "linkerd"),
            ("deployment", &deployment),
            ("instance", &instance),
            ("job", "linkerd-proxy"),
            ("namespace", namespace),
            ("pod", &pod),
            ("pod_template_hash", &hash),
        ];
        let mut series = Vec::new();
        let mut add = |name: &str, extra: &[(&str, &str)], source: Source| {
            let mut labels = vec![("__name__", name)];
            labels.extend_from_slice(&of_proxy);
            labels.extend_from_slice(extra);
            let metric = metrics.intern(name);
            series.push(Series { labels: EncodedLabels::new(&labels), source, metric });
        };

        // Distinct, or two routes would be the same series.
        let first_destination = rng.below(APPS.len() as u64) as usize;
        let destinations: Vec<String> = (0..3)
            .map(|route| format!("{}-{}", APPS[(first_destination + 5 * route) % APPS.len()], rng.below(4)))
            .collect();
        // One inbound and three outbound routes, each with a successful and the first two with a failing flow.
        let mut flows = Vec::new();
        let mut routes = Vec::new();
        for route in 0..4 {
            let first = flows.len();
            flows.push(Flow::new(rng));
            if route < 2 {
                let mut failing = Flow::new(rng);
                failing.rate *= 0.02;
                flows.push(failing);
            }
            routes.push((route, first, flows.len() - 1));
        }
        for &(route, first, last) in &routes {
            let (direction, peer): (&str, (&str, &str)) = match route {
                0 => ("inbound", ("srv_name", "default")),
                _ => ("outbound", ("dst_deployment", &destinations[route - 1])),
            };
            let of_route = [("direction", direction), peer, ("tls", "true")];
            add("request_total", &of_route, Source::Requests { first, last });
            for flow in first..=last {
                let (status, class) = if flow == first { ("200", "success") } else { ("500", "failure") };
                let of_flow = [of_route[0], of_route[1], of_route[2], ("status_code", status)];
                let with = |extra| [of_flow[0], of_flow[1], of_flow[2], of_flow[3], extra];
                add(PROBE_METRIC, &with(("classification", class)), Source::Responses(flow));
                for (bucket, bound) in LATENCY_BOUNDS_MS.iter().enumerate() {
                    let source = Source::Bucket { flow, bucket };
                    add("response_latency_ms_bucket", &with(("le", bound)), source);
                }
                add("response_latency_ms_sum", &of_flow, Source::LatencySum(flow));
                add("response_latency_ms_count", &of_flow, Source::Responses(flow));
            }
            let with = |extra| [of_route[0], of_route[1], of_route[2], extra];
            for (side, bytes_per_request) in [("src", 310), ("dst", 2_170)] {
                let of_side = with(("peer", side));
                add("tcp_open_total", &of_side, Source::TcpOpened(first));
                add("tcp_close_total", &of_side, Source::TcpClosed(first));
                add("tcp_open_connections", &of_side, Source::TcpOpen(first));
                let read = Source::TcpBytes { flow: first, bytes_per_request };
                let written = Source::TcpBytes { flow: first, bytes_per_request: bytes_per_request / 2 };
                add("tcp_read_bytes_total", &of_side, read);
                add("tcp_write_bytes_total", &of_side, written);
            }
        }
        add("process_cpu_seconds_total", &[], Source::CpuSeconds);
        add("process_resident_memory_bytes", &[], Source::MemoryBytes);
        add("process_open_fds", &[], Source::OpenFiles);
        add("process_max_fds", &[], Source::Constant(1_048_576.0));
        add("process_start_time_seconds", &[], Source::Constant(1_700_000_000.0 + rng.below(1 << 24) as f64));

        let of_state = [
            ("__name__", "kube_pod_info"),
            ("created_by_kind", "ReplicaSet"),
            ("created_by_name", &format!("{deployment}-{hash}")),
            ("host_ip", &format!("192.168.0.{}", index % 40)),
            ("instance", "10.255.0.9:8080"),
            ("job", "kube-state-metrics"),
            ("namespace", namespace),
            ("node", &node),
            ("pod", &pod),
            ("pod_ip", &address),
            ("uid", &format!("{:016x}", rng.next_u64())),
        ];
        series.push(Series {
            labels: EncodedLabels::new(&of_state),
            source: Source::Constant(1.0),
            metric: metrics.intern("kube_pod_info"),
        });
        Pod {
            flows,
            series,
            cpu_seconds: 0.0,
            memory_bytes: 4_096 * (5_000 + rng.below(4_000)),
            open_files: 20 + rng.below(60),
        }
    }

    fn advance(&mut self, seconds: f64, rng: &mut Rng) {
        for flow in &mut self.flows {
            flow.advance(seconds, rng);
        }
        // Kernel accounting has a resolution of 10 ms.
        self.cpu_seconds = ((self.cpu_seconds + seconds * 0.04 * rng.unit()) * 100.0).round() / 100.0;
        if rng.chance(0.4) {
            let pages = self.memory_bytes / 4_096;
            self.memory_bytes = 4_096 * (pages + rng.below(64)).saturating_sub(rng.below(62)).max(1_000);
        }
        if rng.chance(0.1) {
            self.open_files = (self.open_files + rng.below(5)).saturating_sub(rng.below(5)).max(12);
        }
    }

    fn value(&self, source: Source) -> f64 {
        let whole = match source {
            Source::Bucket { flow, bucket } => self.flows[flow].buckets[bucket],
            Source::LatencySum(flow) => self.flows[flow].latency_sum_ms,
            Source::Responses(flow) => self.flows[flow].count(),
            Source::Requests { first, last } => self.flows[first..=last].iter().map(Flow::count).sum(),
            Source::TcpOpened(flow) => self.flows[flow].opened,
            Source::TcpClosed(flow) => self.flows[flow].opened - self.flows[flow].open,
            Source::TcpOpen(flow) => self.flows[flow].open,
            Source::TcpBytes { flow, bytes_per_request } => self.flows[flow].count() * bytes_per_request,
            Source::MemoryBytes => self.memory_bytes,
            Source::OpenFiles => self.open_files,
            Source::CpuSeconds => return self.cpu_seconds,
            Source::Constant(value) => return value,
        };
        whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(stream: &Stream) -> Vec<Vec<u8>> {
        let requests = stream.lanes.iter().flat_map(|lane| lane.main.iter().chain(&lane.tail));
        requests
            .map(|request| {
                let mut body = Vec::new();
                stream.read(*request, &mut body).unwrap();
                body
            })
            .collect()
    }

    const SHAPE: Shape =
        Shape { steps: 7, step_ms: 15_000, lanes: 3, end_ms: 1_700_000_000_000, tail_requests: 1 };

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let folder = tempfile::tempdir().unwrap();
        let [first, again, other] =
            [1, 1, 2].map(|seed| bodies(&generate(folder.path(), 900, SHAPE, seed).unwrap()));
        assert_eq!(first, again);
        assert_ne!(first, other);
    }

    #[test]
    fn every_series_has_every_step_and_the_tail_is_short() {
        let folder = tempfile::tempdir().unwrap();
        let stream = generate(folder.path(), 9_000, SHAPE, 1).unwrap();
        assert_eq!((stream.series, stream.main_samples), (9_000, 63_000));
        let sent: u32 = stream.lanes.iter().flat_map(|lane| &lane.main).map(|request| request.samples).sum();
        assert_eq!(u64::from(sent), stream.main_samples);
        let of_metrics: u64 = stream.metric_samples.values().sum();
        assert_eq!(of_metrics, stream.main_samples + stream.tail_samples);
        assert!((2_000..9_000).contains(&stream.tail_samples), "{}", stream.tail_samples);
    }

    #[test]
    fn no_two_series_have_the_same_labels() {
        let mut rng = Rng::new(3);
        let mut metrics = MetricNames::default();
        let pods: Vec<Pod> = (0..600).map(|index| Pod::new(index, &mut metrics, &mut rng)).collect();
        let mut seen = std::collections::HashSet::new();
        for series in pods.iter().flat_map(|pod| &pod.series) {
            assert!(seen.insert(&series.labels), "{:?}", series.labels);
        }
    }

    #[test]
    fn timestamps_are_even_and_end_before_the_end() {
        for target in 0..40 {
            for step in 0..=SHAPE.steps {
                let timestamp_ms = SHAPE.timestamp_ms(step, target, 40);
                assert_eq!(timestamp_ms % 2, 0);
                assert!(timestamp_ms <= SHAPE.end_ms, "step {step} of target {target}: {timestamp_ms}");
            }
        }
    }
}
