//! A second evaluator: literal, one step at a time, without any code of the engine.
//!
//! It follows the language's definition as directly as possible: every expression is evaluated anew at every time,
//! windows are collected sample by sample, labels are maps. Floats only.

use std::collections::{BTreeMap, BTreeSet};

use gyre_promql::syntax::ast::{AggregateExpr, AtModifier, Call, Expr, VectorSelector};
use gyre_promql::syntax::{AggregateOp, DurationValue, Function, MatchOp, UnaryOp, ValueType};

use crate::data::{LabelMap, STALE, Series};
use crate::over_time;

/// A sample: labels, value, and whether the name is to be dropped at the end.
#[derive(Clone, Debug)]
pub struct Sample {
    pub labels: LabelMap,
    pub value: f64,
    pub drop_name: bool,
}

/// The value of an expression at one time.
#[derive(Clone, Debug)]
pub enum Value {
    Scalar(f64),
    Vector(Vec<Sample>),
}

/// Evaluation over one query.
pub struct Naive<'d> {
    pub data: &'d [Series],
    pub start_ms: i64,
    pub end_ms: i64,
    pub delayed_name_removal: bool,
}

const LOOKBACK_MS: i64 = 300_000;
const DEFAULT_STEP_MS: i64 = 60_000;
const SAME_LABELSET: &str = "vector cannot contain metrics with the same labelset";

pub type Evaluated<T> = Result<T, String>;

impl Naive<'_> {
    /// The values at `times`, final labels included.
    pub fn query(&self, expr: &Expr, times: &[i64]) -> Evaluated<Vec<Value>> {
        self.check(expr, times)?;
        let mut values = self.eval(expr, times)?;
        for value in &mut values {
            let Value::Vector(samples) = value else { continue };
            for sample in samples.iter_mut() {
                if self.delayed_name_removal && sample.drop_name {
                    sample.labels = nameless(&sample.labels);
                }
            }
            unique(samples)?;
        }
        Ok(values)
    }

    /// Fails where a function over a range gives two series the same labels, even if at different times: evaluation
    /// at a single time would not notice.
    fn check(&self, expr: &Expr, times: &[i64]) -> Evaluated<()> {
        if let Expr::Call(call) = expr
            && call.func.signature().args.contains(&ValueType::Matrix)
        {
            return self.range_call(call, times).map(drop);
        }
        expr.children().try_for_each(|child| self.check(child, times))
    }

    /// The values at each of `times`.
    pub fn eval(&self, expr: &Expr, times: &[i64]) -> Evaluated<Vec<Value>> {
        if let Expr::Call(call) = expr
            && call.func.signature().args.contains(&ValueType::Matrix)
        {
            return self.range_call(call, times);
        }
        times.iter().map(|&time| self.at(expr, time)).collect()
    }

    pub fn at(&self, expr: &Expr, time: i64) -> Evaluated<Value> {
        Ok(match expr {
            Expr::Number(number) => Value::Scalar(number.value),
            Expr::Paren(paren) => self.at(&paren.expr, time)?,
            Expr::Vector(selector) => Value::Vector(self.select(selector, time, |_, value| value)),
            Expr::Unary(unary) => match self.at(&unary.expr, time)? {
                value if unary.op == UnaryOp::Plus => value,
                Value::Scalar(value) => Value::Scalar(-value),
                Value::Vector(samples) => self.mapped(samples, |value| Some(-value))?,
            },
            Expr::Aggregate(aggregate) => Value::Vector(self.aggregate(aggregate, time)?),
            Expr::Binary(binary) => self.binary(binary, time)?,
            Expr::Call(call) if call.func.signature().args.contains(&ValueType::Matrix) => {
                self.range_call(call, &[time])?.remove(0)
            }
            Expr::Call(call) => self.call(call, time)?,
            Expr::String(_) | Expr::Matrix(_) | Expr::Subquery(_) => return Err("not a value".to_owned()),
        })
    }

    fn vector(&self, expr: &Expr, time: i64) -> Evaluated<Vec<Sample>> {
        match self.at(expr, time)? {
            Value::Vector(samples) => Ok(samples),
            Value::Scalar(_) => Err("a vector was expected".to_owned()),
        }
    }

    fn scalar(&self, expr: &Expr, time: i64) -> Evaluated<f64> {
        match self.at(expr, time)? {
            Value::Scalar(value) => Ok(value),
            Value::Vector(_) => Err("a scalar was expected".to_owned()),
        }
    }

    fn pinned(&self, at: Option<AtModifier>, time: i64) -> i64 {
        match at {
            None => time,
            Some(AtModifier::TimestampMs(time)) => time,
            Some(AtModifier::Start) => self.start_ms,
            Some(AtModifier::End) => self.end_ms,
        }
    }

    fn matching(&self, selector: &VectorSelector) -> impl Iterator<Item = &Series> {
        let matchers = selector.matchers.clone();
        self.data.iter().filter(move |series| {
            matchers.iter().all(|matcher| {
                let name = matcher.name.to_str_lossy();
                let value = series.labels.get(&*name).map_or("", String::as_str);
                let wanted = matcher.value.to_str_lossy();
                // Patterns here are alternatives of literals, or everything.
                let in_pattern = || wanted == ".*" || wanted.split('|').any(|wanted| wanted == value);
                match matcher.op {
                    MatchOp::Equal => value == wanted,
                    MatchOp::NotEqual => value != wanted,
                    MatchOp::Regexp => in_pattern(),
                    MatchOp::NotRegexp => !in_pattern(),
                }
            })
        })
    }

    fn select(&self, selector: &VectorSelector, time: i64, value: impl Fn(i64, f64) -> f64) -> Vec<Sample> {
        let reference = self.pinned(selector.at, time) - ms(&selector.offset);
        let mut samples = Vec::new();
        for series in self.matching(selector) {
            let newest = series.samples.iter().rfind(|(time, _)| *time <= reference);
            if let Some(&(time, found)) = newest
                && time > reference - LOOKBACK_MS
                && found.to_bits() != STALE.to_bits()
            {
                samples.push(Sample {
                    labels: series.labels.clone(),
                    value: value(time, found),
                    drop_name: false,
                });
            }
        }
        samples
    }

    /// The windows of a range expression: per series, the samples of each time, and the bounds of each range.
    fn windows(&self, expr: &Expr, times: &[i64]) -> Evaluated<(Vec<Windows>, i64)> {
        match expr {
            Expr::Paren(paren) => self.windows(&paren.expr, times),
            Expr::Matrix(matrix) => {
                let range = ms(&matrix.range);
                let ends: Vec<i64> = times
                    .iter()
                    .map(|&time| self.pinned(matrix.selector.at, time) - ms(&matrix.selector.offset))
                    .collect();
                let windows = self.matching(&matrix.selector).map(|series| {
                    let sample = Sample { labels: series.labels.clone(), value: 0.0, drop_name: false };
                    (sample, ends.iter().map(|&end| window(&series.samples, end, range)).collect())
                });
                Ok((windows.collect(), range))
            }
            Expr::Subquery(subquery) => {
                let range = ms(&subquery.range);
                let step = if subquery.step.is_zero() { DEFAULT_STEP_MS } else { ms(&subquery.step) };
                let end_of = |time: i64| self.pinned(subquery.at, time) - ms(&subquery.offset);
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
                let mut all: Vec<(Sample, Vec<(i64, f64)>)> = Vec::new();
                for (&time, value) in inner.iter().zip(values) {
                    let Value::Vector(samples) = value else { continue };
                    for sample in samples {
                        let point = (time, sample.value);
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

    fn range_call(&self, call: &Call, times: &[i64]) -> Evaluated<Vec<Value>> {
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
                let value = over_time::value(call.func, window, range, times[step], &params)?;
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
                let sample = Sample { labels: labels.clone(), value: 1.0, drop_name: true };
                Value::Vector(if samples.is_empty() { vec![sample] } else { Vec::new() })
            };
            return Ok(results.iter().map(absent).collect());
        }
        Ok(results.into_iter().map(Value::Vector).collect())
    }

    /// Applies a function to each value and drops the name.
    fn mapped(&self, samples: Vec<Sample>, change: impl Fn(f64) -> Option<f64>) -> Evaluated<Value> {
        let mut results = Vec::new();
        for sample in samples {
            let Some(value) = change(sample.value) else { continue };
            let labels = if self.delayed_name_removal { sample.labels } else { nameless(&sample.labels) };
            results.push(Sample { labels, value, drop_name: true });
        }
        if !self.delayed_name_removal {
            unique(&results)?;
        }
        Ok(Value::Vector(results))
    }

    fn call(&self, call: &Call, time: i64) -> Evaluated<Value> {
        use Function as F;
        let arg = |i: usize| &call.args[i];
        let text = |i: usize| match arg(i) {
            Expr::String(string) => string.value.to_str_lossy().into_owned(),
            _ => String::new(),
        };
        let seconds = time as f64 / 1000.0;
        Ok(match call.func {
            F::Time => Value::Scalar(seconds),
            F::Pi => Value::Scalar(std::f64::consts::PI),
            F::Vector => {
                let value = self.scalar(arg(0), time)?;
                Value::Vector(vec![Sample { labels: LabelMap::new(), value, drop_name: false }])
            }
            F::Scalar => match self.vector(arg(0), time)?.as_slice() {
                [only] => Value::Scalar(only.value),
                _ => Value::Scalar(f64::NAN),
            },
            F::Timestamp => {
                let samples = match arg(0).unwrap_parens() {
                    Expr::Vector(selector) => {
                        let mut selector = selector.clone();
                        if selector.at.is_some() {
                            selector.offset = DurationValue::ZERO;
                        }
                        self.select(&selector, time, |time, _| time as f64 / 1000.0)
                    }
                    other => {
                        let mut samples = self.vector(other, time)?;
                        samples.iter_mut().for_each(|sample| sample.value = seconds);
                        samples
                    }
                };
                self.mapped(samples, Some)?
            }
            F::Absent => {
                let labels = absent_labels(arg(0));
                let present = !self.vector(arg(0), time)?.is_empty();
                let sample = Sample { labels, value: 1.0, drop_name: false };
                Value::Vector(if present { Vec::new() } else { vec![sample] })
            }
            F::Clamp => {
                let (low, high) = (self.scalar(arg(1), time)?, self.scalar(arg(2), time)?);
                let samples = self.vector(arg(0), time)?;
                self.mapped(samples, |value| {
                    (high >= low || high.is_nan() || low.is_nan()).then(|| clamp(value, low, high))
                })?
            }
            F::ClampMin | F::ClampMax => {
                let bound = self.scalar(arg(1), time)?;
                let (low, high) = if call.func == F::ClampMin {
                    (bound, f64::INFINITY)
                } else {
                    (f64::NEG_INFINITY, bound)
                };
                let samples = self.vector(arg(0), time)?;
                self.mapped(samples, |value| {
                    (high >= low || high.is_nan() || low.is_nan()).then(|| clamp(value, low, high))
                })?
            }
            F::Round => {
                let nearest = match call.args.get(1) {
                    Some(nearest) => self.scalar(nearest, time)?,
                    None => 1.0,
                };
                let inverse = 1.0 / nearest;
                let samples = self.vector(arg(0), time)?;
                self.mapped(samples, |value| Some((value * inverse + 0.5).floor() / inverse))?
            }
            F::Sort | F::SortDesc => Value::Vector(self.vector(arg(0), time)?),
            F::LabelReplace => {
                // Patterns here are `(.*)` or a literal.
                let (target, replacement, source, pattern) = (text(1), text(2), text(3), text(4));
                let relabelled = self.vector(arg(0), time)?.into_iter().map(|mut sample| {
                    let value = sample.labels.get(&source).cloned().unwrap_or_default();
                    if pattern == "(.*)" || pattern == value {
                        let group = if pattern == "(.*)" { value } else { String::new() };
                        set(&mut sample, &target, &replacement.replace("$1", &group));
                    }
                    sample
                });
                let relabelled: Vec<Sample> = relabelled.collect();
                unique(&relabelled)?;
                Value::Vector(relabelled)
            }
            F::LabelJoin => {
                let target = text(1);
                let joined = self.vector(arg(0), time)?.into_iter().map(|mut sample| {
                    let values: Vec<String> = (3..call.args.len())
                        .map(|i| sample.labels.get(&text(i)).cloned().unwrap_or_default())
                        .collect();
                    set(&mut sample, &target, &values.join(&text(2)));
                    sample
                });
                let joined: Vec<Sample> = joined.collect();
                unique(&joined)?;
                Value::Vector(joined)
            }
            F::HistogramQuantile => {
                let quantile = self.scalar(arg(0), time)?;
                let samples = self.vector(arg(1), time)?;
                let mut histograms: BTreeMap<LabelMap, Vec<(f64, f64)>> = BTreeMap::new();
                for sample in samples {
                    let Some(Ok(bound)) = sample.labels.get("le").map(|le| le.parse::<f64>()) else {
                        continue;
                    };
                    let mut labels = sample.labels.clone();
                    labels.remove("le");
                    histograms.entry(labels).or_default().push((bound, sample.value));
                }
                let results = histograms.into_iter().map(|(labels, buckets)| Sample {
                    labels,
                    value: over_time::bucket_quantile(quantile, buckets),
                    drop_name: true,
                });
                let results = results.collect();
                self.mapped(results, Some)?
            }
            func => {
                let samples = match call.args.first() {
                    Some(arg) => self.vector(arg, time)?,
                    None => vec![Sample {
                        labels: LabelMap::new(),
                        value: (time / 1000) as f64,
                        drop_name: false,
                    }],
                };
                let function = over_time::float_function(func).ok_or_else(|| format!("{}?", func.name()))?;
                self.mapped(samples, |value| Some(function(value)))?
            }
        })
    }

    fn aggregate(&self, aggregate: &AggregateExpr, time: i64) -> Evaluated<Vec<Sample>> {
        use AggregateOp as A;
        let samples = self.vector(&aggregate.expr, time)?;
        let key = |labels: &LabelMap| -> LabelMap {
            let listed = |name: &String| aggregate.grouping.contains(name);
            let kept = labels.iter().filter(|(name, _)| {
                if aggregate.without { !listed(name) && *name != "__name__" } else { listed(name) }
            });
            kept.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        let param = match &aggregate.param {
            Some(Expr::String(_)) | None => 0.0,
            Some(param) => self.scalar(param, time)?,
        };
        if aggregate.op == A::CountValues {
            let Some(Expr::String(label)) = &aggregate.param else { return Err("no label".to_owned()) };
            let label = label.value.to_str_lossy().into_owned();
            let mut counts: BTreeMap<LabelMap, f64> = BTreeMap::new();
            for sample in samples {
                let mut labels = sample.labels.clone();
                let text = if sample.value.is_infinite() {
                    if sample.value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
                } else {
                    sample.value.to_string()
                };
                labels.insert(label.clone(), text.clone());
                let mut group = key(&labels);
                if !aggregate.without {
                    group.insert(label.clone(), text);
                }
                *counts.entry(group).or_default() += 1.0;
            }
            let counted =
                counts.into_iter().map(|(labels, value)| Sample { labels, value, drop_name: false });
            return Ok(counted.collect());
        }
        // Groups in the order of their first sample.
        let mut groups: Vec<(LabelMap, Vec<Sample>)> = Vec::new();
        for sample in samples {
            let labels = key(&sample.labels);
            match groups.iter_mut().find(|(known, _)| *known == labels) {
                Some((_, members)) => members.push(sample),
                None => groups.push((labels, vec![sample])),
            }
        }
        let mut results = Vec::new();
        for (labels, mut members) in groups {
            let drop_name = members.iter().any(|sample| sample.drop_name);
            let values: Vec<f64> = members.iter().map(|sample| sample.value).collect();
            let size = if param < 1.0 { 0 } else { (param as usize).min(members.len()) };
            let value = match aggregate.op {
                A::Topk | A::Bottomk => {
                    let sign = if aggregate.op == A::Topk { -1.0 } else { 1.0 };
                    members.sort_by(|a, b| {
                        let order = (sign * a.value).partial_cmp(&(sign * b.value));
                        a.value
                            .is_nan()
                            .cmp(&b.value.is_nan())
                            .then(order.unwrap_or(std::cmp::Ordering::Equal))
                    });
                    results.extend(members.into_iter().take(size));
                    continue;
                }
                A::Limitk => {
                    results.extend(members.into_iter().take(size));
                    continue;
                }
                op => over_time::aggregate(op, &values, param)?,
            };
            results.push(Sample { labels, value, drop_name });
        }
        Ok(results)
    }
}

/// A series without value, and its windows.
type Windows = (Sample, Vec<Window>);

/// Samples of a window, and its bounds.
pub struct Window {
    pub samples: Vec<(i64, f64)>,
    pub start: i64,
    pub end: i64,
}

fn window(samples: &[(i64, f64)], end: i64, range: i64) -> Window {
    let inside = samples
        .iter()
        .filter(|(time, value)| *time > end - range && *time <= end && value.to_bits() != STALE.to_bits());
    Window { samples: inside.copied().collect(), start: end - range, end }
}

fn ms(duration: &DurationValue) -> i64 {
    duration.fixed_ns().expect("no duration expressions are generated") / 1_000_000
}

pub fn nameless(labels: &LabelMap) -> LabelMap {
    let mut labels = labels.clone();
    labels.remove("__name__");
    labels
}

fn set(sample: &mut Sample, name: &str, value: &str) {
    if value.is_empty() {
        sample.labels.remove(name);
    } else {
        sample.labels.insert(name.to_owned(), value.to_owned());
    }
    if name == "__name__" {
        sample.drop_name = false;
    }
}

pub fn unique(samples: &[Sample]) -> Evaluated<()> {
    let labels: BTreeSet<&LabelMap> = samples.iter().map(|sample| &sample.labels).collect();
    if labels.len() == samples.len() { Ok(()) } else { Err(SAME_LABELSET.to_owned()) }
}

fn clamp(value: f64, low: f64, high: f64) -> f64 {
    let min = |a: f64, b: f64| {
        if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
            f64::NEG_INFINITY
        } else if a.is_nan() || b.is_nan() {
            f64::NAN
        } else if a < b || (a == b && a.is_sign_negative()) {
            a
        } else {
            b
        }
    };
    -min(-low, -min(high, value))
}

fn absent_labels(expr: &Expr) -> LabelMap {
    let matchers = match expr.unwrap_parens() {
        Expr::Vector(selector) => &selector.matchers,
        Expr::Matrix(matrix) => &matrix.selector.matchers,
        _ => return LabelMap::new(),
    };
    let mut labels = LabelMap::new();
    for matcher in matchers {
        let name = matcher.name.to_str_lossy().into_owned();
        let count = matchers.iter().filter(|other| other.name == matcher.name).count();
        if name != "__name__" && matcher.op == MatchOp::Equal && count == 1 && !matcher.value.is_empty() {
            labels.insert(name, matcher.value.to_str_lossy().into_owned());
        }
    }
    labels
}
