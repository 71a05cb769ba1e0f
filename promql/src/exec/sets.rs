//! `and`, `or`, `unless`, and `absent`: which series are there.

use super::binary::MatchKey;
use super::bitmap::Bitmap;
use super::executor::{Context, Executor};
use super::finish::{FloatBesideHistogram, merge_same_labels};
use super::grid::Grid;
use super::grouping::Groups;
use super::pipeline::{Sink, Worker};
use super::row::Row;
use super::rows::{Rows, SeriesRow};
use super::share::{Guest, guest};
use crate::engine::{Pace, QueryError};
use crate::plan::{Absent, SetOperation};
use crate::syntax::BinaryOp;

/// What it costs to find the group of a series, in units of [`Pace`].
const UNITS_PER_SERIES: u64 = 200;

/// Steps at which a match group has a series.
#[derive(Default)]
struct Presence {
    groups: Groups,
    steps: Vec<Bitmap>,
    /// Steps at which there is any series at all.
    any: Bitmap,
}

impl Presence {
    fn of(rows: &[SeriesRow], key: &MatchKey, steps: usize, pace: &mut Pace<'_>) -> Result<Self, QueryError> {
        let mut presence = Self { any: Bitmap::new(steps), ..Self::default() };
        for series in rows {
            pace.spend(UNITS_PER_SERIES + steps as u64 / 64)?;
            let (group, is_new) = presence.groups.find_or_add(&key.key(), &series.labels);
            if is_new {
                presence.steps.push(Bitmap::new(steps));
            }
            let own = series.row.presence();
            presence.steps[group].union(&own);
            presence.any.union(&own);
        }
        Ok(presence)
    }

    /// The steps of the group that `series` belongs to.
    fn steps_of(
        &mut self,
        series: &SeriesRow,
        key: &MatchKey,
        pace: &mut Pace<'_>,
    ) -> Result<&Bitmap, QueryError> {
        pace.spend(UNITS_PER_SERIES)?;
        let (group, is_new) = self.groups.find_or_add(&key.key(), &series.labels);
        if is_new {
            self.steps.push(Bitmap::new(self.any.len()));
        }
        Ok(&self.steps[group])
    }
}

impl Executor<'_> {
    /// The result of a set operator.
    pub(super) fn set_operation<'p>(
        &'p self,
        plan: &'p SetOperation,
        grid: Grid,
        context: &mut Context,
    ) -> Result<Rows<'p>, QueryError> {
        let key = MatchKey::new(&plan.matching);
        let pace = &mut Pace::new(self.tracker);
        let mut lhs = self.rows(&plan.lhs, grid, context)?;
        let mut rhs = self.rows(&plan.rhs, grid, context)?;
        match plan.op {
            BinaryOp::And => {
                let mut present = Presence::of(&rhs.series, &key, grid.steps, pace)?;
                for series in &mut lhs.series {
                    let steps = present.steps_of(series, &key, pace)?;
                    series.row.retain_steps(steps);
                }
            }
            BinaryOp::Unless => {
                let mut present = Presence::of(&rhs.series, &key, grid.steps, pace)?;
                for series in &mut lhs.series {
                    let steps = present.steps_of(series, &key, pace)?;
                    series.row.drop_steps(steps);
                }
            }
            _ => {
                let mut present = Presence::of(&lhs.series, &key, grid.steps, pace)?;
                for series in &mut rhs.series {
                    let steps = present.steps_of(series, &key, pace)?;
                    series.row.drop_steps(steps);
                }
                let added = std::mem::take(&mut rhs.series);
                drop(rhs);
                let added = Rows::new(
                    self.tracker,
                    added.into_iter().filter(|series| !series.row.is_empty()).collect(),
                )?;
                lhs.append(added);
                return merge_same_labels(lhs, FloatBesideHistogram::Refused);
            }
        }
        lhs.series.retain(|series| !series.row.is_empty());
        Ok(lhs)
    }

    /// One series that is there when no other is.
    pub(super) fn absent<'p>(
        &'p self,
        plan: &'p Absent,
        grid: Grid,
        context: &mut Context,
    ) -> Result<Rows<'p>, QueryError> {
        if let Some(rows) = self.parked(&plan.input, grid, context) {
            return Ok(rows);
        }
        let sinks = self.stream(&plan.input, grid, context, &|| AnyPresent(Bitmap::new(grid.steps)))?;
        self.missing(plan, grid, sinks)
    }

    /// The same of series that another consumer reads.
    pub(super) fn absent_guest<'p>(&'p self, plan: &'p Absent, grid: Grid) -> Box<dyn Guest<'p> + 'p> {
        guest(move || AnyPresent(Bitmap::new(grid.steps)), move |sinks, _| self.missing(plan, grid, sinks))
    }

    /// The series that is there where none of all workers is.
    fn missing(&self, plan: &Absent, grid: Grid, sinks: Vec<AnyPresent>) -> Result<Rows<'_>, QueryError> {
        let mut present = Bitmap::new(grid.steps);
        for sink in sinks {
            present.union(&sink.0);
        }
        let mut row = Row::constant(1.0, grid.steps);
        row.drop_steps(&present);
        if row.is_empty() {
            return Ok(Rows::none(self.tracker));
        }
        let series = SeriesRow { labels: plan.labels.clone(), drop_name: plan.drop_name, order: 0, row };
        Rows::new(self.tracker, vec![series])
    }
}

struct AnyPresent(Bitmap);

impl Sink for AnyPresent {
    fn consume(&mut self, series: &mut SeriesRow, _: &mut Worker<'_>) -> Result<(), QueryError> {
        self.0.union(&series.row.presence());
        Ok(())
    }
}
