//! What one query of a tenant may read. Names and texts are Cortex's.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use gyre_tsdb::SeriesRef;

/// The limits of a query; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryLimits {
    /// `max_fetched_series_per_query`: different series.
    pub series_max: u64,
    /// `max_query_length`: milliseconds from the first to the last time of interest.
    pub length_ms_max: i64,
}

impl QueryLimits {
    /// Refuses a time range that is too long. The error is the text to show.
    pub fn check_length(&self, from_ms: i64, to_ms: i64) -> Result<(), String> {
        let length_ms = to_ms.saturating_sub(from_ms);
        if self.length_ms_max == 0 || length_ms <= self.length_ms_max {
            return Ok(());
        }
        Err(format!(
            "the query time range exceeds the limit (query length: {}, limit: {}); the limit is max_query_length",
            go_duration(length_ms),
            go_duration(self.length_ms_max)
        ))
    }

    /// Refuses too many series. The error is the text to show.
    pub fn check_series(&self, series: u64) -> Result<(), String> {
        if self.series_max == 0 || series <= self.series_max {
            return Ok(());
        }
        Err(format!(
            "the query hit the max number of series limit (limit: {} series); the limit is \
             max_fetched_series_per_query",
            self.series_max
        ))
    }
}

/// The series that a query has found so far, in one place. Nothing is kept where there is no limit.
#[derive(Debug, Default)]
pub struct FetchedSeries(Mutex<HashSet<Fetched>>);

/// A series that was found: what tells it from others, wherever it is known first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fetched {
    /// By the place of its shards among those of the query, and its number there.
    Number(usize, SeriesRef),
    /// By the hash of its labels.
    Key(u128),
}

impl FetchedSeries {
    /// Adds some that were found. The error is the text to show.
    pub fn add(&self, series: impl IntoIterator<Item = Fetched>, limits: &QueryLimits) -> Result<(), String> {
        if limits.series_max == 0 {
            return Ok(());
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for series in series {
            all.insert(series);
            limits.check_series(all.len() as u64)?;
        }
        Ok(())
    }

    /// How many there are; 0 if there is no limit.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

/// A duration as Go prints it: `1h30m0s`, `2.5s`, `250ms`.
fn go_duration(ms: i64) -> String {
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let seconds = (ms % 60_000) as f64 / 1000.0;
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Of the documentation of Go's `time.Duration.String`.
    #[test]
    fn durations_are_shown_as_go_shows_them() {
        for (ms, text) in [
            (1, "1ms"),
            (1_000, "1s"),
            (2_500, "2.5s"),
            (60_000, "1m0s"),
            (3_600_000, "1h0m0s"),
            (4_215_000, "1h10m15s"),
            (90_000_001, "25h0m0.001s"),
        ] {
            assert_eq!(go_duration(ms), text);
        }
    }
}
