//! The figures as a table, beside their targets.

use super::Figures;
use crate::targets::Target;

/// What is wanted.
pub fn targets(figures: &Figures) -> Vec<Target> {
    vec![
        Target::new("failed requests", 0.0, figures.failed.len() as f64),
        Target::new(
            "distance of the fourth's share of new samples from a fair one, %",
            15.0,
            (figures.share_of_fair - 1.0).abs() * 100.0,
        ),
        Target::new("what ended is in blocks and closed, s", 120.0, figures.closed_after.as_secs_f64()),
        Target::new("bytes of ended segments sent between nodes", 0.0, figures.pulled_ended_bytes),
        Target::new("peak memory of any node / before", 2.0, figures.memory_growth),
        Target::new("samples uploaded / acknowledged", 1.05, figures.uploaded_ratio),
        Target::new("the fourth is drained, s", 120.0, figures.drained_after.as_secs_f64()),
    ]
}

/// A line before the table.
pub fn head(figures: &Figures) -> String {
    let mut head = format!("{} requests, {} failed\n", figures.requests, figures.failed.len());
    for failure in figures.failed.iter().take(5) {
        head.push_str(&format!("- {failure}\n"));
    }
    let (before, after) = &figures.peak_bytes;
    let mib =
        |bytes: &[u64]| bytes.iter().map(|bytes| format!("{}", bytes >> 20)).collect::<Vec<_>>().join(", ");
    head.push_str(&format!("peak memory of each node, MiB: {} before, {} after\n", mib(before), mib(after)));
    head
}
