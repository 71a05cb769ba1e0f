//! Clients that write all the time, through whichever node they like, like a load balancer's: a connection that fails is
//! tried once more, at another node. Everything else that is no success is a failure of the cluster.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bench::http::Connection;
use bench::remote_write::{EncodedLabels, RequestBuilder};
use bench::rng::Rng;
use bench::stream::now_ms;

use crate::cluster::Cluster;
use crate::ledger::Ledger;

const WRITERS: usize = 4;
const SERIES_PER_WRITER: usize = 12;

/// Between two requests of a writer: what is tested needs some of the machine, too.
const PAUSE: Duration = Duration::from_millis(10);

/// No stretch of load takes longer on any machine that runs tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// A load that goes on until it is stopped.
pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
}

struct Shared {
    nodes: Vec<(SocketAddr, AtomicBool)>,
    stop: AtomicBool,
    acked_requests: AtomicU64,
    /// Requests that each writer has begun.
    begun: Vec<AtomicU64>,
    /// Whether a failure is what is to be expected now.
    may_fail: AtomicBool,
    ledger: Mutex<Ledger>,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Starts writing to all nodes.
    pub fn start(cluster: &Cluster, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            nodes: cluster.nodes.iter().map(|node| (node.http, AtomicBool::new(true))).collect(),
            stop: AtomicBool::new(false),
            acked_requests: AtomicU64::new(0),
            begun: (0..WRITERS).map(|_| AtomicU64::new(0)).collect(),
            may_fail: AtomicBool::new(false),
            ledger: Mutex::default(),
            failures: Mutex::default(),
        });
        let writers = (0..WRITERS).map(|writer| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.write(writer, Rng::new(seed + writer as u64)))
        });
        Load { writers: writers.collect(), shared }
    }

    /// Nobody begins a request at this node from now on, and none is on its way there.
    pub fn avoid(&self, node: usize) {
        self.shared.nodes[node].1.store(false, Ordering::SeqCst);
        self.wait_for_those_begun();
    }

    /// Requests may fail from now on: too much is away. Or none that begins from now on.
    pub fn may_fail(&self, may_fail: bool) {
        if !may_fail {
            self.wait_for_those_begun();
        }
        self.shared.may_fail.store(may_fail, Ordering::SeqCst);
    }

    fn wait_for_those_begun(&self) {
        let begun = |writer: &AtomicU64| writer.load(Ordering::SeqCst);
        let before: Vec<u64> = self.shared.begun.iter().map(begun).collect();
        // What a writer had on its way has ended when it begins the next one.
        let begin = Instant::now();
        while self.shared.begun.iter().zip(&before).any(|(writer, before)| begun(writer) == *before) {
            assert!(begin.elapsed() < PATIENCE, "a request takes longer than {PATIENCE:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes go to this node again.
    pub fn allow(&self, node: usize) {
        self.shared.nodes[node].1.store(true, Ordering::SeqCst);
    }

    /// Waits until so many more requests were acknowledged.
    pub fn wait_for_acks(&self, requests: u64) {
        let acked = || self.shared.acked_requests.load(Ordering::SeqCst);
        let (enough, begin) = (acked() + requests, Instant::now());
        while acked() < enough {
            let failures = self.shared.failures.lock().unwrap();
            assert!(failures.len() < 100, "too much fails: {}", failures.last().unwrap());
            drop(failures);
            assert!(begin.elapsed() < PATIENCE, "too few acknowledgements within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// What was sent and acknowledged until now.
    pub fn so_far(&self) -> Ledger {
        self.shared.ledger.lock().unwrap().clone()
    }

    /// Ends the load; what was sent, and what failed.
    pub fn stop(self) -> (Ledger, Vec<String>) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.writers.into_iter().for_each(|writer| writer.join().expect("a writer does not panic"));
        let ledger = self.shared.ledger.lock().unwrap().clone();
        let failures = self.shared.failures.lock().unwrap().clone();
        (ledger, failures)
    }
}

impl Shared {
    fn write(&self, writer: usize, mut rng: Rng) {
        let labels: Vec<EncodedLabels> = (0..SERIES_PER_WRITER)
            .map(|series| {
                let (writer, series) = (writer.to_string(), series.to_string());
                EncodedLabels::new(&[("__name__", "load"), ("series", &series), ("writer", &writer)])
            })
            .collect();
        let mut connections: Vec<Connection> = self
            .nodes
            .iter()
            .map(|(node, _)| Connection::new(*node).with_timeout(Duration::from_secs(30)))
            .collect();
        let mut request = RequestBuilder::default();
        let mut last_ms = now_ms();
        while !self.stop.load(Ordering::SeqCst) {
            thread::sleep(PAUSE);
            last_ms = now_ms().max(last_ms + 1);
            {
                let mut ledger = self.ledger.lock().unwrap();
                for (series, labels) in labels.iter().enumerate() {
                    let value = rng.unit();
                    ledger.sent((writer, series), last_ms, value);
                    request.push(labels, last_ms, value);
                }
            }
            self.begun[writer].fetch_add(1, Ordering::SeqCst);
            match self.post(&request.finish(), &mut connections, &mut rng) {
                Ok(()) => {
                    let mut ledger = self.ledger.lock().unwrap();
                    (0..SERIES_PER_WRITER).for_each(|series| ledger.acked((writer, series), last_ms));
                    self.acked_requests.fetch_add(1, Ordering::SeqCst);
                }
                Err(_) if self.may_fail.load(Ordering::SeqCst) => {}
                Err(failure) => self.failures.lock().unwrap().push(failure),
            }
        }
    }

    fn post(&self, body: &[u8], connections: &mut [Connection], rng: &mut Rng) -> Result<(), String> {
        let allowed: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].1.load(Ordering::SeqCst)).collect();
        let first = *rng.pick(&allowed);
        let others: Vec<usize> = allowed.into_iter().filter(|node| *node != first).collect();
        let second = (!others.is_empty()).then(|| *rng.pick(&others));
        let mut error = String::new();
        for node in [Some(first), second].into_iter().flatten() {
            match connections[node].post_remote_write("/api/v1/push", body) {
                Ok(answer) if (200..300).contains(&answer.status) => return Ok(()),
                Ok(answer) => {
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    return Err(format!("node {node} answered {}: {text}", answer.status));
                }
                Err(failure) => error = format!("node {node}: {failure}"),
            }
        }
        Err(error)
    }
}
