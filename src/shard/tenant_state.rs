//! What the shards of a tenant share: its limits, its newest sample, its count of series.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gyre_ring::TenantId;
use gyre_tsdb::labels::METRIC_NAME;
use gyre_tsdb::{Head, SeriesRef};

use crate::tenant::limits::Limits;

/// No sample yet.
const NONE: i64 = i64::MIN;

/// Shared state of a tenant's shards.
pub struct TenantState {
    /// Whose.
    pub id: TenantId,
    /// What it may do.
    pub limits: Arc<Limits>,
    newest_ms: AtomicI64,
    series: AtomicU64,
    /// Series by metric name; kept only where there is a limit on them.
    by_metric: Mutex<HashMap<Box<[u8]>, u64>>,
}

/// A limit on series was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesLimit {
    /// `max_series_per_user`.
    User,
    /// `max_series_per_metric`.
    Metric,
}

impl TenantState {
    /// A tenant without series.
    pub fn new(id: TenantId, limits: Arc<Limits>) -> Self {
        let (newest_ms, series) = (AtomicI64::new(NONE), AtomicU64::new(0));
        TenantState { id, limits, newest_ms, series, by_metric: Mutex::default() }
    }

    /// The newest sample's time over all shards.
    pub fn newest_ms(&self) -> Option<i64> {
        Some(self.newest_ms.load(Ordering::Relaxed)).filter(|newest| *newest != NONE)
    }

    /// Notes a shard's newest sample.
    pub fn saw(&self, t_ms: i64) {
        self.newest_ms.fetch_max(t_ms, Ordering::Relaxed);
    }

    /// Series over all shards.
    pub fn series(&self) -> u64 {
        self.series.load(Ordering::Relaxed)
    }

    /// Counts a series that is about to be made, if the limits allow it.
    pub fn add_series(&self, metric: &[u8]) -> Result<(), SeriesLimit> {
        let (max, max_per_metric) = (self.limits.max_series_per_user, self.limits.max_series_per_metric);
        if max > 0 && self.series() >= max {
            return Err(SeriesLimit::User);
        }
        if max_per_metric > 0 {
            let mut by_metric = self.by_metric.lock().unwrap_or_else(PoisonError::into_inner);
            match by_metric.get_mut(metric) {
                Some(count) if *count >= max_per_metric => return Err(SeriesLimit::Metric),
                Some(count) => *count += 1,
                None => {
                    by_metric.insert(metric.into(), 1);
                }
            }
        }
        self.series.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Counts a series that another replica has admitted, whatever the limits say here.
    pub fn add_series_of_others(&self, metric: &[u8]) {
        if self.limits.max_series_per_metric > 0 {
            self.add_recovered_series_of(metric);
        } else {
            self.add_recovered_series(1);
        }
    }

    /// Counts the series of a segment no more that takes no samples: they are in its successor, if they go on.
    pub fn forget_series(&self, head: &Head) {
        self.subtract(head.series_count() as u64);
        if self.limits.max_series_per_metric == 0 {
            return;
        }
        let mut by_metric = self.by_metric.lock().unwrap_or_else(PoisonError::into_inner);
        for series in head.series_from(SeriesRef(0)) {
            let metric = head.labels(series).find(|(name, _)| *name == METRIC_NAME);
            let metric = metric.map_or(&[][..], |(_, value)| value.as_bytes());
            count_less(&mut by_metric, metric);
        }
    }

    /// Counts a series of a metric no more, since it is gone.
    pub fn forget_one(&self, metric: &[u8]) {
        self.subtract(1);
        if self.limits.max_series_per_metric > 0 {
            count_less(&mut self.by_metric.lock().unwrap_or_else(PoisonError::into_inner), metric);
        }
    }

    fn subtract(&self, count: u64) {
        let less = |series: u64| Some(series.saturating_sub(count));
        // It always gives something.
        let _ = self.series.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Counts series that were found on disk, whatever the limits say now.
    pub fn add_recovered_series(&self, count: u64) {
        self.series.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a series of a metric that was found on disk, where metrics are limited.
    pub fn add_recovered_series_of(&self, metric: &[u8]) {
        self.add_recovered_series(1);
        let mut by_metric = self.by_metric.lock().unwrap_or_else(PoisonError::into_inner);
        *by_metric.entry(metric.into()).or_default() += 1;
    }
}

/// A metric has one series less; one without any is not kept.
fn count_less(by_metric: &mut HashMap<Box<[u8]>, u64>, metric: &[u8]) {
    if let Some(count) = by_metric.get_mut(metric) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            by_metric.remove(metric);
        }
    }
}
