//! Series that a query names several times are read once.
//!
//! Before a query is evaluated, the consumers of its plan that take the same series (the same matchers, ranges of time
//! that overlap), or some of the same series (more matchers, a range within), are put into a group. When the first of a
//! group is evaluated, the others are its *guests*: they are driven as branches of the same pass, with workers,
//! annotations and counts of their own, and what comes of them is *parked* until it is their turn. So an answer does not
//! depend on whether anything was shared.
//!
//! Sharing may always be given up: a pass that fails, for whatever reason, is done again for the first alone, a guest
//! whose series must be merged on the way is evaluated on its turn, and what is parked is dropped when the query comes
//! to a limit. So a query that shares fails only where it would fail anyway.

use std::sync::atomic::{AtomicBool, Ordering};

use super::aggregate::{aggregate_guest, unfinished_guest};
use super::branch::{Branch, Sinks, SinksOf};
use super::consumers::{Consumer, Takes, consumers};
use super::count::SampleCounts;
use super::executor::{Context, Executor};
use super::grid::Grid;
use super::parked::Outcome;
use super::pipeline::{Failure, Pipeline, Sink, Source};
use super::rows::{Collect, Rows};
use crate::engine::QueryError;
use crate::plan::{Plan, VectorPlan, has_matchers};
use crate::storage::LabelMatcher;

/// Each worker holds the samples and the row of a series once for each branch, so there is a limit to them.
const BRANCHES_MAX: usize = 16;

/// Consumers that take the same series.
pub(super) struct Group<'a> {
    consumers: Vec<Consumer<'a>>,
    is_done: AtomicBool,
}

/// Consumers, by number, of series that all have these matchers, at times within a range, milliseconds.
struct Bundle<'m> {
    numbers: Vec<usize>,
    matchers: &'m [LabelMatcher],
    range: (i64, i64),
}

impl Bundle<'_> {
    /// Whether a scan is better done with these.
    fn fits(&self, matchers: &[LabelMatcher], (mint_ms, maxt_ms): (i64, i64)) -> bool {
        let fits = if matchers.len() == self.matchers.len() {
            // Together they read no more times than apart.
            mint_ms <= self.range.1 && self.range.0 <= maxt_ms
        } else {
            // Not more of all series for the sake of a few.
            self.range.0 <= mint_ms && maxt_ms <= self.range.1
        };
        fits && self.numbers.len() < BRANCHES_MAX && has_matchers(matchers, self.matchers)
    }
}

/// Who takes the series that another consumer reads.
pub(super) trait Guest<'p> {
    fn sinks(&self) -> &dyn Sinks;

    /// The result, once the sinks are closed.
    fn finish(self: Box<Self>, context: &mut Context) -> Result<Outcome<'p>, QueryError>;
}

struct GuestOf<'p, S, F> {
    sinks: SinksOf<'p, S>,
    finish: F,
}

impl<'p, S, F> Guest<'p> for GuestOf<'p, S, F>
where
    S: Sink,
    F: FnOnce(Vec<S>, &mut Context) -> Result<Outcome<'p>, QueryError>,
{
    fn sinks(&self) -> &dyn Sinks {
        &self.sinks
    }

    fn finish(self: Box<Self>, context: &mut Context) -> Result<Outcome<'p>, QueryError> {
        (self.finish)(self.sinks.into_closed(), context)
    }
}

/// A guest whose sinks are made by `make`, and whose series by `finish`.
pub(super) fn guest<'p, S: Sink + 'p>(
    make: impl Fn() -> S + Sync + 'p,
    finish: impl FnOnce(Vec<S>, &mut Context) -> Result<Rows<'p>, QueryError> + 'p,
) -> Box<dyn Guest<'p> + 'p> {
    let finish = move |sinks: Vec<S>, context: &mut Context| finish(sinks, context).map(Outcome::Rows);
    Box::new(GuestOf { sinks: SinksOf::new(make), finish })
}

/// A guest whose sinks are made by `make`, and written down by `finish`.
pub(super) fn writing_guest<'p, S: Sink + 'p>(
    make: impl Fn() -> S + Sync + 'p,
    finish: impl FnOnce(Vec<S>, &mut Context) -> Result<Vec<u8>, QueryError> + 'p,
) -> Box<dyn Guest<'p> + 'p> {
    let finish = move |sinks: Vec<S>, context: &mut Context| finish(sinks, context).map(Outcome::Bytes);
    Box::new(GuestOf { sinks: SinksOf::new(make), finish })
}

impl<'a> Executor<'a> {
    /// Looks for series that `plan` names several times, to read them once.
    pub fn share_scans(&mut self, plan: &'a Plan, grid: Grid) {
        self.share_among(consumers(plan, grid));
    }

    /// Looks for series that several consumers take, to read them once.
    pub fn share_among(&mut self, consumers: Vec<Consumer<'a>>) {
        if consumers.len() < 2 {
            return;
        }
        let bundles = self.bundles(&consumers);
        let shared = bundles.iter().filter(|bundle| bundle.len() > 1);
        self.groups = shared
            .map(|bundle| Group {
                consumers: bundle.iter().map(|&number| consumers[number]).collect(),
                is_done: AtomicBool::new(false),
            })
            .collect();
    }

    /// Which consumers, by number, are to be evaluated together. Each is in one bundle.
    pub fn bundles(&self, consumers: &[Consumer<'a>]) -> Vec<Vec<usize>> {
        let mut scanned: Vec<(usize, &[LabelMatcher], (i64, i64))> = Vec::new();
        let mut bundles: Vec<Vec<usize>> = Vec::new();
        for (number, consumer) in consumers.iter().enumerate() {
            match self.pipeline(consumer.plan, consumer.grid, &mut Context::default()) {
                Ok(Pipeline { source: Source::Scan(scan), .. }) => {
                    scanned.push((number, scan.matchers, scan.reader.time_range_ms()));
                }
                _ => bundles.push(vec![number]),
            }
        }
        // Those of the most series come first.
        scanned.sort_by_key(|(_, matchers, _)| matchers.len());
        let mut found: Vec<Bundle<'_>> = Vec::new();
        for (number, matchers, range) in scanned {
            match found.iter_mut().find(|bundle| bundle.fits(matchers, range)) {
                Some(bundle) => {
                    bundle.numbers.push(number);
                    bundle.range = (bundle.range.0.min(range.0), bundle.range.1.max(range.1));
                }
                None => found.push(Bundle { numbers: vec![number], matchers, range }),
            }
        }
        bundles.extend(found.into_iter().map(|bundle| bundle.numbers));
        bundles
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
            let pipeline = self.pipeline(consumer.plan, consumer.grid, &mut Context::default());
            let Ok(pipeline) = pipeline else { return Ok(None) };
            branches.push(Branch { pipeline, sinks: guest.sinks(), counts: counts.as_ref() });
        }
        let Ok(driven) = self.drive_all(branches) else { return Ok(None) };
        let mut driven = driven.into_iter();
        let own = driven.next();
        let of_fragment = context.exported.is_some();
        let settled: Vec<Option<Context>> = driven
            .map(|driven| {
                let mut context = if of_fragment { Context::of_fragment() } else { Context::default() };
                driven.settle(&mut context).is_ok().then_some(context)
            })
            .collect();
        let own = own.map_or(Ok(()), |own| own.settle(context));
        for (((consumer, guest), counts), context) in invited.into_iter().zip(counts).zip(settled) {
            let Some(mut context) = context else { continue };
            if let Ok(outcome) = guest.finish(&mut context) {
                let counts = counts.map(|counts| counts.snapshot());
                // Without room for it there is nothing to park.
                let _ = self.park(&consumer, outcome, context, counts);
            }
        }
        own?;
        Ok(Some(sinks.into_closed()))
    }

    fn guest<'p>(&'p self, consumer: &Consumer<'p>) -> Result<Box<dyn Guest<'p> + 'p>, QueryError> {
        let (grid, tracker) = (consumer.grid, self.tracker);
        match consumer.takes {
            Takes::Aggregate(aggregate) => aggregate_guest(self, aggregate, grid),
            Takes::Unfinished(aggregate) => unfinished_guest(self, aggregate, grid),
            Takes::Absent(absent) => Ok(self.absent_guest(absent, grid)),
            Takes::Scalar => Ok(self.scalar_guest(grid)),
            Takes::Rows => Ok(guest(|| Collect::new(tracker), |sinks, _| Ok(Collect::merge(sinks, tracker)))),
        }
    }
}
