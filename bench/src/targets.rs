//! The project's targets, and whether a run met them.
//!
//! A target about a peer can only be judged when that peer was in the same run: otherwise it is left out, never
//! judged against a figure of another day.

use crate::alloc::Allocations;
use crate::ingest::{Outcome, Scenario};
use crate::query::Row;
use crate::query::memory::Peak;

/// A target that could be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// What is limited, the unit included.
    pub what: String,
    /// At most this.
    pub limit: f64,
    /// What the run showed.
    pub measured: f64,
}

impl Target {
    /// A target, and what was measured.
    pub fn new(what: impl Into<String>, limit: f64, measured: f64) -> Target {
        Target { what: what.into(), limit, measured }
    }

    /// Whether the measured figure is within the limit.
    pub fn is_met(&self) -> bool {
        self.measured <= self.limit
    }
}

fn find<'a>(outcomes: &'a [Outcome], server: &str) -> Option<&'a Outcome> {
    outcomes.iter().find(|outcome| outcome.server == server)
}

/// What one scenario's outcomes say of gyre with fsync on.
pub fn of_ingest(scenario: Scenario, outcomes: &[Outcome]) -> Vec<Target> {
    let Some(gyre) = find(outcomes, "gyre") else { return Vec::new() };
    let mut targets = Vec::new();
    let cpu_share = match scenario {
        Scenario::Long => Some(0.40),
        Scenario::Wide | Scenario::Widest => Some(0.33),
        Scenario::NodeExporter => None,
    };
    if let (Some(limit), Some(peer)) = (cpu_share, find(outcomes, "victoria-metrics")) {
        let share = gyre.cpu_seconds_per_million / peer.cpu_seconds_per_million;
        targets.push(Target::new("CPU per sample / victoria-metrics's", limit, share));
    }
    if matches!(scenario, Scenario::Wide | Scenario::Widest) {
        let kilobytes = gyre.rss_bytes_per_series / 1_000.0;
        targets.push(Target::new("RssAnon above idle, KB a series", 0.8, kilobytes));
    }
    targets.push(Target::new("RssAnon of the idle process, MB", 50.0, gyre.idle_rss_bytes as f64 / 1e6));
    if let (Scenario::NodeExporter, Some(wal)) = (scenario, gyre.wal_bytes_per_sample) {
        targets.push(Target::new("WAL bytes a sample", 2.5, wal));
    }
    targets.push(Target::new(
        "acknowledged samples missing or made up after kill -9",
        0.0,
        (gyre.recovery.missing_samples + gyre.recovery.phantom_samples) as f64,
    ));
    let restart = |outcome: &Outcome| outcome.recovery.first_correct_answer.map(|time| time.as_secs_f64());
    if let (Scenario::Wide, Some(peer)) = (scenario, find(outcomes, "prometheus"))
        && let Some(peer) = restart(peer)
    {
        let share = restart(gyre).map_or(f64::INFINITY, |own| own / peer);
        targets.push(Target::new("kill -9 to correct answer / prometheus's", 0.35, share));
    }
    targets
}

/// What the query mix says of gyre. `servers` are the columns of `rows`.
pub fn of_queries(servers: &[&str], rows: &[Row]) -> Vec<Target> {
    let column = |name: &str| servers.iter().position(|server| *server == name);
    let Some(gyre) = column("gyre").or_else(|| column("gyre-os")) else { return Vec::new() };
    let wall_ms = |row: &Row, server: usize| {
        row.timings[server].as_ref().ok().map(|timing| timing.wall.as_secs_f64() * 1e3)
    };
    // A query that a server refused counts for neither side, and is shown in the table.
    let pairs = |peer: usize| rows.iter().filter_map(move |row| wall_ms(row, gyre).zip(wall_ms(row, peer)));
    let mut targets = Vec::new();
    for (name, limit) in [("prometheus", 0.1), ("victoria-metrics", 0.6)] {
        if let Some(peer) = column(name) {
            let (own, theirs) =
                pairs(peer).fold((0.0, 0.0), |sum, (own, theirs)| (sum.0 + own, sum.1 + theirs));
            targets.push(Target::new(format!("total of medians / {name}'s"), limit, own / theirs));
        }
    }
    if let Some(peer) = column("victoria-metrics") {
        // 1 means exactly at the limit for that query.
        let worst =
            pairs(peer).map(|(own, theirs)| own / (1.3 * theirs).max(theirs + 2.0)).fold(0.0, f64::max);
        targets.push(Target::new("slowest query / max(1.3 x, +2 ms) of victoria-metrics's", 1.0, worst));
    }
    let wrong = rows.iter().filter(|row| match &row.timings[gyre] {
        Ok(timing) => timing.difference.is_some(),
        Err(_) => true,
    });
    if column("prometheus").is_some() {
        targets.push(Target::new("queries refused or unlike prometheus's", 0.0, wrong.count() as f64));
    }
    targets
}

/// What the allocation counts say of gyre.
pub fn of_allocations(counts: &[Allocations]) -> Vec<Target> {
    let gyre = counts.iter().filter(|count| count.server.starts_with("gyre"));
    let targets = gyre.filter_map(|count| {
        Some(Target::new(format!("{}: heap allocations a sample", count.server), 0.05, count.per_sample?))
    });
    targets.collect()
}

/// What the memory run says of gyre.
pub fn of_memory(peaks: &[Peak]) -> Vec<Target> {
    let gyre = peaks.iter().filter(|peak| peak.server.starts_with("gyre"));
    gyre.map(|peak| {
        let megabytes = peak.growth_bytes() as f64 / 1e6;
        Target::new(format!("{}: memory of the query beyond the data, MB", peak.server), 100.0, megabytes)
    })
    .collect()
}
