//! Debian's Prometheus with its remote-write receiver.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Product, debian_version, first_line};
use crate::error::{Error, Result};

/// A Prometheus that scrapes nothing unless its configuration says so.
#[derive(Debug)]
pub struct Prometheus {
    program: PathBuf,
    config: String,
    flags: Vec<&'static str>,
}

impl Prometheus {
    /// The Debian one, fed only by remote write.
    pub fn receiver() -> Prometheus {
        Prometheus::with_config("global: {}\n")
    }

    /// The Debian one with the text of a configuration file.
    pub fn with_config(config: impl Into<String>) -> Prometheus {
        Prometheus { program: "/usr/bin/prometheus".into(), config: config.into(), flags: Vec::new() }
    }

    /// The same with further flags.
    pub fn with_flags(mut self, flags: impl IntoIterator<Item = &'static str>) -> Prometheus {
        self.flags.extend(flags);
        self
    }
}

impl Product for Prometheus {
    fn name(&self) -> &str {
        "prometheus"
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn how_to_get(&self) -> &str {
        "apt-get install prometheus"
    }

    fn version(&self) -> String {
        let own = first_line(&self.program, &["--version"]);
        let own = own.and_then(|line| line.split_whitespace().nth(2).map(str::to_owned));
        own.or_else(|| debian_version("prometheus")).unwrap_or_else(|| "unknown".into())
    }

    fn fsync_policy(&self) -> &str {
        "page cache; fsync per 128 MiB segment"
    }

    fn command(&self, data_dir: &Path, address: SocketAddr) -> Result<Command> {
        let config = data_dir.with_file_name("prometheus.yml");
        fs::write(&config, &self.config).map_err(Error::io(format!("writing {}", config.display())))?;
        let mut command = Command::new(&self.program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data_dir.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver")
            .arg("--log.level=warn")
            .args(&self.flags);
        Ok(command)
    }

    fn ready_path(&self) -> &str {
        "/-/ready"
    }

    fn write_path(&self) -> &str {
        "/api/v1/write"
    }

    fn query_prefix(&self) -> &str {
        ""
    }

    fn wal_paths(&self) -> &[&str] {
        &["wal"]
    }
}
