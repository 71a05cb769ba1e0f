//! A node under test, the samples that were sent to it, and what it stores of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench::http::Connection;
use bench::remote_write::{EncodedLabels, RequestBuilder};
use bench::server::free_port;
use tempfile::TempDir;

/// Series of every request.
pub const SERIES: usize = 40;

const STEP_MS: i64 = 15_000;

/// Generous: a machine that runs tests may be slow.
const START_LIMIT: Duration = Duration::from_secs(60);

pub struct Node {
    folder: Option<TempDir>,
    data: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    process: Child,
    start_ms: i64,
}

/// Values by step and series.
pub struct Stored(BTreeMap<(i64, usize), u64>);

impl Stored {
    pub fn len_at(&self, step: i64) -> usize {
        self.0.range((step, 0)..(step + 1, 0)).count()
    }
}

/// A value that depends on series and step, and uses all of its bits.
fn value(step: i64, series: usize) -> f64 {
    match series % 3 {
        0 => 7.0,
        1 => (step * 10 + series as i64) as f64,
        _ => ((step as f64 + 1.0) * (series as f64 + 0.1)).sqrt(),
    }
}

impl Node {
    pub fn start() -> Node {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let log = folder.path().join("log");
        let mut node = Node::start_in(data, log);
        node.folder = Some(folder);
        node
    }

    /// With a config file.
    pub fn start_with(config: &str) -> Node {
        let folder = tempfile::tempdir().unwrap();
        let (data, log) = (folder.path().join("data"), folder.path().join("log"));
        fs::write(data.with_extension("yaml"), config).unwrap();
        let mut node = Node::start_in(data, log);
        node.folder = Some(folder);
        node
    }

    pub fn start_in(data: PathBuf, log: PathBuf) -> Node {
        let address = free_port().unwrap();
        let process = spawn(&data, &log, address);
        let start_ms = bench::stream::now_ms() - 3_000_000;
        let mut node = Node { folder: None, data, log, address, process, start_ms };
        node.wait_ready();
        node
    }

    pub fn data_dir(&self) -> &Path {
        &self.data
    }

    /// The lines of this run's log.
    pub fn log_lines(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap().lines().map(str::to_owned).collect()
    }

    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub fn terminate(&mut self) {
        let status = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(status.unwrap().success());
        assert!(self.process.wait().unwrap().success(), "{:?}", self.log_lines());
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn relaunch(&mut self) {
        self.process = spawn(&self.data, &self.log, self.address);
        self.wait_ready();
    }

    fn wait_ready(&mut self) {
        let begin = Instant::now();
        while begin.elapsed() < START_LIMIT {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the node ended with {status}: {:?}", self.log_lines());
            }
            // A connection alone proves nothing: one to a free port of this machine may be to itself.
            if Connection::new(self.address).get("/", &[]).is_ok_and(|answer| answer.status == 200) {
                return;
            }
            std::thread::yield_now();
        }
        panic!("the node does not listen: {:?}", self.log_lines());
    }

    /// Its view of the ring, once that is as it should be.
    pub fn wait_for_ring(&self, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) {
        let begin = Instant::now();
        loop {
            let ring = self.get("/ring", &[("format", "json")]);
            if is_so(&ring) {
                return;
            }
            assert!(begin.elapsed() < START_LIMIT, "{what}: {ring}");
            std::thread::yield_now();
        }
    }

    /// Sends the samples of a step; gives the status code.
    pub fn push(&self, step: i64) -> u16 {
        let mut request = RequestBuilder::default();
        for series in 0..SERIES {
            let labels = EncodedLabels::new(&[("__name__", "m"), ("series", series.to_string().as_str())]);
            request.push(&labels, self.start_ms + step * STEP_MS, value(step, series));
        }
        let mut connection = Connection::new(self.address);
        connection.post_remote_write("/api/v1/push", &request.finish()).unwrap().status
    }

    pub fn status(&self, path: &str) -> u16 {
        Connection::new(self.address).get(path, &[]).unwrap().status
    }

    pub fn get(&self, path: &str, parameters: &[(&str, &str)]) -> serde_json::Value {
        let text = self.text(path, parameters);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    fn text(&self, path: &str, parameters: &[(&str, &str)]) -> String {
        Connection::new(self.address).get(path, parameters).unwrap().into_text().unwrap()
    }

    pub fn metric(&self, name: &str) -> f64 {
        let text = self.text("/metrics", &[]);
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// What it says of an answer about everything.
    pub fn warnings(&self) -> Vec<String> {
        let answer = self.get("/prometheus/api/v1/query", &[("query", "count(m)")]);
        let warnings = answer["warnings"].as_array().into_iter().flatten();
        warnings.map(|warning| warning.as_str().unwrap().to_owned()).collect()
    }

    /// Reads everything back.
    pub fn stored(&self) -> Stored {
        let at = (self.start_ms / 1000 + 6000).to_string();
        let answer = self.get("/prometheus/api/v1/query", &[("query", "m[4h]"), ("time", &at)]);
        let mut stored = BTreeMap::new();
        for series in answer["data"]["result"].as_array().unwrap() {
            let number: usize = series["metric"]["series"].as_str().unwrap().parse().unwrap();
            for point in series["values"].as_array().unwrap() {
                let t_ms = (point[0].as_f64().unwrap() * 1000.0).round() as i64;
                let value: f64 = point[1].as_str().unwrap().parse().unwrap();
                stored.insert(((t_ms - self.start_ms) / STEP_MS, number), value.to_bits());
            }
        }
        Stored(stored)
    }

    /// Stored values that were not sent.
    pub fn wrong(&self, stored: &Stored) -> Vec<String> {
        let sent = |(step, series): &(i64, usize)| value(*step, *series).to_bits();
        let wrong = stored.0.iter().filter(|(at, bits)| sent(at) != **bits);
        wrong.map(|(at, bits)| format!("{at:?}: {}", f64::from_bits(*bits))).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Already ended, perhaps.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(data: &Path, log: &Path, address: SocketAddr) -> Child {
    let log = File::create(log).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gyre"));
    // Settings of the one who runs the tests are not the node's.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GYRE_") {
            command.env_remove(name);
        }
    }
    let config = data.with_extension("yaml");
    if config.exists() {
        command.arg("--config.file").arg(config);
    }
    command
        .args(["--http.listen", &address.to_string(), "--data-dir"])
        .arg(data)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
