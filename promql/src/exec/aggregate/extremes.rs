//! `min`, `max`, `count`, `group`.

use super::partial::Partial;
use super::{Accumulator, Scope, for_each_present};
use crate::engine::QueryError;
use crate::exec::bitmap::Bitmap;
use crate::exec::row::Row;
use crate::exec::rows::SeriesRow;
use crate::fragment::values::{put_bitmap, put_lane, take_bitmap, take_lane};
use crate::fragment::wire::{Reader, WireError, Writer};

/// The smallest (or largest) float per step. Any number beats NaN.
struct Extreme<const MAX: bool> {
    values: Vec<f64>,
    present: Bitmap,
}

impl<const MAX: bool> Extreme<MAX> {
    fn new(steps: usize) -> Self {
        Self { values: vec![f64::NAN; steps], present: Bitmap::new(steps) }
    }

    fn add(&mut self, values: &[f64], present: &Bitmap) {
        present.for_each_run(|start, end| {
            for (best, &value) in self.values[start..end].iter_mut().zip(&values[start..end]) {
                let is_better = if MAX { *best < value } else { *best > value };
                if is_better || best.is_nan() {
                    *best = value;
                }
            }
        });
        self.present.union(present);
    }
}

macro_rules! extreme {
    ($name:ident, $max:literal, $doc:literal) => {
        #[doc = $doc]
        pub(super) struct $name(Extreme<$max>);

        impl Accumulator for $name {
            fn new(steps: usize) -> Self {
                Self(Extreme::new(steps))
            }

            fn add(&mut self, series: &mut SeriesRow, scope: &mut Scope<'_, '_>) -> Result<(), QueryError> {
                scope.ignore_histograms(&series.row);
                self.0.add(series.row.values(), series.row.present());
                Ok(())
            }

            fn merge(&mut self, other: Self, _: &mut Scope<'_, '_>) -> Result<(), QueryError> {
                self.0.add(&other.0.values, &other.0.present);
                Ok(())
            }

            fn finish(self, _: &mut Scope<'_, '_>) -> Result<Row, QueryError> {
                Ok(Row::from_lanes(self.0.values, self.0.present))
            }
        }

        impl Partial for $name {
            fn put(&self, out: &mut Writer) {
                put_bitmap(out, &self.0.present);
                put_lane(out, &self.0.values, &self.0.present);
            }

            fn take(from: &mut Reader<'_>, steps: usize) -> Result<Self, WireError> {
                let present = take_bitmap(from, steps)?;
                let values = take_lane(from, &present, f64::NAN)?;
                Ok(Self(Extreme { values, present }))
            }
        }
    };
}
extreme!(Min, false, "The smallest float per step.");
extreme!(Max, true, "The largest float per step.");

/// The number of samples per step, of either kind.
pub(super) struct Count {
    counts: Vec<f64>,
    present: Bitmap,
}

impl Accumulator for Count {
    fn new(steps: usize) -> Self {
        Self { counts: vec![0.0; steps], present: Bitmap::new(steps) }
    }

    fn add(&mut self, series: &mut SeriesRow, _: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        let presence = series.row.presence();
        presence
            .for_each_run(|start, end| self.counts[start..end].iter_mut().for_each(|count| *count += 1.0));
        self.present.union(&presence);
        Ok(())
    }

    fn merge(&mut self, other: Self, _: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        for_each_present(&other.present, |step| self.counts[step] += other.counts[step]);
        self.present.union(&other.present);
        Ok(())
    }

    fn finish(self, _: &mut Scope<'_, '_>) -> Result<Row, QueryError> {
        Ok(Row::from_lanes(self.counts, self.present))
    }
}

impl Partial for Count {
    fn put(&self, out: &mut Writer) {
        put_bitmap(out, &self.present);
        put_lane(out, &self.counts, &self.present);
    }

    fn take(from: &mut Reader<'_>, steps: usize) -> Result<Self, WireError> {
        let present = take_bitmap(from, steps)?;
        Ok(Self { counts: take_lane(from, &present, 0.0)?, present })
    }
}

/// 1 at each step that has a sample.
pub(super) struct Group {
    present: Bitmap,
}

impl Accumulator for Group {
    fn new(steps: usize) -> Self {
        Self { present: Bitmap::new(steps) }
    }

    fn add(&mut self, series: &mut SeriesRow, _: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        self.present.union(&series.row.presence());
        Ok(())
    }

    fn merge(&mut self, other: Self, _: &mut Scope<'_, '_>) -> Result<(), QueryError> {
        self.present.union(&other.present);
        Ok(())
    }

    fn finish(self, _: &mut Scope<'_, '_>) -> Result<Row, QueryError> {
        Ok(Row::from_lanes(vec![1.0; self.present.len()], self.present))
    }
}

impl Partial for Group {
    fn put(&self, out: &mut Writer) {
        put_bitmap(out, &self.present);
    }

    fn take(from: &mut Reader<'_>, steps: usize) -> Result<Self, WireError> {
        Ok(Self { present: take_bitmap(from, steps)? })
    }
}
