//! `stddev` and `stdvar`, by Welford's method.

use super::{Accumulator, Scope, for_each_present};
use crate::engine::QueryError;
use crate::exec::bitmap::Bitmap;
use crate::exec::row::Row;
use crate::exec::rows::SeriesRow;
use crate::syntax::AggregateOp;

pub(super) struct Variance {
    means: Vec<f64>,
    /// Sums of squared distances from the mean.
    squares: Vec<f64>,
    counts: Vec<f64>,
    present: Bitmap,
}

impl Accumulator for Variance {
    fn new(steps: usize) -> Self {
        let zeros = || vec![0.0; steps];
        Self { means: zeros(), squares: zeros(), counts: zeros(), present: Bitmap::new(steps) }
    }

    fn add(&mut self, series: &mut SeriesRow, scope: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        scope.ignore_histograms(&series.row);
        let values = series.row.values();
        for_each_present(series.row.present(), |step| {
            let value = values[step];
            self.counts[step] += 1.0;
            if self.counts[step] == 1.0 {
                self.means[step] = value;
                self.squares[step] = if value.is_finite() { 0.0 } else { f64::NAN };
                return;
            }
            let delta = value - self.means[step];
            self.means[step] += delta / self.counts[step];
            self.squares[step] += delta * (value - self.means[step]);
        });
        self.present.union(series.row.present());
        Ok(())
    }

    fn merge(&mut self, other: Self, _: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        for_each_present(&other.present, |step| {
            let (own_count, other_count) = (self.counts[step], other.counts[step]);
            let count = own_count + other_count;
            let delta = other.means[step] - self.means[step];
            if own_count == 0.0 {
                self.means[step] = other.means[step];
                self.squares[step] = other.squares[step];
            } else {
                self.means[step] += delta * other_count / count;
                self.squares[step] += other.squares[step] + delta * delta * own_count * other_count / count;
            }
            self.counts[step] = count;
        });
        self.present.union(&other.present);
        Ok(())
    }

    fn finish(self, scope: &mut Scope<'_, '_>) -> Result<Row, QueryError> {
        let is_deviation = scope.op == AggregateOp::Stddev;
        let variances = self.squares.iter().zip(&self.counts).map(|(squares, count)| squares / count);
        let values =
            variances.map(|variance| if is_deviation { variance.sqrt() } else { variance }).collect();
        Ok(Row::from_lanes(values, self.present))
    }
}
