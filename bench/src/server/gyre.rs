//! Gyre itself, in its default single-node setup.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Product, first_line};
use crate::error::Result;

/// A gyre binary and how it is to sync its log.
#[derive(Debug)]
pub struct Gyre {
    program: PathBuf,
    sync: &'static str,
    config: Option<PathBuf>,
}

impl Gyre {
    /// Acknowledges after fdatasync: the default.
    pub fn committing(program: PathBuf) -> Gyre {
        Gyre { program, sync: "commit", config: None }
    }

    /// Leaves syncing to the operating system, as the peers do.
    pub fn os_synced(program: PathBuf) -> Gyre {
        Gyre { program, sync: "os", config: None }
    }

    /// With a configuration file beside the flags.
    pub fn with_config(mut self, config: PathBuf) -> Gyre {
        self.config = Some(config);
        self
    }

    /// The `gyre` beside the running executable, which is where cargo puts both.
    pub fn sibling_program() -> PathBuf {
        std::env::current_exe().map_or_else(|_| "gyre".into(), |own| own.with_file_name("gyre"))
    }
}

impl Product for Gyre {
    fn name(&self) -> &str {
        match self.sync {
            "os" => "gyre-os",
            _ => "gyre",
        }
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn how_to_get(&self) -> &str {
        "run `cargo build --release` first, or name a binary by --gyre"
    }

    fn version(&self) -> String {
        let line = first_line(&self.program, &["--version"]).unwrap_or_else(|| "unknown".into());
        line.trim_start_matches("gyre ").to_owned()
    }

    fn fsync_policy(&self) -> &str {
        match self.sync {
            "os" => "page cache",
            _ => "fdatasync before the ack",
        }
    }

    fn command(&self, data_dir: &Path, address: SocketAddr) -> Result<Command> {
        let mut command = Command::new(&self.program);
        // Settings of the one who runs the bench or the tests (GYRE_REQUIRE_ALL among them) are not the node's.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GYRE_") {
                command.env_remove(name);
            }
        }
        command.arg("--data-dir").arg(data_dir);
        command.arg("--http.listen").arg(address.to_string());
        command.args(["--wal.sync", self.sync, "--log.level", "warn"]);
        if let Some(config) = &self.config {
            command.arg("--config.file").arg(config);
        }
        Ok(command)
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
        &["wal"]
    }

    fn allocations_metric(&self) -> &str {
        "gyre_heap_allocations_total"
    }
}
