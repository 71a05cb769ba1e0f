//! A running server as what a script runs against.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bench::http::Connection;
use gyre_promql::histogram::{Buckets, CounterReset, FloatHistogram};
use gyre_promql::testkit::{Evaluated, LoadedSeries, Target};
use gyre_promql::value::SampleValue;
use prost::Message;

use crate::answer;
use crate::remote_write::{BucketSpan, Count, Histogram, Label, Sample, TimeSeries, WriteRequest, ZeroCount};

/// The nodes of a cluster, or a single one, seen by one tenant after the other: each `clear` moves on to a new one, which
/// has no series. What is written through one node is asked of all in turn, beginning with the next.
pub struct HttpTarget {
    nodes: Vec<SocketAddr>,
    name: String,
    /// Whether all that is written becomes blocks before it is asked for.
    flushes: bool,
    clears: usize,
    writes: Connection,
    /// Of all nodes, the next one first.
    questions: VecDeque<Connection>,
}

impl HttpTarget {
    /// Tenants of this target are called after `name`.
    pub fn new(nodes: Vec<SocketAddr>, name: &str) -> Self {
        let (writes, questions) = (Connection::new(nodes[0]), VecDeque::new());
        let (name, flushes) = (name.to_owned(), false);
        let mut target = Self { nodes, name, flushes, clears: 0, writes, questions };
        target.next_tenant();
        target
    }

    /// From now on all that is written becomes blocks before it is asked for.
    pub fn in_blocks(self) -> Self {
        Self { flushes: true, ..self }
    }

    fn tenant(&self) -> String {
        format!("{}-{}", self.name, self.clears)
    }

    fn next_tenant(&mut self) {
        self.clears += 1;
        let tenant = self.tenant();
        let node = |turn: usize| Connection::new(self.nodes[turn % self.nodes.len()]).with_tenant(&tenant);
        self.writes = node(self.clears);
        self.questions = (1..=self.nodes.len()).map(|turn| node(self.clears + turn)).collect();
    }

    fn ask(&mut self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Evaluated, String> {
        let path = format!("/prometheus/api/v1/{endpoint}");
        self.questions.rotate_left(1);
        let node = self.questions.back_mut().ok_or("there are no nodes")?;
        let answer = node.post_form(&path, parameters).map_err(|error| error.to_string())?;
        answer::read(&answer.body)
    }
}

impl Target for HttpTarget {
    fn clear(&mut self) -> Result<(), String> {
        self.next_tenant();
        Ok(())
    }

    fn load(&mut self, series: &[LoadedSeries]) -> Result<(), String> {
        // A series that is described twice in a block counts as described last.
        let is_last =
            |(at, one): &(usize, &LoadedSeries)| series[at + 1..].iter().all(|o| o.labels != one.labels);
        let last = series.iter().enumerate().filter(is_last).map(|(_, series)| series);
        let request = WriteRequest { timeseries: last.map(to_wire).collect(), metadata: vec![] };
        let body = snap::raw::Encoder::new()
            .compress_vec(&request.encode_to_vec())
            .map_err(|error| error.to_string())?;
        let answer = self.writes.post_remote_write("/api/v1/push", &body);
        answer.and_then(|answer| answer.into_text()).map_err(|error| error.to_string())?;
        if self.flushes {
            let flushed = self.writes.get("/flush", &[("tenant", &self.tenant())]);
            flushed.and_then(|answer| answer.into_text()).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn instant(&mut self, query: &str, time_ms: i64) -> Result<Evaluated, String> {
        self.ask("query", &[("query", query), ("time", &seconds(time_ms))])
    }

    fn range(&mut self, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Evaluated, String> {
        let (start, end, step) = (seconds(start_ms), seconds(end_ms), seconds(step_ms));
        self.ask("query_range", &[("query", query), ("start", &start), ("end", &end), ("step", &step)])
    }

    fn shows_buckets_alone(&self) -> bool {
        true
    }
}

fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    format!("{sign}{}.{:03}", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)
}

fn to_wire(series: &LoadedSeries) -> TimeSeries {
    let label = |(name, value): (&str, &str)| Label { name: name.into(), value: value.into() };
    let mut wire = TimeSeries { labels: series.labels.iter().map(label).collect(), ..Default::default() };
    for sample in &series.samples {
        match &sample.value {
            SampleValue::Float(value) => {
                wire.samples.push(Sample { value: *value, timestamp: sample.timestamp_ms });
            }
            SampleValue::Histogram(histogram) => {
                wire.histograms.push(histogram_to_wire(histogram, sample.timestamp_ms));
            }
        }
    }
    wire
}

fn histogram_to_wire(histogram: &FloatHistogram, timestamp: i64) -> Histogram {
    let spans = |buckets: &Buckets| {
        let spans = buckets.spans().into_iter();
        spans.map(|span| BucketSpan { offset: span.offset, length: span.length }).collect()
    };
    Histogram {
        count: Some(Count::Float(histogram.count)),
        sum: histogram.sum,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: Some(ZeroCount::Float(histogram.zero_count)),
        positive_spans: spans(&histogram.positive),
        positive_counts: histogram.positive.counts().to_vec(),
        negative_spans: spans(&histogram.negative),
        negative_counts: histogram.negative.counts().to_vec(),
        reset_hint: match histogram.counter_reset {
            CounterReset::Unknown => 0,
            CounterReset::Reset => 1,
            CounterReset::NotReset => 2,
            CounterReset::Gauge => 3,
        },
        timestamp,
        custom_values: histogram.custom_bounds().to_vec(),
        ..Default::default()
    }
}
