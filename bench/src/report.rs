//! Markdown tables and JSON of what the runs found.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::alloc::Allocations;
use crate::ingest::{Outcome, Scenario};
use crate::query::Row;
use crate::query::memory::Peak;
use crate::targets::Target;

/// A markdown table whose columns line up in a terminal too.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this head.
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Table {
        Table { rows: vec![head.into_iter().map(Into::into).collect()] }
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The text, first column left-aligned, the others right-aligned.
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                let padding = " ".repeat(width - cell.chars().count());
                match column {
                    0 => text.push_str(&format!("| {cell}{padding} |")),
                    _ => text.push_str(&format!(" {padding}{cell} |")),
                }
            }
            text.push('\n');
            if index == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(*width);
                    text.push_str(&if column == 0 {
                        format!("| {dashes} |")
                    } else {
                        format!(" {dashes}:|")
                    });
                }
                text.push('\n');
            }
        }
        text
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

fn optional(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.decimals$}"))
}

/// A figure of an outcome that is better when smaller, for ratios.
type Figure = (&'static str, fn(&Outcome) -> Option<f64>);

const RATIO_FIGURES: [Figure; 7] = [
    ("CPU/sample", |outcome| Some(outcome.cpu_seconds_per_million)),
    ("time/sample", |outcome| Some(1.0 / outcome.samples_per_second)),
    ("write p99", |outcome| Some(outcome.write_p99.as_secs_f64())),
    ("RSS/series", |outcome| Some(outcome.rss_bytes_per_series)),
    ("WAL/sample", |outcome| outcome.wal_bytes_per_sample),
    ("disk written/sample", |outcome| Some(outcome.written_bytes_per_sample)),
    ("kill -9 to answer", |outcome| outcome.recovery.first_correct_answer.map(|time| time.as_secs_f64())),
];

/// One scenario's table, ratios and targets as markdown.
pub fn ingest_markdown(scenario: Scenario, title: &str, outcomes: &[Outcome], targets: &[Target]) -> String {
    let mut text = format!("\n## ingest {scenario}: {title}\n\n");
    let mut table = Table::new([
        "server",
        "version",
        "ack means",
        "CPU s/1M",
        "samples/s",
        "p50 ms",
        "p99 ms",
        "idle MB",
        "B/series",
        "peak B/series",
        "WAL B/sample",
        "data B/sample",
        "written B/sample",
        "kill -9 s",
        "lost samples",
    ]);
    for outcome in outcomes {
        let recovery = &outcome.recovery;
        let restart = match (recovery.first_correct_answer, recovery.first_answer) {
            (Some(time), _) => format!("{:.2}", time.as_secs_f64()),
            (None, Some(time)) => format!("wrong from {:.2}", time.as_secs_f64()),
            (None, None) => "no answer".into(),
        };
        let noisy = if outcome.quiet { "" } else { " (not quiet)" };
        table.row([
            outcome.server.clone(),
            outcome.version.clone(),
            outcome.fsync_policy.clone(),
            format!("{:.2}{noisy}", outcome.cpu_seconds_per_million),
            format!("{:.0}", outcome.samples_per_second),
            milliseconds(outcome.write_p50),
            milliseconds(outcome.write_p99),
            format!("{:.1}", outcome.idle_rss_bytes as f64 / 1e6),
            format!("{:.0}", outcome.rss_bytes_per_series),
            format!("{:.0}", outcome.peak_rss_bytes_per_series),
            optional(outcome.wal_bytes_per_sample, 2),
            format!("{:.2}", outcome.data_bytes_per_sample),
            format!("{:.2}", outcome.written_bytes_per_sample),
            restart,
            recovery.missing_samples.to_string(),
        ]);
    }
    text.push_str(&table.render());
    text.push_str(&ratios_markdown(outcomes));
    text.push_str(&targets_markdown(targets));
    text
}

fn ratios_markdown(outcomes: &[Outcome]) -> String {
    let is_gyre = |outcome: &&Outcome| outcome.server.starts_with("gyre");
    let mut head = vec!["ratio (below 1: gyre needs less)".to_owned()];
    head.extend(RATIO_FIGURES.map(|(name, _)| name.to_owned()));
    let mut table = Table::new(head);
    let mut any = false;
    for own in outcomes.iter().filter(is_gyre) {
        for peer in outcomes.iter().filter(|outcome| !is_gyre(outcome)) {
            let mut cells = vec![format!("{} / {}", own.server, peer.server)];
            cells.extend(RATIO_FIGURES.map(|(_, figure)| {
                let ratio = figure(own).zip(figure(peer)).map(|(own, peer)| own / peer);
                optional(ratio.filter(|ratio| ratio.is_finite()), 2)
            }));
            table.row(cells);
            any = true;
        }
    }
    if any { format!("\n{}", table.render()) } else { String::new() }
}

/// The targets with their verdicts.
pub fn targets_markdown(targets: &[Target]) -> String {
    if targets.is_empty() {
        return String::new();
    }
    let mut table = Table::new(["target", "at most", "measured", "verdict"]);
    for target in targets {
        let verdict = if target.is_met() { "met" } else { "missed" };
        table.row([
            target.what.clone(),
            format!("{}", target.limit),
            format!("{:.3}", target.measured),
            verdict.into(),
        ]);
    }
    format!("\n{}", table.render())
}

/// The query mix as markdown.
pub fn query_markdown(servers: &[&str], rows: &[Row], targets: &[Target]) -> String {
    let mut text = String::from("\n## query: median wall ms (CPU ms)\n\n");
    let mut head = vec!["query".to_owned()];
    head.extend(servers.iter().map(|server| (*server).to_owned()));
    head.push("unlike prometheus".into());
    let mut table = Table::new(head);
    let mut totals = vec![(0.0, 0.0); servers.len()];
    for row in rows {
        let mut cells = vec![row.query.to_owned()];
        let mut unlike = Vec::new();
        for (index, timing) in row.timings.iter().enumerate() {
            match timing {
                Ok(timing) => {
                    let (wall, cpu) = (timing.wall.as_secs_f64() * 1e3, timing.cpu.as_secs_f64() * 1e3);
                    totals[index].0 += wall;
                    totals[index].1 += cpu;
                    cells.push(format!("{wall:.1} ({cpu:.1})"));
                    if timing.difference.is_some() {
                        unlike.push(servers[index]);
                    }
                }
                Err(_) => cells.push("refused".into()),
            }
        }
        cells.push(unlike.join(", "));
        table.row(cells);
    }
    let mut total = vec!["total".to_owned()];
    total.extend(totals.iter().map(|(wall, cpu)| format!("{wall:.1} ({cpu:.1})")));
    table.row(total);
    text.push_str(&table.render());

    let mut ratios = Table::new(["ratio of totals", "wall", "CPU"]);
    for (own, name) in servers.iter().enumerate().filter(|(_, name)| name.starts_with("gyre")) {
        for (peer, peer_name) in servers.iter().enumerate().filter(|(_, name)| !name.starts_with("gyre")) {
            let cells = [
                format!("{name} / {peer_name}"),
                format!("{:.3}", totals[own].0 / totals[peer].0),
                format!("{:.3}", totals[own].1 / totals[peer].1),
            ];
            ratios.row(cells);
        }
    }
    if ratios.rows.len() > 1 {
        let _ = write!(text, "\n{}", ratios.render());
    }
    text.push_str(&targets_markdown(targets));
    for row in rows {
        for (server, timing) in servers.iter().zip(&row.timings) {
            let problem = match timing {
                Err(error) => error,
                Ok(timing) => match &timing.difference {
                    // VictoriaMetrics extrapolates otherwise, by design: the table says so, once is enough.
                    Some(difference) if *server != "victoria-metrics" => difference,
                    _ => continue,
                },
            };
            let _ = writeln!(text, "- {}, {server}: {problem}", row.query);
        }
    }
    text
}

/// The allocation counts as markdown.
pub fn alloc_markdown(counts: &[Allocations]) -> String {
    let mut table = Table::new(["server", "heap allocations/sample"]);
    for count in counts {
        table.row([count.server.clone(), optional(count.per_sample, 3)]);
    }
    format!("\n## alloc\n\n{}", table.render())
}

/// Targets as JSON.
pub fn targets_json(targets: &[Target]) -> Value {
    let item = |target: &Target| json!({"what": target.what, "limit": target.limit, "measured": target.measured, "met": target.is_met()});
    targets.iter().map(item).collect()
}

/// One scenario as JSON.
pub fn ingest_json(scenario: Scenario, outcomes: &[Outcome], targets: &[Target]) -> Value {
    let item = |outcome: &Outcome| {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        json!({
            "server": outcome.server,
            "version": outcome.version,
            "fsync_policy": outcome.fsync_policy,
            "cpu_seconds_per_million_samples": outcome.cpu_seconds_per_million,
            "samples_per_second": outcome.samples_per_second,
            "write_p50_seconds": outcome.write_p50.as_secs_f64(),
            "write_p99_seconds": outcome.write_p99.as_secs_f64(),
            "idle_rss_anon_bytes": outcome.idle_rss_bytes,
            "rss_anon_bytes_per_series": outcome.rss_bytes_per_series,
            "peak_rss_anon_bytes_per_series": outcome.peak_rss_bytes_per_series,
            "wal_bytes_per_sample": outcome.wal_bytes_per_sample,
            "data_bytes_per_sample": outcome.data_bytes_per_sample,
            "written_bytes_per_sample": outcome.written_bytes_per_sample,
            "retries": outcome.retries,
            "quiet": outcome.quiet,
            "kill_to_first_correct_answer_seconds": seconds(outcome.recovery.first_correct_answer),
            "kill_to_first_answer_seconds": seconds(outcome.recovery.first_answer),
            "acked_samples": outcome.recovery.acked_samples,
            "missing_samples": outcome.recovery.missing_samples,
            "phantom_samples": outcome.recovery.phantom_samples,
        })
    };
    let servers: Value = outcomes.iter().map(item).collect();
    json!({"run": "ingest", "scenario": scenario.to_string(), "servers": servers, "targets": targets_json(targets)})
}

/// The query mix as JSON.
pub fn query_json(servers: &[&str], rows: &[Row], targets: &[Target]) -> Value {
    let timing = |(server, timing): (&&str, &Result<crate::query::Timing, String>)| match timing {
        Ok(timing) => json!({
            "server": server,
            "wall_seconds": timing.wall.as_secs_f64(),
            "cpu_seconds": timing.cpu.as_secs_f64(),
            "answer_bytes": timing.answer_bytes,
            "unlike_prometheus": timing.difference,
        }),
        Err(error) => json!({"server": server, "refused": error}),
    };
    let row = |row: &Row| {
        let timings: Value = servers.iter().zip(&row.timings).map(timing).collect();
        json!({"query": row.query, "servers": timings})
    };
    let rows: Value = rows.iter().map(row).collect();
    json!({"run": "query", "queries": rows, "targets": targets_json(targets)})
}

/// The memory run as markdown.
pub fn memory_markdown(peaks: &[Peak]) -> String {
    let mut table = Table::new(["server", "before MB", "peak MB", "growth MB", "query ms"]);
    for peak in peaks {
        let megabytes = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
        table.row([
            peak.server.clone(),
            megabytes(peak.before_bytes),
            megabytes(peak.peak_bytes),
            megabytes(peak.growth_bytes()),
            milliseconds(peak.wall),
        ]);
    }
    format!("\n## memory of one wide query\n\n{}", table.render())
}

/// The memory run as JSON.
pub fn memory_json(peaks: &[Peak], targets: &[Target]) -> Value {
    let item = |peak: &Peak| {
        json!({
            "server": peak.server,
            "before_rss_anon_bytes": peak.before_bytes,
            "peak_rss_anon_bytes": peak.peak_bytes,
            "wall_seconds": peak.wall.as_secs_f64(),
        })
    };
    let servers: Value = peaks.iter().map(item).collect();
    json!({"run": "memory", "servers": servers, "targets": targets_json(targets)})
}

/// What a reader must know to judge the tables.
pub const FAIRNESS_NOTES: &str = "
- CPU, memory and disk figures are the kernel's; ratios of one run are what to quote, the machine is shared.
- Requests are the same bytes for all, sent as fast as each server takes them.
- prometheus does not fsync before an ack, victoria-metrics has no log: a kill -9 loses what it had not flushed.
- victoria-metrics extrapolates rates otherwise than PromQL prescribes, so its answers differ by design.
- gyre is multi-tenant, the peers here are not.
";

/// The allocation counts as JSON.
pub fn alloc_json(counts: &[Allocations], targets: &[Target]) -> Value {
    let item =
        |count: &Allocations| json!({"server": count.server, "allocations_per_sample": count.per_sample});
    let servers: Value = counts.iter().map(item).collect();
    json!({"run": "alloc", "servers": servers, "targets": targets_json(targets)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_markdown_with_aligned_columns() {
        let mut table = Table::new(["name", "n"]);
        table.row(["a", "1000"]);
        table.row(["long name", "2"]);
        let expected = "\
| name      |    n |
| --------- | ----:|
| a         | 1000 |
| long name |    2 |
";
        assert_eq!(table.render(), expected);
    }

    #[test]
    fn a_target_above_its_limit_is_missed() {
        let target = |measured| Target { what: "x".into(), limit: 0.4, measured };
        assert!(targets_markdown(&[target(0.4)]).contains(" met |"));
        assert!(targets_markdown(&[target(0.41)]).contains("missed"));
        assert_eq!(targets_markdown(&[]), "");
    }
}
