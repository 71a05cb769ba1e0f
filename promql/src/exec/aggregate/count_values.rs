//! `count_values`: one series for each value.

use std::collections::HashMap;
use std::sync::Arc;

use super::Aggregation;
use crate::engine::{Pace, QueryError};
use crate::exec::executor::Context;
use crate::exec::grouping::{Groups, Key};
use crate::exec::pipeline::{Sink, Worker};
use crate::exec::row::Row;
use crate::exec::rows::{Reservation, Rows, SeriesRow};
use crate::exec::share::{Guest, guest};
use crate::gostd::format_f;
use crate::histogram::FloatHistogram;
use crate::labels::{Labels, LabelsBuilder};

impl<'p, 'e> Aggregation<'p, 'e> {
    pub(super) fn count_values(&self, context: &mut Context) -> Result<Rows<'p>, QueryError> {
        if let Some(rows) = self.executor.parked(&self.plan.input, self.grid, context) {
            return Ok(rows);
        }
        let make = || self.new_values();
        self.counted(self.executor.stream(&self.plan.input, self.grid, context, &make)?)
    }

    /// The same of series that another consumer reads.
    pub(super) fn count_values_guest(self) -> Box<dyn Guest<'p> + 'p>
    where
        'e: 'p,
    {
        let own = self.clone();
        guest(move || own.new_values(), move |sinks, _| self.counted(sinks))
    }

    fn new_values(&self) -> CountValues<'p> {
        CountValues {
            label: self.plan.value_label.as_deref().unwrap_or_default(),
            key: self.key(),
            steps: self.grid.steps,
            groups: Groups::default(),
            rows: Vec::new(),
            reservation: Reservation::new(self.executor.tracker),
        }
    }

    /// The counts of all workers.
    fn counted(&self, sinks: Vec<CountValues<'p>>) -> Result<Rows<'p>, QueryError> {
        let mut sinks = sinks.into_iter();
        let mut all = sinks.next().unwrap_or_else(|| self.new_values());
        let key = self.key();
        let pace = &mut Pace::new(self.executor.tracker);
        for sink in sinks {
            all.reservation.absorb(sink.reservation);
            for (labels, row) in sink.groups.labels().iter().zip(sink.rows) {
                pace.spend(UNITS_PER_VALUE + self.grid.steps as u64)?;
                let (group, is_new) = all.groups.find_or_add(&key, labels);
                if is_new {
                    all.rows.push(row);
                    continue;
                }
                for (step, count) in row.floats() {
                    let own = all.rows[group].float(step).unwrap_or(0.0);
                    all.rows[group].set(step, own + count);
                }
            }
        }
        let series = all.groups.labels().iter().zip(all.rows);
        let series = series.map(|(labels, row)| SeriesRow::new(labels.clone(), row)).collect();
        drop(all.reservation);
        Rows::new(self.executor.tracker, series)
    }
}

/// What it costs to write a value down and look it up, in units of [`Pace`].
const UNITS_PER_VALUE: u64 = 100;
/// The same of a histogram.
const UNITS_PER_HISTOGRAM: u64 = 5000;

struct CountValues<'p> {
    label: &'p str,
    key: Key<'p>,
    steps: usize,
    groups: Groups,
    rows: Vec<Row>,
    reservation: Reservation<'p>,
}

impl CountValues<'_> {
    fn group(&mut self, labels: &Labels, value: &str) -> Result<usize, QueryError> {
        let with_value = LabelsBuilder::new(labels).set(self.label, value).build();
        let (group, is_new) = self.groups.find_or_add(&self.key, &with_value);
        if is_new {
            self.reservation.add(self.steps as u64, 9 * self.steps as u64)?;
            self.rows.push(Row::new(self.steps));
        }
        Ok(group)
    }

    fn count(&mut self, group: usize, step: usize) {
        let count = self.rows[group].float(step).unwrap_or(0.0);
        self.rows[group].set(step, count + 1.0);
    }
}

impl Sink for CountValues<'_> {
    fn consume(&mut self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        let mut by_value: HashMap<u64, usize> = HashMap::new();
        for (step, value) in series.row.floats() {
            worker.pace.spend(UNITS_PER_VALUE)?;
            let group = match by_value.get(&value.to_bits()) {
                Some(&group) => group,
                None => {
                    let group = self.group(&series.labels, &format_f(value))?;
                    by_value.insert(value.to_bits(), group);
                    group
                }
            };
            self.count(group, step);
        }
        let histograms: Vec<(u32, Arc<FloatHistogram>)> = series.row.take_histograms();
        for (step, histogram) in histograms {
            worker.pace.spend(UNITS_PER_HISTOGRAM)?;
            let group = self.group(&series.labels, &histogram.to_string())?;
            self.count(group, step as usize);
        }
        Ok(())
    }
}
