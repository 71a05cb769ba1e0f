//! Dropping windows of a shard's head.

use gyre_tsdb::{IdleSeries, SeriesRef};

use crate::common::Shard;

/// Drops a window, three series at a time; gives the series that have nothing then, and had no sample in the hour before the
/// newest one.
pub fn release(shard: &mut Shard, window: i64) -> IdleSeries {
    let newest_ms = shard.head.newest_ms().unwrap_or(0);
    let (mut next, mut idle) = (Some(SeriesRef(0)), IdleSeries::stopped_before(newest_ms - 3_600_000));
    while let Some(from) = next {
        next = shard.head.release(from, 3, window, &mut idle);
    }
    idle
}
