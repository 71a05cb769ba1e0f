//! Some gyre processes that are one cluster, on loopback; three unless the caller wants more. All is written to the first
//! and asked of the first; CPU, memory and disk are those of all.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Product, first_line, free_port};
use crate::error::{Error, Result};

/// As many as a shard has replicas.
const NODES: usize = 3;

/// The logs of as many nodes as there may be.
const LOGS: [&str; 4] = ["n0/wal", "n1/wal", "n2/wal", "n3/wal"];

/// A gyre binary, and where its processes listen.
#[derive(Debug)]
pub struct GyreCluster {
    program: PathBuf,
    nodes: Vec<Ports>,
    config: Option<PathBuf>,
}

#[derive(Debug)]
struct Ports {
    http: SocketAddr,
    rpc: SocketAddr,
    gossip: SocketAddr,
}

impl GyreCluster {
    /// A cluster on free ports, which acknowledges after fdatasync on two nodes.
    pub fn new(program: PathBuf) -> Result<GyreCluster> {
        Self::of(program, NODES)
    }

    /// The same of four nodes, each of which lacks some shards.
    pub fn of_four(program: PathBuf) -> Result<GyreCluster> {
        Self::of(program, LOGS.len())
    }

    fn of(program: PathBuf, nodes: usize) -> Result<GyreCluster> {
        let ports = |_| Ok(Ports { http: free_port()?, rpc: free_port()?, gossip: free_port()? });
        Ok(GyreCluster { program, nodes: (0..nodes).map(ports).collect::<Result<_>>()?, config: None })
    }

    /// With a configuration file beside the flags.
    pub fn with_config(mut self, config: PathBuf) -> GyreCluster {
        self.config = Some(config);
        self
    }

    fn node(&self, data_dir: &Path, number: usize, http: SocketAddr) -> Result<Command> {
        let secret = data_dir.join("secret");
        if !secret.exists() {
            fs::write(&secret, "a secret of no importance\n").map_err(Error::io("writing the secret"))?;
        }
        let ports = &self.nodes[number];
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GYRE_")) {
            command.env_remove(name);
        }
        command
            .arg("--data-dir")
            .arg(data_dir.join(format!("n{number}")))
            .arg("--storage.url")
            .arg(format!("file://{}", data_dir.join("bucket").display()))
            .arg("--cluster.secret-file")
            .arg(secret)
            .args(["--node.id", &format!("n{number}"), "--log.level", "warn"])
            .args(["--http.listen", &http.to_string(), "--rpc.listen", &ports.rpc.to_string()])
            .args(["--gossip.listen", &ports.gossip.to_string()]);
        for seed in &self.nodes {
            command.args(["--gossip.join", &seed.gossip.to_string()]);
        }
        if let Some(config) = &self.config {
            command.arg("--config.file").arg(config);
        }
        Ok(command)
    }
}

impl Product for GyreCluster {
    fn name(&self) -> &str {
        "gyre-cluster"
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn how_to_get(&self) -> &str {
        "run `cargo build --release` first, or name a binary by --gyre"
    }

    fn version(&self) -> String {
        let line = first_line(&self.program, &["--version"]).unwrap_or_else(|| "unknown".into());
        format!("{} on {} nodes", line.trim_start_matches("gyre "), self.nodes.len())
    }

    fn fsync_policy(&self) -> &str {
        "fdatasync on 2 nodes before the ack"
    }

    fn command(&self, data_dir: &Path, address: SocketAddr) -> Result<Command> {
        self.node(data_dir, 0, address)
    }

    fn companions(&self, data_dir: &Path) -> Result<Vec<Command>> {
        (1..self.nodes.len()).map(|number| self.node(data_dir, number, self.nodes[number].http)).collect()
    }

    fn companion_addresses(&self) -> Vec<SocketAddr> {
        self.nodes[1..].iter().map(|node| node.http).collect()
    }

    fn ready_path(&self) -> &str {
        "/ready"
    }

    fn write_path(&self) -> &str {
        "/api/v1/push"
    }

    fn query_prefix(&self) -> &str {
        "/prometheus"
    }

    fn wal_paths(&self) -> &[&str] {
        &LOGS[..self.nodes.len()]
    }

    fn allocations_metric(&self) -> &str {
        "gyre_heap_allocations_total"
    }
}
