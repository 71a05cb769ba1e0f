//! A stream: pre-encoded remote-write requests in a file, the same bytes for every server.
//!
//! Encoding is done before any clock runs, so that the loader's own work does not compete with the server. Each
//! series belongs to one *lane* (its index modulo the number of lanes, as Prometheus's remote-write shards do),
//! and a lane's requests are sent in order over one connection, so that no series' samples overtake each other.
//!
//! All sample timestamps are even numbers of milliseconds: a query at an odd one never has a sample on the edge
//! of a range, where versions of Prometheus differ.

pub mod exposition;
pub mod k8s;
pub mod node_exporter;
pub mod recording;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::remote_write::{EncodedLabels, RequestBuilder};

/// What Prometheus's sender puts into a request by default.
pub const SAMPLES_PER_REQUEST: u32 = 2_000;

/// One encoded request's place in the file.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    offset: u64,
    len: u32,
    /// Samples in it.
    pub samples: u32,
    /// Index of the newest step it holds.
    pub step: u32,
}

/// One connection's requests, in order.
#[derive(Debug, Default, Clone)]
pub struct Lane {
    /// The measured part.
    pub main: Vec<Request>,
    /// A few requests sent just before the server is killed.
    pub tail: Vec<Request>,
}

/// A count query with a known answer, cheap enough to poll with.
#[derive(Debug, Clone)]
pub struct Probe {
    /// A metric that every scrape target has.
    pub metric: String,
    /// Only samples after this time are counted.
    pub after_ms: i64,
    /// Such samples in the main part and the tail together.
    pub samples: u64,
}

impl Probe {
    /// The query that must answer [`Probe::samples`] at a time after the stream's end.
    pub fn count_query(&self, at_ms: i64) -> String {
        format!("sum(count_over_time({}[{}ms]))", self.metric, at_ms - self.after_ms)
    }
}

/// What a probe looks back over, from the stream's end.
const PROBE_SPAN_MS: i64 = 600_000;

/// How long, how fine and how wide a stream is.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Steps in the measured part.
    pub steps: u32,
    /// Milliseconds between two samples of a series; even.
    pub step_ms: i64,
    /// Connections the stream is cut for.
    pub lanes: usize,
    /// Timestamps lie in `(end_ms - (steps + 1) * step_ms, end_ms]`, the tail's step included.
    pub end_ms: i64,
    /// Requests in the tail at most.
    pub tail_requests: usize,
}

impl Shape {
    /// Timestamp of the given step for a target at this place among `targets`, which scrape one after the
    /// other, spread over the step.
    pub fn timestamp_ms(&self, step: u32, target: usize, targets: usize) -> i64 {
        let start_ms = self.end_ms - (i64::from(self.steps) + 1) * self.step_ms;
        let spread_ms = (self.step_ms - 2) * target as i64 / targets.max(1) as i64;
        (start_ms + i64::from(step) * self.step_ms + spread_ms) & !1
    }

    /// Time from the first step to the last.
    pub fn span_ms(&self) -> i64 {
        i64::from(self.steps) * self.step_ms
    }
}

/// Now, as Unix milliseconds.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// A finished stream. The file has no name, so it goes when this value does.
#[derive(Debug)]
pub struct Stream {
    file: File,
    /// One per connection.
    pub lanes: Vec<Lane>,
    /// What it was made as.
    pub shape: Shape,
    /// Number of series.
    pub series: u64,
    /// Samples in the measured part.
    pub main_samples: u64,
    /// Samples in the tail.
    pub tail_samples: u64,
    /// For polling after a restart.
    pub probe: Probe,
    /// Samples of each metric in the measured part and the tail together.
    pub metric_samples: BTreeMap<String, u64>,
    /// Compressed bytes of the measured part.
    pub main_bytes: u64,
}

impl Stream {
    /// Reads one request's body into `body`.
    pub fn read(&self, request: Request, body: &mut Vec<u8>) -> Result<()> {
        body.resize(request.len as usize, 0);
        self.file.read_exact_at(body, request.offset).map_err(Error::io("reading the stream file"))
    }
}

/// Writes a stream step by step.
#[derive(Debug)]
pub struct StreamWriter {
    out: BufWriter<File>,
    offset: u64,
    lanes: Vec<(RequestBuilder, Lane)>,
    shape: Shape,
    in_tail: bool,
    main_samples: u64,
    main_bytes: u64,
    tail_samples: u64,
    tail_requests: usize,
    probe: Probe,
    probe_metric: Option<MetricId>,
    metrics: Vec<(String, u64)>,
}

impl StreamWriter {
    /// Starts a stream in an unnamed file of `folder`.
    pub fn create(
        folder: &Path,
        shape: Shape,
        metrics: MetricNames,
        probe_metric: &str,
    ) -> Result<StreamWriter> {
        let file = tempfile::tempfile_in(folder)
            .map_err(Error::io(format!("creating the stream file in {}", folder.display())))?;
        Ok(StreamWriter {
            out: BufWriter::with_capacity(1 << 20, file),
            offset: 0,
            lanes: (0..shape.lanes).map(|_| Default::default()).collect(),
            shape,
            in_tail: false,
            main_samples: 0,
            main_bytes: 0,
            tail_samples: 0,
            tail_requests: 0,
            probe: Probe {
                metric: probe_metric.to_owned(),
                after_ms: (shape.end_ms - PROBE_SPAN_MS) | 1,
                samples: 0,
            },
            probe_metric: metrics.find(probe_metric),
            metrics: metrics.0.into_iter().map(|name| (name, 0)).collect(),
        })
    }

    /// Adds a sample of the series with this index; false once the tail is full.
    pub fn push(&mut self, step: u32, series: usize, sample: Sample<'_>) -> Result<bool> {
        if self.in_tail && self.tail_requests >= self.shape.tail_requests {
            return Ok(false);
        }
        let lane = series % self.lanes.len();
        let builder = &mut self.lanes[lane].0;
        builder.push(sample.labels, sample.timestamp_ms, sample.value);
        self.metrics[usize::from(sample.metric.0)].1 += 1;
        if Some(sample.metric) == self.probe_metric && sample.timestamp_ms > self.probe.after_ms {
            self.probe.samples += 1;
        }
        if self.in_tail {
            self.tail_samples += 1;
        } else {
            self.main_samples += 1;
        }
        if builder.samples() >= SAMPLES_PER_REQUEST {
            self.cut(lane, step)?;
        }
        Ok(true)
    }

    /// Ends the measured part: whatever follows is the tail.
    pub fn begin_tail(&mut self, step: u32) -> Result<()> {
        self.cut_all(step)?;
        self.main_bytes = self.offset;
        self.in_tail = true;
        Ok(())
    }

    /// Writes out what is pending.
    pub fn finish(mut self, series: u64) -> Result<Stream> {
        let last_step = self.shape.steps;
        self.cut_all(last_step)?;
        let file = self
            .out
            .into_inner()
            .map_err(|failure| Error::io("writing the stream file")(failure.into_error()))?;
        Ok(Stream {
            file,
            lanes: self.lanes.into_iter().map(|(_, lane)| lane).collect(),
            shape: self.shape,
            series,
            main_samples: self.main_samples,
            tail_samples: self.tail_samples,
            probe: self.probe,
            metric_samples: self.metrics.into_iter().collect(),
            main_bytes: self.main_bytes,
        })
    }

    fn cut_all(&mut self, step: u32) -> Result<()> {
        (0..self.lanes.len()).try_for_each(|lane| self.cut(lane, step))
    }

    fn cut(&mut self, lane: usize, step: u32) -> Result<()> {
        let (builder, requests) = &mut self.lanes[lane];
        let samples = builder.samples();
        if samples == 0 {
            return Ok(());
        }
        let body = builder.finish();
        self.out.write_all(&body).map_err(Error::io("writing the stream file"))?;
        let request = Request { offset: self.offset, len: body.len() as u32, samples, step };
        self.offset += body.len() as u64;
        if self.in_tail {
            self.tail_requests += 1;
            requests.tail.push(request);
        } else {
            requests.main.push(request);
        }
        Ok(())
    }
}

/// One sample on its way into a stream.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Its series' labels.
    pub labels: &'a EncodedLabels,
    /// Unix milliseconds.
    pub timestamp_ms: i64,
    /// Its value.
    pub value: f64,
    /// Its metric.
    pub metric: MetricId,
}

/// A metric's place in [`MetricNames`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricId(u16);

/// The metrics of a stream, each once.
#[derive(Debug, Clone, Default)]
pub struct MetricNames(Vec<String>);

impl MetricNames {
    /// The id of this name, new or known. At most 65,536 names.
    pub fn intern(&mut self, name: &str) -> MetricId {
        self.find(name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            MetricId((self.0.len() - 1) as u16)
        })
    }

    fn find(&self, name: &str) -> Option<MetricId> {
        self.0.iter().position(|known| known == name).map(|index| MetricId(index as u16))
    }
}
