//! Clusters of real processes on loopback: each node has its own data directory, all have one bucket and one secret.
//!
//! Nothing here waits for a fixed time: what is waited for is asked for again until a deadline that no machine needs, and
//! then the test fails with what the nodes have logged.

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bench::http::Connection;
use bench::server::free_port;
use serde_json::Value;
use tempfile::TempDir;

use crate::network::Network;

/// Nothing takes longer, on any machine that runs tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks.
const POLL: Duration = Duration::from_millis(20);

/// Nodes that the others are told to join.
const SEEDS: usize = 3;

/// Whose crash file is everybody's.
const ANY: &str = "any";

/// A cluster, or nodes that may become one.
pub struct Cluster {
    pub nodes: Vec<Node>,
    folder: TempDir,
    /// Goes after the nodes that live in it.
    network: Option<Network>,
}

/// A node, whether it runs or not.
pub struct Node {
    pub name: String,
    /// Its data directory.
    pub data: PathBuf,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    /// Where it serves other nodes.
    pub rpc: SocketAddr,
    gossip: SocketAddr,
    seeds: String,
    /// The network namespace that it lives in, if it has one of its own.
    namespace: Option<String>,
    folder: PathBuf,
    process: Option<Child>,
}

/// Where a node serves whom.
struct Addresses {
    http: SocketAddr,
    rpc: SocketAddr,
    gossip: SocketAddr,
}

impl Cluster {
    /// Nodes `a`, `b`, `c` and so on, none of which runs yet.
    pub fn new(nodes: usize) -> Self {
        // Held until all have been drawn, so that no two are the same.
        let sockets: Vec<UdpSocket> =
            (0..nodes).map(|_| UdpSocket::bind("127.0.0.1:0").expect("loopback has ports")).collect();
        let port = || free_port().expect("loopback has ports");
        let addresses = sockets.iter().map(|socket| {
            let gossip = socket.local_addr().expect("it is bound");
            Addresses { http: port(), rpc: port(), gossip }
        });
        Self::at(addresses.collect(), None)
    }

    /// The same, on a network that can be cut; an error if this machine does not allow it.
    pub fn on_a_network(nodes: usize) -> Result<Self, String> {
        let network = Network::new(nodes)?;
        let addresses = (0..nodes).map(|node| {
            let at = |port| SocketAddr::new(network.address(node).parse().expect("an address"), port);
            Addresses { http: at(9009), rpc: at(9010), gossip: at(9011) }
        });
        Ok(Self::at(addresses.collect(), Some(network)))
    }

    fn at(addresses: Vec<Addresses>, network: Option<Network>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("secret"), "correct horse battery staple\n").expect("it is writable");
        let seeds: Vec<String> =
            addresses.iter().take(SEEDS).map(|addresses| addresses.gossip.to_string()).collect();
        let nodes = ('a'..).zip(&addresses).enumerate().map(|(number, (name, addresses))| Node {
            name: name.to_string(),
            data: folder.path().join(name.to_string()),
            http: addresses.http,
            rpc: addresses.rpc,
            gossip: addresses.gossip,
            seeds: seeds.join(","),
            namespace: network.as_ref().map(|network| network.namespace(number)),
            folder: folder.path().to_owned(),
            process: None,
        });
        Cluster { nodes: nodes.collect(), folder, network }
    }

    /// The network that the nodes are on.
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("it was made on one")
    }

    /// Nodes that run and are members of one cluster.
    pub fn start(nodes: usize) -> Self {
        let mut cluster = Cluster::new(nodes);
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.wait_for_members(nodes);
        cluster
    }

    /// The same, and all segments that have ended are closed: nothing will change by itself.
    pub fn wait_at_rest(&self, members: usize) -> Value {
        self.wait_for("there is nothing to close", || {
            let ring = self.wait_for_members(members);
            let documents = self.documents();
            let is_newest = documents.last()?["epoch"] == ring["epoch"];
            (is_newest && ring["closed_through"].as_u64()? >= last_change(&documents)).then_some(ring)
        })
    }

    /// The documents in the bucket, oldest first.
    pub fn documents(&self) -> Vec<Value> {
        let folder = fs::read_dir(self.path("bucket/epochs")).expect("there is a cluster");
        let names = folder.map(|entry| entry.expect("it can be listed").path());
        // Beside them are some that are being made.
        let is_whole = |path: &PathBuf| path.extension().is_some_and(|end| end == "json");
        let mut names: Vec<PathBuf> = names.filter(is_whole).collect();
        names.sort();
        names.iter().map(|path| json(path)).collect()
    }

    /// A file or folder beside the data directories: `bucket`, `secret`, or the test's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until all nodes that run are ready, and show the same ring with so many members.
    pub fn wait_for_members(&self, members: usize) -> Value {
        let running: Vec<&Node> = self.nodes.iter().filter(|node| node.process.is_some()).collect();
        running.iter().for_each(|node| node.wait_ready());
        self.wait_for("all show one ring", || {
            let mut rings: Vec<Value> = running.iter().filter_map(|node| node.ring()).collect();
            // Who answers, which tenants it has met, and what it has compared with whom, may differ.
            for ring in &mut rings {
                for differs in ["node", "tenants_total", "tenants", "health", "under_replicated", "segments"]
                {
                    ring[differs] = Value::Null;
                }
            }
            let first = rings.first()?.clone();
            let is_same = rings.len() == running.len() && rings.iter().all(|ring| *ring == first);
            (is_same && list(&first["members"]).len() == members).then_some(first)
        })
    }

    /// The node that comes first to this place of the program dies there (`crash_point`): one of all, or only this one.
    pub fn arm(&self, node: Option<usize>, point: &str) {
        let (file, written) = (self.crash_file(node), self.path("crash-written"));
        fs::write(&written, point).expect("the folder is writable");
        fs::rename(written, file).expect("the folder is writable");
    }

    /// Nobody dies any more, unless somebody does already: then this is false.
    pub fn disarm(&self, node: Option<usize>) -> bool {
        fs::remove_file(self.crash_file(node)).is_ok()
    }

    fn crash_file(&self, node: Option<usize>) -> PathBuf {
        crash_file(self.folder.path(), node.map_or(ANY, |node| &self.nodes[node].name))
    }

    /// Waits until a process has ended, and says whose; `None`: what was waited for was over before.
    pub fn wait_for_end(
        &mut self,
        what: &str,
        is_over: impl Fn(&Self) -> bool,
    ) -> Option<(usize, ExitStatus)> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            for (number, node) in self.nodes.iter_mut().enumerate() {
                let Some(process) = &mut node.process else { continue };
                if let Some(status) = process.try_wait().expect("the process is ours") {
                    node.process = None;
                    return Some((number, status));
                }
            }
            if is_over(self) {
                return None;
            }
            thread::sleep(POLL);
        }
        let logs: Vec<String> = self.nodes.iter().map(Node::story).collect();
        panic!("no process ended within {PATIENCE:?}: {what}\n{}", logs.join("\n"));
    }

    /// Asks until there is an answer.
    pub fn wait_for<T>(&self, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        poll(ask).unwrap_or_else(|| {
            let logs: Vec<String> = self.nodes.iter().map(Node::story).collect();
            panic!("not within {PATIENCE:?}: {what}\n{}", logs.join("\n"));
        })
    }
}

impl Node {
    /// Starts its process.
    pub fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts its process with further flags, which win over its own.
    pub fn start_with(&mut self, flags: &[String]) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let program = env!("CARGO_BIN_EXE_gyre");
        let mut command = Command::new(if self.namespace.is_some() { "ip" } else { program });
        if let Some(namespace) = &self.namespace {
            // Becomes the program.
            command.args(["netns", "exec", namespace, program]);
        }
        // No setting of whoever runs the tests.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GYRE_")) {
            command.env_remove(name);
        }
        let crash_files = [&self.name, ANY].map(|whose| crash_file(&self.folder, whose));
        command.env("GYRE_CRASH_FILES", std::env::join_paths(crash_files).expect("they have no colon"));
        let log =
            File::options().create(true).append(true).open(self.log_path()).expect("the folder is writable");
        command
            .arg(format!("--data-dir={}", self.data.display()))
            .arg(format!("--storage.url=file://{}", self.folder.join("bucket").display()))
            .arg(format!("--cluster.secret-file={}", self.folder.join("secret").display()))
            .arg(format!("--node.id={}", self.name))
            .arg(format!("--http.listen={}", self.http))
            .arg(format!("--rpc.listen={}", self.rpc))
            .arg(format!("--gossip.listen={}", self.gossip))
            .arg(format!("--gossip.join={}", self.seeds))
            .args(flags);
        let process = command.stdout(Stdio::null()).stderr(Stdio::from(log)).spawn();
        self.process = Some(process.expect("the program starts"));
    }

    /// Flags with which it listens for other nodes on all addresses of the machine.
    pub fn everywhere(&self) -> [String; 2] {
        let flag = |name: &str, port: u16| format!("--{name}.listen=0.0.0.0:{port}");
        [flag("rpc", self.rpc.port()), flag("gossip", self.gossip.port())]
    }

    /// Waits until it serves.
    pub fn wait_ready(&self) {
        self.wait_for("it is ready", || (self.readiness()?.0 == 200).then_some(()));
    }

    /// Waits until it does not serve, and says why with these words.
    pub fn wait_unready(&self, why: &str) {
        self.wait_for(why, || self.readiness().filter(|(status, text)| *status == 503 && text.contains(why)));
    }

    /// What `/ready` answers, if anything.
    pub fn readiness(&self) -> Option<(u16, String)> {
        let answer = self.connect().get("/ready", &[]).ok()?;
        Some((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
    }

    /// The JSON of `/ring`, if it answers.
    pub fn ring(&self) -> Option<Value> {
        let answer = self.connect().get("/ring", &[("format", "json")]).ok()?;
        (answer.status == 200).then(|| serde_json::from_slice(&answer.body).expect("the ring is JSON"))
    }

    /// A connection to its HTTP interface.
    pub fn connect(&self) -> Connection {
        Connection::new(self.http).with_timeout(Duration::from_secs(5))
    }

    /// Whether its process runs, as far as it was looked at.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Kills its process, which has no time to do anything about it.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.kill().and_then(|()| process.wait()).expect("the process is ours");
    }

    /// Asks it to stop, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.wait_for_exit()
    }

    /// Stops its process where it is, as a long pause would.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Ends the pause.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// The most memory that its process has had in use.
    pub fn peak_memory_bytes(&self) -> u64 {
        let pid = self.process.as_ref().expect("it runs").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is ours");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
        peak.and_then(|peak| peak.trim().parse::<u64>().ok()).expect("Linux tells") * 1024
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.is_ok_and(|status| status.success()), "cannot signal {}", self.name);
    }

    /// Throws its data directory away. It must not run.
    pub fn wipe(&mut self) {
        assert!(self.process.is_none(), "{} runs", self.name);
        fs::remove_dir_all(&self.data).expect("it has a data directory");
    }

    /// Waits until its process has ended by itself.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        let ended = poll(|| process.try_wait().expect("the process is ours"));
        ended.unwrap_or_else(|| {
            let _ = process.kill().and_then(|()| process.wait());
            panic!("it did not end within {PATIENCE:?}\n{}", self.story())
        })
    }

    /// Waits until it has refused to run, and returns the line that says why.
    pub fn wait_for_refusal(&mut self) -> String {
        let status = self.wait_for_exit();
        assert_eq!(status.code(), Some(1), "{}", self.story());
        let log = self.log();
        let line = log.lines().last().unwrap_or_default();
        assert!(line.starts_with("gyre: "), "the last line is no error\n{}", self.story());
        line.to_owned()
    }

    /// All that it has logged, over all its runs.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// For a test that fails.
    fn story(&self) -> String {
        format!("== {} answers {:?} and has logged\n{}", self.name, self.readiness(), self.log())
    }

    fn wait_for<T>(&self, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        poll(ask).unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}\n{}", self.story()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill().and_then(|()| process.wait());
        }
    }
}

/// The file that names the place where a node dies.
fn crash_file(folder: &Path, whose: &str) -> PathBuf {
    folder.join(format!("crash-{whose}"))
}

/// The epoch by which segments have ended last; 0: none have.
fn last_change(documents: &[Value]) -> u64 {
    let is_change = |pair: &&[Value]| ["members", "tenants"].iter().any(|of| pair[0][of] != pair[1][of]);
    let change = documents.windows(2).rfind(is_change);
    change.map_or(0, |pair| pair[1]["epoch"].as_u64().expect("a number"))
}

/// The items of a JSON list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A file's JSON.
pub fn json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn poll<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        thread::sleep(POLL);
    }
    None
}
