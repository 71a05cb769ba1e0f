//! Aggregations over series.
//!
//! Most aggregations take a row in at once, into one accumulator row per group; what is held is groups times steps.
//! Each worker has accumulators of its own, which are merged at the end.

mod count_values;
mod extremes;
mod histograms;
mod limit;
mod partial;
mod quantile;
mod stddev;
mod sums;
mod top;

pub(super) use histograms::{HistogramAverage, HistogramSum, Seen};
pub(super) use partial::unfinished_guest;
pub(crate) use partial::{merge_groups, put_groups};

use std::sync::Arc;

use super::bitmap::Bitmap;
use super::executor::{Context, Executor};
use super::grid::Grid;
use super::grouping::{Groups, Key};
use super::math::{go_max, go_min};
use super::pipeline::{Sink, Worker};
use super::row::Row;
use super::rows::{Reservation, Rows, SeriesRow};
use super::scalar::ScalarValues;
use super::share::{Guest, guest};
use crate::annotations::{Annotation, Annotations};
use crate::engine::{Pace, QueryError};
use crate::plan::Aggregate;
use crate::syntax::{AggregateOp, Span};

/// What it costs to find a group, in units of [`Pace`].
const UNITS_PER_GROUP: u64 = 200;

/// The result of an aggregation.
pub(super) fn aggregate<'p>(
    executor: &'p Executor<'_>,
    plan: &'p Aggregate,
    grid: Grid,
    context: &mut Context,
) -> Result<Rows<'p>, QueryError> {
    let run = Aggregation::new(executor, plan, grid, context)?;
    match plan.op {
        AggregateOp::Sum => run.grouped::<sums::Sum>(context),
        AggregateOp::Avg => run.grouped::<sums::Average>(context),
        AggregateOp::Count => run.grouped::<extremes::Count>(context),
        AggregateOp::Group => run.grouped::<extremes::Group>(context),
        AggregateOp::Min => run.grouped::<extremes::Min>(context),
        AggregateOp::Max => run.grouped::<extremes::Max>(context),
        AggregateOp::Stddev | AggregateOp::Stdvar => run.grouped::<stddev::Variance>(context),
        AggregateOp::Quantile => {
            quantile::check_param(plan, &run.param, context);
            run.grouped::<quantile::Quantile>(context)
        }
        AggregateOp::Topk | AggregateOp::Bottomk => run.top(context),
        AggregateOp::Limitk => run.limit(context),
        AggregateOp::LimitRatio => run.limit_ratio(context),
        AggregateOp::CountValues => run.count_values(context),
    }
}

/// An aggregation of series that another consumer reads; its parameter needs no data.
pub(super) fn aggregate_guest<'p>(
    executor: &'p Executor<'_>,
    plan: &'p Aggregate,
    grid: Grid,
) -> Result<Box<dyn Guest<'p> + 'p>, QueryError> {
    let run = Aggregation::new(executor, plan, grid, &mut Context::default())?;
    Ok(match plan.op {
        AggregateOp::Sum => run.grouped_guest::<sums::Sum>(),
        AggregateOp::Avg => run.grouped_guest::<sums::Average>(),
        AggregateOp::Count => run.grouped_guest::<extremes::Count>(),
        AggregateOp::Group => run.grouped_guest::<extremes::Group>(),
        AggregateOp::Min => run.grouped_guest::<extremes::Min>(),
        AggregateOp::Max => run.grouped_guest::<extremes::Max>(),
        AggregateOp::Stddev | AggregateOp::Stdvar => run.grouped_guest::<stddev::Variance>(),
        AggregateOp::Quantile => run.grouped_guest::<quantile::Quantile>(),
        AggregateOp::Topk | AggregateOp::Bottomk => return run.top_guest(),
        AggregateOp::CountValues => run.count_values_guest(),
        AggregateOp::Limitk | AggregateOp::LimitRatio => {
            return Err(QueryError::internal(format!("{} takes rows", plan.op.as_str())));
        }
    })
}

/// An aggregation with its parameter evaluated.
#[derive(Clone)]
struct Aggregation<'p, 'e> {
    executor: &'p Executor<'e>,
    plan: &'p Aggregate,
    grid: Grid,
    param: Arc<ScalarValues>,
}

/// What accumulators need to know.
struct Scope<'s, 't> {
    op: AggregateOp,
    span: Span,
    param: &'s ScalarValues,
    annotations: &'s mut Annotations,
    pace: &'s mut Pace<'t>,
}

impl Scope<'_, '_> {
    fn annotate(&mut self, annotation: Annotation) {
        self.annotations.add(annotation, self.span);
    }

    /// Notes that the histograms of a row do not count.
    fn ignore_histograms(&mut self, row: &Row) {
        if !row.histograms().is_empty() {
            self.annotate(Annotation::HistogramIgnoredInAggregation { aggregation: self.op.as_str() });
        }
    }
}

/// The state of one group.
trait Accumulator: Send + Sized {
    fn new(steps: usize) -> Self;

    /// Takes in the row of a series.
    fn add(&mut self, series: &mut SeriesRow, scope: &mut Scope<'_, '_>) -> Result<(), QueryError>;

    /// Takes in what another worker accumulated for the same group.
    fn merge(&mut self, other: Self, scope: &mut Scope<'_, '_>) -> Result<(), QueryError>;

    /// The group's row.
    fn finish(self, scope: &mut Scope<'_, '_>) -> Result<Row, QueryError>;

    /// Bytes that a row taken in keeps alive beyond the group's own.
    fn bytes_kept_per_row(_steps: usize) -> usize {
        0
    }
}

/// Whether the group's name is to be dropped: as the series of its last step say.
#[derive(Clone, Copy, Default)]
struct NameDrop {
    last_step: Option<usize>,
    drop: bool,
}

impl NameDrop {
    fn add(&mut self, last_step: Option<usize>, drop: bool) {
        if last_step > self.last_step {
            *self = Self { last_step, drop };
        } else if last_step == self.last_step {
            self.drop |= drop;
        }
    }
}

/// A worker's groups.
struct GroupedSink<'p, A> {
    key: Key<'p>,
    steps: usize,
    op: AggregateOp,
    span: Span,
    param: Arc<ScalarValues>,
    groups: Groups,
    accumulators: Vec<A>,
    names: Vec<NameDrop>,
    reservation: Reservation<'p>,
}

impl<A> GroupedSink<'_, A> {
    /// Counts the memory of one more group.
    fn reserve_group(&mut self) -> Result<(), QueryError> {
        self.reservation.add(self.steps as u64, (size_of::<A>() + 16 * self.steps) as u64)
    }
}

impl<A: Accumulator> Sink for GroupedSink<'_, A> {
    fn consume(&mut self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        let (group, is_new) = self.groups.find_or_add(&self.key, &series.labels);
        if is_new {
            self.reserve_group()?;
            self.accumulators.push(A::new(self.steps));
            self.names.push(NameDrop::default());
        }
        let kept = A::bytes_kept_per_row(self.steps);
        if kept > 0 {
            self.reservation.add(self.steps as u64, kept as u64)?;
        }
        self.names[group].add(series.row.last_step(), series.drop_name);
        let Worker { annotations, pace, .. } = worker;
        let mut scope = Scope { op: self.op, span: self.span, param: &self.param, annotations, pace };
        self.accumulators[group].add(series, &mut scope)
    }

    fn sees_metric_name(&self) -> bool {
        self.key.sees_metric_name()
    }
}

impl<'p, 'e> Aggregation<'p, 'e> {
    fn new(
        executor: &'p Executor<'e>,
        plan: &'p Aggregate,
        grid: Grid,
        context: &mut Context,
    ) -> Result<Self, QueryError> {
        let param = match &plan.param {
            Some(param) => executor.scalar(param, grid, context)?,
            None => ScalarValues::Constant(0.0),
        };
        Ok(Self { executor, plan, grid, param: Arc::new(param) })
    }

    fn key(&self) -> Key<'p> {
        if self.plan.without { Key::Without(&self.plan.grouping) } else { Key::By(&self.plan.grouping) }
    }

    /// An aggregation with one accumulator per group.
    fn grouped<A: Accumulator>(&self, context: &mut Context) -> Result<Rows<'p>, QueryError> {
        if let Some(rows) = self.executor.parked(&self.plan.input, self.grid, context) {
            return Ok(rows);
        }
        let sinks = self.stream::<A>(context)?;
        self.joined(sinks, context)
    }

    fn grouped_guest<A: Accumulator + 'p>(self) -> Box<dyn Guest<'p> + 'p>
    where
        'e: 'p,
    {
        let own = self.clone();
        guest(move || own.new_sink::<A>(), move |sinks, context| self.joined(sinks, context))
    }

    /// The groups of all workers, finished.
    fn joined<A: Accumulator>(
        &self,
        sinks: Vec<GroupedSink<'p, A>>,
        context: &mut Context,
    ) -> Result<Rows<'p>, QueryError> {
        match self.merged(sinks, context)? {
            Some(all) => self.finished(all, context),
            None => Ok(Rows::none(self.executor.tracker)),
        }
    }

    fn new_sink<A: Accumulator>(&self) -> GroupedSink<'p, A> {
        GroupedSink {
            key: self.key(),
            steps: self.grid.steps,
            op: self.plan.op,
            span: self.plan.input_span,
            param: Arc::clone(&self.param),
            groups: Groups::default(),
            accumulators: Vec::new(),
            names: Vec::new(),
            reservation: Reservation::new(self.executor.tracker),
        }
    }

    /// The groups of each worker.
    fn stream<A: Accumulator>(&self, context: &mut Context) -> Result<Vec<GroupedSink<'p, A>>, QueryError> {
        self.executor.stream(&self.plan.input, self.grid, context, &|| self.new_sink::<A>())
    }

    /// All groups in one; `None` of no workers.
    fn merged<A: Accumulator>(
        &self,
        sinks: Vec<GroupedSink<'p, A>>,
        context: &mut Context,
    ) -> Result<Option<GroupedSink<'p, A>>, QueryError> {
        let key = self.key();
        let mut sinks = sinks.into_iter();
        let Some(mut all) = sinks.next() else { return Ok(None) };
        let pace = &mut Pace::new(self.executor.tracker);
        let mut scope = self.scope(context, pace);
        for sink in sinks {
            all.reservation.absorb(sink.reservation);
            let groups = sink.groups.labels().iter().zip(sink.accumulators).zip(sink.names);
            for ((labels, accumulator), name) in groups {
                scope.pace.spend(UNITS_PER_GROUP + self.grid.steps as u64)?;
                let (group, is_new) = all.groups.find_or_add(&key, labels);
                if is_new {
                    all.accumulators.push(accumulator);
                    all.names.push(name);
                } else {
                    all.accumulators[group].merge(accumulator, &mut scope)?;
                    all.names[group].add(name.last_step, name.drop);
                }
            }
        }
        Ok(Some(all))
    }

    /// The rows of the groups.
    fn finished<A: Accumulator>(
        &self,
        all: GroupedSink<'_, A>,
        context: &mut Context,
    ) -> Result<Rows<'p>, QueryError> {
        let pace = &mut Pace::new(self.executor.tracker);
        let mut scope = self.scope(context, pace);
        let mut series = Vec::with_capacity(all.groups.len());
        for ((labels, accumulator), name) in all.groups.labels().iter().zip(all.accumulators).zip(all.names) {
            scope.pace.spend(UNITS_PER_GROUP + self.grid.steps as u64)?;
            let row = accumulator.finish(&mut scope)?;
            if !row.is_empty() {
                series.push(SeriesRow { labels: labels.clone(), drop_name: name.drop, order: 0, row });
            }
        }
        Rows::new(self.executor.tracker, series)
    }

    fn scope<'s, 't>(&'s self, context: &'s mut Context, pace: &'s mut Pace<'t>) -> Scope<'s, 't> {
        let (op, span) = (self.plan.op, self.plan.input_span);
        Scope { op, span, param: &self.param, annotations: &mut context.annotations, pace }
    }

    /// The largest and smallest value of the parameter; NaN wins.
    fn param_range(&self) -> (f64, f64) {
        let values = self.param.iter();
        match *self.param {
            ScalarValues::Constant(value) => (value, value),
            ScalarValues::PerStep(_) => {
                (values.clone().fold(f64::MAX, go_min), values.fold(-f64::MAX, go_max))
            }
        }
    }

    fn param_has_nan(&self) -> bool {
        self.param.iter().any(f64::is_nan)
    }
}

/// Adds `value` at each step of `present` by `add`.
#[inline]
fn for_each_present(present: &Bitmap, mut add: impl FnMut(usize)) {
    present.for_each_run(|start, end| (start..end).for_each(&mut add));
}
