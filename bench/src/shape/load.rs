//! Many tenants that write all the time, as many agents behind a load balancer do.
//!
//! Each writer sends the tenants' series one after the other to the nodes in turn. A connection that fails is tried once more
//! at the next node; everything else that is no success is a failed request.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::http::Connection;
use crate::remote_write::{EncodedLabels, RequestBuilder};
use crate::stream::now_ms;

/// How much is written. Each tenant has two shards; with many tenants the ring is fine enough for fair shares.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Tenants.
    pub tenants: usize,
    /// Series of each, all in one request.
    pub series: usize,
    /// Time between two samples of a series.
    pub step: Duration,
}

const WRITERS: usize = 3;

/// A load that goes on until it is stopped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    scale: Scale,
    nodes: Vec<(SocketAddr, AtomicBool)>,
    stop: AtomicBool,
    samples: AtomicU64,
    requests: AtomicU64,
    failed: Mutex<Vec<String>>,
}

/// A tenant's name.
pub fn tenant(number: usize) -> String {
    format!("tenant-{number}")
}

impl Load {
    /// Writes to these nodes, but only to those that are allowed.
    pub fn start(scale: Scale, nodes: &[SocketAddr], allowed: usize) -> Load {
        let nodes = nodes.iter().enumerate().map(|(number, node)| (*node, AtomicBool::new(number < allowed)));
        let shared = Arc::new(Shared {
            scale,
            nodes: nodes.collect(),
            stop: AtomicBool::new(false),
            samples: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            failed: Mutex::default(),
        });
        let writers = (0..WRITERS).map(|writer| {
            let shared = shared.clone();
            std::thread::spawn(move || shared.write(writer))
        });
        Load { writers: writers.collect(), shared }
    }

    /// Whether a node gets requests from now on.
    pub fn allow(&self, node: usize, allowed: bool) {
        self.shared.nodes[node].1.store(allowed, Ordering::Relaxed);
    }

    /// Requests that were answered with success, so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Ends it; acknowledged samples, and what failed.
    pub fn stop(self) -> (u64, Vec<String>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            // A panic of a writer is seen in the figures.
            let _ = writer.join();
        }
        let failed = self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.shared.samples.load(Ordering::Relaxed), failed)
    }
}

impl Shared {
    fn write(&self, writer: usize) {
        let labels: Vec<EncodedLabels> = (0..self.scale.series)
            .map(|series| {
                EncodedLabels::new(&[("__name__", "requests_total"), ("pod", &format!("pod-{series}"))])
            })
            .collect();
        let mut builder = RequestBuilder::default();
        let mut turn = writer;
        let mut count = 0.0;
        while !self.stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            count += 1.0;
            for number in (writer..self.scale.tenants).step_by(WRITERS) {
                let t_ms = now_ms();
                for (series, labels) in labels.iter().enumerate() {
                    builder.push(labels, t_ms, count * (series + 1) as f64);
                }
                let body = builder.finish();
                match self.post(&tenant(number), &body, &mut turn) {
                    Ok(()) => {
                        self.samples.fetch_add(labels.len() as u64, Ordering::Relaxed);
                        self.requests.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(failure) => {
                        self.failed.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                    }
                }
            }
            std::thread::sleep(self.scale.step.saturating_sub(begun.elapsed()));
        }
    }

    fn post(&self, tenant: &str, body: &[u8], turn: &mut usize) -> Result<(), String> {
        let mut error = String::new();
        for _ in 0..2 {
            let node = loop {
                *turn = (*turn + 1) % self.nodes.len();
                if self.nodes[*turn].1.load(Ordering::Relaxed) {
                    break self.nodes[*turn].0;
                }
            };
            let mut connection =
                Connection::new(node).with_tenant(tenant).with_timeout(Duration::from_secs(30));
            match connection.post_remote_write("/api/v1/push", body) {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(()),
                Ok(answer) => {
                    return Err(format!(
                        "{node}: {} {}",
                        answer.status,
                        String::from_utf8_lossy(&answer.body)
                    ));
                }
                Err(failure) => error = failure.to_string(),
            }
        }
        Err(error)
    }
}
