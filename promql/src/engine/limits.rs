//! What a running query may use, and whether it should still run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{QueryError, QueryStats};
use crate::exec::{Parked, SampleCounts};

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

/// A float, its bit of presence, and the same again for the row it is made of or into.
const BYTES_PER_STEP: u64 = 17;

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
    sorting_ns: AtomicU64,
    /// Samples looked at, if somebody asked.
    pub counts: Option<SampleCounts>,
    /// Results before their turn. They count as held, and make room for what must be.
    pub parked: Parked,
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
            sorting_ns: zero(),
            counts: None,
            parked: Parked::default(),
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
        let mut held = self.samples.fetch_add(samples, Ordering::Relaxed) + samples;
        let mut held_bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.samples_max || held_bytes > self.bytes_max {
            let (samples, bytes) = self.parked.clear();
            self.release(samples, bytes);
            held = held.saturating_sub(samples);
            held_bytes = held_bytes.saturating_sub(bytes);
        }
        if held > self.samples_max {
            return Err(too_many_samples());
        }
        if held_bytes > self.bytes_max {
            return Err(self.too_many_bytes());
        }
        self.samples_peak.fetch_max(held, Ordering::Relaxed);
        self.bytes_peak.fetch_max(held_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Fails if even one row of so many steps would be more than the query may hold.
    pub fn check_steps(&self, steps: usize) -> Result<(), QueryError> {
        let bytes = (steps as u64).saturating_mul(BYTES_PER_STEP);
        if bytes > self.bytes_max { Err(self.too_many_bytes()) } else { Ok(()) }
    }

    fn too_many_bytes(&self) -> QueryError {
        QueryError::too_many_bytes(self.bytes_max)
    }

    /// Counts samples and bytes no longer held.
    pub fn release(&self, samples: u64, bytes: u64) {
        self.samples.fetch_sub(samples, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts time in which the result was sorted.
    pub fn count_sorting(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.sorting_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// What the query took so far, but for the times that only its caller knows.
    pub fn stats(&self) -> QueryStats {
        QueryStats {
            series_read: self.series_read.load(Ordering::Relaxed),
            samples_read: self.samples_read.load(Ordering::Relaxed),
            samples_peak: self.samples_peak(),
            bytes_peak: self.bytes_peak(),
            samples_per_step: self.counts.as_ref().map(SampleCounts::snapshot).unwrap_or_default(),
            preparation: Duration::ZERO,
            evaluation: Duration::ZERO,
            sorting: Duration::from_nanos(self.sorting_ns.load(Ordering::Relaxed)),
        }
    }

    fn samples_peak(&self) -> u64 {
        self.samples_peak.load(Ordering::Relaxed)
    }

    fn bytes_peak(&self) -> u64 {
        self.bytes_peak.load(Ordering::Relaxed)
    }
}

/// Work after which [`Pace`] looks at the clock: some tenths of a millisecond.
const UNITS_PER_CHECK: u64 = 1 << 16;

/// Stops a loop soon after its query was canceled or its time is up.
///
/// Loops say how much they are about to do, in units of about one float sample; a subtraction each time, and a look at
/// the clock every now and then. Each thread has its own.
#[derive(Debug)]
pub(crate) struct Pace<'t> {
    tracker: &'t Tracker,
    left: u64,
}

impl<'t> Pace<'t> {
    /// Units that a histogram counts for, as long as its size is not known.
    pub const HISTOGRAM: u64 = 64;

    pub fn new(tracker: &'t Tracker) -> Self {
        Self { tracker, left: UNITS_PER_CHECK }
    }

    /// Counts work to be done now.
    #[inline]
    pub fn spend(&mut self, units: u64) -> Result<(), QueryError> {
        match self.left.checked_sub(units) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => self.check(),
        }
    }

    #[cold]
    fn check(&mut self) -> Result<(), QueryError> {
        self.left = UNITS_PER_CHECK;
        self.tracker.check()
    }
}

fn too_many_samples() -> QueryError {
    QueryError::execution("query processing would load too many samples into memory in query execution")
}
