//! A real Prometheus that takes remote write, gives its blocks away, and is asked what gyre is asked.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use prost::Message;

use crate::remote_write::{TimeSeries, WriteRequest};

pub struct Prometheus {
    process: Child,
    port: u16,
    data: PathBuf,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether there is none, with a line that says so.
pub fn is_absent() -> bool {
    if Command::new("prometheus").arg("--version").output().is_ok() {
        return false;
    }
    let why = "skipped: prometheus is not installed";
    assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none_or(|value| value != "1"), "{why}");
    println!("{why}");
    true
}

impl Prometheus {
    pub fn start(data: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let config = data.with_extension("yml");
        std::fs::write(&config, "global: {scrape_interval: 1h}\n").unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--web.enable-admin-api", "--web.enable-remote-write-receiver", "--log.level=error"])
            .args(["--enable-feature=native-histograms", "--storage.tsdb.retention.time=100y"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut prometheus = Prometheus { process, port, data: data.to_owned() };
        // It answers nothing until it listens, and 503 until it is ready.
        while prometheus.try_send("GET", "/-/ready", &[]).map_or(true, |(status, _)| status != 200) {
            assert!(prometheus.process.try_wait().unwrap().is_none(), "Prometheus has ended");
            std::thread::yield_now();
        }
        prometheus
    }

    fn try_send(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nContent-Length: {}\r\nContent-Encoding: snappy\r\n\
             X-Prometheus-Remote-Write-Version: 0.1.0\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        Ok((head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0), body.to_owned()))
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) -> serde_json::Value {
        let (status, answer) = self.try_send(method, path, body).unwrap();
        assert_eq!(status / 100, 2, "{path}: {answer}");
        serde_json::from_str(&answer).unwrap_or_default()
    }

    /// What it answers to a path of its API.
    pub fn get(&self, path: &str) -> serde_json::Value {
        self.send("GET", path, &[])
    }

    pub fn write(&self, timeseries: Vec<TimeSeries>) {
        let request = WriteRequest { timeseries, metadata: vec![] };
        let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap();
        self.send("POST", "/api/v1/write", &body);
    }

    /// Deletes samples: their block gets tombstones.
    pub fn delete(&self, selector: &str, start_ms: i64, end_ms: i64) {
        let (start, end) = (start_ms as f64 / 1000.0, end_ms as f64 / 1000.0);
        let path = format!("/api/v1/admin/tsdb/delete_series?match[]={selector}&start={start}&end={end}");
        self.send("POST", &path, &[]);
    }

    /// Rewrites its blocks without what was deleted.
    pub fn clean_tombstones(&self) {
        self.send("POST", "/api/v1/admin/tsdb/clean_tombstones", &[]);
    }

    /// The folders of blocks that have all it holds now.
    pub fn snapshot(&self) -> Vec<PathBuf> {
        let answer = self.send("POST", "/api/v1/admin/tsdb/snapshot", &[]);
        let folder = self.data.join("snapshots").join(answer["data"]["name"].as_str().unwrap());
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.join("meta.json").exists()).collect()
    }
}
