//! Series that a query names several times are read once.
//!
//! Before a query is evaluated, the consumers of its plan that take the same series (the same matchers, ranges of time
//! that overlap), or some of the same series (more matchers, a range within), are put into a group. When the first of a group is evaluated, the others are its *guests*: they are
//! driven as branches of the same pass, with workers, annotations and counts of their own, and what comes of them is
//! *parked* until it is their turn. So an answer does not depend on whether anything was shared.
//!
//! Sharing may always be given up: a pass that fails, for whatever reason, is done again for the first alone, a guest
//! whose series must be merged on the way is evaluated on its turn, and what is parked is dropped when the query comes
//! to a limit. So a query that shares fails only where it would fail anyway.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::aggregate::aggregate_guest;
use super::branch::{Branch, Sinks, SinksOf};
use super::consumers::{Consumer, Takes, consumers};
use super::count::SampleCounts;
use super::executor::{Context, Executor, address};
use super::grid::Grid;
use super::pipeline::{Failure, Pipeline, Sink, Source};
use super::rows::{Collect, Reservation, Rows, SeriesRow};
use crate::annotations::Annotations;
use crate::engine::QueryError;
use crate::plan::{Plan, VectorPlan, has_matchers};
use crate::storage::LabelMatcher;

/// Consumers that take the same series.
pub(super) struct Group<'a> {
    consumers: Vec<Consumer<'a>>,
    is_done: AtomicBool,
}

/// Who takes the series that another consumer reads.
pub(super) trait Guest<'p> {
    fn sinks(&self) -> &dyn Sinks;

    /// The result, once the sinks are closed.
    fn finish(self: Box<Self>, context: &mut Context) -> Result<Rows<'p>, QueryError>;
}

struct GuestOf<'p, S, F> {
    sinks: SinksOf<'p, S>,
    finish: F,
}

impl<'p, S, F> Guest<'p> for GuestOf<'p, S, F>
where
    S: Sink,
    F: FnOnce(Vec<S>, &mut Context) -> Result<Rows<'p>, QueryError>,
{
    fn sinks(&self) -> &dyn Sinks {
        &self.sinks
    }

    fn finish(self: Box<Self>, context: &mut Context) -> Result<Rows<'p>, QueryError> {
        (self.finish)(self.sinks.into_closed(), context)
    }
}

/// A guest whose sinks are made by `make`, and whose result by `finish`.
pub(super) fn guest<'p, S: Sink + 'p>(
    make: impl Fn() -> S + Sync + 'p,
    finish: impl FnOnce(Vec<S>, &mut Context) -> Result<Rows<'p>, QueryError> + 'p,
) -> Box<dyn Guest<'p> + 'p> {
    Box::new(GuestOf { sinks: SinksOf::new(make), finish })
}

/// A result before its turn.
#[derive(Debug)]
struct ParkedRows {
    grid: Grid,
    series: Vec<SeriesRow>,
    annotations: Annotations,
    counts: Option<Vec<u64>>,
    samples: u64,
    bytes: u64,
}

/// Results before their turn, by the address of their plans.
#[derive(Debug, Default)]
pub(crate) struct Parked(Mutex<HashMap<usize, ParkedRows>>);

impl Parked {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, ParkedRows>> {
        // Each change is a single call, so there is nothing half done behind the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops all; returns the samples and bytes they held.
    pub fn clear(&self) -> (u64, u64) {
        let all = std::mem::take(&mut *self.lock());
        all.values().fold((0, 0), |(samples, bytes), rows| (samples + rows.samples, bytes + rows.bytes))
    }
}

impl<'a> Executor<'a> {
    /// Looks for series that `plan` names several times, to read them once.
    pub fn share_scans(&mut self, plan: &'a Plan, grid: Grid) {
        let consumers = consumers(plan, grid);
        if consumers.len() > 1 {
            self.groups = self.groups_of(consumers);
        }
    }

    fn groups_of(&self, consumers: Vec<Consumer<'a>>) -> Vec<Group<'a>> {
        let mut scanned: Vec<(Consumer<'a>, &[LabelMatcher], (i64, i64))> = Vec::new();
        for consumer in consumers {
            let pipeline = self.pipeline(consumer.plan, consumer.grid, &mut Context::default());
            if let Ok(Pipeline { source: Source::Scan(scan), .. }) = pipeline {
                scanned.push((consumer, scan.matchers, scan.reader.time_range_ms()));
            }
        }
        // Those of the most series come first.
        scanned.sort_by_key(|(_, matchers, _)| matchers.len());
        let mut found: Vec<(Group<'a>, &[LabelMatcher], (i64, i64))> = Vec::new();
        for (consumer, matchers, range) in scanned {
            let known = found.iter_mut().find(|(_, widest, all)| {
                let fits = if matchers.len() == widest.len() {
                    // Together they read no more times than apart.
                    range.0 <= all.1 && all.0 <= range.1
                } else {
                    // Not more of all series for the sake of a few.
                    all.0 <= range.0 && range.1 <= all.1
                };
                fits && has_matchers(matchers, widest)
            });
            match known {
                Some((group, _, all)) => {
                    group.consumers.push(consumer);
                    *all = (all.0.min(range.0), all.1.max(range.1));
                }
                None => {
                    let group = Group { consumers: vec![consumer], is_done: AtomicBool::new(false) };
                    found.push((group, matchers, range));
                }
            }
        }
        found.into_iter().map(|(group, ..)| group).filter(|group| group.consumers.len() > 1).collect()
    }

    /// The consumers that are to be guests of the one of `plan`, which is evaluated now; those of a group are told once.
    pub(super) fn guests_of(&self, plan: &VectorPlan, grid: Grid) -> Vec<Consumer<'a>> {
        let is_it = |consumer: &Consumer<'_>| std::ptr::eq(consumer.plan, plan) && consumer.grid == grid;
        let Some(group) = self.groups.iter().find(|group| group.consumers.iter().any(is_it)) else {
            return Vec::new();
        };
        if group.is_done.swap(true, Ordering::Relaxed) {
            return Vec::new();
        }
        group.consumers.iter().filter(|consumer| !is_it(consumer)).copied().collect()
    }

    /// As [`Executor::stream`], with guests; `None` if the pass failed.
    pub(super) fn stream_with_guests<'p, S: Sink>(
        &'p self,
        plan: &'p VectorPlan,
        grid: Grid,
        context: &mut Context,
        make: &(dyn Fn() -> S + Sync),
        guests: &[Consumer<'p>],
    ) -> Result<Option<Vec<S>>, Failure> {
        let sinks = SinksOf::new(make);
        let mut invited: Vec<(Consumer<'p>, Box<dyn Guest<'p> + 'p>)> = Vec::new();
        for consumer in guests {
            if let Ok(guest) = self.guest(consumer) {
                invited.push((*consumer, guest));
            }
        }
        let counts: Vec<Option<SampleCounts>> = invited
            .iter()
            .map(|_| self.tracker.counts.as_ref().map(|counts| SampleCounts::new(counts.steps())))
            .collect();
        let mut branches = Vec::with_capacity(1 + invited.len());
        let pipeline = self.pipeline(plan, grid, context)?;
        branches.push(Branch { pipeline, sinks: &sinks, counts: self.tracker.counts.as_ref() });
        for ((consumer, guest), counts) in invited.iter().zip(&counts) {
            let pipeline = self.pipeline(consumer.plan, consumer.grid, &mut Context::default())?;
            branches.push(Branch { pipeline, sinks: guest.sinks(), counts: counts.as_ref() });
        }
        let Ok(driven) = self.drive_all(branches) else { return Ok(None) };
        let mut driven = driven.into_iter();
        let own = driven.next();
        let settled: Vec<Option<Context>> = driven
            .map(|driven| {
                let mut context = Context::default();
                driven.settle(&mut context).is_ok().then_some(context)
            })
            .collect();
        let own = own.map_or(Ok(()), |own| own.settle(context));
        for (((consumer, guest), counts), context) in invited.into_iter().zip(counts).zip(settled) {
            let Some(mut context) = context else { continue };
            if let Ok(rows) = guest.finish(&mut context) {
                let counts = counts.map(|counts| counts.snapshot());
                self.park(&consumer, rows, context.annotations, counts);
            }
        }
        own?;
        Ok(Some(sinks.into_closed()))
    }

    fn guest<'p>(&'p self, consumer: &Consumer<'p>) -> Result<Box<dyn Guest<'p> + 'p>, QueryError> {
        let (grid, tracker) = (consumer.grid, self.tracker);
        match consumer.takes {
            Takes::Aggregate(aggregate) => aggregate_guest(self, aggregate, grid),
            Takes::Absent(absent) => Ok(self.absent_guest(absent, grid)),
            Takes::Scalar => Ok(self.scalar_guest(grid)),
            Takes::Rows => Ok(guest(|| Collect::new(tracker), |sinks, _| Ok(Collect::merge(sinks, tracker)))),
        }
    }

    fn park(
        &self,
        consumer: &Consumer<'_>,
        rows: Rows<'_>,
        annotations: Annotations,
        counts: Option<Vec<u64>>,
    ) {
        let Rows { series, reservation } = rows;
        let (samples, bytes) = reservation.keep();
        let parked = ParkedRows { grid: consumer.grid, series, annotations, counts, samples, bytes };
        self.tracker.parked.lock().insert(address(consumer.plan), parked);
    }

    /// The result of the consumer of `plan`, if another one has read its series.
    pub(super) fn parked<'p>(
        &'p self,
        plan: &'p VectorPlan,
        grid: Grid,
        context: &mut Context,
    ) -> Option<Rows<'p>> {
        let parked = self.tracker.parked.lock().remove(&address(plan))?;
        let reservation = Reservation::of_kept(self.tracker, parked.samples, parked.bytes);
        if parked.grid != grid {
            return None;
        }
        context.annotations.merge(parked.annotations);
        if let (Some(all), Some(counts)) = (&self.tracker.counts, &parked.counts) {
            all.absorb(counts);
        }
        Some(Rows { series: parked.series, reservation })
    }
}
