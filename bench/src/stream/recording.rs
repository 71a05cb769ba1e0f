//! Recordings of a real node_exporter: a series list and one row of values a scrape.
//!
//! The file is text, so that it can be looked at: a line a series (its labels as a JSON object), an empty line,
//! then a line a scrape with the values in the series' order, shortest form that reads back bit-exact. Only
//! series present in every scrape are kept.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::exposition;
use crate::error::{Error, Result};
use crate::http::Connection;
use crate::server::{ManagedChild, free_port};

/// Where Debian's package puts the exporter.
pub const NODE_EXPORTER: &str = "/usr/bin/prometheus-node-exporter";

/// Scrapes of one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Label pairs of each series, `__name__` first.
    pub series: Vec<Vec<(String, String)>>,
    /// `scrapes[i][j]` is the value of series `j` at scrape `i`.
    pub scrapes: Vec<Vec<f64>>,
}

impl Recording {
    /// Starts a node_exporter, scrapes it `scrapes` times and stops it.
    pub fn record(scrapes: usize, interval: Duration) -> Result<Recording> {
        let (_exporter, address) = start_node_exporter()?;
        let mut connection = Connection::new(address);
        let mut table: BTreeMap<Vec<(String, String)>, Vec<f64>> = BTreeMap::new();
        let mut next = Instant::now();
        for scrape in 0..scrapes {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            next += interval;
            let text = connection.get("/metrics", &[])?.into_text()?;
            for line in exposition::parse(&text)? {
                let values = table.entry(line.labels).or_default();
                if values.len() == scrape {
                    values.push(line.value);
                }
            }
        }
        table.retain(|_, values| values.len() == scrapes);
        let rows = (0..scrapes).map(|scrape| table.values().map(|values| values[scrape]).collect());
        Ok(Recording { scrapes: rows.collect(), series: table.keys().cloned().collect() })
    }

    /// Writes the text form.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut text = String::new();
        for labels in &self.series {
            let object: serde_json::Map<String, serde_json::Value> =
                labels.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
            text.push_str(&serde_json::Value::Object(object).to_string());
            text.push('\n');
        }
        text.push('\n');
        for row in &self.scrapes {
            let values: Vec<String> = row.iter().map(f64::to_string).collect();
            text.push_str(&values.join(" "));
            text.push('\n');
        }
        fs::write(path, text).map_err(Error::io(format!("writing {}", path.display())))
    }

    /// Reads what [`Recording::save`] wrote.
    pub fn load(path: &Path) -> Result<Recording> {
        let text = fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))?;
        let malformed = |problem: &str| Error::malformed(path.display().to_string(), problem);
        let (head, rows) =
            text.split_once("\n\n").ok_or_else(|| malformed("no empty line after the series"))?;
        let series = head
            .lines()
            .map(|line| {
                let object: BTreeMap<String, serde_json::Value> =
                    serde_json::from_str(line).map_err(|error| malformed(&error.to_string()))?;
                let pairs = object.into_iter().map(|(name, value)| {
                    let text = value.as_str().ok_or_else(|| malformed("a label value is not a string"))?;
                    Ok((name, text.to_owned()))
                });
                pairs.collect::<Result<Vec<_>>>()
            })
            .collect::<Result<Vec<_>>>()?;
        let scrapes = rows
            .lines()
            .map(|line| {
                let row: Vec<f64> = line
                    .split(' ')
                    .map(str::parse)
                    .collect::<std::result::Result<_, _>>()
                    .map_err(|_| malformed("a value is not a number"))?;
                if row.len() == series.len() {
                    Ok(row)
                } else {
                    Err(malformed("a scrape has another length"))
                }
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Recording { series, scrapes })
    }
}

/// Starts a node_exporter on a free loopback port and waits until it answers.
pub fn start_node_exporter() -> Result<(ManagedChild, SocketAddr)> {
    let program = PathBuf::from(NODE_EXPORTER);
    if !program.exists() {
        return Err(Error::Missing { program, hint: "apt-get install prometheus-node-exporter".into() });
    }
    let address = free_port()?;
    let mut command = Command::new(&program);
    command.arg(format!("--web.listen-address={address}")).arg("--log.level=error");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = ManagedChild::spawn("node_exporter", &mut command)?;
    let give_up = Instant::now() + Duration::from_secs(10);
    let mut connection = Connection::new(address);
    loop {
        match connection.get("/", &[]) {
            Ok(answer) if answer.status == 200 => return Ok((child, address)),
            outcome if Instant::now() > give_up => {
                return Err(Error::server("node_exporter", format!("not ready after 10 s: {outcome:?}")));
            }
            _ => thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_reads_back_bit_exact() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let recording = Recording {
            series: vec![
                vec![pair("__name__", "a")],
                vec![pair("__name__", "b"), pair("device", "x \"y\"\n")],
            ],
            scrapes: vec![vec![0.1 + 0.2, f64::INFINITY], vec![1e300, -0.0]],
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        recording.save(file.path()).unwrap();
        assert_eq!(Recording::load(file.path()).unwrap(), recording);
    }
}
