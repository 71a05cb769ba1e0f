//! A fourth node joins a cluster under load, and leaves it again: who notices, how long it takes, what it costs.
//!
//! All processes are on one machine, with the load beside them. So times are upper bounds, and shares and counts are what
//! they are anywhere.

mod load;
mod nodes;
pub mod report;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

pub use self::load::Scale;
use self::load::{Load, tenant};
use self::nodes::Nodes;
use crate::error::{Error, Result};

/// The node that comes and goes.
const FOURTH: usize = 3;

/// Load before anything changes.
const BEFORE: Duration = Duration::from_secs(30);

/// Its share is looked at so long after it is a member, and for so long.
const SHARE_AFTER: Duration = Duration::from_secs(30);
const SHARE_FOR: Duration = Duration::from_secs(15);

/// Nothing takes longer.
const PATIENCE: Duration = Duration::from_secs(300);

const POLL: Duration = Duration::from_millis(100);

/// How often all nodes are asked what is closed: that is work for them, too.
const LOOK: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Requests that were answered with success.
    pub requests: u64,
    /// Requests that failed.
    pub failed: Vec<String>,
    /// The fourth node's part of what was logged by all, divided by a quarter.
    pub share_of_fair: f64,
    /// From the epoch with four members to the one that closes what ended.
    pub closed_after: Duration,
    /// Bytes of ended segments that nodes got from each other.
    pub pulled_ended_bytes: f64,
    /// The largest ratio, of all nodes, of peak memory after the fourth came and before.
    pub memory_growth: f64,
    /// Peak memory of each node, before the fourth came and afterwards.
    pub peak_bytes: (Vec<u64>, Vec<u64>),
    /// Samples in all blocks, divided by those that were acknowledged.
    pub uploaded_ratio: f64,
    /// From the request to drain the fourth node to the end of its process.
    pub drained_after: Duration,
}

/// Runs it in a folder.
pub fn run(program: &Path, folder: &Path, scale: Scale) -> Result<Figures> {
    let mut figures = Figures::default();
    let mut nodes = Nodes::new(program.to_owned(), folder, FOURTH + 1)?;
    for number in 0..FOURTH {
        nodes.start(number)?;
    }
    for number in 0..FOURTH {
        nodes.wait_ready(number)?;
    }
    wait("three members", || Ok(members(&nodes.ring(0)?) == FOURTH))?;
    let addresses: Vec<_> = (0..=FOURTH).map(|number| nodes.node(number).http).collect();
    let load = Load::start(scale, &addresses, FOURTH);
    let before = peaks(&nodes, || thread::sleep(BEFORE));

    nodes.start(FOURTH)?;
    nodes.wait_ready(FOURTH)?;
    wait("four members", || Ok(members(&nodes.ring(0)?) == FOURTH + 1))?;
    let (joined, epoch) = (Instant::now(), nodes.ring(0)?["epoch"].as_u64().unwrap_or(0));
    load.allow(FOURTH, true);
    eprintln!("four members with epoch {epoch}");
    let mut outcome = Ok(());
    let after = peaks(&nodes, || {
        outcome = after_join(&nodes, joined, epoch, &mut figures);
    });
    outcome?;
    let growth = before.iter().zip(&after).filter(|(before, _)| **before > 0);
    figures.peak_bytes = (before.clone(), after.clone());
    figures.memory_growth = growth.map(|(before, after)| *after as f64 / *before as f64).fold(0.0, f64::max);
    figures.pulled_ended_bytes = sum(&nodes, "gyre_pulled_ended_bytes_total")?;

    eprintln!("draining the fourth");
    let begun = Instant::now();
    let mut connection = crate::http::Connection::new(nodes.node(FOURTH).http);
    connection.post_form("/drain", &[])?.into_text()?;
    wait("the others act without it", || Ok(members(&nodes.ring(0)?) == FOURTH))?;
    // It is not ready any more, so that a load balancer leaves it alone.
    load.allow(FOURTH, false);
    wait("it has stopped", || Ok(nodes.has_ended(FOURTH)))?;
    figures.drained_after = begun.elapsed();
    thread::sleep(Duration::from_secs(5));
    figures.requests = load.requests();
    let (samples, failed) = load.stop();
    figures.failed = failed;
    figures.uploaded_ratio = uploaded(&nodes, program, folder, (scale.tenants, samples))?;
    Ok(figures)
}

fn after_join(nodes: &Nodes, joined: Instant, epoch: u64, figures: &mut Figures) -> Result<()> {
    let mut closed = None;
    look(nodes, joined, SHARE_AFTER, epoch, &mut closed)?;
    let logged = |number| nodes.metric(number, "gyre_wal_written_bytes_total");
    let before: Vec<f64> = (0..=FOURTH).map(logged).collect::<Result<_>>()?;
    look(nodes, joined, SHARE_AFTER + SHARE_FOR, epoch, &mut closed)?;
    let after: Vec<f64> = (0..=FOURTH).map(logged).collect::<Result<_>>()?;
    let written: Vec<f64> = before.iter().zip(&after).map(|(before, after)| after - before).collect();
    figures.share_of_fair = written[FOURTH] / written.iter().sum::<f64>() * (FOURTH + 1) as f64;
    while closed.is_none() && joined.elapsed() < PATIENCE {
        look(nodes, joined, joined.elapsed() + LOOK, epoch, &mut closed)?;
    }
    figures.closed_after = closed.ok_or_else(|| Error::server("gyre", "what ended is not closed"))?;
    Ok(())
}

/// Looks until so long after the join whether what ended with it is closed, and notes when.
fn look(
    nodes: &Nodes,
    joined: Instant,
    until: Duration,
    epoch: u64,
    closed: &mut Option<Duration>,
) -> Result<()> {
    while joined.elapsed() < until {
        if closed.is_none() && is_closed(nodes, epoch)? {
            *closed = Some(joined.elapsed());
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Whether all that had ended by an epoch is closed, at all nodes.
fn is_closed(nodes: &Nodes, epoch: u64) -> Result<bool> {
    for number in 0..=FOURTH {
        if nodes.ring(number)?["closed_through"].as_u64().unwrap_or(0) < epoch {
            return Ok(false);
        }
    }
    Ok(true)
}

fn members(ring: &Value) -> usize {
    ring["members"].as_array().map_or(0, Vec::len)
}

fn sum(nodes: &Nodes, metric: &str) -> Result<f64> {
    nodes.running().map(|number| nodes.metric(number, metric)).sum()
}

/// Samples in all blocks after everything was flushed, divided by those that were acknowledged.
fn uploaded(nodes: &Nodes, program: &Path, folder: &Path, (tenants, samples): (usize, u64)) -> Result<f64> {
    for number in nodes.running() {
        let (status, text) = nodes.get(number, "/flush")?;
        if status != 204 {
            return Err(Error::server("gyre", format!("flush: {status} {text}")));
        }
    }
    let mut stored = 0;
    for number in 0..tenants {
        let url = format!("--storage.url=file://{}", folder.join("bucket").display());
        let tenant = format!("--tenant={}", tenant(number));
        let output = Command::new(program).args(["blocks", "list", "--json", &url, &tenant]).output();
        let output = output.map_err(Error::io("listing blocks"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let json: Value =
            serde_json::from_str(&text).map_err(|_| Error::malformed("gyre blocks list", text))?;
        stored += samples_in(&json);
    }
    Ok(stored as f64 / samples as f64)
}

/// The sum of all `samples` in some JSON.
fn samples_in(json: &Value) -> u64 {
    match json {
        Value::Object(fields) => {
            let own = fields.get("samples").and_then(Value::as_u64);
            own.unwrap_or_else(|| fields.values().map(samples_in).sum())
        }
        Value::Array(items) => items.iter().map(samples_in).sum(),
        _ => 0,
    }
}

/// Peak anonymous memory of each node during some work; 0 for one that does not run.
fn peaks(nodes: &Nodes, work: impl FnOnce()) -> Vec<u64> {
    let peaks = Mutex::new(vec![0; FOURTH + 1]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for number in nodes.running() {
                    let bytes = nodes.process(number).and_then(|process| process.rss_anon_bytes().ok());
                    let mut peaks = peaks.lock().unwrap_or_else(PoisonError::into_inner);
                    peaks[number] = peaks[number].max(bytes.unwrap_or(0));
                }
                thread::sleep(POLL);
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
    peaks.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn wait(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !is_so()? {
        if begun.elapsed() > PATIENCE {
            return Err(Error::server("gyre", format!("not within {PATIENCE:?}: {what}")));
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// The program, if it is there.
pub fn program(given: Option<PathBuf>) -> Result<PathBuf> {
    let program = given.unwrap_or_else(crate::server::Gyre::sibling_program);
    if program.exists() {
        return Ok(program);
    }
    Err(Error::Missing {
        program,
        hint: "run `cargo build --release` first, or name a binary by --gyre".into(),
    })
}
