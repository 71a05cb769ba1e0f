//! `count_values`: one series for each value.

use std::collections::HashMap;
use std::sync::Arc;

use super::Aggregation;
use crate::engine::{Pace, QueryError};
use crate::exec::executor::Context;
use crate::exec::grouping::{Groups, Key};
use crate::exec::pipeline::{Sink, Worker};
use crate::exec::row::Row;
use crate::exec::rows::{Rows, SeriesRow};
use crate::gostd::format_f;
use crate::histogram::FloatHistogram;
use crate::labels::{Labels, LabelsBuilder};

impl<'p> Aggregation<'p, '_> {
    pub(super) fn count_values(&self, context: &mut Context) -> Result<Rows<'p>, QueryError> {
        let label = self.plan.value_label.as_deref().unwrap_or_default();
        let key = self.key();
        let make = || CountValues {
            label,
            key,
            steps: self.grid.steps,
            groups: Groups::default(),
            rows: Vec::new(),
        };
        let mut sinks = self.executor.stream(&self.plan.input, self.grid, context, &make)?.into_iter();
        let mut all = sinks.next().unwrap_or_else(make);
        let pace = &mut Pace::new(self.executor.tracker);
        for sink in sinks {
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
}

impl CountValues<'_> {
    fn group(&mut self, labels: &Labels, value: &str, worker: &Worker<'_>) -> Result<usize, QueryError> {
        let with_value = LabelsBuilder::new(labels).set(self.label, value).build();
        let (group, is_new) = self.groups.find_or_add(&self.key, &with_value);
        if is_new {
            worker.tracker.reserve(self.steps as u64, 9 * self.steps as u64)?;
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
                    let group = self.group(&series.labels, &format_f(value), worker)?;
                    by_value.insert(value.to_bits(), group);
                    group
                }
            };
            self.count(group, step);
        }
        let histograms: Vec<(u32, Arc<FloatHistogram>)> = series.row.take_histograms();
        for (step, histogram) in histograms {
            worker.pace.spend(UNITS_PER_HISTOGRAM)?;
            let group = self.group(&series.labels, &histogram.to_string(), worker)?;
            self.count(group, step as usize);
        }
        Ok(())
    }
}
