//! Heap allocations per sample in steady state: series known, chunks opened and cut, nothing new but samples.
//!
//! Each server counts its own: the Go runtime always, gyre when built with `--features count-allocations`. Read from
//! `/metrics` before and after the second half of a stream.

use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::http::Connection;
use crate::sender::{self, Part};
use crate::server::{Product, Server};
use crate::stream::{Shape, exposition, k8s, now_ms};

const SERIES: usize = 10_000;
/// Twice Prometheus's 120 samples a chunk, so that the measured half has a share of chunk cuts.
const STEPS: u32 = 240;
const STEP_MS: i64 = 15_000;

/// One server's count.
#[derive(Debug, Clone, PartialEq)]
pub struct Allocations {
    /// Name of the server.
    pub server: String,
    /// Heap allocations per sample; None when it does not count them.
    pub per_sample: Option<f64>,
}

/// Counts for each server in turn.
pub fn run(
    products: &[Arc<dyn Product>],
    scale: f64,
    seed: u64,
    lanes: usize,
    folder: &Path,
) -> Result<Vec<Allocations>> {
    let series = ((SERIES as f64 * scale).round() as usize).max(1);
    let shape = Shape { steps: STEPS, step_ms: STEP_MS, lanes, end_ms: now_ms() & !1, tail_requests: 0 };
    let stream = k8s::generate(folder, series, shape, seed)?;
    let count = |product: &Arc<dyn Product>| {
        let server = Server::start(product, folder)?;
        let mut connection = server.connect();
        sender::send(&stream, &server, Part::Before(STEPS / 2))?;
        let before = allocations(product.as_ref(), &mut connection)?;
        let sent = sender::send(&stream, &server, Part::From(STEPS / 2))?;
        let after = allocations(product.as_ref(), &mut connection)?;
        let per_sample = before.zip(after).map(|(before, after)| (after - before) / sent.samples as f64);
        Ok(Allocations { server: product.name().to_owned(), per_sample })
    };
    products.iter().map(count).collect()
}

fn allocations(product: &dyn Product, connection: &mut Connection) -> Result<Option<f64>> {
    let text = connection.get("/metrics", &[])?.into_text()?;
    Ok(exposition::metric_sum(&exposition::parse(&text)?, product.allocations_metric()))
}
