//! Debian's single-node VictoriaMetrics.
//!
//! It has no write-ahead log: rows become visible within a second and are written and fsynced within five.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Product, debian_version};
use crate::error::Result;

/// Defaults, but for limits that would refuse the bench's queries.
#[derive(Debug)]
pub struct VictoriaMetrics {
    program: PathBuf,
}

impl VictoriaMetrics {
    /// The Debian one.
    pub fn new() -> VictoriaMetrics {
        VictoriaMetrics { program: "/usr/bin/victoria-metrics".into() }
    }
}

impl Default for VictoriaMetrics {
    fn default() -> VictoriaMetrics {
        VictoriaMetrics::new()
    }
}

impl Product for VictoriaMetrics {
    fn name(&self) -> &str {
        "victoria-metrics"
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn how_to_get(&self) -> &str {
        "apt-get install victoria-metrics"
    }

    fn version(&self) -> String {
        // Debian's build prints an empty version of its own.
        debian_version("victoria-metrics").unwrap_or_else(|| "unknown".into())
    }

    fn fsync_policy(&self) -> &str {
        "RAM; no log, parts fsynced within 5 s"
    }

    fn command(&self, data_dir: &Path, address: SocketAddr) -> Result<Command> {
        let mut command = Command::new(&self.program);
        command
            .arg(format!("-storageDataPath={}", data_dir.display()))
            .arg(format!("-httpListenAddr={address}"))
            .arg("-search.maxUniqueTimeseries=10000000")
            .arg("-search.maxSeries=10000000")
            .arg("-search.maxQueryDuration=120s")
            .arg("-loggerLevel=WARN");
        Ok(command)
    }

    fn ready_path(&self) -> &str {
        "/health"
    }

    fn write_path(&self) -> &str {
        "/api/v1/write"
    }

    fn query_prefix(&self) -> &str {
        ""
    }

    fn query_parameters(&self) -> &[(&str, &str)] {
        &[("nocache", "1")]
    }

    fn wal_paths(&self) -> &[&str] {
        &[]
    }

    fn flush_path(&self) -> Option<&str> {
        Some("/internal/force_flush")
    }
}
