//! Groups that are not finished: to be sent, and merged with those of other storages.
//!
//! The merge is the one that joins the groups of several workers. It loses nothing: sums travel with what rounding lost.

use super::extremes::{Count, Group, Max, Min};
use super::sums::{Average, Sum};
use super::{Accumulator, Aggregation, GroupedSink, NameDrop};
use crate::engine::QueryError;
use crate::exec::executor::{Context, Executor};
use crate::exec::grid::Grid;
use crate::exec::rows::SeriesRow;
use crate::exec::share::{Guest, writing_guest};
use crate::fragment::values::{LABELS_BYTES_MIN, put_labels, take_labels};
use crate::fragment::wire::{Reader, WireError, Writer};
use crate::plan::Aggregate;
use crate::syntax::AggregateOp;

/// State of a group that can be sent.
pub(super) trait Partial: Accumulator {
    fn put(&self, out: &mut Writer);
    fn take(from: &mut Reader<'_>, steps: usize) -> Result<Self, WireError>;
}

/// Calls a method for the accumulator of an operation.
macro_rules! for_accumulator {
    ($op:expr, $run:ident . $method:ident ( $($argument:expr),* )) => {
        match $op {
            AggregateOp::Sum => $run.$method::<Sum>($($argument),*),
            AggregateOp::Avg => $run.$method::<Average>($($argument),*),
            AggregateOp::Count => $run.$method::<Count>($($argument),*),
            AggregateOp::Group => $run.$method::<Group>($($argument),*),
            AggregateOp::Min => $run.$method::<Min>($($argument),*),
            AggregateOp::Max => $run.$method::<Max>($($argument),*),
            other => Err(QueryError::internal(format!("{} has no partial results", other.as_str()))),
        }
    };
}

/// Computes groups and writes them down unfinished.
pub(crate) fn put_groups(
    executor: &Executor<'_>,
    plan: &Aggregate,
    grid: Grid,
    context: &mut Context,
    out: &mut Writer,
) -> Result<(), QueryError> {
    if let Some(bytes) = executor.parked_bytes(&plan.input, grid, context) {
        out.0.extend_from_slice(&bytes);
        return Ok(());
    }
    let run = Aggregation::new(executor, plan, grid, context)?;
    for_accumulator!(plan.op, run.put(context, out))
}

/// The same of series that another consumer reads.
pub(in crate::exec) fn unfinished_guest<'p>(
    executor: &'p Executor<'_>,
    plan: &'p Aggregate,
    grid: Grid,
) -> Result<Box<dyn Guest<'p> + 'p>, QueryError> {
    let run = Aggregation::new(executor, plan, grid, &mut Context::default())?;
    for_accumulator!(plan.op, run.writing_guest())
}

/// Merges and finishes groups of several storages.
pub(crate) fn merge_groups(
    executor: &Executor<'_>,
    plan: &Aggregate,
    grid: Grid,
    context: &mut Context,
    parts: Vec<Reader<'_>>,
) -> Result<Vec<SeriesRow>, QueryError> {
    let run = Aggregation::new(executor, plan, grid, context)?;
    for_accumulator!(plan.op, run.merge_parts(context, parts))
}

impl<'p, 'e> Aggregation<'p, 'e> {
    fn put<A: Partial>(&self, context: &mut Context, out: &mut Writer) -> Result<(), QueryError> {
        let sinks = self.stream::<A>(context)?;
        self.write(sinks, context, out)
    }

    fn writing_guest<A: Partial + 'p>(self) -> Result<Box<dyn Guest<'p> + 'p>, QueryError>
    where
        'e: 'p,
    {
        let own = self.clone();
        Ok(writing_guest(
            move || own.new_sink::<A>(),
            move |sinks, context| {
                let mut out = Writer::default();
                self.write(sinks, context, &mut out)?;
                Ok(out.0)
            },
        ))
    }

    fn write<A: Partial>(
        &self,
        sinks: Vec<GroupedSink<'p, A>>,
        context: &mut Context,
        out: &mut Writer,
    ) -> Result<(), QueryError> {
        let Some(all) = self.merged(sinks, context)? else {
            out.length(0);
            return Ok(());
        };
        out.length(all.groups.len());
        for ((labels, accumulator), name) in all.groups.labels().iter().zip(&all.accumulators).zip(&all.names)
        {
            put_labels(out, labels);
            out.length(name.last_step.map_or(0, |step| step + 1));
            out.bool(name.drop);
            accumulator.put(out);
        }
        Ok(())
    }

    fn merge_parts<A: Partial>(
        &self,
        context: &mut Context,
        parts: Vec<Reader<'_>>,
    ) -> Result<Vec<SeriesRow>, QueryError> {
        let mut sinks = Vec::with_capacity(parts.len());
        for part in parts {
            sinks.push(self.taken::<A>(part)?);
        }
        let Some(all) = self.merged(sinks, context)? else { return Ok(Vec::new()) };
        Ok(self.finished(all, context)?.series)
    }

    fn taken<A: Partial>(&self, mut part: Reader<'_>) -> Result<GroupedSink<'p, A>, QueryError> {
        let key = self.key();
        let mut sink = self.new_sink::<A>();
        for _ in 0..part.count(LABELS_BYTES_MIN + 2)? {
            let labels = take_labels(&mut part)?;
            let last_step = match part.number()? {
                0 => None,
                step => Some(usize::try_from(step - 1).unwrap_or(usize::MAX)),
            };
            let name = NameDrop { last_step, drop: part.bool()? };
            let (group, is_new) = sink.groups.find_or_add(&key, &labels);
            sink.reserve_group()?;
            let accumulator = A::take(&mut part, self.grid.steps)?;
            if !is_new || sink.groups.labels()[group] != labels {
                return Err(WireError("a group is there twice, or is none of this aggregation").into());
            }
            sink.accumulators.push(accumulator);
            sink.names.push(name);
        }
        part.end()?;
        Ok(sink)
    }
}
