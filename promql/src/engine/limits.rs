//! What a running query may use, and whether it should still run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::QueryError;
use crate::exec::SampleCounts;

/// Lets someone else end a query: it fails with `canceled` soon after.
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// Ends the queries that hold this token.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether [`CancelToken::cancel`] was called.
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts what a query holds in memory, across its workers.
#[derive(Debug)]
pub(crate) struct Tracker {
    samples_max: u64,
    bytes_max: u64,
    deadline: Option<Instant>,
    cancel: CancelToken,
    samples: AtomicU64,
    bytes: AtomicU64,
    samples_peak: AtomicU64,
    bytes_peak: AtomicU64,
    pub samples_read: AtomicU64,
    pub series_read: AtomicU64,
    /// Samples looked at, if somebody asked.
    pub counts: Option<SampleCounts>,
}

impl Tracker {
    pub fn new(samples_max: u64, bytes_max: u64, deadline: Option<Instant>, cancel: CancelToken) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            samples_max,
            bytes_max,
            deadline,
            cancel,
            samples: zero(),
            bytes: zero(),
            samples_peak: zero(),
            bytes_peak: zero(),
            samples_read: zero(),
            series_read: zero(),
            counts: None,
        }
    }

    /// Fails once the query was canceled or its time is up.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.cancel.is_canceled() {
            return Err(QueryError::canceled());
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(QueryError::timeout());
        }
        Ok(())
    }

    /// Counts samples and bytes that come to be held; pair with [`Tracker::release`].
    pub fn reserve(&self, samples: u64, bytes: u64) -> Result<(), QueryError> {
        let held = self.samples.fetch_add(samples, Ordering::Relaxed) + samples;
        self.samples_peak.fetch_max(held, Ordering::Relaxed);
        let held_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.bytes_peak.fetch_max(held_bytes, Ordering::Relaxed);
        if held > self.samples_max {
            return Err(too_many_samples());
        }
        if held_bytes > self.bytes_max {
            return Err(QueryError::execution(format!(
                "query would use more than {} bytes of memory (the limit on bytes per query)",
                self.bytes_max
            )));
        }
        Ok(())
    }

    /// Counts samples and bytes no longer held.
    pub fn release(&self, samples: u64, bytes: u64) {
        self.samples.fetch_sub(samples, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn samples_peak(&self) -> u64 {
        self.samples_peak.load(Ordering::Relaxed)
    }

    pub fn bytes_peak(&self) -> u64 {
        self.bytes_peak.load(Ordering::Relaxed)
    }
}

fn too_many_samples() -> QueryError {
    QueryError::execution("query processing would load too many samples into memory in query execution")
}
