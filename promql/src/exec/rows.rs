//! Held series, and what they count for.

use super::pipeline::{Sink, Worker};
use super::row::Row;
use crate::engine::{Pace, QueryError, Tracker};
use crate::labels::Labels;

/// A series on its way.
#[derive(Clone, Debug)]
pub(crate) struct SeriesRow {
    pub labels: Labels,
    /// The metric name is to be dropped at the end of the query (with delayed name removal).
    pub drop_name: bool,
    /// Where the series belongs in the order of evaluation.
    pub order: u64,
    pub row: Row,
}

impl SeriesRow {
    pub fn new(labels: Labels, row: Row) -> Self {
        Self { labels, drop_name: false, order: 0, row }
    }
}

/// Held series, counted against the query's limits while they live.
pub(crate) struct Rows<'t> {
    pub series: Vec<SeriesRow>,
    pub reservation: Reservation<'t>,
}

impl<'t> Rows<'t> {
    /// No series.
    pub fn none(tracker: &'t Tracker) -> Self {
        Self { series: Vec::new(), reservation: Reservation::new(tracker) }
    }

    /// Series just made.
    pub fn new(tracker: &'t Tracker, series: Vec<SeriesRow>) -> Result<Self, QueryError> {
        let mut reservation = Reservation::new(tracker);
        for series in &series {
            reservation.add_row(&series.row)?;
        }
        Ok(Self { series, reservation })
    }

    /// Stops loops over these.
    pub fn pace(&self) -> Pace<'t> {
        Pace::new(self.reservation.tracker)
    }

    /// Adds series after these.
    pub fn append(&mut self, other: Self) {
        self.series.extend(other.series);
        self.reservation.absorb(other.reservation);
    }

    /// Other series made of these, in no more memory.
    pub fn replaced(self, series: Vec<SeriesRow>) -> Self {
        Self { series, reservation: self.reservation }
    }
}

/// Samples and bytes counted until dropped.
pub(crate) struct Reservation<'t> {
    tracker: &'t Tracker,
    samples: u64,
    bytes: u64,
}

impl<'t> Reservation<'t> {
    pub fn new(tracker: &'t Tracker) -> Self {
        Self { tracker, samples: 0, bytes: 0 }
    }

    pub fn add(&mut self, samples: u64, bytes: u64) -> Result<(), QueryError> {
        self.samples += samples;
        self.bytes += bytes;
        self.tracker.reserve(samples, bytes)
    }

    pub fn add_row(&mut self, row: &Row) -> Result<(), QueryError> {
        self.add(row.size_in_samples() as u64, row.size_bytes() as u64)
    }

    /// What it counts, which nobody does any more: to be given to [`Reservation::of_kept`], or released.
    pub fn keep(mut self) -> (u64, u64) {
        (std::mem::take(&mut self.samples), std::mem::take(&mut self.bytes))
    }

    /// Counts what [`Reservation::keep`] left.
    pub fn of_kept(tracker: &'t Tracker, samples: u64, bytes: u64) -> Self {
        Self { tracker, samples, bytes }
    }

    /// Counts what another did, which counts nothing any more.
    pub fn absorb(&mut self, mut other: Self) {
        self.samples += std::mem::take(&mut other.samples);
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.tracker.release(self.samples, self.bytes);
    }
}

/// Holds all series.
pub(crate) struct Collect<'t> {
    series: Vec<SeriesRow>,
    reservation: Reservation<'t>,
}

impl<'t> Collect<'t> {
    pub fn new(tracker: &'t Tracker) -> Self {
        Self { series: Vec::new(), reservation: Reservation::new(tracker) }
    }

    /// The series of all workers, in the order of evaluation.
    pub fn merge(sinks: Vec<Self>, tracker: &'t Tracker) -> Rows<'t> {
        let mut rows = Rows::none(tracker);
        let parallel = sinks.len() > 1;
        for sink in sinks {
            rows.reservation.absorb(sink.reservation);
            if rows.series.is_empty() {
                rows.series = sink.series;
            } else {
                rows.series.extend(sink.series);
            }
        }
        if parallel {
            rows.series.sort_unstable_by_key(|series| series.order);
        }
        rows
    }
}

impl Sink for Collect<'_> {
    fn consume(&mut self, series: &mut SeriesRow, _: &mut Worker<'_>) -> Result<(), QueryError> {
        self.reservation.add_row(&series.row)?;
        self.series.push(SeriesRow {
            labels: std::mem::take(&mut series.labels),
            drop_name: series.drop_name,
            order: series.order,
            row: std::mem::take(&mut series.row),
        });
        Ok(())
    }
}
