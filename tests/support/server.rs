//! Starts the program, and talks HTTP to it over plain sockets, so that a test sees and sends what goes over the wire.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use prost::Message;
use tempfile::TempDir;

use crate::remote_write::{TimeSeries, WriteRequest};

/// No answer takes longer, on any machine that runs tests.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The program without any of the variables that would configure it.
pub fn gyre(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gyre"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GYRE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// A running node with a data directory of its own.
pub struct Server {
    process: Child,
    address: SocketAddr,
    _data: Option<TempDir>,
}

impl Server {
    /// Starts a node with these flags, and with this configuration file if any.
    pub fn start_with(flags: &[&str], config: Option<&str>) -> Self {
        let data = tempfile::tempdir().expect("a temporary folder");
        let config = config.map(|config| {
            let path = data.path().join("gyre.yaml");
            std::fs::write(&path, config).expect("the folder is writable");
            format!("--config.file={}", path.display())
        });
        let flags: Vec<&str> = flags.iter().copied().chain(config.as_deref()).collect();
        let mut server = Self::start_at(&data.path().join("data"), &flags, Stdio::null());
        server._data = Some(data);
        server
    }

    /// Starts a node on a data directory that outlives it; its log goes where it is told.
    pub fn start_at(data: &Path, flags: &[&str], log: Stdio) -> Self {
        Self::start_command(gyre(flags), data, log)
    }

    /// Starts a node by a command to which the data directory is added, and the address.
    pub fn start_command(mut command: Command, data: &Path, log: Stdio) -> Self {
        command.arg("--http.listen=127.0.0.1:0").arg("--data-dir").arg(data);
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts");
        let stdout = process.stdout.take().expect("the output is piped");
        let mut first_line = String::new();
        BufReader::new(stdout).read_line(&mut first_line).expect("the program says where it listens");
        let address = first_line
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split(',').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no address in {first_line:?}"));
        Self { process, address, _data: None }
    }

    /// Starts a node with default settings.
    pub fn start() -> Self {
        Self::start_with(&[], None)
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it serves HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A connection to it.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the node listens");
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("not zero");
        stream
    }

    /// Sends raw bytes on a connection of their own and reads the answer.
    pub fn send_raw(&self, request: &[u8]) -> Response {
        let mut stream = self.connect();
        // The node may answer and close before it has read everything: then the answer is what counts.
        let _ = stream.write_all(request);
        Response::read(&mut stream)
    }

    /// Sends a request.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: gyre\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        self.send_raw(&[request.as_bytes(), body].concat())
    }

    /// Gets a path.
    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], &[])
    }

    /// Sends a write request whose body is as it goes over the wire.
    pub fn push(&self, body: &[u8]) -> Response {
        self.send("POST", "/api/v1/push", &PUSH_HEADERS, body)
    }

    /// Writes series, as a sender would.
    pub fn write(&self, timeseries: Vec<TimeSeries>) -> Response {
        let request = WriteRequest { timeseries, metadata: vec![] };
        let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec());
        self.push(&body.expect("the request is small"))
    }

    /// Asks a query at a time, in seconds; panics unless it is answered.
    pub fn query(&self, expr: &str, time: &str) -> serde_json::Value {
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let encoded: String = expr.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let body = format!("query={encoded}&time={time}");
        let response = self.send("POST", "/prometheus/api/v1/query", &form, body.as_bytes());
        assert_eq!(response.status, 200, "{expr}: {}", response.text());
        response.json()["data"]["result"].clone()
    }

    /// The value of one of the node's own metrics, labels included in the name.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").text();
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Asks it to stop, as the system does, and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal("-TERM");
        self.process.wait().expect("the process is ours")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The headers that Prometheus sends with a write.
pub const PUSH_HEADERS: [(&str, &str); 3] = [
    ("Content-Type", "application/x-protobuf"),
    ("Content-Encoding", "snappy"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
];

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    /// Reads one answer; the status is 0 if the connection was closed without one.
    pub fn read(stream: &mut TcpStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.trim().split_once(':') {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
        }
        let mut body = Vec::new();
        if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
            read_chunks(&mut reader, &mut body);
        } else {
            let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            let _ = reader.take(length).read_to_end(&mut body);
        }
        Self { status, headers, body }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) {
    loop {
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        let length = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
        if length == 0 {
            return;
        }
        let _ = reader.by_ref().take(length).read_to_end(body);
        let _ = reader.read_line(&mut String::new());
    }
}
