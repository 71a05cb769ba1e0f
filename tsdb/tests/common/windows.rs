//! Dropping windows of a shard's head.

use gyre_tsdb::{IdleSeries, SeriesRef};

use crate::common::Shard;

/// Drops a window, three series at a time; gives the series that have nothing then.
pub fn release(shard: &mut Shard, window: i64) -> IdleSeries {
    let (mut next, mut idle) = (Some(SeriesRef(0)), IdleSeries::default());
    while let Some(from) = next {
        next = shard.head.release(from, 3, window, &mut idle);
    }
    idle
}
