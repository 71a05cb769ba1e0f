//! `sum` and `avg`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::histograms::{HistogramAverage, HistogramSum, Seen};
use super::partial::Partial;
use super::{Accumulator, Scope, for_each_present};
use crate::annotations::{Annotation, HistogramOperation};
use crate::engine::{Pace, QueryError};
use crate::exec::bitmap::Bitmap;
use crate::exec::row::Row;
use crate::exec::rows::SeriesRow;
use crate::fragment::values::{put_bitmap, put_lane, take_bitmap, take_lane, take_step};
use crate::fragment::wire::{Reader, WireError, Writer};
use crate::histogram::{FloatHistogram, IncompatibleSchemas};
use crate::kahan::{kahan_add, kahan_add_select};

/// What sums and means of histograms have in common.
trait HistogramTotal: Send + Sized {
    fn new(first: &FloatHistogram) -> Self;
    fn add(&mut self, histogram: &FloatHistogram) -> Result<(), IncompatibleSchemas>;
    fn merge(&mut self, other: Self) -> Result<(), IncompatibleSchemas>;
    fn seen(&self) -> Seen;
    fn finish(self) -> (FloatHistogram, Seen);
    fn put(&self, out: &mut Writer);
    fn take(from: &mut Reader<'_>) -> Result<Self, WireError>;
}

macro_rules! histogram_total {
    ($total:ty) => {
        impl HistogramTotal for $total {
            fn new(first: &FloatHistogram) -> Self {
                Self::new(first)
            }
            fn add(&mut self, histogram: &FloatHistogram) -> Result<(), IncompatibleSchemas> {
                self.add(histogram)
            }
            fn merge(&mut self, other: Self) -> Result<(), IncompatibleSchemas> {
                self.merge(other)
            }
            fn seen(&self) -> Seen {
                self.seen()
            }
            fn finish(self) -> (FloatHistogram, Seen) {
                self.finish()
            }
            fn put(&self, out: &mut Writer) {
                self.put(out);
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
                Self::take(from)
            }
        }
    };
}
histogram_total!(HistogramSum);
histogram_total!(HistogramAverage);

const RECONCILED: Annotation =
    Annotation::MismatchedCustomBuckets { operation: HistogramOperation::Aggregation };

/// Tells of custom bounds that differed, even if there will be no result.
fn note_reconciled(total: &impl HistogramTotal, scope: &mut Scope<'_, '_>) {
    if total.seen().bounds_reconciled {
        scope.annotate(RECONCILED);
    }
}

/// Totals of the steps that have histograms. `None` stands for incompatible ones.
struct HistogramSteps<T>(BTreeMap<u32, Option<T>>);

impl<T> Default for HistogramSteps<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: HistogramTotal> HistogramSteps<T> {
    fn add(
        &mut self,
        series: &SeriesRow,
        floats: &Bitmap,
        scope: &mut Scope<'_, '_>,
    ) -> Result<(), QueryError> {
        for (step, histogram) in series.row.histograms() {
            scope.pace.spend(Pace::HISTOGRAM)?;
            let Some(slot) = self.0.get_mut(step) else {
                self.0.insert(*step, Some(T::new(histogram)));
                continue;
            };
            // A step that also has floats has no result; its histograms need not be added up.
            if floats.get(*step as usize) {
                continue;
            }
            let Some(total) = slot else { continue };
            if total.add(histogram).is_err() {
                note_reconciled(total, scope);
                *slot = None;
                let metric = series.labels.metric_name().to_owned();
                scope.annotate(Annotation::MixedExponentialCustomHistograms { metric });
            }
        }
        Ok(())
    }

    fn merge(&mut self, other: Self, scope: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        for (step, theirs) in other.0 {
            scope.pace.spend(Pace::HISTOGRAM)?;
            match (self.0.get_mut(&step), theirs) {
                (None, theirs) => {
                    self.0.insert(step, theirs);
                }
                (Some(own), None) => {
                    own.iter().for_each(|total| note_reconciled(total, scope));
                    *own = None;
                }
                (Some(own), Some(theirs)) => {
                    let theirs_reconciled = theirs.seen().bounds_reconciled;
                    if own.as_mut().is_some_and(|total| total.merge(theirs).is_err()) {
                        own.iter().for_each(|total| note_reconciled(total, scope));
                        if theirs_reconciled {
                            scope.annotate(RECONCILED);
                        }
                        *own = None;
                        let metric = String::new();
                        scope.annotate(Annotation::MixedExponentialCustomHistograms { metric });
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the totals to a row that has the floats; steps with both have no value.
    fn finish(self, row: &mut Row, scope: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        let operation = HistogramOperation::Aggregation;
        for (step, total) in self.0 {
            scope.pace.spend(Pace::HISTOGRAM)?;
            total.iter().for_each(|total| note_reconciled(total, scope));
            if row.present().get(step as usize) {
                row.present_mut().clear(step as usize);
                scope.annotate(Annotation::MixedFloatsHistogramsInAggregation);
                continue;
            }
            let Some(total) = total else { continue };
            let (mut histogram, seen) = total.finish();
            if seen.has_collision() {
                scope.annotate(Annotation::CounterResetCollision { operation });
            }
            histogram.compact();
            row.push_histogram(step as usize, Arc::new(histogram));
        }
        Ok(())
    }
}

impl<T: HistogramTotal> HistogramSteps<T> {
    fn put(&self, out: &mut Writer) {
        out.length(self.0.len());
        for (step, total) in &self.0 {
            out.number(u64::from(*step));
            out.bool(total.is_some());
            if let Some(total) = total {
                total.put(out);
            }
        }
    }

    fn take(from: &mut Reader<'_>, steps: usize) -> Result<Self, WireError> {
        let mut totals = BTreeMap::new();
        let mut next = 0;
        for _ in 0..from.count(2)? {
            let step = take_step(from, steps, &mut next)?;
            let total = if from.bool()? { Some(T::take(from)?) } else { None };
            totals.insert(step as u32, total);
        }
        Ok(Self(totals))
    }
}

/// A compensated sum per step.
pub(super) struct Sum {
    sums: Vec<f64>,
    compensations: Vec<f64>,
    present: Bitmap,
    histograms: HistogramSteps<HistogramSum>,
}

impl Accumulator for Sum {
    fn new(steps: usize) -> Self {
        Self {
            sums: vec![0.0; steps],
            compensations: vec![0.0; steps],
            present: Bitmap::new(steps),
            histograms: HistogramSteps::default(),
        }
    }

    fn add(&mut self, series: &mut SeriesRow, scope: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        let row = &series.row;
        let values = row.values();
        row.present().for_each_run(|start, end| {
            let sums = &mut self.sums[start..end];
            let compensations = &mut self.compensations[start..end];
            for ((sum, compensation), &value) in sums.iter_mut().zip(compensations).zip(&values[start..end]) {
                (*sum, *compensation) = kahan_add_select(value, *sum, *compensation);
            }
        });
        self.present.union(row.present());
        if row.histograms().is_empty() {
            return Ok(());
        }
        self.histograms.add(series, &self.present, scope)
    }

    fn merge(&mut self, other: Self, scope: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        for_each_present(&other.present, |step| {
            let (sum, compensation) = kahan_add(other.sums[step], self.sums[step], self.compensations[step]);
            self.sums[step] = sum;
            self.compensations[step] = compensation + other.compensations[step];
        });
        self.present.union(&other.present);
        self.histograms.merge(other.histograms, scope)
    }

    fn finish(self, scope: &mut Scope<'_, '_>) -> Result<Row, QueryError> {
        let mut values = self.sums;
        values.iter_mut().zip(&self.compensations).for_each(|(sum, compensation)| *sum += compensation);
        let mut row = Row::from_lanes(values, self.present);
        self.histograms.finish(&mut row, scope)?;
        Ok(row)
    }
}

/// A mean per step: a compensated sum divided at the end, or, once that would overflow, a running mean.
pub(super) struct Average {
    /// Sums, or running means.
    totals: Vec<f64>,
    compensations: Vec<f64>,
    counts: Vec<u32>,
    running: Bitmap,
    present: Bitmap,
    histograms: HistogramSteps<HistogramAverage>,
}

impl Average {
    #[inline]
    fn add_value(&mut self, step: usize, value: f64) {
        self.counts[step] += 1;
        let count = f64::from(self.counts[step]);
        if count == 1.0 {
            self.totals[step] = value;
            return;
        }
        if !self.running.get(step) {
            let (sum, compensation) = kahan_add(value, self.totals[step], self.compensations[step]);
            if !sum.is_infinite() {
                self.totals[step] = sum;
                self.compensations[step] = compensation;
                return;
            }
            self.start_running(step, count - 1.0);
        }
        let share = (count - 1.0) / count;
        (self.totals[step], self.compensations[step]) =
            kahan_add(value / count, share * self.totals[step], share * self.compensations[step]);
    }

    fn start_running(&mut self, step: usize, count: f64) {
        self.running.set(step);
        self.totals[step] /= count;
        self.compensations[step] /= count;
    }
}

impl Accumulator for Average {
    fn new(steps: usize) -> Self {
        Self {
            totals: vec![0.0; steps],
            compensations: vec![0.0; steps],
            counts: vec![0; steps],
            running: Bitmap::new(steps),
            present: Bitmap::new(steps),
            histograms: HistogramSteps::default(),
        }
    }

    fn add(&mut self, series: &mut SeriesRow, scope: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        let values = series.row.values();
        for_each_present(series.row.present(), |step| self.add_value(step, values[step]));
        self.present.union(series.row.present());
        if series.row.histograms().is_empty() {
            return Ok(());
        }
        self.histograms.add(series, &self.present, scope)
    }

    fn merge(&mut self, mut other: Self, scope: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        let present = other.present.clone();
        for_each_present(&present, |step| {
            let (own_count, other_count) = (f64::from(self.counts[step]), f64::from(other.counts[step]));
            if own_count > 0.0 && !self.running.get(step) && !other.running.get(step) {
                let (sum, compensation) =
                    kahan_add(other.totals[step], self.totals[step], self.compensations[step]);
                if !sum.is_infinite() {
                    self.totals[step] = sum;
                    self.compensations[step] = compensation + other.compensations[step];
                    self.counts[step] = self.counts[step].saturating_add(other.counts[step]);
                    return;
                }
            }
            if own_count == 0.0 {
                self.totals[step] = other.totals[step];
                self.compensations[step] = other.compensations[step];
                if other.running.get(step) {
                    self.running.set(step);
                }
            } else {
                if !self.running.get(step) {
                    self.start_running(step, own_count);
                }
                if !other.running.get(step) {
                    other.start_running(step, other_count);
                }
                let share = own_count / (own_count + other_count);
                (self.totals[step], self.compensations[step]) = kahan_add(
                    (1.0 - share) * other.totals[step],
                    share * self.totals[step],
                    share * self.compensations[step] + (1.0 - share) * other.compensations[step],
                );
            }
            self.counts[step] = self.counts[step].saturating_add(other.counts[step]);
        });
        self.present.union(&other.present);
        self.histograms.merge(other.histograms, scope)
    }

    fn finish(self, scope: &mut Scope<'_, '_>) -> Result<Row, QueryError> {
        let mut values = self.totals;
        for (step, value) in values.iter_mut().enumerate() {
            let compensation = self.compensations[step];
            if self.running.get(step) {
                *value += compensation;
            } else {
                let count = f64::from(self.counts[step]);
                *value = *value / count + compensation / count;
            }
        }
        let mut row = Row::from_lanes(values, self.present);
        self.histograms.finish(&mut row, scope)?;
        Ok(row)
    }
}

impl Partial for Sum {
    fn put(&self, out: &mut Writer) {
        put_bitmap(out, &self.present);
        put_lane(out, &self.sums, &self.present);
        put_lane(out, &self.compensations, &self.present);
        self.histograms.put(out);
    }

    fn take(from: &mut Reader<'_>, steps: usize) -> Result<Self, WireError> {
        let present = take_bitmap(from, steps)?;
        let sums = take_lane(from, &present, 0.0)?;
        let compensations = take_lane(from, &present, 0.0)?;
        let histograms = HistogramSteps::take(from, steps)?;
        Ok(Self { sums, compensations, present, histograms })
    }
}

impl Partial for Average {
    fn put(&self, out: &mut Writer) {
        put_bitmap(out, &self.present);
        put_bitmap(out, &self.running);
        put_lane(out, &self.totals, &self.present);
        put_lane(out, &self.compensations, &self.present);
        self.present.ones().for_each(|step| out.number(self.counts[step].into()));
        self.histograms.put(out);
    }

    fn take(from: &mut Reader<'_>, steps: usize) -> Result<Self, WireError> {
        let present = take_bitmap(from, steps)?;
        let running = take_bitmap(from, steps)?;
        let totals = take_lane(from, &present, 0.0)?;
        let compensations = take_lane(from, &present, 0.0)?;
        let mut counts = vec![0; steps];
        for step in present.ones() {
            // Counts are added up: half of what a number holds is more than any memory does.
            let count = u32::try_from(from.number()?).ok().filter(|count| (1..1 << 24).contains(count));
            counts[step] = count.ok_or(WireError("a mean of no values, or of too many"))?;
        }
        let histograms = HistogramSteps::take(from, steps)?;
        Ok(Self { totals, compensations, counts, running, present, histograms })
    }
}
