//! Scalars: one number per step.

use super::executor::{Context, Executor};
use super::grid::Grid;
use super::math::{go_max, go_min, scalar_binary};
use super::pipeline::{Sink, Worker};
use super::row::Row;
use super::rows::{Rows, SeriesRow};
use super::share::{Guest, guest};
use crate::engine::{Pace, QueryError};
use crate::labels::Labels;
use crate::plan::ScalarPlan;

/// The values of a scalar.
#[derive(Clone, Debug)]
pub(super) enum ScalarValues {
    Constant(f64),
    PerStep(Vec<f64>),
}

impl ScalarValues {
    /// The value at a step.
    #[inline]
    pub fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::PerStep(values) => values[step],
        }
    }

    /// One value per step.
    pub fn into_values(self, steps: usize) -> Vec<f64> {
        match self {
            Self::Constant(value) => vec![value; steps],
            Self::PerStep(values) => values,
        }
    }

    /// The different values, for checks; a constant only once.
    pub fn iter(&self) -> impl Iterator<Item = f64> + Clone + '_ {
        let (constant, values) = match self {
            Self::Constant(value) => (Some(*value), &[][..]),
            Self::PerStep(values) => (None, &values[..]),
        };
        constant.into_iter().chain(values.iter().copied())
    }

    fn map(self, pace: &mut Pace<'_>, change: impl Fn(f64) -> f64) -> Result<Self, QueryError> {
        Ok(match self {
            Self::Constant(value) => Self::Constant(change(value)),
            Self::PerStep(values) => Self::PerStep(changed(values, pace, |_, value| change(value))?),
        })
    }

    fn combine(
        self,
        other: Self,
        pace: &mut Pace<'_>,
        combine: impl Fn(f64, f64) -> f64,
    ) -> Result<Self, QueryError> {
        Ok(match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => Self::Constant(combine(a, b)),
            (Self::PerStep(values), other) => {
                Self::PerStep(changed(values, pace, |step, value| combine(value, other.at(step)))?)
            }
            (Self::Constant(a), Self::PerStep(values)) => {
                Self::PerStep(changed(values, pace, |_, value| combine(a, value))?)
            }
        })
    }
}

fn changed(
    mut values: Vec<f64>,
    pace: &mut Pace<'_>,
    change: impl Fn(usize, f64) -> f64,
) -> Result<Vec<f64>, QueryError> {
    for (step, value) in values.iter_mut().enumerate() {
        pace.spend(1)?;
        *value = change(step, *value);
    }
    Ok(values)
}

impl Executor<'_> {
    /// The values of a scalar at the times of `grid`.
    pub(super) fn scalar(
        &self,
        plan: &ScalarPlan,
        grid: Grid,
        context: &mut Context,
    ) -> Result<ScalarValues, QueryError> {
        self.tracker.check_steps(grid.steps)?;
        let pace = &mut Pace::new(self.tracker);
        Ok(match plan {
            ScalarPlan::Constant(value) => ScalarValues::Constant(*value),
            ScalarPlan::Time => ScalarValues::PerStep(
                (0..grid.steps).map(|step| grid.timestamp(step) as f64 / 1000.0).collect(),
            ),
            ScalarPlan::Binary { op, lhs, rhs } => {
                let lhs = self.scalar(lhs, grid, context)?;
                let rhs = self.scalar(rhs, grid, context)?;
                lhs.combine(rhs, pace, |a, b| scalar_binary(*op, a, b))?
            }
            ScalarPlan::Negate(input) => self.scalar(input, grid, context)?.map(pace, |value| -value)?,
            ScalarPlan::MinMax { max, lhs, rhs } => {
                let lhs = self.scalar(lhs, grid, context)?;
                let rhs = self.scalar(rhs, grid, context)?;
                lhs.combine(rhs, pace, if *max { go_max } else { go_min })?
            }
            ScalarPlan::FromVector(input) => {
                if let Some(rows) = self.parked(input, grid, context) {
                    let series = rows.series.into_iter().next();
                    return Ok(ScalarValues::PerStep(
                        series.map_or_else(Vec::new, |series| series.row.into_values()),
                    ));
                }
                let sinks = self.stream(input, grid, context, &|| OnlyFloat::new(grid.steps))?;
                ScalarValues::PerStep(OnlyFloat::merge(sinks, grid.steps))
            }
            ScalarPlan::StepInvariant(input) => {
                ScalarValues::Constant(self.scalar(input, grid.first_only(), context)?.at(0))
            }
        })
    }
}

impl Executor<'_> {
    /// The values of a scalar made of series that another consumer reads, as a row.
    pub(super) fn scalar_guest<'p>(&'p self, grid: Grid) -> Box<dyn Guest<'p> + 'p> {
        guest(
            move || OnlyFloat::new(grid.steps),
            move |sinks, _| {
                let row = Row::full(OnlyFloat::merge(sinks, grid.steps));
                Rows::new(self.tracker, vec![SeriesRow::new(Labels::empty(), row)])
            },
        )
    }
}

/// The only float of each step.
struct OnlyFloat {
    values: Vec<f64>,
    /// 0, 1, or 2 for more.
    seen: Vec<u8>,
}

impl OnlyFloat {
    fn new(steps: usize) -> Self {
        Self { values: vec![f64::NAN; steps], seen: vec![0; steps] }
    }

    fn merge(sinks: Vec<Self>, steps: usize) -> Vec<f64> {
        let mut all = Self::new(steps);
        for sink in sinks {
            for step in 0..steps {
                if sink.seen[step] > 0 {
                    all.values[step] = sink.values[step];
                    all.seen[step] = all.seen[step].saturating_add(sink.seen[step]);
                }
            }
        }
        let values = all.values.into_iter().zip(all.seen);
        values.map(|(value, seen)| if seen == 1 { value } else { f64::NAN }).collect()
    }
}

impl Sink for OnlyFloat {
    fn consume(&mut self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        for (step, value) in series.row.floats() {
            worker.pace.spend(1)?;
            self.values[step] = value;
            self.seen[step] = (self.seen[step] + 1).min(2);
        }
        Ok(())
    }
}
