//! The servers under test: how each is started, fed, asked and looked at.
//!
//! A [`Product`] is what differs between them; a [`Server`] is a running one on its data folder, which survives a
//! kill and a restart. Only loopback ports are used.

mod child;
mod gyre;
mod gyre_cluster;
mod prometheus;
mod victoria_metrics;

use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub use child::{ManagedChild, ManagedFolder, clean_up_on_signals, free_port};
pub use gyre::Gyre;
pub use gyre_cluster::GyreCluster;
pub use prometheus::Prometheus;
pub use victoria_metrics::VictoriaMetrics;

use crate::error::{Error, Result};
use crate::http::{Answer, Connection};
use crate::process::{Processes, path_bytes};

/// Longest start-up, replay included.
const READY_LIMIT: Duration = Duration::from_secs(300);

/// What differs between the servers.
pub trait Product: std::fmt::Debug + Send + Sync {
    /// Name in tables and options.
    fn name(&self) -> &str;
    /// The program.
    fn program(&self) -> &Path;
    /// How to get it when it is absent.
    fn how_to_get(&self) -> &str;
    /// Version, as the program itself or its package says.
    fn version(&self) -> String;
    /// What an acknowledged write survives.
    fn fsync_policy(&self) -> &str;
    /// The command line for a data folder and an address; may write a configuration into the folder.
    fn command(&self, data_dir: &Path, address: SocketAddr) -> Result<Command>;
    /// The command lines of further processes without which the first one is not ready.
    fn companions(&self, _data_dir: &Path) -> Result<Vec<Command>> {
        Ok(Vec::new())
    }
    /// Where these say that they are ready.
    fn companion_addresses(&self) -> Vec<SocketAddr> {
        Vec::new()
    }
    /// Answers 200 when the server is ready.
    fn ready_path(&self) -> &str;
    /// Takes remote write 1.0.
    fn write_path(&self) -> &str;
    /// What `/api/v1/query` is prefixed with.
    fn query_prefix(&self) -> &str;
    /// Parameters that keep a query from being answered from a cache.
    fn query_parameters(&self) -> &[(&str, &str)] {
        &[]
    }
    /// Folders and files of the data folder that are its write-ahead log; none if it has no log.
    fn wal_paths(&self) -> &[&str];
    /// Counter in its `/metrics` of heap allocations.
    fn allocations_metric(&self) -> &str {
        "go_memstats_mallocs_total"
    }
    /// A path to GET before counting, where written data becomes visible late.
    fn flush_path(&self) -> Option<&str> {
        None
    }
}

/// A running (or killed) server on its own fresh data folder.
#[derive(Debug)]
pub struct Server {
    /// What it is.
    pub product: Arc<dyn Product>,
    /// Where it listens.
    pub address: SocketAddr,
    // Before the folder: the process must be gone when its folder is removed.
    child: ManagedChild,
    companions: Vec<ManagedChild>,
    folder: ManagedFolder,
}

impl Server {
    /// Starts it on a fresh folder in `parent` and a free port, and waits until it is ready.
    pub fn start(product: &Arc<dyn Product>, parent: &Path) -> Result<Server> {
        Server::start_at(product, parent, free_port()?)
    }

    /// The same at an address.
    pub fn start_at(product: &Arc<dyn Product>, parent: &Path, address: SocketAddr) -> Result<Server> {
        let program = product.program();
        if !program.exists() {
            return Err(Error::Missing { program: program.into(), hint: product.how_to_get().into() });
        }
        let folder = ManagedFolder::create_in(parent)?;
        fs::create_dir(folder.path().join("data")).map_err(Error::io("creating the data folder"))?;
        let data_dir = folder.path().join("data");
        let child = launch(product.as_ref(), folder.path(), product.command(&data_dir, address)?)?;
        let companions = product.companions(&data_dir)?;
        let launch = |command| launch(product.as_ref(), folder.path(), command);
        let companions = companions.into_iter().map(launch).collect::<Result<_>>()?;
        let server = Server { product: Arc::clone(product), address, child, companions, folder };
        server.wait_ready()?;
        Ok(server)
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// All its processes, to read their usage by.
    pub fn processes(&self) -> Processes {
        let all = std::iter::once(&self.child).chain(&self.companions);
        Processes(all.map(|child| child.process).collect())
    }

    /// A new connection to it.
    pub fn connect(&self) -> Connection {
        Connection::new(self.address)
    }

    /// `kill -9` of the process that is written to.
    pub fn kill(&self) -> Result<()> {
        self.child.kill()
    }

    /// Starts that process again on the same data and address, without waiting.
    pub fn relaunch(&mut self) -> Result<()> {
        let command = self.product.command(&self.data_dir(), self.address)?;
        self.child = launch(self.product.as_ref(), self.folder.path(), command)?;
        Ok(())
    }

    /// Waits until it says that it is ready.
    pub fn wait_ready(&self) -> Result<()> {
        let give_up = Instant::now() + READY_LIMIT;
        let addresses = std::iter::once(self.address).chain(self.product.companion_addresses());
        let mut waiting: Vec<Connection> =
            addresses.map(|address| Connection::new(address).with_timeout(Duration::from_secs(5))).collect();
        while Instant::now() < give_up {
            self.check_running()?;
            let is_ready = |connection: &mut Connection| {
                connection.get(self.product.ready_path(), &[]).is_ok_and(|answer| answer.status == 200)
            };
            waiting.retain_mut(|connection| !is_ready(connection));
            if waiting.is_empty() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(self.failure(&format!("not ready after {READY_LIMIT:?}")))
    }

    /// An error with the end of its log if the process has ended.
    pub fn check_running(&self) -> Result<()> {
        let exited = std::iter::once(&self.child).chain(&self.companions).find_map(ManagedChild::exited);
        match exited {
            Some(status) => Err(self.failure(&format!("ended with {status}"))),
            None => Ok(()),
        }
    }

    /// An API call under the product's query prefix, by form POST.
    pub fn query(
        &self,
        connection: &mut Connection,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Answer> {
        let mut all = parameters.to_vec();
        all.extend_from_slice(self.product.query_parameters());
        connection.post_form(&format!("{}{path}", self.product.query_prefix()), &all)
    }

    /// Makes what was written visible, where the product delays it.
    pub fn flush(&self, connection: &mut Connection) -> Result<()> {
        match self.product.flush_path() {
            Some(path) => connection.get(path, &[])?.into_text().map(drop),
            None => Ok(()),
        }
    }

    /// Bytes in its log, None if it has none.
    pub fn wal_bytes(&self) -> Option<u64> {
        let paths = self.product.wal_paths();
        (!paths.is_empty()).then(|| paths.iter().map(|path| path_bytes(&self.data_dir().join(path))).sum())
    }

    /// Bytes of everything else in its data folder: samples and index.
    pub fn data_bytes(&self) -> u64 {
        path_bytes(&self.data_dir()).saturating_sub(self.wal_bytes().unwrap_or(0))
    }

    /// An error that ends with the last lines of the server's log.
    pub fn failure(&self, problem: &str) -> Error {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(15)..].join("\n");
        Error::server(self.product.name(), format!("{problem}; its log ends:\n{end}"))
    }
}

fn launch(product: &dyn Product, folder: &Path, mut command: Command) -> Result<ManagedChild> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .map_err(Error::io(format!("opening the log of {}", product.name())))?;
    let log_again = log.try_clone().map_err(Error::io("opening the log twice"))?;
    command.stdin(Stdio::null()).stdout(log).stderr(log_again);
    ManagedChild::spawn(product.name(), &mut command)
}

/// First line of what a program prints for `arguments`, if anything.
fn first_line(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().find(|line| !line.trim().is_empty())?.trim().to_owned();
    Some(line)
}

/// Version of an installed Debian package.
fn debian_version(package: &str) -> Option<String> {
    first_line(Path::new("/usr/bin/dpkg-query"), &["-W", "-f", "${Version}", package])
}
