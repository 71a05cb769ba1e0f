//! The query run: six hours of 10,000 series at 60 s in every server, then the mix, interleaved.
//!
//! All servers hold the same samples and run at once; each query goes to one after the other, several rounds, so that
//! the machine's moods hit all alike. Answers are compared with Prometheus's.

pub mod api;
pub mod compare;
pub mod memory;
pub mod mix;
pub mod ties;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::ties::Ranking;
use crate::error::{Error, Result};
use crate::sender::{self, Part};
use crate::server::{Product, Server};
use crate::stream::{Shape, k8s, now_ms};

const SERIES: usize = 10_000;
const STEP_MS: i64 = 60_000;
/// How far the mix ends before the newest sample: VictoriaMetrics treats the last 30 s before now apart.
pub(crate) const END_BEFORE_MS: i64 = 5 * 60_000;
pub(crate) const QUIET: Duration = Duration::from_secs(7);
pub(crate) const QUIET_LIMIT: Duration = Duration::from_secs(180);
/// Prometheus looks once a minute whether its head can be compacted.
const COMPACTION_SETTLE: Duration = Duration::from_secs(65);

/// One server's figures for one query.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Median wall time, the answer read to its end.
    pub wall: Duration,
    /// Mean CPU time of the server, of all its threads; exact to 10 ms divided by the rounds.
    pub cpu: Duration,
    /// First difference from the reference's answer, which is Prometheus's in the query run; None if there is none, or no
    /// reference.
    pub difference: Option<String>,
    /// Bytes of the answer.
    pub answer_bytes: usize,
}

/// All servers' figures for one query, in the servers' order. A server that refused it has the error's text.
#[derive(Debug, Clone)]
pub struct Row {
    /// Name of the query.
    pub query: &'static str,
    /// One a server.
    pub timings: Vec<std::result::Result<Timing, String>>,
}

/// What of the mix is asked, and how often.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Part of the names of the queries; empty for all.
    pub names_with: String,
    /// How often each is asked.
    pub rounds: usize,
}

/// Loads the servers and runs the mix.
pub fn run(
    products: &[Arc<dyn Product>],
    scale: f64,
    seed: u64,
    lanes: usize,
    asked: &Asked,
    folder: &Path,
) -> Result<Vec<Row>> {
    let series = ((SERIES as f64 * scale).round() as usize).max(1);
    let steps = (mix::SPAN_MS / STEP_MS) as u32;
    let shape = Shape { steps, step_ms: STEP_MS, lanes, end_ms: now_ms() & !1, tail_requests: 0 };
    eprintln!("generating {series} series x {steps} steps");
    let stream = k8s::generate(folder, series, shape, seed)?;

    let mut servers = Vec::new();
    for product in products {
        eprintln!("loading {}", product.name());
        let server = Server::start(product, folder)?;
        sender::send(&stream, &server, Part::Main)?;
        server.flush(&mut server.connect())?;
        servers.push(server);
    }
    eprintln!("waiting for background work");
    std::thread::sleep(COMPACTION_SETTLE);
    for server in &servers {
        server.processes().wait_quiescent(QUIET, QUIET_LIMIT)?;
    }

    let mut queries = mix::mix((shape.end_ms - END_BEFORE_MS) | 1);
    queries.retain(|query| query.name.contains(&asked.names_with));
    let prometheus = servers.iter().position(|server| server.product.name() == "prometheus");
    queries.iter().map(|query| measure(query, &servers, asked.rounds, prometheus)).collect()
}

/// Sends a query to each server in turn, several rounds. Answers are compared with that of the server `reference_index`.
pub(crate) fn measure(
    query: &mix::Query,
    servers: &[Server],
    rounds: usize,
    reference_index: Option<usize>,
) -> Result<Row> {
    let mut connections: Vec<_> = servers.iter().map(Server::connect).collect();
    // The round that warms up is also the one that is compared.
    let answers: Vec<Result<String>> = servers
        .iter()
        .zip(&mut connections)
        .map(|(server, connection)| query.call.send(server, connection))
        .collect();
    let reference =
        reference_index.and_then(|index| answers[index].as_deref().ok()).map(api::parse).transpose()?;

    let mut walls = vec![Vec::new(); servers.len()];
    let cpu_seconds =
        || servers.iter().map(|server| server.processes().cpu_seconds()).collect::<Result<Vec<f64>>>();
    // Over all rounds at once: the kernel counts threads that have ended in steps of 10 ms only.
    let cpu_before = cpu_seconds()?;
    for _ in 0..rounds.max(1) {
        for (index, server) in servers.iter().enumerate() {
            if answers[index].is_err() {
                server.check_running()?;
                continue;
            }
            let begun = Instant::now();
            query.call.send(server, &mut connections[index])?;
            walls[index].push(begun.elapsed());
        }
    }
    let cpu_after = cpu_seconds()?;

    let mut timings = Vec::new();
    for (index, answer) in answers.into_iter().enumerate() {
        timings.push(match answer {
            Err(error @ Error::Answer { .. }) => Err(error.to_string()),
            Err(error) => return Err(error),
            Ok(body) => {
                let difference =
                    reference_index.zip(reference.as_ref()).map(|(reference_index, reference)| {
                        let found = api::parse(&body)?;
                        let difference = compare::difference(reference, &found, compare::RELATIVE_TOLERANCE);
                        let (Some(difference), Some(top)) = (&difference, &query.top) else {
                            return Ok(difference);
                        };
                        let mut ask = |index: usize| top.1.ask(&servers[index], &mut connections[index]);
                        let expected = Ranking { top: reference.clone(), of: ask(reference_index)? };
                        let found = Ranking { top: found, of: ask(index)? };
                        Ok(explained_by_ties(
                            servers[index].product.name(),
                            difference,
                            top.0,
                            &expected,
                            &found,
                        ))
                    });
                walls[index].sort_unstable();
                Ok(Timing {
                    wall: walls[index][walls[index].len() / 2],
                    cpu: Duration::from_secs_f64(
                        ((cpu_after[index] - cpu_before[index]) / rounds.max(1) as f64).max(0.0),
                    ),
                    difference: difference.transpose()?.flatten(),
                    answer_bytes: body.len(),
                })
            }
        });
    }
    Ok(Row { query: query.name, timings })
}

/// What is left of a difference between two `topk(k, ..)` once ties are taken for equal. Shows them.
fn explained_by_ties(
    server: &str,
    difference: &str,
    k: usize,
    expected: &Ranking,
    found: &Ranking,
) -> Option<String> {
    match ties::ties(k, expected, found) {
        Ok(ties) => {
            let ties = ties.join("; ");
            eprintln!("{server}: {difference}, but only for ties (the reference's value first): {ties}");
            None
        }
        Err(difference) => Some(difference),
    }
}
