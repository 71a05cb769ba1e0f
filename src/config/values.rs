//! The types of settings, how they are read and how they are shown.

use std::fmt;
use std::path::PathBuf;

use gyre_promql::gostd::{format_duration_ns, parse_duration_ns};
use gyre_ring::{NodeId, Role, Zone};
use tracing::Level;

use super::nearest::nearest;
use crate::cluster::store::StorageUrl;
use crate::tenant::header::AuthMode;

/// A type that settings have.
pub(super) trait Value: Sized {
    /// Reads a value; the error says what is wrong with it.
    fn parse(text: &str) -> Result<Self, String>;
    /// Shows it in a form that `parse` reads.
    fn show(&self) -> String;
}

/// `host:port`, to be resolved when the port is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// A name or an IP address; IPv6 without brackets.
    pub host: String,
    /// 0 lets the system choose.
    pub port: u16,
}

impl Default for ListenAddress {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), port: 9009 }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Value for ListenAddress {
    fn parse(text: &str) -> Result<Self, String> {
        let wanted = || "must be host:port, such as 127.0.0.1:9009".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(wanted)?;
        let port = port.parse().map_err(|_| wanted())?;
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        if host.contains(':') && !is_bracketed {
            return Err("an IPv6 address must stand in brackets, such as [::1]:9009".to_owned());
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        // As in Go: no host means all addresses.
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        Ok(Self { host: host.to_owned(), port })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// The least severe messages that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What needs a human.
    Error,
    /// What may come to need one.
    Warn,
    /// What the node does.
    Info,
    /// How it does it.
    Debug,
    /// Every step.
    Trace,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// What a write waits for before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalSync {
    /// Until its samples are fsynced: they survive the loss of power.
    Commit,
    /// Until the operating system has them: they survive the death of the process only. For comparisons with
    /// systems that do no more.
    Os,
}

/// Reads one of a few words.
fn parse_word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let hint = match nearest(text, all.iter().copied()) {
        Some(word) => format!(", did you mean {word}?"),
        None => String::new(),
    };
    Err(format!("must be one of {}{hint}", all.join(", ")))
}

fn word_of<T: PartialEq>(value: &T, words: &[(&'static str, T)]) -> String {
    words
        .iter()
        .find(|(_, candidate)| candidate == value)
        .map(|(word, _)| *word)
        .unwrap_or_default()
        .to_owned()
}

const LOG_LEVELS: [(&str, LogLevel); 5] = [
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

impl Value for LogLevel {
    fn parse(text: &str) -> Result<Self, String> {
        parse_word(text, &LOG_LEVELS)
    }

    fn show(&self) -> String {
        word_of(self, &LOG_LEVELS)
    }
}

const WAL_SYNCS: [(&str, WalSync); 2] = [("commit", WalSync::Commit), ("os", WalSync::Os)];

impl Value for WalSync {
    fn parse(text: &str) -> Result<Self, String> {
        parse_word(text, &WAL_SYNCS)
    }

    fn show(&self) -> String {
        word_of(self, &WAL_SYNCS)
    }
}

const AUTH_MODES: [(&str, AuthMode); 2] = [("optional", AuthMode::Optional), ("header", AuthMode::Header)];

impl Value for AuthMode {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "token" {
            return Err("token does not exist yet in this version; use header behind a proxy that sets \
                        X-Scope-OrgID"
                .to_owned());
        }
        parse_word(text, &AUTH_MODES)
    }

    fn show(&self) -> String {
        word_of(self, &AUTH_MODES)
    }
}

impl Value for Option<NodeId> {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        let id =
            NodeId::new(text).ok_or_else(|| "must be 1 to 63 letters, digits, '-', '_' and '.'".to_owned());
        id.map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(NodeId::to_string).unwrap_or_default()
    }
}

impl Value for Option<Zone> {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(None);
        }
        // A name with a colon stands for a node without a zone.
        let zone = Zone::new(text).filter(|_| !text.contains(':'));
        zone.map(Some).ok_or_else(|| "must be 1 to 63 letters, digits, '-', '_' and '.'".to_owned())
    }

    fn show(&self) -> String {
        self.as_ref().map(Zone::to_string).unwrap_or_default()
    }
}

impl Value for Vec<Role> {
    fn parse(text: &str) -> Result<Self, String> {
        let words = Role::ALL.map(|role| (role.as_str(), role));
        let given = text.split(',').map(str::trim).map(|word| parse_word(word, &words));
        let given = given.collect::<Result<Vec<Role>, String>>()?;
        Ok(Role::ALL.into_iter().filter(|role| given.contains(role)).collect())
    }

    fn show(&self) -> String {
        self.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(",")
    }
}

/// The most nodes to gossip with first. A name may stand for any number.
const SEEDS_MAX: usize = 100;

/// Nodes to gossip with first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seeds(pub Vec<ListenAddress>);

impl Seeds {
    /// Adds those of a list with commas.
    pub(super) fn add(&mut self, text: &str) -> Result<(), String> {
        for seed in text.split(',').map(str::trim).filter(|seed| !seed.is_empty()) {
            let wanted = || format!("{seed:?} must be host:port, such as node-1:9011");
            let address = ListenAddress::parse(seed).map_err(|_| wanted())?;
            if address.port == 0 || seed.starts_with(':') {
                return Err(wanted());
            }
            if !self.0.contains(&address) {
                self.0.push(address);
            }
        }
        if self.0.len() > SEEDS_MAX {
            return Err(format!("more than {SEEDS_MAX} nodes; a few that are up are enough"));
        }
        Ok(())
    }

    /// The list that [`Seeds::add`] reads.
    pub(super) fn show(&self) -> String {
        self.0.iter().map(ListenAddress::to_string).collect::<Vec<_>>().join(",")
    }
}

impl Value for Option<PathBuf> {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Some(PathBuf::from(text)).filter(|_| !text.is_empty()))
    }

    fn show(&self) -> String {
        self.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    }
}

impl Value for StorageUrl {
    fn parse(text: &str) -> Result<Self, String> {
        StorageUrl::parse(text)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// The host's name as a node id.
pub fn host_node_id() -> NodeId {
    let uname = rustix::system::uname();
    let host = uname.nodename().to_string_lossy();
    NodeId::new(&host).or_else(|| NodeId::new("gyre")).expect("\"gyre\" is a valid node id")
}

impl Value for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(Self::from(text)) }
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for bool {
    fn parse(text: &str) -> Result<Self, String> {
        parse_word(text, &[("true", true), ("false", false)])
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for u64 {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "must be a whole number, not negative".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for usize {
    fn parse(text: &str) -> Result<Self, String> {
        u64::parse(text)?.try_into().map_err(|_| "is too large".to_owned())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for f64 {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<Self>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(number),
            _ => Err("must be a number, not negative".to_owned()),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Milliseconds, written as a Prometheus duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DurationMs(pub(super) i64);

impl Value for DurationMs {
    fn parse(text: &str) -> Result<Self, String> {
        match parse_duration_ns(text) {
            Ok(ns) => Ok(Self(ns / 1_000_000)),
            Err(error) => Err(format!("{error} (durations are written like 1h30m, 15s or 250ms)")),
        }
    }

    fn show(&self) -> String {
        format_duration_ns(self.0.saturating_mul(1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_read_as_go_reads_them() {
        let shown = |text| ListenAddress::parse(text).map(|address| address.to_string());
        assert_eq!(shown("127.0.0.1:9009"), Ok("127.0.0.1:9009".to_owned()));
        assert_eq!(shown("localhost:0"), Ok("localhost:0".to_owned()));
        assert_eq!(shown(":9009"), Ok("0.0.0.0:9009".to_owned()));
        assert_eq!(shown("[::1]:80"), Ok("[::1]:80".to_owned()));
        for wrong in ["9009", "localhost", "localhost:", "localhost:65536", "::1:80", ""] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_misspelt_word_names_the_nearest_one() {
        assert_eq!(WalSync::parse("comit").unwrap_err(), "must be one of commit, os, did you mean commit?");
        assert_eq!(WalSync::parse("always").unwrap_err(), "must be one of commit, os");
    }

    #[test]
    fn the_host_always_makes_a_node_id() {
        assert!(!host_node_id().as_str().is_empty());
    }
}
