//! Sums and means of native histograms.

use crate::fragment::values::{put_histogram, take_histogram};
use crate::fragment::wire::{Reader, WireError, Writer};
use crate::histogram::{Combined, Compensation, CounterReset, FloatHistogram, IncompatibleSchemas};

/// What to tell the user about histograms that were added up.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::exec) struct Seen {
    counter_reset: bool,
    no_counter_reset: bool,
    /// Custom bounds differed.
    pub bounds_reconciled: bool,
}

impl Seen {
    /// Some histograms had a counter reset, others explicitly none.
    pub fn has_collision(&self) -> bool {
        self.counter_reset && self.no_counter_reset
    }

    fn add(&mut self, histogram: &FloatHistogram) {
        self.counter_reset |= histogram.counter_reset == CounterReset::Reset;
        self.no_counter_reset |= histogram.counter_reset == CounterReset::NotReset;
    }

    fn put(self, out: &mut Writer) {
        out.u8(u8::from(self.counter_reset)
            | u8::from(self.no_counter_reset) << 1
            | u8::from(self.bounds_reconciled) << 2);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let bits = from.u8()?;
        Ok(Self {
            counter_reset: bits & 1 != 0,
            no_counter_reset: bits & 2 != 0,
            bounds_reconciled: bits & 4 != 0,
        })
    }

    fn combined(&mut self, combined: Combined) {
        self.bounds_reconciled |= combined.bounds_reconciled;
    }

    fn merge(&mut self, other: Self) {
        self.counter_reset |= other.counter_reset;
        self.no_counter_reset |= other.no_counter_reset;
        self.bounds_reconciled |= other.bounds_reconciled;
    }
}

/// A compensated sum.
#[derive(Clone, Debug)]
pub(in crate::exec) struct HistogramSum {
    sum: FloatHistogram,
    compensation: Option<Compensation>,
    seen: Seen,
}

impl HistogramSum {
    pub fn new(first: &FloatHistogram) -> Self {
        let mut seen = Seen::default();
        seen.add(first);
        Self { sum: first.clone(), compensation: None, seen }
    }

    pub fn add(&mut self, histogram: &FloatHistogram) -> Result<(), IncompatibleSchemas> {
        self.seen.add(histogram);
        let compensation = self.compensation.get_or_insert_with(|| Compensation::new(&self.sum));
        self.seen.combined(self.sum.kahan_add(histogram, compensation)?);
        Ok(())
    }

    /// Adds another sum, and what rounding lost of it.
    pub fn merge(&mut self, other: Self) -> Result<(), IncompatibleSchemas> {
        self.add(&other.sum)?;
        if let Some(lost) = other.compensation {
            self.add(&lost.to_histogram(&other.sum))?;
        }
        self.seen.merge(other.seen);
        Ok(())
    }

    pub fn put(&self, out: &mut Writer) {
        put_total(out, &self.sum, self.compensation.as_ref());
        self.seen.put(out);
    }

    pub fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let (sum, compensation) = take_total(from)?;
        Ok(Self { sum, compensation, seen: Seen::take(from)? })
    }

    pub fn seen(&self) -> Seen {
        self.seen
    }

    pub fn finish(mut self) -> (FloatHistogram, Seen) {
        if let Some(compensation) = &self.compensation {
            self.sum.add_compensation(compensation);
        }
        (self.sum, self.seen)
    }
}

/// A mean: a compensated sum divided at the end, or, once that would overflow, a running mean.
#[derive(Clone, Debug)]
pub(in crate::exec) struct HistogramAverage {
    /// The sum, or the running mean.
    total: FloatHistogram,
    compensation: Option<Compensation>,
    count: f64,
    is_running_mean: bool,
    seen: Seen,
}

impl HistogramAverage {
    pub fn new(first: &FloatHistogram) -> Self {
        let mut seen = Seen::default();
        seen.add(first);
        Self { total: first.clone(), compensation: None, count: 1.0, is_running_mean: false, seen }
    }

    pub fn add(&mut self, histogram: &FloatHistogram) -> Result<(), IncompatibleSchemas> {
        self.seen.add(histogram);
        self.count += 1.0;
        if !self.is_running_mean {
            let mut total = self.total.clone();
            let mut compensation = self.compensation.clone().unwrap_or_else(|| Compensation::new(&total));
            let combined = total.kahan_add(histogram, &mut compensation)?;
            self.seen.combined(combined);
            if !total.has_overflow() {
                self.total = total;
                self.compensation = Some(compensation);
                return Ok(());
            }
            self.is_running_mean = true;
            self.total.div(self.count - 1.0);
            if let Some(compensation) = &mut self.compensation {
                compensation.div(self.count - 1.0);
            }
        }
        let share = (self.count - 1.0) / self.count;
        let mut part = histogram.clone();
        part.div(self.count);
        self.total.mul(share);
        let compensation = self.compensation.get_or_insert_with(|| Compensation::new(&self.total));
        compensation.mul(share);
        self.seen.combined(self.total.kahan_add(&part, compensation)?);
        Ok(())
    }

    /// Combines two means, weighted by their counts.
    pub fn merge(&mut self, other: Self) -> Result<(), IncompatibleSchemas> {
        let (own_count, count) = (self.count, self.count + other.count);
        self.seen.merge(other.seen);
        if !self.is_running_mean && !other.is_running_mean {
            let mut total = self.total.clone();
            let mut compensation = self.compensation.clone().unwrap_or_else(|| Compensation::new(&total));
            self.seen.combined(total.kahan_add(&other.total, &mut compensation)?);
            if let Some(lost) = &other.compensation {
                total.kahan_add(&lost.to_histogram(&other.total), &mut compensation)?;
            }
            if !total.has_overflow() {
                self.total = total;
                self.compensation = Some(compensation);
                self.count = count;
                return Ok(());
            }
        }
        let other_share = other.count / count;
        let (mut mean, _) = self.clone().finish();
        let (mut other_mean, _) = other.finish();
        mean.mul(own_count / count);
        other_mean.mul(other_share);
        self.seen.combined(mean.add(&other_mean)?);
        self.total = mean;
        self.compensation = None;
        self.is_running_mean = true;
        self.count = count;
        Ok(())
    }

    pub fn put(&self, out: &mut Writer) {
        put_total(out, &self.total, self.compensation.as_ref());
        out.float(self.count);
        out.bool(self.is_running_mean);
        self.seen.put(out);
    }

    pub fn take(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let (total, compensation) = take_total(from)?;
        let (count, is_running_mean) = (from.float()?, from.bool()?);
        Ok(Self { total, compensation, count, is_running_mean, seen: Seen::take(from)? })
    }

    pub fn seen(&self) -> Seen {
        self.seen
    }

    pub fn finish(mut self) -> (FloatHistogram, Seen) {
        if !self.is_running_mean {
            self.total.div(self.count);
            if let Some(compensation) = &mut self.compensation {
                compensation.div(self.count);
            }
        }
        if let Some(compensation) = &self.compensation {
            self.total.add_compensation(compensation);
        }
        (self.total, self.seen)
    }
}

fn put_total(out: &mut Writer, total: &FloatHistogram, compensation: Option<&Compensation>) {
    put_histogram(out, total);
    out.bool(compensation.is_some());
    if let Some(compensation) = compensation {
        compensation.values().for_each(|value| out.float(value));
    }
}

fn take_total(from: &mut Reader<'_>) -> Result<(FloatHistogram, Option<Compensation>), WireError> {
    let total = take_histogram(from)?;
    if !from.bool()? {
        return Ok((total, None));
    }
    let mut compensation = Compensation::new(&total);
    for value in compensation.values_mut() {
        *value = from.float()?;
    }
    Ok((total, Some(compensation)))
}
