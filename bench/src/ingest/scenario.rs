//! The named streams of the ingest run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Result;
use crate::stream::recording::Recording;
use crate::stream::{Shape, Stream, k8s, node_exporter, now_ms};

const STEP_MS: i64 = 15_000;
const TAIL_REQUESTS: usize = 100;
const NODE_EXPORTER_HOSTS: usize = 60;
const NODE_EXPORTER_STEPS: u32 = 240;

/// One of the streams that the targets speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// 10,000 series, 1,440 steps: six hours of a small cluster.
    #[value(name = "10k")]
    Long,
    /// 200,000 series, 40 steps: 8M samples, none of them in a snapshot at the kill.
    #[value(name = "200k")]
    Wide,
    /// 1,000,000 series, 6 steps: mostly series creation.
    #[value(name = "1m")]
    Widest,
    /// A recorded node_exporter, replayed for 60 hosts and 240 steps.
    #[value(name = "node-exporter")]
    NodeExporter,
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Scenario::Long => "10k",
            Scenario::Wide => "200k",
            Scenario::Widest => "1m",
            Scenario::NodeExporter => "node-exporter",
        })
    }
}

/// Where a node_exporter recording comes from.
#[derive(Debug, Clone)]
pub struct RecordingSource {
    /// A saved one; recorded now if there is none.
    pub path: Option<PathBuf>,
    /// Time between two scrapes when recording now.
    pub interval: Duration,
}

impl Scenario {
    /// Makes the stream in a file of `folder`, with `scale` times the series.
    pub fn generate(
        self,
        folder: &Path,
        scale: f64,
        seed: u64,
        lanes: usize,
        recording: &RecordingSource,
    ) -> Result<Stream> {
        let scaled = |count: usize| ((count as f64 * scale).round() as usize).max(1);
        let shape = |steps| Shape {
            steps,
            step_ms: STEP_MS,
            lanes,
            end_ms: now_ms() & !1,
            tail_requests: TAIL_REQUESTS,
        };
        match self {
            Scenario::Long => k8s::generate(folder, scaled(10_000), shape(1_440), seed),
            Scenario::Wide => k8s::generate(folder, scaled(200_000), shape(40), seed),
            Scenario::Widest => k8s::generate(folder, scaled(1_000_000), shape(6), seed),
            Scenario::NodeExporter => {
                let hosts = scaled(NODE_EXPORTER_HOSTS);
                let recording = match &recording.path {
                    Some(path) => Recording::load(path)?,
                    None => {
                        let scrapes = node_exporter::scrapes_needed(hosts, NODE_EXPORTER_STEPS);
                        eprintln!("recording {scrapes} scrapes of node_exporter");
                        Recording::record(scrapes, recording.interval)?
                    }
                };
                node_exporter::generate(folder, &recording, hosts, shape(NODE_EXPORTER_STEPS))
            }
        }
    }
}
