//! One of several pipelines that take the same series.

use std::sync::Mutex;

use super::count::SampleCounts;
use super::drive::lock;
use super::pipeline::{Pipeline, Scan, Sink, Worker};
use super::rows::SeriesRow;
use crate::engine::QueryError;
use crate::plan::has_matchers;
use crate::storage::{SelectHints, SelectRequest, SeriesSet, Storage};

/// A pipeline, and who takes what comes out of it.
pub(super) struct Branch<'b> {
    pub pipeline: Pipeline<'b>,
    pub sinks: &'b dyn Sinks,
    /// Where to count the samples that are looked at.
    pub counts: Option<&'b SampleCounts>,
}

/// Makes a sink for each worker, and gets it back once the worker is done.
pub(super) trait Sinks: Sync {
    fn open(&self) -> Box<dyn OpenSink + '_>;
}

/// A sink in use.
pub(super) trait OpenSink: Sink {
    fn close(self: Box<Self>, worker: usize);
}

/// Sinks of one type.
pub(super) struct SinksOf<'m, S> {
    make: Box<dyn Fn() -> S + Sync + 'm>,
    closed: Mutex<Vec<(usize, S)>>,
}

impl<'m, S> SinksOf<'m, S> {
    pub fn new(make: impl Fn() -> S + Sync + 'm) -> Self {
        Self { make: Box::new(make), closed: Mutex::new(Vec::new()) }
    }

    /// The sinks of all workers, in the order of their numbers.
    pub fn into_closed(self) -> Vec<S> {
        let mut closed = self.closed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        closed.sort_by_key(|(worker, _)| *worker);
        closed.into_iter().map(|(_, sink)| sink).collect()
    }
}

impl<S: Sink> Sinks for SinksOf<'_, S> {
    fn open(&self) -> Box<dyn OpenSink + '_> {
        Box::new(Open { sink: (self.make)(), closed: &self.closed })
    }
}

struct Open<'c, S> {
    sink: S,
    closed: &'c Mutex<Vec<(usize, S)>>,
}

impl<S: Sink> Sink for Open<'_, S> {
    fn consume(&mut self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        self.sink.consume(series, worker)
    }

    fn sees_metric_name(&self) -> bool {
        self.sink.sees_metric_name()
    }
}

impl<S: Sink> OpenSink for Open<'_, S> {
    fn close(self: Box<Self>, worker: usize) {
        lock(self.closed).push((worker, self.sink));
    }
}

/// The scan that has only matchers that all have.
pub(super) fn widest<'s, 'p>(scans: &'s [Scan<'p>]) -> Option<&'s Scan<'p>> {
    scans.iter().find(|scan| scans.iter().all(|other| has_matchers(other.matchers, scan.matchers)))
}

/// The series of scans, one of which is the [`widest`], at all times that any of them needs.
pub(super) fn select<'s>(
    storage: &'s dyn Storage,
    scans: &[Scan<'_>],
) -> Result<Box<dyn SeriesSet<'s> + 's>, QueryError> {
    let widest = widest(scans).ok_or_else(|| QueryError::internal("scans of different series".to_owned()))?;
    let mut hints = widest.hints;
    let (mut mint_ms, mut maxt_ms) = widest.reader.time_range_ms();
    for scan in scans {
        let (from_ms, to_ms) = scan.reader.time_range_ms();
        (mint_ms, maxt_ms) = (mint_ms.min(from_ms), maxt_ms.max(to_ms));
        hints = hints_of_both(&hints, &scan.hints);
    }
    Ok(storage.select(&SelectRequest { matchers: widest.matchers, mint_ms, maxt_ms, hints })?)
}

/// What is true of two uses of the same series.
fn hints_of_both<'h>(a: &SelectHints<'h>, b: &SelectHints<'h>) -> SelectHints<'h> {
    let grouped_alike = (a.func, a.grouping, a.by) == (b.func, b.grouping, b.by);
    SelectHints {
        step_ms: if a.step_ms == b.step_ms { a.step_ms } else { 0 },
        range_ms: a.range_ms.max(b.range_ms),
        func: if a.func == b.func { a.func } else { "" },
        grouping: if grouped_alike { a.grouping } else { &[] },
        by: grouped_alike && a.by,
        histogram_stats: a.histogram_stats && b.histogram_stats,
    }
}
