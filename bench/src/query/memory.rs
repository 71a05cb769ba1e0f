//! The memory run: what one wide aggregation needs beyond the data.
//!
//! About 100,000 bucket series, six hours at 60 s, and one `sum by (le) (rate(..))` range query over all of them. An
//! engine that keeps rows for groups only needs little; one that collects series first needs all of them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::api::Call;
use super::mix::SPAN_MS;
use super::{END_BEFORE_MS, QUIET, QUIET_LIMIT, STEP_MS};
use crate::error::Result;
use crate::sender::{self, Part};
use crate::server::{Product, Server};
use crate::stream::{Shape, k8s, now_ms};

/// Three quarters of the stream's series are buckets.
const SERIES: usize = 132_000;
const QUERY: &str = "sum by (le) (rate(response_latency_ms_bucket[5m]))";
const POLL: Duration = Duration::from_millis(2);

/// One server's figures.
#[derive(Debug, Clone)]
pub struct Peak {
    /// Name of the server.
    pub server: String,
    /// Anonymous memory before the query, in bytes.
    pub before_bytes: u64,
    /// The highest during the query, in bytes.
    pub peak_bytes: u64,
    /// How long the query took.
    pub wall: Duration,
}

impl Peak {
    /// What the query needed beyond the data, in bytes.
    pub fn growth_bytes(&self) -> u64 {
        self.peak_bytes.saturating_sub(self.before_bytes)
    }
}

/// Loads each server in turn and asks it the query once.
pub fn run(
    products: &[Arc<dyn Product>],
    scale: f64,
    seed: u64,
    lanes: usize,
    folder: &Path,
) -> Result<Vec<Peak>> {
    let series = ((SERIES as f64 * scale).round() as usize).max(1);
    let steps = (SPAN_MS / STEP_MS) as u32;
    let shape = Shape { steps, step_ms: STEP_MS, lanes, end_ms: now_ms() & !1, tail_requests: 0 };
    eprintln!("generating {series} series x {steps} steps");
    let stream = k8s::generate(folder, series, shape, seed)?;
    let end_ms = (shape.end_ms - END_BEFORE_MS) | 1;
    let call = Call::Range { expr: QUERY.into(), start_ms: end_ms - SPAN_MS, end_ms, step_ms: STEP_MS };
    let peak = |product: &Arc<dyn Product>| {
        eprintln!("loading {}", product.name());
        let server = Server::start(product, folder)?;
        sender::send(&stream, &server, Part::Main)?;
        server.flush(&mut server.connect())?;
        server.processes().wait_quiescent(QUIET, QUIET_LIMIT)?;
        let before_bytes = server.processes().rss_anon_bytes()?;
        let begun = std::time::Instant::now();
        let (peak_bytes, answer) =
            server.processes().rss_anon_peak_during(POLL, || call.send(&server, &mut server.connect()));
        answer?;
        Ok(Peak { server: product.name().to_owned(), before_bytes, peak_bytes, wall: begun.elapsed() })
    };
    products.iter().map(peak).collect()
}
