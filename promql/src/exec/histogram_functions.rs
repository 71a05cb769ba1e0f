//! `histogram_quantile`, `histogram_quantiles`, `histogram_fraction`: of classic histograms, whose buckets are series
//! with an `le` label, and of native ones.

mod classic;
mod native;

use std::sync::Arc;

pub(crate) use classic::almost_equal;
use classic::{Bucket, bucket_fraction, bucket_quantile};
use native::{histogram_fraction, histogram_quantile};

use super::executor::{Context, Executor};
use super::finish::{FloatBesideHistogram, merge_same_labels};
use super::grid::Grid;
use super::grouping::{Groups, Key};
use super::row::Row;
use super::rows::{Rows, SeriesRow};
use super::scalar::ScalarValues;
use crate::annotations::{Annotation, Detail, Monotonicity};
use crate::engine::{Pace, QueryError};
use crate::gostd::{format_g, parse_float};
use crate::histogram::FloatHistogram;
use crate::labels::{BUCKET_LABEL, Labels, LabelsBuilder};
use crate::plan::{HistogramCall, HistogramOp};
use crate::syntax::Span;

/// What it costs to find the histogram that a series belongs to, in units of [`Pace`].
const UNITS_PER_SERIES: u64 = 300;
/// What it costs to sort a bucket in.
const UNITS_PER_BUCKET: u64 = 10;

/// What to compute, with arguments evaluated.
enum Op {
    Quantile { quantile: ScalarValues },
    Fraction { lower: ScalarValues, upper: ScalarValues },
}

/// The series that make up one histogram: its buckets, or a native one, or wrongly both.
#[derive(Default)]
struct Parts {
    /// Upper bound and series number of each bucket.
    buckets: Vec<(f64, usize)>,
    native: Option<usize>,
}

impl Executor<'_> {
    pub(super) fn histogram_call<'p>(
        &'p self,
        call: &'p HistogramCall,
        grid: Grid,
        context: &mut Context,
    ) -> Result<Rows<'p>, QueryError> {
        let delayed = self.options.delayed_name_removal;
        // The arguments come before the vector.
        let quantile_of = |plan, span: Span, context: &mut Context| {
            let values = self.scalar(plan, grid, context)?;
            for value in values.iter() {
                if !(0.0..=1.0).contains(&value) {
                    context.annotations.add(Annotation::InvalidQuantile { quantile: value.into() }, span);
                }
            }
            Ok::<_, QueryError>(values)
        };
        let mut ops: Vec<(Op, Option<&str>)> = Vec::new();
        match &call.op {
            HistogramOp::Quantile { quantile, span } => {
                ops.push((Op::Quantile { quantile: quantile_of(quantile, *span, context)? }, None));
            }
            HistogramOp::Quantiles { label, quantiles } => {
                for (quantile, span) in quantiles {
                    ops.push((
                        Op::Quantile { quantile: quantile_of(quantile, *span, context)? },
                        Some(label),
                    ));
                }
            }
            HistogramOp::Fraction { lower, upper } => {
                let (lower, upper) = (self.scalar(lower, grid, context)?, self.scalar(upper, grid, context)?);
                ops.push((Op::Fraction { lower, upper }, None));
            }
        }
        let input = self.rows(&call.input, grid, context)?;
        let pace = &mut input.pace();
        let (groups, parts) = self.parts(&input.series, call.input_span, pace, context)?;
        let mut results = Vec::new();
        for (op, quantile_label) in &ops {
            for (labels, parts) in groups.labels().iter().zip(&parts) {
                let mut computation = Computation {
                    op,
                    series: &input.series,
                    parts,
                    metric: if delayed { labels.metric_name() } else { "" },
                    span: call.input_span,
                    grid,
                    context,
                };
                let row = computation.row(labels, pace)?;
                let labels = if delayed { labels.clone() } else { labels.without_metadata() };
                match quantile_label {
                    None => results.push(SeriesRow { labels, drop_name: true, order: 0, row }),
                    Some(label) => with_quantile_label(&labels, label, op, row, &mut results),
                }
            }
        }
        results.retain(|series| !series.row.is_empty());
        merge_same_labels(Rows::new(self.tracker, results)?, FloatBesideHistogram::Refused)
    }

    /// Sorts the series into histograms, by their labels without `le`.
    fn parts(
        &self,
        series: &[SeriesRow],
        span: Span,
        pace: &mut Pace<'_>,
        context: &mut Context,
    ) -> Result<(Groups, Vec<Parts>), QueryError> {
        let mut groups = Groups::default();
        let mut parts: Vec<Parts> = Vec::new();
        let mut find = |labels: &Labels, parts: &mut Vec<Parts>| {
            let (group, is_new) = groups.find_or_add(&Key::All, labels);
            if is_new {
                parts.push(Parts::default());
            }
            group
        };
        for (at, series) in series.iter().enumerate() {
            pace.spend(UNITS_PER_SERIES)?;
            if !series.row.histograms().is_empty() {
                let group = find(&series.labels, &mut parts);
                parts[group].native = Some(at);
            }
            if !series.row.present().any() {
                continue;
            }
            let text = series.labels.get(BUCKET_LABEL);
            let Ok(bound) = parse_float(text) else {
                let named = self.options.delayed_name_removal;
                let metric = if named { series.labels.metric_name().to_owned() } else { String::new() };
                let annotation = Annotation::BadBucketLabel { metric, label: text.to_owned() };
                context.annotations.add(annotation, span);
                continue;
            };
            let group = find(&series.labels.filter(|name| name != BUCKET_LABEL), &mut parts);
            parts[group].buckets.push((bound, at));
        }
        Ok((groups, parts))
    }
}

/// Adds the label that tells several quantiles apart. Its value follows the quantile, which may change over time.
fn with_quantile_label(labels: &Labels, label: &str, op: &Op, row: Row, results: &mut Vec<SeriesRow>) {
    let Op::Quantile { quantile } = op else { return };
    let labelled = |value: f64| LabelsBuilder::new(labels).set(label, &open_metrics_float(value)).build();
    if let ScalarValues::Constant(value) = quantile {
        results.push(SeriesRow { labels: labelled(*value), drop_name: true, order: 0, row });
        return;
    }
    let mut by_value: Vec<(u64, Row)> = Vec::new();
    for (step, value) in row.floats() {
        let bits = quantile.at(step).to_bits();
        let at = by_value.iter().position(|(other, _)| *other == bits).unwrap_or_else(|| {
            by_value.push((bits, Row::new(row.steps())));
            by_value.len() - 1
        });
        by_value[at].1.set(step, value);
    }
    for (bits, row) in by_value {
        results.push(SeriesRow { labels: labelled(f64::from_bits(bits)), drop_name: true, order: 0, row });
    }
}

/// A float as OpenMetrics writes label values: with a fraction or an exponent.
fn open_metrics_float(value: f64) -> String {
    let text = format_g(value);
    let is_integer = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if is_integer { format!("{text}.0") } else { text }
}

/// The value of one histogram at each step.
struct Computation<'c, 'p> {
    op: &'c Op,
    series: &'p [SeriesRow],
    parts: &'c Parts,
    /// For annotations.
    metric: &'c str,
    span: Span,
    grid: Grid,
    context: &'c mut Context,
}

impl Computation<'_, '_> {
    fn row(&mut self, labels: &Labels, pace: &mut Pace<'_>) -> Result<Row, QueryError> {
        let mut row = Row::new(self.grid.steps);
        let mut buckets: Vec<Bucket> = Vec::with_capacity(self.parts.buckets.len());
        for step in 0..self.grid.steps {
            pace.spend(Pace::HISTOGRAM + UNITS_PER_BUCKET * self.parts.buckets.len() as u64)?;
            buckets.clear();
            for &(bound, at) in &self.parts.buckets {
                if let Some(count) = self.series[at].row.float(step) {
                    buckets.push(Bucket { bound, count });
                }
            }
            let native = self.parts.native.and_then(|at| self.series[at].row.histogram(step));
            match (native, buckets.is_empty()) {
                (Some(_), false) => {
                    let metric = self.metric.to_owned();
                    self.context
                        .annotations
                        .add(Annotation::MixedClassicNativeHistograms { metric }, self.span);
                }
                (Some(histogram), true) => row.set(step, self.native(step, histogram, labels)),
                (None, false) => row.set(step, self.classic(step, &mut buckets)),
                (None, true) => {}
            }
        }
        Ok(row)
    }

    fn native(&mut self, step: usize, histogram: &Arc<FloatHistogram>, labels: &Labels) -> f64 {
        let (value, annotation) = match self.op {
            Op::Quantile { quantile } => histogram_quantile(quantile.at(step), histogram),
            Op::Fraction { lower, upper } => histogram_fraction(lower.at(step), upper.at(step), histogram),
        };
        if let Some(make) = annotation {
            let metric = if self.metric.is_empty() { String::new() } else { labels.metric_name().to_owned() };
            self.context.annotations.add(make(metric), self.span);
        }
        value
    }

    fn classic(&mut self, step: usize, buckets: &mut Vec<Bucket>) -> f64 {
        match self.op {
            Op::Fraction { lower, upper } => bucket_fraction(lower.at(step), upper.at(step), buckets),
            Op::Quantile { quantile } => {
                let (value, forced) = bucket_quantile(quantile.at(step), buckets);
                if let Some(forced) = forced {
                    let time_ms = self.grid.timestamp(step);
                    let detail = Detail::Monotonicity(Monotonicity {
                        mint_ms: time_ms,
                        maxt_ms: time_ms,
                        bucket_min: forced.bucket_min,
                        bucket_max: forced.bucket_max,
                        diff_max: forced.diff_max,
                        samples: 1,
                    });
                    let annotation = Annotation::ForcedMonotonicity { metric: self.metric.to_owned() };
                    self.context.annotations.add_with_detail(annotation, self.span, detail);
                }
                value
            }
        }
    }
}
