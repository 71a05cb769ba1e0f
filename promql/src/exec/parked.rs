//! Results before their turn.
//!
//! They count as held, and are dropped when the query comes to a limit (`Tracker::reserve`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::consumers::Consumer;
use super::executor::{Context, Executor, GuardHashes, address};
use super::grid::Grid;
use super::rows::{Reservation, Rows, SeriesRow};
use crate::annotations::Annotations;
use crate::engine::QueryError;
use crate::plan::VectorPlan;

/// What comes of the series a guest takes.
pub(super) enum Outcome<'p> {
    Rows(Rows<'p>),
    /// Unfinished groups, written down.
    Bytes(Vec<u8>),
}

/// A result before its turn.
#[derive(Debug)]
struct ParkedResult {
    grid: Grid,
    what: What,
    annotations: Annotations,
    exported: Option<Vec<GuardHashes>>,
    counts: Option<Vec<u64>>,
    samples: u64,
    bytes: u64,
}

#[derive(Debug)]
enum What {
    Rows(Vec<SeriesRow>),
    Bytes(Vec<u8>),
}

/// Results before their turn, by the address of their plans.
#[derive(Debug, Default)]
pub(crate) struct Parked(Mutex<HashMap<usize, ParkedResult>>);

impl Parked {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, ParkedResult>> {
        // Each change is a single call, so there is nothing half done behind the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all; returns the samples and bytes they held.
    pub fn clear(&self) -> (u64, u64) {
        let all = std::mem::take(&mut *self.lock());
        all.values().fold((0, 0), |(samples, bytes), one| (samples + one.samples, bytes + one.bytes))
    }
}

impl Executor<'_> {
    /// Keeps a result until [`Executor::parked`] or [`Executor::parked_bytes`]; fails without room for it.
    pub(super) fn park(
        &self,
        consumer: &Consumer<'_>,
        outcome: Outcome<'_>,
        context: Context,
        counts: Option<Vec<u64>>,
    ) -> Result<(), QueryError> {
        let (what, reservation) = match outcome {
            Outcome::Rows(rows) => (What::Rows(rows.series), rows.reservation),
            Outcome::Bytes(bytes) => {
                let mut reservation = Reservation::new(self.tracker);
                reservation.add(0, bytes.len() as u64)?;
                (What::Bytes(bytes), reservation)
            }
        };
        let (samples, bytes) = reservation.keep();
        let Context { annotations, exported, .. } = context;
        let grid = consumer.grid;
        let parked = ParkedResult { grid, what, annotations, exported, counts, samples, bytes };
        self.tracker.parked.lock().insert(address(consumer.plan), parked);
        Ok(())
    }

    /// The result of the consumer of `plan`, if another one has read its series.
    fn unpark(
        &self,
        plan: &VectorPlan,
        grid: Grid,
        context: &mut Context,
    ) -> Option<(What, Reservation<'_>)> {
        let parked = self.tracker.parked.lock().remove(&address(plan))?;
        let reservation = Reservation::of_kept(self.tracker, parked.samples, parked.bytes);
        if parked.grid != grid {
            return None;
        }
        context.annotations.merge(parked.annotations);
        if let (Some(all), Some(own)) = (&mut context.exported, parked.exported) {
            all.extend(own);
        }
        if let (Some(all), Some(counts)) = (&self.tracker.counts, &parked.counts) {
            all.absorb(counts);
        }
        Some((parked.what, reservation))
    }

    /// The series that came of those of `plan`, if another consumer has read these.
    pub(super) fn parked<'p>(
        &'p self,
        plan: &'p VectorPlan,
        grid: Grid,
        context: &mut Context,
    ) -> Option<Rows<'p>> {
        match self.unpark(plan, grid, context)? {
            (What::Rows(series), reservation) => Some(Rows { series, reservation }),
            (What::Bytes(_), _) => None,
        }
    }

    /// The unfinished groups of the series of `plan`, if another consumer has read these.
    pub(super) fn parked_bytes(
        &self,
        plan: &VectorPlan,
        grid: Grid,
        context: &mut Context,
    ) -> Option<Vec<u8>> {
        match self.unpark(plan, grid, context)? {
            (What::Bytes(bytes), _) => Some(bytes),
            (What::Rows(_), _) => None,
        }
    }
}
