//! What was sent, what was acknowledged, and whether a node's answer agrees.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bench::http::Connection;
use bench::stream::now_ms;
use serde_json::Value;

/// Enough to see the pattern of a failure.
const PROBLEMS_MAX: usize = 10;

/// A series of the test: labels `writer` and `series`.
pub type SeriesKey = (usize, usize);

#[derive(Debug, Clone, Copy)]
struct Entry {
    value: f64,
    acked: bool,
}

/// All samples ever sent, by series and timestamp.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    entries: BTreeMap<SeriesKey, BTreeMap<i64, Entry>>,
}

impl Ledger {
    /// Notes a sample before it goes out.
    pub fn sent(&mut self, key: SeriesKey, t_ms: i64, value: f64) {
        self.entries.entry(key).or_default().insert(t_ms, Entry { value, acked: false });
    }

    /// Notes that somebody answered 2xx for it.
    pub fn acked(&mut self, key: SeriesKey, t_ms: i64) {
        let entry = self.entries.get_mut(&key).and_then(|series| series.get_mut(&t_ms));
        entry.expect("a sample is noted as sent before it is acknowledged").acked = true;
    }

    /// Samples acknowledged so far.
    pub fn acked_samples(&self) -> usize {
        self.entries.values().flat_map(BTreeMap::values).filter(|entry| entry.acked).count()
    }

    /// Reads all series back through a node; a line for each of the first few samples that are lost, changed or made up.
    pub fn check(&self, node: SocketAddr) -> Vec<String> {
        self.compare(node, true)
    }

    /// The same while more samples are on their way.
    pub fn check_under_load(&self, node: SocketAddr) -> Vec<String> {
        self.compare(node, false)
    }

    fn compare(&self, node: SocketAddr, is_all: bool) -> Vec<String> {
        let answer = ask(node, "load[2h]");
        if answer["status"] != "success" || answer.get("warnings").is_some() {
            return vec![format!("the answer is {answer}")];
        }
        let mut found: BTreeMap<SeriesKey, BTreeMap<i64, f64>> = BTreeMap::new();
        for series in answer["data"]["result"].as_array().into_iter().flatten() {
            let number = |label: &str| series["metric"][label].as_str().and_then(|text| text.parse().ok());
            let key = (number("writer").expect("a number"), number("series").expect("a number"));
            let points = found.entry(key).or_default();
            for point in series["values"].as_array().into_iter().flatten() {
                let t_ms = (point[0].as_f64().expect("a time") * 1000.0).round() as i64;
                points.insert(t_ms, point[1].as_str().and_then(|text| text.parse().ok()).expect("a value"));
            }
        }
        let mut problems = Vec::new();
        let nothing = BTreeMap::new();
        for (key, series) in &self.entries {
            let points = found.get(key).unwrap_or(&nothing);
            for (t_ms, entry) in series {
                match points.get(t_ms) {
                    None if entry.acked => {
                        problems.push(format!("{key:?} at {t_ms} was acknowledged and is gone"))
                    }
                    Some(value) if value.to_bits() != entry.value.to_bits() => {
                        problems.push(format!("{key:?} at {t_ms}: {:?} came back as {value:?}", entry.value));
                    }
                    _ => {}
                }
            }
        }
        for (key, points) in found.iter().filter(|_| is_all) {
            let sent = self.entries.get(key);
            let phantoms = points.keys().filter(|time| sent.is_none_or(|sent| !sent.contains_key(time)));
            problems.extend(phantoms.map(|t_ms| format!("{key:?} at {t_ms} was never sent")));
        }
        let more = problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        if more > 0 {
            problems.push(format!("and {more} more of {} acknowledged", self.acked_samples()));
        }
        problems
    }
}

fn ask(node: SocketAddr, expr: &str) -> Value {
    let mut connection = Connection::new(node).with_timeout(Duration::from_secs(60));
    let time = format!("{}", now_ms() / 1000 + 1);
    let answer = connection.get("/prometheus/api/v1/query", &[("query", expr), ("time", &time)]);
    match answer {
        Ok(answer) => serde_json::from_slice(&answer.body).unwrap_or_else(|_| {
            Value::String(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)))
        }),
        Err(error) => Value::String(error.to_string()),
    }
}

/// A sample as `promtool tsdb dump` prints it: `{__name__="load", series="3", writer="1"} 0.25 1795558023250`.
fn dumped(line: &str) -> Option<(SeriesKey, i64, f64)> {
    let (labels, rest) = line.rsplit_once("} ")?;
    let (value, time) = rest.split_once(' ')?;
    let number = |label: &str| {
        let (_, rest) = labels.split_once(&format!("{label}=\""))?;
        rest.split_once('"')?.0.parse().ok()
    };
    Some(((number("writer")?, number("series")?), time.trim().parse().ok()?, value.parse().ok()?))
}

impl Ledger {
    /// Compares with what promtool says is in the exported blocks: all that was acknowledged, each once, and nothing else.
    pub fn check_dump(&self, dump: &str) -> Vec<String> {
        let mut found: BTreeMap<(SeriesKey, i64), f64> = BTreeMap::new();
        let mut problems = Vec::new();
        for line in dump.lines().filter(|line| !line.is_empty()) {
            match dumped(line) {
                None => problems.push(format!("promtool says {line:?}")),
                Some((key, t_ms, value)) => {
                    if found.insert((key, t_ms), value).is_some() {
                        problems.push(format!("{key:?} at {t_ms} is there twice"));
                    }
                }
            }
        }
        for (key, series) in &self.entries {
            for (t_ms, entry) in series {
                match found.remove(&(*key, *t_ms)) {
                    None if entry.acked => problems.push(format!("{key:?} at {t_ms} is in no block")),
                    Some(value) if value.to_bits() != entry.value.to_bits() => {
                        problems.push(format!("{key:?} at {t_ms}: {value:?} for {:?}", entry.value));
                    }
                    _ => {}
                }
            }
        }
        problems.extend(found.keys().map(|(key, t_ms)| format!("{key:?} at {t_ms} was never sent")));
        problems.truncate(PROBLEMS_MAX);
        problems
    }
}
