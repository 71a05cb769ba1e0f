//! The node_exporter stream: a recording of one real host, replayed for several.
//!
//! Scrapes recorded at a short interval are sent as if they were a step apart; host `h` begins `h` scrapes into the
//! recording, so that no two hosts send the same values at the same step. Recording fast makes counters move less
//! a step than they would in 15 s, the same for every server.

use std::path::Path;

use super::recording::Recording;
use super::{MetricId, MetricNames, Sample, Shape, Stream, StreamWriter};
use crate::error::{Error, Result};
use crate::remote_write::EncodedLabels;

/// One series on each CPU and mode of each host.
const PROBE_METRIC: &str = "node_cpu_seconds_total";

/// Scrapes that a stream of this many hosts and steps needs.
pub fn scrapes_needed(hosts: usize, steps: u32) -> usize {
    hosts + steps as usize
}

/// Makes the stream in a file of `folder`.
pub fn generate(folder: &Path, recording: &Recording, hosts: usize, shape: Shape) -> Result<Stream> {
    let needed = scrapes_needed(hosts, shape.steps);
    if recording.scrapes.len() < needed {
        let problem = format!("{} scrapes, {needed} are needed", recording.scrapes.len());
        return Err(Error::malformed("the recording", problem));
    }
    let per_host = recording.series.len();
    let mut series = Vec::with_capacity(hosts * per_host);
    for host in 0..hosts {
        let instance = format!("10.1.{}.{}:9100", host >> 8, host & 255);
        for labels in &recording.series {
            let mut labels: Vec<(&str, &str)> =
                labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            labels.extend([("instance", instance.as_str()), ("job", "node")]);
            series.push(EncodedLabels::new(&labels));
        }
    }
    let mut metrics = MetricNames::default();
    let metric_of: Vec<MetricId> = recording
        .series
        .iter()
        .map(|labels| {
            let name = labels.iter().find(|(name, _)| name == "__name__");
            metrics.intern(name.map_or("", |(_, value)| value))
        })
        .collect();

    let mut writer = StreamWriter::create(folder, shape, metrics, PROBE_METRIC)?;
    'steps: for step in 0..=shape.steps {
        if step == shape.steps {
            writer.begin_tail(step)?;
        }
        for host in 0..hosts {
            let timestamp_ms = shape.timestamp_ms(step, host, hosts);
            let row = &recording.scrapes[step as usize + host];
            for (at, value) in row.iter().enumerate() {
                let index = host * per_host + at;
                let sample =
                    Sample { labels: &series[index], timestamp_ms, value: *value, metric: metric_of[at] };
                if !writer.push(step, index, sample)? {
                    break 'steps;
                }
            }
        }
    }
    writer.finish(series.len() as u64)
}
