//! Programs of others that are asked about blocks: promtool, and a real Prometheus.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::scene::{LabelSet, Model, Sample};

/// Whether a program is there. If not, the test says so and passes, unless all must run.
pub fn is_absent(program: &str) -> bool {
    if Command::new(program).arg("--version").output().is_ok() {
        return false;
    }
    let why = format!("skipped: {program} is not installed");
    assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none(), "{why}");
    println!("{why}");
    true
}

/// What `promtool tsdb` prints about a folder of blocks.
pub fn promtool(arguments: &[&str], folder: &Path) -> String {
    // It wants a log, if only an empty one.
    std::fs::create_dir_all(folder.join("wal")).unwrap();
    let output = Command::new("promtool").arg("tsdb").args(arguments).arg(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A text that Go has quoted, from behind the first quotation mark; and what follows it.
fn unquote(text: &str) -> (String, &str) {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let code = |digits: usize| u32::from_str_radix(&text[at + 2..at + 2 + digits], 16).unwrap();
        let mut put = |c: char| bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        match c {
            '"' => return (String::from_utf8(bytes).unwrap(), &text[at + 1..]),
            '\\' => {
                let (_, escape) = chars.next().unwrap();
                let digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                match escape {
                    'x' => bytes.push(code(2) as u8),
                    'u' | 'U' => put(char::from_u32(code(digits)).unwrap()),
                    'n' => put('\n'),
                    't' => put('\t'),
                    'r' => put('\r'),
                    'a' => put('\u{7}'),
                    'b' => put('\u{8}'),
                    'f' => put('\u{c}'),
                    'v' => put('\u{b}'),
                    other => put(other),
                }
                for _ in 0..digits {
                    chars.next();
                }
            }
            other => put(other),
        }
    }
    panic!("not closed: {text}")
}

/// Everything in `promtool tsdb dump`. It does not tell one NaN from another.
pub fn dumped(dump: &str) -> Model {
    let mut model = Model::new();
    for line in dump.lines() {
        let mut rest = line.strip_prefix('{').unwrap();
        let mut labels = LabelSet::new();
        while !rest.starts_with('}') {
            let (name, quoted) = rest.split_once("=\"").unwrap();
            let (value, after) = unquote(quoted);
            labels.push((name.to_owned(), value));
            rest = after.strip_prefix(", ").unwrap_or(after);
        }
        labels.sort();
        let mut fields = rest[1..].split_whitespace();
        let value: f64 = fields.next().unwrap().parse().unwrap();
        let t_ms = fields.next().unwrap().parse().unwrap();
        let sample = Sample::Float(if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() });
        assert_eq!(model.entry(labels).or_default().insert(t_ms, sample), None);
    }
    model
}

/// The model as a dump shows it.
pub fn shown(mut model: Model) -> Model {
    for sample in model.values_mut().flat_map(|samples| samples.values_mut()) {
        if let Sample::Float(bits) = sample
            && f64::from_bits(*bits).is_nan()
        {
            *bits = f64::NAN.to_bits();
        }
    }
    model
}

/// A Prometheus that serves a data directory, for as long as this lives.
pub struct Prometheus {
    process: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// Starts it, and waits until it is ready.
    pub fn start(data: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
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
        let mut prometheus = Prometheus { process, port };
        // It answers nothing until it listens, and 503 until it is ready.
        while prometheus.try_request("GET", "/-/ready", &[]).map_or(true, |(status, _)| status != 200) {
            assert!(prometheus.process.try_wait().unwrap().is_none(), "Prometheus has ended");
            std::thread::yield_now();
        }
        prometheus
    }

    fn try_request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
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

    /// Sends a request that must succeed, and gives the answer's JSON.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> serde_json::Value {
        let (status, answer) = self.try_request(method, path, body).unwrap();
        assert_eq!(status / 100, 2, "{path}: {answer}");
        serde_json::from_str(&answer).unwrap_or_default()
    }
}
