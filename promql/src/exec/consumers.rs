//! Which parts of a plan take their series straight from a storage.

use super::grid::{Counted, Grid};
use crate::plan::{Absent, Aggregate, HistogramOp, MapOp, Plan, RangeSource, ScalarPlan, VectorPlan};
use crate::syntax::AggregateOp;

/// Someone who takes the series of a plan that does not let them meet (see [`VectorPlan::is_apart`]).
#[derive(Clone, Copy)]
pub(crate) struct Consumer<'a> {
    pub plan: &'a VectorPlan,
    pub grid: Grid,
    pub takes: Takes<'a>,
}

impl<'a> Consumer<'a> {
    /// Of a fragment: who takes the series of `plan`, which has no more than one consumer.
    pub fn rows(plan: &'a VectorPlan, grid: Grid) -> Option<Self> {
        let mut found = Found(Vec::new());
        found.vector(plan, grid, Takes::Rows);
        found.0.pop()
    }

    /// Of a fragment: an aggregation that somebody else finishes.
    pub fn unfinished(aggregate: &'a Aggregate, grid: Grid) -> Self {
        Self { plan: &aggregate.input, grid, takes: Takes::Unfinished(aggregate) }
    }
}

/// What becomes of the series.
#[derive(Clone, Copy)]
pub(crate) enum Takes<'a> {
    /// They are held.
    Rows,
    /// They are aggregated. The parameter needs no data.
    Aggregate(&'a Aggregate),
    /// They are aggregated, and the groups written down as they are.
    Unfinished(&'a Aggregate),
    /// Only whether there are any matters.
    Absent(&'a Absent),
    /// The only one becomes a scalar.
    Scalar,
}

/// All consumers of a plan, about in the order in which they are evaluated.
pub(super) fn consumers(plan: &Plan, grid: Grid) -> Vec<Consumer<'_>> {
    let mut found = Found(Vec::new());
    match plan {
        Plan::Scalar(plan) => found.scalar(plan, grid),
        Plan::Vector(plan) => found.vector(plan, grid, Takes::Rows),
        Plan::Matrix(RangeSource::Subquery(subquery)) => {
            let inner = Grid { counted: Counted::AtEach(1), ..subquery.grid(&grid) };
            found.vector(&subquery.input, inner, Takes::Rows);
        }
        Plan::Matrix(RangeSource::Selector(_)) | Plan::String(_) => {}
    }
    found.0
}

struct Found<'a>(Vec<Consumer<'a>>);

impl<'a> Found<'a> {
    fn vector(&mut self, plan: &'a VectorPlan, grid: Grid, takes: Takes<'a>) {
        if plan.is_apart() {
            if grid.steps > 0 {
                self.0.push(Consumer { plan, grid, takes });
            }
            return;
        }
        match plan {
            VectorPlan::Range(call) => {
                call.params.iter().for_each(|param| self.scalar(param, grid));
                if let RangeSource::Subquery(subquery) = &call.source {
                    self.piped(&subquery.input, subquery.grid(&grid));
                }
            }
            VectorPlan::Map(call) => {
                match &call.op {
                    MapOp::Function { params, .. } => {
                        params.iter().for_each(|param| self.scalar(param, grid));
                    }
                    MapOp::Scalar { scalar, .. } => self.scalar(scalar, grid),
                    MapOp::HistogramFunction(_) | MapOp::Timestamp | MapOp::Negate => {}
                }
                self.piped(&call.input, grid);
            }
            VectorPlan::FromScalar(scalar) => self.scalar(scalar, grid),
            VectorPlan::Aggregate(aggregate) => self.aggregate(aggregate, grid),
            VectorPlan::Binary(binary) => {
                self.vector(&binary.lhs, grid, Takes::Rows);
                self.vector(&binary.rhs, grid, Takes::Rows);
            }
            VectorPlan::Set(operation) => {
                self.vector(&operation.lhs, grid, Takes::Rows);
                self.vector(&operation.rhs, grid, Takes::Rows);
            }
            VectorPlan::Histogram(call) => {
                match &call.op {
                    HistogramOp::Quantile { quantile, .. } => self.scalar(quantile, grid),
                    HistogramOp::Quantiles { quantiles, .. } => {
                        quantiles.iter().for_each(|(quantile, _)| self.scalar(quantile, grid));
                    }
                    HistogramOp::Fraction { lower, upper } => {
                        self.scalar(lower, grid);
                        self.scalar(upper, grid);
                    }
                }
                self.vector(&call.input, grid, Takes::Rows);
            }
            VectorPlan::Absent(absent) => self.vector(&absent.input, grid, Takes::Absent(absent)),
            VectorPlan::Sort(sort) => self.vector(&sort.input, grid, Takes::Rows),
            VectorPlan::Relabel(relabel) => self.piped(&relabel.input, grid),
            VectorPlan::Info(info) => self.vector(&info.input, grid, Takes::Rows),
            VectorPlan::StepInvariant(input) => {
                let once = if grid.steps == 1 && !grid.ranged { grid } else { grid.first_only() };
                self.piped(input, once);
            }
            VectorPlan::Select(_)
            | VectorPlan::SelectTimes { .. }
            | VectorPlan::DateOfTime(_)
            | VectorPlan::Nothing
            | VectorPlan::Given(_) => {}
        }
    }

    /// The input of an operator that passes series on one by one: whoever takes them takes the operator's.
    fn piped(&mut self, plan: &'a VectorPlan, grid: Grid) {
        if !plan.is_apart() {
            self.vector(plan, grid, Takes::Rows);
        }
    }

    fn aggregate(&mut self, aggregate: &'a Aggregate, grid: Grid) {
        use AggregateOp as A;
        aggregate.param.iter().for_each(|param| self.scalar(param, grid));
        match aggregate.op {
            A::Limitk | A::LimitRatio => self.vector(&aggregate.input, grid, Takes::Rows),
            _ if aggregate.param.as_ref().is_none_or(ScalarPlan::needs_no_data) => {
                self.vector(&aggregate.input, grid, Takes::Aggregate(aggregate));
            }
            _ => self.piped(&aggregate.input, grid),
        }
    }

    fn scalar(&mut self, plan: &'a ScalarPlan, grid: Grid) {
        match plan {
            ScalarPlan::Constant(_) | ScalarPlan::Time => {}
            ScalarPlan::Binary { lhs, rhs, .. } | ScalarPlan::MinMax { lhs, rhs, .. } => {
                self.scalar(lhs, grid);
                self.scalar(rhs, grid);
            }
            ScalarPlan::Negate(input) => self.scalar(input, grid),
            ScalarPlan::FromVector(input) => self.vector(input, grid, Takes::Scalar),
            ScalarPlan::StepInvariant(input) => self.scalar(input, grid.first_only()),
        }
    }
}
