//! Which operators stream, and which hold their input.

use std::collections::HashSet;

use super::aggregate::aggregate;
use super::count::SampleCounts;
use super::finish::{FloatBesideHistogram, merge_same_labels};
use super::functions::{DropName, MapStage};
use super::grid::Grid;
use super::pipeline::{Computes, Failure, Guard, Pipeline, Scan, Sink, Source, Stage, Worker};
use super::range::{RangeReader, RangeStage, RowFunction};
use super::relabel::RelabelStage;
use super::row::Row;
use super::rows::{Collect, Rows, SeriesRow};
use super::select::{InstantReader, SmoothedReader, TimeOf, TimesReader};
use super::share::Group;
use crate::annotations::Annotations;
use crate::engine::{EngineOptions, QueryError, Tracker};
use crate::labels::{Labels, METRIC_NAME_LABEL};
use crate::plan::{MapOp, RangeSource, Selector, VectorPlan};
use crate::storage::{LabelMatcher, SelectHints, Storage};
use crate::syntax::MatchOp;
use crate::syntax::ast::ExtendedRange;

/// Computes one query.
pub(crate) struct Executor<'a> {
    pub storage: &'a dyn Storage,
    pub options: &'a EngineOptions,
    pub tracker: &'a Tracker,
    pub lookback_ms: i64,
    /// Series that were computed elsewhere, by number.
    pub given: Vec<Vec<SeriesRow>>,
    /// Parts of the plan that take the same series.
    pub(super) groups: Vec<Group<'a>>,
}

/// Hashes of the label sets that passed a guard, sorted, and whether it fails the query if two are the same.
#[derive(Debug)]
pub(crate) struct GuardHashes {
    pub fails: bool,
    pub hashes: Vec<u128>,
}

impl Context {
    /// With annotations from elsewhere.
    pub fn with(annotations: Annotations) -> Self {
        Self { annotations, ..Self::default() }
    }

    /// Of a fragment.
    pub fn of_fragment() -> Self {
        Self { exported: Some(Vec::new()), ..Self::default() }
    }
}

/// What accumulates while a query is computed.
#[derive(Default)]
pub(crate) struct Context {
    pub annotations: Annotations,
    /// Operators (by the address of their plan) whose output must be held and merged, because it was found to have
    /// series with the same labels.
    held: HashSet<usize>,
    /// Of a fragment: what its guards saw, to be compared with what those of other storages saw.
    pub exported: Option<Vec<GuardHashes>>,
    /// Of a fragment: it cannot be computed apart, as series with the same labels must be merged on the way.
    pub unfit: bool,
}

pub(super) fn address<T>(plan: &T) -> usize {
    std::ptr::from_ref(plan).addr()
}

impl<'a> Executor<'a> {
    pub fn new(
        storage: &'a dyn Storage,
        options: &'a EngineOptions,
        tracker: &'a Tracker,
        lookback_ms: i64,
    ) -> Self {
        Self { storage, options, tracker, lookback_ms, given: Vec::new(), groups: Vec::new() }
    }

    /// The series of a plan, held.
    pub fn rows<'p>(
        &'p self,
        plan: &'p VectorPlan,
        grid: Grid,
        context: &mut Context,
    ) -> Result<Rows<'p>, QueryError> {
        if let Some(rows) = self.parked(plan, grid, context) {
            return Ok(rows);
        }
        let sinks = self.stream(plan, grid, context, &|| Collect::new(self.tracker))?;
        Ok(Collect::merge(sinks, self.tracker))
    }

    /// The series of a plan, pushed into sinks made by `make`; returns those of all workers.
    pub fn stream<'p, S: Sink>(
        &'p self,
        plan: &'p VectorPlan,
        grid: Grid,
        context: &mut Context,
        make: &(dyn Fn() -> S + Sync),
    ) -> Result<Vec<S>, QueryError> {
        let mut guests = self.guests_of(plan, grid);
        loop {
            let counted = self.tracker.counts.as_ref().map(SampleCounts::snapshot);
            let guests = std::mem::take(&mut guests);
            let outcome = if guests.is_empty() {
                let pipeline = self.pipeline(plan, grid, context);
                pipeline.and_then(|pipeline| self.drive(pipeline, context, make)).map(Some)
            } else {
                self.stream_with_guests(plan, grid, context, make, &guests)
            };
            match outcome {
                Ok(Some(sinks)) => return Ok(sinks),
                Ok(None) => {
                    self.tracker.check()?;
                    self.restore_counts(counted);
                }
                Err(Failure::Query(error)) => return Err(error),
                Err(Failure::Duplicates(_)) if context.exported.is_some() => {
                    context.unfit = true;
                    return Err(QueryError::internal("series must be merged on the way".to_owned()));
                }
                Err(Failure::Duplicates(operator)) => {
                    self.restore_counts(counted);
                    if !context.held.insert(operator) {
                        return Err(QueryError::internal(
                            "series with the same labels after merging".to_owned(),
                        ));
                    }
                }
            }
        }
    }

    fn restore_counts(&self, counted: Option<Vec<u64>>) {
        if let (Some(counts), Some(counted)) = (&self.tracker.counts, counted) {
            counts.restore(counted);
        }
    }

    /// How to get at the series of a plan.
    pub fn pipeline<'p>(
        &'p self,
        plan: &'p VectorPlan,
        grid: Grid,
        context: &mut Context,
    ) -> Result<Pipeline<'p>, Failure> {
        if grid.steps == 0 {
            return Ok(Pipeline::rows(Rows::none(self.tracker)));
        }
        self.tracker.check_steps(grid.steps)?;
        let rows = match plan {
            VectorPlan::Select(selector) => {
                let lookback_ms = self.lookback_ms;
                let computes = Some(Computes::Current(selector, grid));
                return Ok(if selector.extended == Some(ExtendedRange::Smoothed) {
                    self.scan(selector, 0, grid, SmoothedReader { selector, grid, lookback_ms }, computes)
                } else {
                    self.scan(selector, 0, grid, InstantReader { selector, grid, lookback_ms }, computes)
                });
            }
            VectorPlan::SelectTimes { selector, start } => {
                if *start && !self.options.use_start_timestamps {
                    return Ok(Pipeline::rows(Rows::none(self.tracker)));
                }
                let of = if *start { TimeOf::Start } else { TimeOf::Sample };
                let reader = TimesReader { selector, grid, lookback_ms: self.lookback_ms, of };
                let pipeline = self.scan(selector, 0, grid, reader, None);
                return self.dropping_name(pipeline, plan, context);
            }
            VectorPlan::Range(call) => {
                let function = self.range_function(call, grid, context)?;
                let drops_name = function.drops_name();
                let pipeline = match &call.source {
                    RangeSource::Selector(range) => {
                        let reader = RangeReader::new(range, grid, self.lookback_ms, function);
                        let computes = Some(Computes::Range(call, grid));
                        self.scan(&range.selector, range.range_ms, grid, reader, computes)
                    }
                    RangeSource::Subquery(subquery) => {
                        let inner = subquery.grid(&grid);
                        let pipeline = self.pipeline(&subquery.input, inner, context)?;
                        pipeline.then(RangeStage::new(subquery, inner, grid, function))
                    }
                };
                if !drops_name {
                    return Ok(pipeline);
                }
                if let RangeSource::Selector(range) = &call.source
                    && self.drops_one_name(&range.selector, plan, context)
                {
                    return Ok(pipeline.dropping_one_name(address(plan)));
                }
                let pipeline = pipeline.then(DropName { now: !self.options.delayed_name_removal });
                return Ok(if self.options.delayed_name_removal {
                    pipeline
                } else {
                    pipeline.guarded(Guard::Fail)
                });
            }
            VectorPlan::Map(call) => {
                let stage = MapStage::new(self, &call.op, grid, context)?;
                let drops_name = stage.drops_name();
                let pipeline = self.pipeline(&call.input, grid, context)?.then(stage);
                if drops_name
                    && let VectorPlan::Select(selector) = &*call.input
                    && self.drops_one_name(selector, plan, context)
                {
                    return Ok(pipeline.dropping_one_name(address(plan)));
                }
                return if drops_name { self.dropping_name(pipeline, plan, context) } else { Ok(pipeline) };
            }
            VectorPlan::Relabel(relabel) => {
                let pipeline = self.pipeline(&relabel.input, grid, context)?.then(RelabelStage(relabel));
                return self.merging(pipeline, address(plan), FloatBesideHistogram::Allowed, context);
            }
            VectorPlan::StepInvariant(input) => {
                if grid.steps == 1 && !grid.ranged {
                    return self.pipeline(input, grid, context);
                }
                let pipeline = self.pipeline(input, grid.first_only(), context)?;
                return Ok(pipeline.then(Broadcast { steps: grid.steps }));
            }
            VectorPlan::Nothing => Rows::none(self.tracker),
            VectorPlan::Given(number) => {
                let given = self.given.get(*number).ok_or_else(|| {
                    QueryError::internal(format!("no partial results of fragment {number}"))
                })?;
                Rows::new(self.tracker, given.clone())?
            }
            VectorPlan::FromScalar(scalar) => {
                let values = self.scalar(scalar, grid, context)?.into_values(grid.steps);
                self.single(Row::full(values))?
            }
            VectorPlan::DateOfTime(func) => self.single(super::functions::date_of_time(*func, &grid))?,
            VectorPlan::Aggregate(plan) => aggregate(self, plan, grid, context)?,
            VectorPlan::Binary(binary) => self.binary(binary, grid, context)?,
            VectorPlan::Set(operation) => self.set_operation(operation, grid, context)?,
            VectorPlan::Histogram(call) => self.histogram_call(call, grid, context)?,
            VectorPlan::Absent(absent) => self.absent(absent, grid, context)?,
            VectorPlan::Sort(sort) => self.sort(sort, grid, context)?,
            VectorPlan::Info(info) => self.info(info, grid, context)?,
        };
        Ok(Pipeline::rows(rows))
    }

    /// A pipeline over the series of a selector.
    pub fn scan<'p>(
        &'p self,
        selector: &'p Selector,
        range_ms: i64,
        grid: Grid,
        reader: impl super::pipeline::Reader + 'p,
        computes: Option<Computes<'p>>,
    ) -> Pipeline<'p> {
        let hints = SelectHints {
            step_ms: grid.step_ms,
            range_ms,
            func: selector.hint_func,
            grouping: &selector.hint_grouping,
            by: selector.hint_by,
            histogram_stats: selector.histogram_stats,
        };
        let (matchers, counted) = (&selector.matchers, grid.counted);
        Pipeline::new(Source::Scan(Scan { matchers, hints, reader: Box::new(reader), counted, computes }))
    }

    /// Whether an operator over the series of a selector drops a metric name that is the same for all of them, so that
    /// none become the same thereby. It was found not to be so simple if the operator is to be held.
    fn drops_one_name(&self, selector: &Selector, plan: &VectorPlan, context: &Context) -> bool {
        let names_one = |matcher: &LabelMatcher| {
            matcher.op == MatchOp::Equal && matcher.name == METRIC_NAME_LABEL && !matcher.value.is_empty()
        };
        !self.options.delayed_name_removal
            && selector.matchers.iter().any(names_one)
            && !context.held.contains(&address(plan))
    }

    /// Drops the metric name, now or at the end of the query.
    fn dropping_name<'p>(
        &'p self,
        pipeline: Pipeline<'p>,
        plan: &'p VectorPlan,
        context: &mut Context,
    ) -> Result<Pipeline<'p>, Failure> {
        let delayed = self.options.delayed_name_removal;
        let pipeline = pipeline.then(DropName { now: !delayed });
        if delayed {
            return Ok(pipeline);
        }
        let beside = match plan {
            VectorPlan::Map(call) if matches!(call.op, MapOp::Negate) => FloatBesideHistogram::Allowed,
            _ => FloatBesideHistogram::Refused,
        };
        self.merging(pipeline, address(plan), beside, context)
    }

    /// Merges series with the same labels: on the way there are usually none, which a guard watches.
    fn merging<'p>(
        &'p self,
        pipeline: Pipeline<'p>,
        operator: usize,
        beside: FloatBesideHistogram,
        context: &mut Context,
    ) -> Result<Pipeline<'p>, Failure> {
        if !context.held.contains(&operator) {
            return Ok(pipeline.guarded(Guard::Merge(operator)));
        }
        let make = || Collect::new(self.tracker);
        let sinks = self.drive(pipeline, context, &make)?;
        let rows = Collect::merge(sinks, self.tracker);
        Ok(Pipeline::rows(merge_same_labels(rows, beside)?))
    }

    /// One series without labels.
    fn single(&self, row: Row) -> Result<Rows<'_>, QueryError> {
        Rows::new(self.tracker, vec![SeriesRow::new(Labels::empty(), row)])
    }

    fn range_function<'p>(
        &'p self,
        call: &'p crate::plan::RangeCall,
        grid: Grid,
        context: &mut Context,
    ) -> Result<RowFunction<'p>, QueryError> {
        let mut params = Vec::with_capacity(call.params.len());
        for param in &call.params {
            params.push(self.scalar(param, grid, context)?);
        }
        RowFunction::new(call, params, self.options)
    }
}

/// Repeats the value of a single step.
struct Broadcast {
    steps: usize,
}

impl Stage for Broadcast {
    fn sees_labels(&self) -> bool {
        false
    }

    fn apply(&self, series: &mut SeriesRow, _: &mut Worker<'_>) -> Result<(), QueryError> {
        series.row = series.row.broadcast(self.steps);
        Ok(())
    }
}
