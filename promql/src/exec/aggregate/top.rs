//! `topk` and `bottomk`: the series with the largest or smallest values, chosen anew at each step.

use std::sync::Arc;

use super::Aggregation;
use crate::annotations::Annotation;
use crate::engine::{Pace, QueryError};
use crate::exec::executor::Context;
use crate::exec::grouping::{Groups, Key};
use crate::exec::pipeline::{Sink, Worker};
use crate::exec::row::Row;
use crate::exec::rows::{Collect, Reservation, Rows, SeriesRow};
use crate::exec::share::{Guest, guest};
use crate::exec::sort::sorted;
use crate::gostd::{float_to_int64, format_g};
use crate::labels::Labels;
use crate::syntax::AggregateOp;

/// What a candidate costs at one step, in units of [`Pace`].
const UNITS_PER_STEP: u64 = 5;

/// What a heap holds: a value and whose it is.
#[derive(Clone, Copy)]
struct Candidate {
    value: f64,
    series: usize,
}

impl<'p, 'e> Aggregation<'p, 'e> {
    /// `k` of each step: `None` if no step has one above zero.
    pub(super) fn sizes(&self) -> Result<Option<Vec<i64>>, QueryError> {
        let (smallest, largest) = self.param_range();
        if largest < 1.0 {
            return Ok(None);
        }
        if self.param_has_nan() {
            return Err(QueryError::execution("Parameter value is NaN"));
        }
        if smallest <= i64::MIN as f64 {
            return Err(QueryError::execution(format!(
                "Scalar value {} underflows int64",
                format_g(smallest)
            )));
        }
        if largest >= i64::MAX as f64 {
            return Err(QueryError::execution(format!("Scalar value {} overflows int64", format_g(largest))));
        }
        Ok(Some((0..self.grid.steps).map(|step| float_to_int64(self.param.at(step))).collect()))
    }

    pub(super) fn top(&self, context: &mut Context) -> Result<Rows<'p>, QueryError> {
        let tracker = self.executor.tracker;
        let Some(sizes) = self.sizes()? else {
            // The input is evaluated all the same: its errors and annotations count.
            self.executor.stream(&self.plan.input, self.grid, context, &|| Collect::new(tracker))?;
            return Ok(Rows::none(tracker));
        };
        if let Some(rows) = self.executor.parked(&self.plan.input, self.grid, context) {
            return Ok(rows);
        }
        let sizes: Arc<[i64]> = sizes.into();
        let make = || self.new_top(&sizes);
        let sinks = self.executor.stream(&self.plan.input, self.grid, context, &make)?;
        self.best(sinks, &sizes)
    }

    /// The same of series that another consumer reads.
    pub(super) fn top_guest(self) -> Result<Box<dyn Guest<'p> + 'p>, QueryError>
    where
        'e: 'p,
    {
        let sizes = self.sizes()?.ok_or_else(|| QueryError::internal("nothing is taken".to_owned()))?;
        let sizes: Arc<[i64]> = sizes.into();
        let (own, own_sizes) = (self.clone(), Arc::clone(&sizes));
        Ok(guest(move || own.new_top(&own_sizes), move |sinks, _| self.best(sinks, &sizes)))
    }

    fn new_top(&self, sizes: &Arc<[i64]>) -> Top<'p> {
        Top {
            sizes: Arc::clone(sizes),
            key: self.key(),
            largest: self.plan.op == AggregateOp::Topk,
            ignored: Annotation::HistogramIgnoredInAggregation { aggregation: self.plan.op.as_str() },
            span: self.plan.span,
            groups: Groups::default(),
            heaps: Vec::new(),
            series: Vec::new(),
            reservation: Reservation::new(self.executor.tracker),
        }
    }

    /// The best of those of all workers.
    fn best(&self, mut sinks: Vec<Top<'p>>, sizes: &Arc<[i64]>) -> Result<Rows<'p>, QueryError> {
        let tracker = self.executor.tracker;
        let pace = &mut Pace::new(tracker);
        // Ties fall to the series that comes first; with several workers candidates are put back in that order.
        let mut all = self.new_top(sizes);
        if sinks.len() == 1 {
            all = sinks.remove(0);
        } else {
            let mut candidates: Vec<SeriesRow> = Vec::new();
            for sink in sinks {
                candidates.extend(sink.into_rows(pace)?);
            }
            candidates.sort_by_key(|series| series.order);
            for series in candidates {
                pace.spend(UNITS_PER_STEP * self.grid.steps as u64)?;
                all.add(&series.labels, series.drop_name, series.order, &series.row);
            }
        }
        if self.grid.ranged {
            Rows::new(tracker, all.into_rows(pace)?)
        } else {
            Rows::new(tracker, all.into_sorted(pace)?)
        }
    }
}

/// One heap per group and step, worst candidate on top.
struct Top<'p> {
    sizes: Arc<[i64]>,
    key: Key<'p>,
    largest: bool,
    ignored: Annotation,
    span: crate::syntax::Span,
    groups: Groups,
    /// By group, then by step.
    heaps: Vec<Vec<Vec<Candidate>>>,
    /// Every series that was a candidate once.
    series: Vec<(Labels, bool, u64)>,
    reservation: Reservation<'p>,
}

impl Sink for Top<'_> {
    fn consume(&mut self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        let row = &series.row;
        if row.histograms().iter().any(|(step, _)| self.sizes[*step as usize] >= 1) {
            worker.annotations.add(self.ignored.clone(), self.span);
        }
        worker.pace.spend(UNITS_PER_STEP * row.steps() as u64)?;
        let kept = self.add(&series.labels, series.drop_name, series.order, row) as u64;
        self.reservation.add(kept, kept * size_of::<Candidate>() as u64)
    }
}

impl Top<'_> {
    /// Offers a series at each step; returns how many more candidates are held.
    fn add(&mut self, labels: &Labels, drop_name: bool, order: u64, row: &Row) -> usize {
        let (group, is_new) = self.groups.find_or_add(&self.key, labels);
        if is_new {
            self.heaps.push(vec![Vec::new(); self.sizes.len()]);
        }
        let number = self.series.len();
        let mut accepted = false;
        let mut more = 0;
        let better = |a: f64, b: f64| if self.largest { a > b } else { a < b };
        for (step, value) in row.floats() {
            let size = usize::try_from(self.sizes[step]).unwrap_or(0);
            let heap = &mut self.heaps[group][step];
            let candidate = Candidate { value, series: number };
            if heap.len() < size {
                heap.push(candidate);
                sift_up(heap, self.largest);
                more += 1;
                accepted = true;
            } else if let Some(worst) = heap.first_mut()
                && (better(value, worst.value) || (worst.value.is_nan() && !value.is_nan()))
            {
                *worst = candidate;
                sift_down(heap, self.largest);
                accepted = true;
            }
        }
        if accepted {
            self.series.push((labels.clone(), drop_name, order));
        }
        more
    }

    /// The chosen series with the values at the steps they were chosen for.
    fn into_rows(self, pace: &mut Pace<'_>) -> Result<Vec<SeriesRow>, QueryError> {
        let steps = self.sizes.len();
        let mut rows: Vec<Option<Row>> = vec![None; self.series.len()];
        for heaps in &self.heaps {
            for (step, heap) in heaps.iter().enumerate() {
                for candidate in heap {
                    pace.spend(UNITS_PER_STEP)?;
                    rows[candidate.series].get_or_insert_with(|| Row::new(steps)).set(step, candidate.value);
                }
            }
        }
        let series = self.series.into_iter().zip(rows);
        let series = series.filter_map(|((labels, drop_name, order), row)| {
            Some(SeriesRow { labels, drop_name, order, row: row? })
        });
        Ok(series.collect())
    }

    /// The chosen series of a single step, group by group, best first.
    fn into_sorted(self, pace: &mut Pace<'_>) -> Result<Vec<SeriesRow>, QueryError> {
        let mut rows = Vec::new();
        for heaps in self.heaps {
            let Some(heap) = heaps.into_iter().next() else { continue };
            let heap = sorted(heap, pace, |a, b| {
                let order = a.value.partial_cmp(&b.value).unwrap_or(std::cmp::Ordering::Equal);
                let order = if self.largest { order.reverse() } else { order };
                a.value.is_nan().cmp(&b.value.is_nan()).then(order)
            })?;
            for candidate in heap {
                let (labels, drop_name, order) = self.series[candidate.series].clone();
                rows.push(SeriesRow { labels, drop_name, order, row: Row::constant(candidate.value, 1) });
            }
        }
        Ok(rows)
    }
}

/// Whether `a` is to be thrown out before `b`.
fn is_worse(a: Candidate, b: Candidate, largest: bool) -> bool {
    a.value.is_nan() || if largest { a.value < b.value } else { a.value > b.value }
}

// These two are Go's container/heap step by step: which of several equal candidates stays depends on it.

fn sift_up(heap: &mut [Candidate], largest: bool) {
    let mut at = heap.len() - 1;
    while at > 0 {
        let parent = (at - 1) / 2;
        if !is_worse(heap[at], heap[parent], largest) {
            break;
        }
        heap.swap(at, parent);
        at = parent;
    }
}

fn sift_down(heap: &mut [Candidate], largest: bool) {
    let mut at = 0;
    loop {
        let left = 2 * at + 1;
        if left >= heap.len() {
            break;
        }
        let right = left + 1;
        let child =
            if right < heap.len() && is_worse(heap[right], heap[left], largest) { right } else { left };
        if !is_worse(heap[child], heap[at], largest) {
            break;
        }
        heap.swap(at, child);
        at = child;
    }
}
