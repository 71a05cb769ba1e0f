//! Gyre processes of one cluster, each of which comes and goes by itself.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::http::Connection;
use crate::process::Process;
use crate::server::free_port;

/// A node is ready sooner, or something is wrong.
const READY_MAX: Duration = Duration::from_secs(60);

/// An answer takes no longer: a flush uploads all that a node holds.
const GET_MAX: Duration = Duration::from_secs(600);

/// The nodes, running or not.
#[derive(Debug)]
pub struct Nodes {
    program: PathBuf,
    folder: PathBuf,
    seeds: Vec<SocketAddr>,
    all: Vec<Node>,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    name: String,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    rpc: SocketAddr,
    gossip: SocketAddr,
    process: Option<Child>,
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill().and_then(|()| process.wait());
        }
    }
}

impl Nodes {
    /// So many nodes with data below a folder; none runs yet.
    pub fn new(program: PathBuf, folder: &Path, count: usize) -> Result<Nodes> {
        fs::write(folder.join("secret"), "a secret of no importance\n")
            .map_err(Error::io("writing the secret"))?;
        let node = |number| {
            let (http, rpc, gossip) = (free_port()?, free_port()?, free_port()?);
            Ok(Node { name: format!("n{number}"), http, rpc, gossip, process: None })
        };
        let all: Vec<Node> = (0..count).map(node).collect::<Result<_>>()?;
        let seeds = all.iter().take(3).map(|node| node.gossip).collect();
        Ok(Nodes { program, folder: folder.to_owned(), seeds, all })
    }

    /// Starts one.
    pub fn start(&mut self, number: usize) -> Result<()> {
        let node = &mut self.all[number];
        let log = fs::File::create(self.folder.join(format!("{}.log", node.name)));
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GYRE_")) {
            command.env_remove(name);
        }
        command
            .arg(format!("--data-dir={}", self.folder.join(&node.name).display()))
            .arg(format!("--storage.url=file://{}", self.folder.join("bucket").display()))
            .arg(format!("--cluster.secret-file={}", self.folder.join("secret").display()))
            .arg(format!("--node.id={}", node.name))
            .arg(format!("--http.listen={}", node.http))
            .arg(format!("--rpc.listen={}", node.rpc))
            .arg(format!("--gossip.listen={}", node.gossip))
            .args(self.seeds.iter().map(|seed| format!("--gossip.join={seed}")));
        let log = log.map_err(Error::io("making a log"))?;
        let process = command.stdout(Stdio::null()).stderr(Stdio::from(log)).spawn();
        node.process = Some(process.map_err(Error::io(format!("starting {}", self.program.display())))?);
        Ok(())
    }

    /// Waits until it is ready.
    pub fn wait_ready(&self, number: usize) -> Result<()> {
        let begun = Instant::now();
        while !self.get(number, "/ready").is_ok_and(|answer| answer.0 == 200) {
            if begun.elapsed() > READY_MAX {
                return Err(Error::server("gyre", format!("{} is not ready", self.all[number].name)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether its process has ended by itself.
    pub fn has_ended(&mut self, number: usize) -> bool {
        let node = &mut self.all[number];
        let ended = node.process.as_mut().is_none_or(|process| matches!(process.try_wait(), Ok(Some(_))));
        if ended {
            node.process = None;
        }
        ended
    }

    /// Those that run.
    pub fn running(&self) -> impl Iterator<Item = usize> {
        self.all.iter().enumerate().filter(|(_, node)| node.process.is_some()).map(|(number, _)| number)
    }

    /// One of them.
    pub fn node(&self, number: usize) -> &Node {
        &self.all[number]
    }

    /// Its process.
    pub fn process(&self, number: usize) -> Option<Process> {
        self.all[number].process.as_ref().map(|process| Process(process.id()))
    }

    /// Status and text of an answer.
    pub fn get(&self, number: usize, path: &str) -> Result<(u16, String)> {
        let mut connection = Connection::new(self.all[number].http).with_timeout(GET_MAX);
        let answer = connection.get(path, &[])?;
        Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// Its view of the ring.
    pub fn ring(&self, number: usize) -> Result<Value> {
        let (_, text) = self.get(number, "/ring?format=json")?;
        serde_json::from_str(&text).map_err(|_| Error::malformed("/ring", text))
    }

    /// A counter or gauge without labels, of its metrics.
    pub fn metric(&self, number: usize, name: &str) -> Result<f64> {
        let (_, text) = self.get(number, "/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok())
            .ok_or_else(|| Error::malformed("/metrics", name.to_owned()))
    }
}
