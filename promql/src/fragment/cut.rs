//! Where a plan is cut: what is computed beside the data, and what remains.
//!
//! A cut takes the largest part of a plan whose series do not meet: selectors, functions over windows, arithmetic with
//! scalars that need no data. If an aggregation follows that can be merged from parts, it is taken too. What remains
//! refers to the cut by number. Everybody who plans the same query cuts it the same way, so a number says all.
//!
//! A selector that cannot be computed apart is cut as its samples: one whose function has an argument that depends on
//! data, one shown as it is, those of `info`. With [`Style::Samples`] all are, which is always right.

use crate::engine::QueryError;
use crate::exec::{Grid, info_matchers};
use crate::plan::{
    Aggregate, HistogramOp, Info, MapCall, MapOp, Plan, RangeCall, RangeSource, ScalarPlan, Selector,
    VectorPlan,
};
use crate::storage::LabelMatcher;
use crate::syntax::AggregateOp;

/// How much is computed beside the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// As much as can be.
    Computed,
    /// Nothing: the samples are wanted.
    Samples,
}

/// A part of a plan.
pub(crate) struct Cut {
    pub grid: Grid,
    pub work: Work,
}

/// What a fragment gives.
pub(crate) enum Work {
    /// Series of an expression.
    Rows(VectorPlan),
    /// Groups that are not finished.
    Groups(Box<Aggregate>),
    /// Samples as stored, in a range of time with both ends.
    Samples { matchers: Vec<LabelMatcher>, mint_ms: i64, maxt_ms: i64 },
}

/// Cuts a plan; what remains is left in place.
pub(crate) fn cut(
    plan: &mut Plan,
    grid: Grid,
    lookback_ms: i64,
    style: Style,
) -> Result<Vec<Cut>, QueryError> {
    let mut cutter = Cutter { lookback_ms, style, cuts: Vec::new() };
    match plan {
        Plan::Scalar(plan) => cutter.scalar(plan, grid)?,
        Plan::Vector(plan) => cutter.vector(plan, grid)?,
        Plan::Matrix(RangeSource::Selector(range)) => cutter.samples(&range.selector, range.range_ms, grid),
        Plan::Matrix(RangeSource::Subquery(subquery)) => {
            let inner = subquery.grid(&grid);
            cutter.vector(&mut subquery.input, inner)?;
        }
        Plan::String(_) => {}
    }
    Ok(cutter.cuts)
}

struct Cutter {
    lookback_ms: i64,
    style: Style,
    cuts: Vec<Cut>,
}

impl Cutter {
    fn vector(&mut self, plan: &mut VectorPlan, grid: Grid) -> Result<(), QueryError> {
        if grid.steps == 0 {
            *plan = VectorPlan::Nothing;
            return Ok(());
        }
        if self.style == Style::Computed && plan.is_apart() {
            let whole = self.take(plan);
            self.cuts.push(Cut { grid, work: Work::Rows(whole) });
            return Ok(());
        }
        match plan {
            VectorPlan::Select(selector) => self.samples(selector, 0, grid),
            VectorPlan::SelectTimes { selector, .. } => self.samples(selector, 0, grid),
            VectorPlan::Range(call) => self.range(call, grid)?,
            VectorPlan::Map(call) => self.map(call, grid)?,
            VectorPlan::FromScalar(scalar) => self.scalar(scalar, grid)?,
            VectorPlan::DateOfTime(_) | VectorPlan::Nothing | VectorPlan::Given(_) => {}
            VectorPlan::Aggregate(_) => self.aggregate(plan, grid)?,
            VectorPlan::Binary(binary) => {
                self.vector(&mut binary.lhs, grid)?;
                self.vector(&mut binary.rhs, grid)?;
            }
            VectorPlan::Set(operation) => {
                self.vector(&mut operation.lhs, grid)?;
                self.vector(&mut operation.rhs, grid)?;
            }
            VectorPlan::Histogram(call) => {
                match &mut call.op {
                    HistogramOp::Quantile { quantile, .. } => self.scalar(quantile, grid)?,
                    HistogramOp::Quantiles { quantiles, .. } => {
                        for (quantile, _) in quantiles {
                            self.scalar(quantile, grid)?;
                        }
                    }
                    HistogramOp::Fraction { lower, upper } => {
                        self.scalar(lower, grid)?;
                        self.scalar(upper, grid)?;
                    }
                }
                self.vector(&mut call.input, grid)?;
            }
            VectorPlan::Absent(absent) => self.vector(&mut absent.input, grid)?,
            VectorPlan::Sort(sort) => self.vector(&mut sort.input, grid)?,
            VectorPlan::Relabel(relabel) => self.vector(&mut relabel.input, grid)?,
            VectorPlan::Info(info) => {
                self.vector(&mut info.input, grid)?;
                self.info(info, grid)?;
            }
            VectorPlan::StepInvariant(input) => {
                let once = if grid.steps == 1 && !grid.ranged { grid } else { grid.first_only() };
                self.vector(input, once)?;
            }
        }
        Ok(())
    }

    /// Takes a plan out and leaves the number that the next cut gets.
    fn take(&self, plan: &mut VectorPlan) -> VectorPlan {
        std::mem::replace(plan, VectorPlan::Given(self.cuts.len()))
    }

    fn aggregate(&mut self, plan: &mut VectorPlan, grid: Grid) -> Result<(), QueryError> {
        use AggregateOp as A;
        let VectorPlan::Aggregate(aggregate) = plan else { return Ok(()) };
        let apart = self.style == Style::Computed
            && aggregate.input.is_apart()
            && aggregate.param.as_ref().is_none_or(ScalarPlan::needs_no_data);
        match aggregate.op {
            A::Sum | A::Avg | A::Count | A::Group | A::Min | A::Max if apart => {
                if let VectorPlan::Aggregate(aggregate) = self.take(plan) {
                    self.cuts.push(Cut { grid, work: Work::Groups(aggregate) });
                }
                return Ok(());
            }
            // The best of all are among the best of each.
            A::Topk | A::Bottomk | A::Limitk if apart => {
                let work = Work::Rows(VectorPlan::Aggregate(aggregate.clone()));
                self.take(&mut aggregate.input);
                self.cuts.push(Cut { grid, work });
                return Ok(());
            }
            _ => {}
        }
        if let Some(param) = &mut aggregate.param {
            self.scalar(param, grid)?;
        }
        self.vector(&mut aggregate.input, grid)
    }

    fn range(&mut self, call: &mut RangeCall, grid: Grid) -> Result<(), QueryError> {
        for param in &mut call.params {
            self.scalar(param, grid)?;
        }
        match &mut call.source {
            RangeSource::Selector(range) => {
                self.samples(&range.selector, range.range_ms, grid);
                Ok(())
            }
            RangeSource::Subquery(subquery) => {
                let inner = subquery.grid(&grid);
                self.vector(&mut subquery.input, inner)
            }
        }
    }

    fn map(&mut self, call: &mut MapCall, grid: Grid) -> Result<(), QueryError> {
        match &mut call.op {
            MapOp::Function { params, .. } => {
                for param in params {
                    self.scalar(param, grid)?;
                }
            }
            MapOp::Scalar { scalar, .. } => self.scalar(scalar, grid)?,
            MapOp::HistogramFunction(_) | MapOp::Timestamp | MapOp::Negate => {}
        }
        self.vector(&mut call.input, grid)
    }

    fn scalar(&mut self, plan: &mut ScalarPlan, grid: Grid) -> Result<(), QueryError> {
        match plan {
            ScalarPlan::Constant(_) | ScalarPlan::Time => Ok(()),
            ScalarPlan::Binary { lhs, rhs, .. } | ScalarPlan::MinMax { lhs, rhs, .. } => {
                self.scalar(lhs, grid)?;
                self.scalar(rhs, grid)
            }
            ScalarPlan::Negate(input) => self.scalar(input, grid),
            ScalarPlan::FromVector(input) => self.vector(input, grid),
            ScalarPlan::StepInvariant(input) => self.scalar(input, grid.first_only()),
        }
    }

    fn info(&mut self, info: &Info, grid: Grid) -> Result<(), QueryError> {
        let matchers = info_matchers(info)?;
        let shift = |time_ms: i64| info.at_ms.unwrap_or(time_ms).saturating_sub(info.offset_ms);
        self.want(matchers, (shift(grid.start_ms), shift(grid.end_ms())), 0);
        Ok(())
    }

    fn samples(&mut self, selector: &Selector, range_ms: i64, grid: Grid) {
        let (first, last) = selector.reference_range_ms(&grid);
        // `timestamp` forgets the offset of a pinned selector.
        let (first, last) = match selector.at_ms {
            Some(at_ms) => (first.min(at_ms), last.max(at_ms)),
            None => (first, last),
        };
        self.want(selector.matchers.clone(), (first, last), range_ms);
    }

    /// Wants samples for evaluations from one time to another. They may come from a little earlier and later, as some
    /// modifiers need; more than are needed do no harm.
    fn want(&mut self, matchers: Vec<LabelMatcher>, (first, last): (i64, i64), range_ms: i64) {
        let wanted = Cut {
            grid: Grid::instant(last),
            work: Work::Samples {
                matchers,
                mint_ms: first.saturating_sub(range_ms).saturating_sub(self.lookback_ms),
                maxt_ms: last.saturating_add(self.lookback_ms),
            },
        };
        let same = |cut: &Cut| match (&cut.work, &wanted.work) {
            (
                Work::Samples { matchers: a, mint_ms: b, maxt_ms: c },
                Work::Samples { matchers: x, mint_ms: y, maxt_ms: z },
            ) => (a, b, c) == (x, y, z),
            _ => false,
        };
        if !self.cuts.iter().any(same) {
            self.cuts.push(wanted);
        }
    }
}
