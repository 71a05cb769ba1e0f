//! The naive evaluator's ranges: windows of samples, and functions over them.

use std::collections::BTreeSet;

use gyre_promql::histogram::CounterReset;
use gyre_promql::syntax::ast::{Call, Expr, ExtendedRange};
use gyre_promql::syntax::{Function, ValueType};

use crate::data::LabelMap;
use crate::histogram::Histogram;
use crate::naive::{
    DEFAULT_STEP_MS, Evaluated, LOOKBACK_MS, Naive, SAME_LABELSET, Sample, Val, Value, absent_labels,
    nameless,
};
use crate::windows;

/// A series without value, and its windows.
type Windows = (Sample, Vec<Window>);

/// Samples of a window, and its bounds.
pub struct Window {
    pub samples: Vec<(i64, Val)>,
    pub start: i64,
    pub end: i64,
    pub extended: Option<ExtendedRange>,
}

/// The floats of a window.
pub struct FloatWindow {
    pub samples: Vec<(i64, f64)>,
    pub start: i64,
    pub end: i64,
}

impl Naive<'_> {
    /// The windows of a range expression: per series, the samples of each time, and the bounds of each range.
    fn windows(&self, expr: &Expr, times: &[i64]) -> Evaluated<(Vec<Windows>, i64)> {
        match expr {
            Expr::Paren(paren) => self.windows(&paren.expr, times),
            Expr::Matrix(matrix) => {
                let range = self.ms(&matrix.range);
                let ends: Vec<i64> = times
                    .iter()
                    .map(|&time| self.pinned(matrix.selector.at, time) - self.ms(&matrix.selector.offset))
                    .collect();
                let extended = matrix.selector.extended;
                let windows = self.matching(&matrix.selector).map(|series| {
                    let labels = series.labels.clone();
                    let sample = Sample { labels, value: Val::Float(0.0), drop_name: false };
                    let window = |&end: &i64| extended_window(&series.samples, end, range, extended);
                    (sample, ends.iter().map(window).collect())
                });
                Ok((windows.collect(), range))
            }
            Expr::Subquery(subquery) => {
                let range = self.ms(&subquery.range);
                let step = if subquery.step.is_zero() { DEFAULT_STEP_MS } else { self.ms(&subquery.step) };
                let end_of = |time: i64| self.pinned(subquery.at, time) - self.ms(&subquery.offset);
                let ends: Vec<i64> = times.iter().map(|&time| end_of(time)).collect();
                // All multiples of the step inside any window.
                let first = ends.iter().min().copied().unwrap_or(0) - range;
                let last = ends.iter().max().copied().unwrap_or(0);
                let mut inner: Vec<i64> = Vec::new();
                let mut time = first / step * step - step;
                while time <= last {
                    if time > first {
                        inner.push(time);
                    }
                    time += step;
                }
                self.check(&subquery.expr, &inner)?;
                let values = if inner.is_empty() { Vec::new() } else { self.eval(&subquery.expr, &inner)? };
                let mut all: Vec<(Sample, Vec<(i64, Val)>)> = Vec::new();
                for (&time, value) in inner.iter().zip(values) {
                    let Value::Vector(samples) = value else { continue };
                    for sample in samples {
                        // Samples of a subquery need not be neighbours, so that hints about them mean nothing.
                        let point = (time, without_hint(&sample.value));
                        match all.iter_mut().find(|(known, _)| known.labels == sample.labels) {
                            Some((_, points)) => points.push(point),
                            None => all.push((sample, vec![point])),
                        }
                    }
                }
                let windows = all.into_iter().map(|(sample, points)| {
                    let windows = ends.iter().map(|&end| window(&points, end, range)).collect();
                    (sample, windows)
                });
                Ok((windows.collect(), range))
            }
            _ => Err("not a range".to_owned()),
        }
    }

    pub fn range_call(&self, call: &Call, times: &[i64]) -> Evaluated<Vec<Value>> {
        let at = call.args.iter().position(|arg| arg.value_type() == ValueType::Matrix).unwrap_or(0);
        let (series, range) = self.windows(&call.args[at], times)?;
        let mut results: Vec<Vec<Sample>> = vec![Vec::new(); times.len()];
        let keeps_name = matches!(call.func, Function::LastOverTime | Function::FirstOverTime);
        let mut seen: BTreeSet<LabelMap> = BTreeSet::new();
        for (mut sample, windows) in series {
            if !keeps_name {
                sample.drop_name = true;
                if !self.delayed_name_removal {
                    sample.labels = nameless(&sample.labels);
                }
            }
            let mut any = false;
            for (step, window) in windows.iter().enumerate() {
                if window.samples.is_empty() {
                    continue;
                }
                let mut params = Vec::new();
                for (i, arg) in call.args.iter().enumerate() {
                    if i != at {
                        params.push(self.scalar(arg, times[step])?);
                    }
                }
                let value = windows::value(call.func, window, range, times[step], &params, &self.notes)?;
                if let Some(value) = value {
                    any = true;
                    results[step].push(Sample { value, ..sample.clone() });
                }
            }
            if any && !self.delayed_name_removal && call.func != Function::AbsentOverTime {
                // Series with the same labels are an error even if they never meet.
                if !seen.insert(sample.labels.clone()) {
                    return Err(SAME_LABELSET.to_owned());
                }
            }
        }
        if call.func == Function::AbsentOverTime {
            let labels = absent_labels(&call.args[0]);
            let absent = |samples: &Vec<Sample>| {
                let sample = Sample { labels: labels.clone(), value: Val::Float(1.0), drop_name: true };
                Value::Vector(if samples.is_empty() { vec![sample] } else { Vec::new() })
            };
            return Ok(results.iter().map(absent).collect());
        }
        Ok(results.into_iter().map(Value::Vector).collect())
    }
}

fn without_hint(value: &Val) -> Val {
    match value {
        Val::Histogram(histogram) if histogram.hint != CounterReset::Gauge => {
            Histogram { hint: CounterReset::Unknown, ..(**histogram).clone() }.into()
        }
        other => other.clone(),
    }
}

fn window(samples: &[(i64, Val)], end: i64, range: i64) -> Window {
    let inside =
        samples.iter().filter(|(time, value)| *time > end - range && *time <= end && !value.is_stale());
    Window { samples: inside.cloned().collect(), start: end - range, end, extended: None }
}

/// With samples from before, and behind, as `anchored` and `smoothed` want them.
fn extended_window(samples: &[(i64, Val)], end: i64, range: i64, extended: Option<ExtendedRange>) -> Window {
    let (before, behind) = match extended {
        None => (0, 0),
        Some(ExtendedRange::Anchored) => (LOOKBACK_MS, 0),
        Some(ExtendedRange::Smoothed) => (LOOKBACK_MS, LOOKBACK_MS),
    };
    let wide = window(samples, end + behind, range + before + behind);
    Window { samples: wide.samples, start: end - range, end, extended }
}
