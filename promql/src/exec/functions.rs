//! Functions and operators that treat each sample by itself.

use std::sync::Arc;

use super::executor::{Context, Executor};
use super::grid::Grid;
use super::math::{arithmetic, compare, go_max, go_min};
use super::pipeline::{Stage, Worker};
use super::row::Row;
use super::rows::SeriesRow;
use super::scalar::ScalarValues;
use super::time::{civil_time, days_in_month};
use crate::annotations::Annotation;
use crate::engine::{Pace, QueryError};
use crate::gostd::float_to_int64;
use crate::histogram::FloatHistogram;
use crate::kahan::KahanSum;
use crate::plan::MapOp;
use crate::syntax::{BinaryOp, Function, Span};

/// Drops the metric name.
pub(super) struct DropName {
    /// At once, not at the end of the query.
    pub now: bool,
}

impl Stage for DropName {
    fn apply(&self, series: &mut SeriesRow, _: &mut Worker<'_>) -> Result<(), QueryError> {
        if self.now {
            series.labels = series.labels.without_metadata();
        }
        series.drop_name = true;
        Ok(())
    }
}

/// A function of single samples with its scalar arguments evaluated.
pub(super) struct MapStage {
    op: Op,
    grid: Grid,
}

enum Op {
    Float { func: Function, params: Vec<ScalarValues> },
    Histogram(Function),
    Timestamp,
    Negate,
    Scalar { op: BinaryOp, scalar: ScalarValues, scalar_on_left: bool, return_bool: bool, span: Span },
}

impl MapStage {
    pub fn new(
        executor: &Executor<'_>,
        op: &MapOp,
        grid: Grid,
        context: &mut Context,
    ) -> Result<Self, QueryError> {
        let op = match op {
            MapOp::Function { func, params } => {
                let params: Result<_, _> =
                    params.iter().map(|param| executor.scalar(param, grid, context)).collect();
                Op::Float { func: *func, params: params? }
            }
            MapOp::HistogramFunction(func) => Op::Histogram(*func),
            MapOp::Timestamp => Op::Timestamp,
            MapOp::Negate => Op::Negate,
            MapOp::Scalar { op, scalar, scalar_on_left, return_bool, span } => Op::Scalar {
                op: *op,
                scalar: executor.scalar(scalar, grid, context)?,
                scalar_on_left: *scalar_on_left,
                return_bool: *return_bool,
                span: *span,
            },
        };
        Ok(Self { op, grid })
    }

    /// Whether the result means something else than the samples.
    pub fn drops_name(&self) -> bool {
        match &self.op {
            Op::Scalar { op, return_bool, .. } => changes_meaning(*op) || *return_bool,
            _ => true,
        }
    }
}

/// Whether an operator makes another metric of its operands: arithmetic does, comparisons and trims do not.
pub(super) fn changes_meaning(op: BinaryOp) -> bool {
    use BinaryOp as B;
    matches!(op, B::Add | B::Sub | B::Mul | B::Div | B::Pow | B::Mod | B::Atan2)
}

impl Stage for MapStage {
    fn sees_labels(&self) -> bool {
        false
    }

    fn apply(&self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError> {
        let row = &mut series.row;
        let pace = &mut worker.pace;
        match &self.op {
            Op::Float { func, params } => {
                row.histograms_mut().clear();
                map_floats(*func, params, row, pace)?;
            }
            Op::Histogram(func) => {
                let histograms = row.take_histograms();
                row.reset(self.grid.steps);
                for (step, histogram) in histograms {
                    pace.spend(Pace::HISTOGRAM)?;
                    row.set(step as usize, histogram_value(*func, &histogram));
                }
            }
            Op::Timestamp => {
                let presence = row.presence();
                row.histograms_mut().clear();
                for step in presence.ones() {
                    pace.spend(1)?;
                    row.set(step, self.grid.timestamp(step) as f64 / 1000.0);
                }
            }
            Op::Negate => {
                in_blocks(row.values_mut(), pace, |_, block| {
                    block.iter_mut().for_each(|value| *value = -*value);
                })?;
                for (_, histogram) in row.histograms_mut() {
                    pace.spend(Pace::HISTOGRAM)?;
                    Arc::make_mut(histogram).mul(-1.0);
                }
            }
            Op::Scalar { op, scalar, scalar_on_left, return_bool, span } => {
                if op.is_trim() && row.present().any() {
                    let annotation = Annotation::IncompatibleTypes {
                        left: "float",
                        operator: op.as_str(),
                        right: "float",
                    };
                    worker.annotations.add(annotation, *span);
                }
                with_scalar(*op, scalar, *scalar_on_left, *return_bool, row, pace)?;
                if !row.histograms().is_empty() {
                    histograms_with_scalar(*op, scalar, *scalar_on_left, *return_bool, *span, row, worker)?;
                }
            }
        }
        Ok(())
    }
}

/// Steps changed between two looks at whether the query should go on.
const BLOCK: usize = 4096;

/// Changes the values of a row block by block; `change` gets the first step of each.
fn in_blocks(
    values: &mut [f64],
    pace: &mut Pace<'_>,
    mut change: impl FnMut(usize, &mut [f64]),
) -> Result<(), QueryError> {
    for (number, block) in values.chunks_mut(BLOCK).enumerate() {
        pace.spend(block.len() as u64)?;
        change(number * BLOCK, block);
    }
    Ok(())
}

/// The floats of a vector and a scalar.
fn with_scalar(
    op: BinaryOp,
    scalar: &ScalarValues,
    scalar_on_left: bool,
    return_bool: bool,
    row: &mut Row,
    pace: &mut Pace<'_>,
) -> Result<(), QueryError> {
    let (values, present) = row.lanes_mut();
    if op.is_trim() {
        // There is nothing to trim.
        present.reset(values.len());
        return Ok(());
    }
    let operands = |value: f64, step: usize| {
        if scalar_on_left { (scalar.at(step), value) } else { (value, scalar.at(step)) }
    };
    if !op.is_comparison() {
        return in_blocks(values, pace, |first_step, block| {
            // A loop per operator, without a branch on the scalar's side, is what compilers turn into vector code.
            if let ScalarValues::Constant(constant) = *scalar {
                match (op, scalar_on_left) {
                    (BinaryOp::Add, _) => block.iter_mut().for_each(|value| *value += constant),
                    (BinaryOp::Mul, _) => block.iter_mut().for_each(|value| *value *= constant),
                    (BinaryOp::Sub, false) => block.iter_mut().for_each(|value| *value -= constant),
                    (BinaryOp::Div, false) => block.iter_mut().for_each(|value| *value /= constant),
                    (_, true) => block.iter_mut().for_each(|value| *value = arithmetic(op, constant, *value)),
                    (_, false) => {
                        block.iter_mut().for_each(|value| *value = arithmetic(op, *value, constant));
                    }
                }
                return;
            }
            for (step, value) in (first_step..).zip(block) {
                let (lhs, rhs) = operands(*value, step);
                *value = arithmetic(op, lhs, rhs);
            }
        });
    }
    for step in present.clone().ones() {
        pace.spend(1)?;
        let (lhs, rhs) = operands(values[step], step);
        let holds = compare(op, lhs, rhs) == Some(true);
        if return_bool {
            values[step] = f64::from(u8::from(holds));
        } else if !holds {
            present.clear(step);
        }
    }
    Ok(())
}

/// The histograms of a vector and a scalar.
fn histograms_with_scalar(
    op: BinaryOp,
    scalar: &ScalarValues,
    scalar_on_left: bool,
    return_bool: bool,
    span: Span,
    row: &mut Row,
    worker: &mut Worker<'_>,
) -> Result<(), QueryError> {
    let mut incompatible = false;
    let mut go_on = Ok(());
    row.histograms_mut().retain_mut(|(step, histogram)| {
        if go_on.is_ok() {
            go_on = worker.pace.spend(Pace::HISTOGRAM);
        }
        if go_on.is_err() {
            return false;
        }
        let scalar = scalar.at(*step as usize);
        let done = match (op, scalar_on_left) {
            (BinaryOp::Mul, _) => {
                Arc::make_mut(histogram).mul(scalar).compact();
                true
            }
            (BinaryOp::Div, false) => {
                Arc::make_mut(histogram).div(scalar).compact();
                true
            }
            (BinaryOp::TrimUpper, false) => {
                Arc::make_mut(histogram).trim_above(scalar);
                true
            }
            (BinaryOp::TrimLower, false) => {
                Arc::make_mut(histogram).trim_below(scalar);
                true
            }
            _ => false,
        };
        incompatible |= !done;
        done
    });
    debug_assert!(!return_bool || op.is_comparison());
    if incompatible {
        let (left, right) = if scalar_on_left { ("float", "histogram") } else { ("histogram", "float") };
        worker.annotations.add(Annotation::IncompatibleTypes { left, operator: op.as_str(), right }, span);
    }
    go_on
}

fn map_floats(
    func: Function,
    params: &[ScalarValues],
    row: &mut Row,
    pace: &mut Pace<'_>,
) -> Result<(), QueryError> {
    use Function as F;
    let param = |index: usize, step: usize| params.get(index).map_or(f64::NAN, |values| values.at(step));
    match func {
        F::Clamp | F::ClampMin | F::ClampMax => {
            let (values, present) = row.lanes_mut();
            for step in present.clone().ones() {
                pace.spend(1)?;
                let (low, high) = match func {
                    F::ClampMin => (param(0, step), f64::INFINITY),
                    F::ClampMax => (f64::NEG_INFINITY, param(0, step)),
                    _ => (param(0, step), param(1, step)),
                };
                if high < low {
                    present.clear(step);
                } else {
                    values[step] = go_max(low, go_min(high, values[step]));
                }
            }
            Ok(())
        }
        F::Round => {
            let nearest = params.first();
            in_blocks(row.values_mut(), pace, |first_step, block| {
                for (step, value) in (first_step..).zip(block) {
                    // Multiplying by the inverse loses less than dividing.
                    let inverse = 1.0 / nearest.map_or(1.0, |nearest| nearest.at(step));
                    *value = (*value * inverse + 0.5).floor() / inverse;
                }
            })
        }
        _ => {
            let change = float_function(func);
            in_blocks(row.values_mut(), pace, |_, block| {
                block.iter_mut().for_each(|value| *value = change(*value));
            })
        }
    }
}

fn float_function(func: Function) -> fn(f64) -> f64 {
    use Function as F;
    match func {
        F::Abs => f64::abs,
        F::Ceil => f64::ceil,
        F::Floor => f64::floor,
        F::Exp => f64::exp,
        F::Sqrt => f64::sqrt,
        F::Ln => f64::ln,
        F::Log2 => f64::log2,
        F::Log10 => f64::log10,
        F::Sin => f64::sin,
        F::Cos => f64::cos,
        F::Tan => f64::tan,
        F::Asin => f64::asin,
        F::Acos => f64::acos,
        F::Atan => f64::atan,
        F::Sinh => f64::sinh,
        F::Cosh => f64::cosh,
        F::Tanh => f64::tanh,
        F::Asinh => f64::asinh,
        F::Acosh => f64::acosh,
        F::Atanh => f64::atanh,
        F::Rad => |value| value * std::f64::consts::PI / 180.0,
        F::Deg => |value| value * 180.0 / std::f64::consts::PI,
        F::Sgn => |value| {
            if value < 0.0 {
                -1.0
            } else if value > 0.0 {
                1.0
            } else {
                value
            }
        },
        F::DaysInMonth => |value| date_part(F::DaysInMonth, value),
        F::DayOfMonth => |value| date_part(F::DayOfMonth, value),
        F::DayOfWeek => |value| date_part(F::DayOfWeek, value),
        F::DayOfYear => |value| date_part(F::DayOfYear, value),
        F::Hour => |value| date_part(F::Hour, value),
        F::Minute => |value| date_part(F::Minute, value),
        F::Month => |value| date_part(F::Month, value),
        F::Year => |value| date_part(F::Year, value),
        _ => |_| f64::NAN,
    }
}

fn date_part(func: Function, unix_seconds: f64) -> f64 {
    date_part_at(func, float_to_int64(unix_seconds))
}

fn date_part_at(func: Function, unix_seconds: i64) -> f64 {
    use Function as F;
    let civil = civil_time(unix_seconds);
    let part = match func {
        F::DaysInMonth => days_in_month(civil.year, civil.month),
        F::DayOfMonth => civil.day,
        F::DayOfWeek => civil.day_of_week,
        F::DayOfYear => civil.day_of_year,
        F::Hour => civil.hour,
        F::Minute => civil.minute,
        F::Month => civil.month,
        _ => civil.year,
    };
    part as f64
}

/// A date function of the evaluation times.
pub(super) fn date_of_time(func: Function, grid: &Grid) -> Row {
    Row::full((0..grid.steps).map(|step| date_part_at(func, grid.timestamp(step) / 1000)).collect())
}

fn histogram_value(func: Function, histogram: &FloatHistogram) -> f64 {
    match func {
        Function::HistogramCount => histogram.count,
        Function::HistogramSum => histogram.sum,
        Function::HistogramAvg => histogram.sum / histogram.count,
        Function::HistogramStddev => histogram_variance(histogram).sqrt(),
        _ => histogram_variance(histogram),
    }
}

/// The variance, taking all observations of a bucket to be at its middle.
fn histogram_variance(histogram: &FloatHistogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut variance = KahanSum::default();
    for bucket in histogram.all_buckets() {
        if bucket.count == 0.0 {
            continue;
        }
        let middle = if histogram.uses_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            let geometric_mean = (bucket.upper * bucket.lower).sqrt();
            if bucket.upper < 0.0 { -geometric_mean } else { geometric_mean }
        };
        let delta = middle - mean;
        variance.add(bucket.count * delta * delta);
    }
    variance.total() / histogram.count
}
