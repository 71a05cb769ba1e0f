//! `limitk` and `limit_ratio`: some of the series, whatever their values.

use super::Aggregation;
use crate::annotations::Annotation;
use crate::engine::QueryError;
use crate::exec::bitmap::Bitmap;
use crate::exec::executor::Context;
use crate::exec::grouping::Groups;
use crate::exec::rows::Rows;

/// What it costs to find a series' place, in units of [`Pace`](crate::engine::Pace).
const UNITS_PER_SERIES: u64 = 200;

impl<'p> Aggregation<'p, '_> {
    /// The first `k` series of each group that have a sample, at each step.
    pub(super) fn limit(&self, context: &mut Context) -> Result<Rows<'p>, QueryError> {
        let sizes = self.sizes()?;
        let mut rows = self.executor.rows(&self.plan.input, self.grid, context)?;
        let Some(sizes) = sizes else { return Ok(Rows::none(self.executor.tracker)) };
        let key = self.key();
        let mut groups = Groups::default();
        let mut taken: Vec<Vec<i64>> = Vec::new();
        let mut pace = rows.pace();
        for series in &mut rows.series {
            pace.spend(UNITS_PER_SERIES + self.grid.steps as u64)?;
            let (group, is_new) = groups.find_or_add(&key, &series.labels);
            if is_new {
                taken.push(vec![0; self.grid.steps]);
            }
            let mut kept = Bitmap::new(self.grid.steps);
            for step in series.row.presence().ones() {
                if taken[group][step] < sizes[step] {
                    taken[group][step] += 1;
                    kept.set(step);
                }
            }
            series.row.retain_steps(&kept);
        }
        rows.series.retain(|series| !series.row.is_empty());
        Ok(rows)
    }

    /// The series whose hash falls into the share asked for: from the bottom for a positive ratio, from the top for a
    /// negative one, so that `r` and `r - 1` complement each other.
    pub(super) fn limit_ratio(&self, context: &mut Context) -> Result<Rows<'p>, QueryError> {
        let tracker = self.executor.tracker;
        let (smallest, largest) = self.param_range();
        let mut rows = self.executor.rows(&self.plan.input, self.grid, context)?;
        if largest == 0.0 && smallest == 0.0 {
            return Ok(Rows::none(tracker));
        }
        if self.param_has_nan() {
            return Err(QueryError::execution("Ratio value is NaN"));
        }
        let mut warn = |ratio: f64, cap: f64| {
            let annotation = Annotation::InvalidRatio { ratio: ratio.into(), cap: cap.into() };
            context.annotations.add(annotation, self.plan.param_span);
        };
        if largest > 1.0 {
            warn(largest, 1.0);
        }
        if smallest < -1.0 {
            warn(smallest, -1.0);
        }
        let mut scratch = Vec::new();
        let mut pace = rows.pace();
        for series in &mut rows.series {
            pace.spend(UNITS_PER_SERIES + self.grid.steps as u64)?;
            let offset = series.labels.prometheus_hash(&mut scratch) as f64 / u64::MAX as f64;
            let mut kept = Bitmap::new(self.grid.steps);
            for step in 0..self.grid.steps {
                let ratio = self.param.at(step).clamp(-1.0, 1.0);
                let is_in = if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio };
                if is_in && ratio != 0.0 {
                    kept.set(step);
                }
            }
            series.row.retain_steps(&kept);
        }
        rows.series.retain(|series| !series.row.is_empty());
        Ok(rows)
    }
}
