//! `quantile`: needs all values of a step.

use super::{Accumulator, Scope};
use crate::annotations::Annotation;
use crate::engine::QueryError;
use crate::exec::bitmap::Bitmap;
use crate::exec::executor::Context;
use crate::exec::range::quantile_of;
use crate::exec::row::Row;
use crate::exec::rows::SeriesRow;
use crate::exec::scalar::ScalarValues;
use crate::plan::Aggregate;

/// What it costs to pick a value up and select among them, in units of [`Pace`](crate::engine::Pace).
const UNITS_PER_VALUE: u64 = 5;

/// All rows of the group.
pub(super) struct Quantile {
    rows: Vec<Row>,
    present: Bitmap,
}

impl Accumulator for Quantile {
    fn new(steps: usize) -> Self {
        Self { rows: Vec::new(), present: Bitmap::new(steps) }
    }

    fn add(&mut self, series: &mut SeriesRow, scope: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        scope.ignore_histograms(&series.row);
        let mut row = std::mem::take(&mut series.row);
        row.histograms_mut().clear();
        self.present.union(row.present());
        self.rows.push(row);
        Ok(())
    }

    fn merge(&mut self, other: Self, _: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        self.present.union(&other.present);
        self.rows.extend(other.rows);
        Ok(())
    }

    fn finish(self, scope: &mut Scope<'_, '_>) -> Result<Row, QueryError> {
        let mut result = Row::new(self.present.len());
        let mut values = Vec::with_capacity(self.rows.len());
        for step in self.present.ones() {
            scope.pace.spend(UNITS_PER_VALUE * self.rows.len() as u64)?;
            values.clear();
            values.extend(self.rows.iter().filter_map(|row| row.float(step)));
            result.set(step, quantile_of(scope.param.at(step), &mut values));
        }
        Ok(result)
    }

    fn bytes_kept_per_row(steps: usize) -> usize {
        9 * steps
    }
}

/// Warns about a quantile outside 0..=1.
pub(super) fn check_param(plan: &Aggregate, param: &ScalarValues, context: &mut Context) {
    let mut warn = |quantile: f64| {
        let annotation = Annotation::InvalidQuantile { quantile: quantile.into() };
        context.annotations.add(annotation, plan.param_span);
    };
    if param.iter().any(f64::is_nan) {
        warn(f64::NAN);
    }
    let largest = param.iter().fold(f64::NEG_INFINITY, f64::max);
    let smallest = param.iter().fold(f64::INFINITY, f64::min);
    if largest > 1.0 {
        warn(largest);
    }
    if smallest < 0.0 {
        warn(smallest);
    }
}
