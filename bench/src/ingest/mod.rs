//! The ingest run: the same bytes into each server, what that cost, and what a `kill -9` loses.
//!
//! For each server: start on a fresh folder; idle figures; send the measured part; wait until the process is quiet,
//! background work included; read its usage; send the tail and `kill -9` right after its last ack; restart; time to the
//! first correct answer of a count; count everything.

mod recovery;
mod scenario;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

pub use recovery::Recovery;
pub use scenario::{RecordingSource, Scenario};

use crate::error::Result;
use crate::sender::{self, Part};
use crate::server::{Product, Server};
use crate::stream::Stream;

/// Prometheus looks once a minute whether its head can be compacted; a stream longer than this makes it do so.
const COMPACTING_SPAN_MS: i64 = 3 * 3_600 * 1_000;
const COMPACTION_SETTLE: Duration = Duration::from_secs(65);
const QUIET: Duration = Duration::from_secs(4);
/// Long enough for VictoriaMetrics to have its parts and its index on disk: killed after 8 s it lost all of them.
const QUIET_AFTER_LOAD: Duration = Duration::from_secs(20);
const PEAK_POLL: Duration = Duration::from_millis(100);
const QUIET_LIMIT: Duration = Duration::from_secs(180);

/// What one server needed for one scenario.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Name of the server.
    pub server: String,
    /// Its version.
    pub version: String,
    /// What its ack means.
    pub fsync_policy: String,
    /// CPU seconds per million samples, background work until quiet included.
    pub cpu_seconds_per_million: f64,
    /// Acknowledged samples a second.
    pub samples_per_second: f64,
    /// Half of the requests were faster.
    pub write_p50: Duration,
    /// All but 1 % of the requests were faster.
    pub write_p99: Duration,
    /// Anonymous memory of the idle process in bytes.
    pub idle_rss_bytes: u64,
    /// Growth of anonymous memory per series, quiet after the load, in bytes.
    pub rss_bytes_per_series: f64,
    /// The same at its highest during the load.
    pub peak_rss_bytes_per_series: f64,
    /// Log bytes per sample; None without a log.
    pub wal_bytes_per_sample: Option<f64>,
    /// Other bytes in the data folder per sample.
    pub data_bytes_per_sample: f64,
    /// Bytes written to the disk per sample, rewriting included.
    pub written_bytes_per_sample: f64,
    /// Requests sent again after a 429 or 5xx.
    pub retries: usize,
    /// Whether the process became quiet in time.
    pub quiet: bool,
    /// After the kill.
    pub recovery: Recovery,
}

/// Runs one server through one stream. `folder` holds its data folder meanwhile.
pub fn run(product: &Arc<dyn Product>, stream: &Stream, folder: &Path) -> Result<Outcome> {
    let mut server = Server::start(product, folder)?;
    let process = server.processes();
    process.wait_quiescent(QUIET, QUIET_LIMIT)?;
    let idle_rss = process.rss_anon_bytes()?;
    let idle_written = process.written_bytes()?;
    let idle_wal = server.wal_bytes();
    let idle_data = server.data_bytes();
    let cpu_before = process.cpu_seconds()?;

    let (peak_rss, sent) =
        process.rss_anon_peak_during(PEAK_POLL, || sender::send(stream, &server, Part::Main));
    let sent = sent?;
    if stream.shape.span_ms() > COMPACTING_SPAN_MS {
        thread::sleep(COMPACTION_SETTLE);
    }
    let quiet = process.wait_quiescent(QUIET_AFTER_LOAD, QUIET_LIMIT)?;

    let samples = sent.samples as f64;
    let per_series = |bytes: u64| bytes.saturating_sub(idle_rss) as f64 / stream.series as f64;
    let per_sample = |now: u64, before: u64| now.saturating_sub(before) as f64 / samples;
    let cpu = process.cpu_seconds()? - cpu_before;
    let settled_rss = process.rss_anon_bytes()?;
    let written = process.written_bytes()?;
    let wal = server.wal_bytes();
    let data = server.data_bytes();
    let recovery = recovery::kill_and_recover(&mut server, stream)?;

    Ok(Outcome {
        server: product.name().to_owned(),
        version: product.version(),
        fsync_policy: product.fsync_policy().to_owned(),
        cpu_seconds_per_million: cpu / samples * 1e6,
        samples_per_second: samples / sent.wall.as_secs_f64(),
        write_p50: sent.latency_quantile(0.5),
        write_p99: sent.latency_quantile(0.99),
        idle_rss_bytes: idle_rss,
        rss_bytes_per_series: per_series(settled_rss),
        peak_rss_bytes_per_series: per_series(peak_rss.max(settled_rss)),
        wal_bytes_per_sample: wal.map(|wal| per_sample(wal, idle_wal.unwrap_or(0))),
        data_bytes_per_sample: per_sample(data, idle_data),
        written_bytes_per_sample: per_sample(written, idle_written),
        retries: sent.retries,
        quiet,
        recovery,
    })
}
