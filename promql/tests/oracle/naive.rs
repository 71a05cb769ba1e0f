//! A second evaluator: literal, one step at a time, without any code of the engine.
//!
//! It follows the language's definition as directly as possible: every expression is evaluated anew at every time,
//! windows are collected sample by sample, labels are maps.

use std::collections::BTreeSet;
use std::rc::Rc;

use gyre_promql::syntax::ast::{AtModifier, Expr, VectorSelector};
use gyre_promql::syntax::{
    DurationExpr, DurationKind, DurationOp, DurationValue, MatchOp, UnaryOp, ValueType,
};

use crate::data::{LabelMap, STALE, Series};
use crate::histogram::Histogram;
pub use crate::notes::Notes;

/// A number or a histogram.
#[derive(Clone, Debug)]
pub enum Val {
    Float(f64),
    Histogram(Rc<Histogram>),
}

impl From<f64> for Val {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<Histogram> for Val {
    fn from(histogram: Histogram) -> Self {
        Self::Histogram(Rc::new(histogram))
    }
}

impl Val {
    pub fn float(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Histogram(_) => None,
        }
    }

    pub fn is_stale(&self) -> bool {
        let carrier = match self {
            Self::Float(value) => value,
            Self::Histogram(histogram) => &histogram.sum,
        };
        carrier.to_bits() == STALE.to_bits()
    }
}

/// A sample: labels, value, and whether the name is to be dropped at the end.
#[derive(Clone, Debug)]
pub struct Sample {
    pub labels: LabelMap,
    pub value: Val,
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
    pub step_ms: i64,
    pub delayed_name_removal: bool,
    pub notes: Notes,
}

pub const LOOKBACK_MS: i64 = 300_000;
pub const DEFAULT_STEP_MS: i64 = 60_000;
pub const SAME_LABELSET: &str = "vector cannot contain metrics with the same labelset";

/// Prometheus does not notice a float and a histogram of the same labels and time in the end; what it then gives is not
/// worth comparing.
pub const FLOAT_BESIDE_HISTOGRAM: &str = "a float and a histogram have the same labels";

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
            unique_of_a_kind(samples)?;
        }
        Ok(values)
    }

    /// Fails where a function over a range gives two series the same labels, even if at different times: evaluation
    /// at a single time would not notice.
    pub fn check(&self, expr: &Expr, times: &[i64]) -> Evaluated<()> {
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
            Expr::Vector(selector) => Value::Vector(self.select(selector, time, |_, value| value.clone())),
            Expr::Unary(unary) => match self.at(&unary.expr, time)? {
                value if unary.op == UnaryOp::Plus => value,
                Value::Scalar(value) => Value::Scalar(-value),
                Value::Vector(samples) => self.mapped(samples, |value| Some(negated(value)))?,
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

    pub fn vector(&self, expr: &Expr, time: i64) -> Evaluated<Vec<Sample>> {
        match self.at(expr, time)? {
            Value::Vector(samples) => Ok(samples),
            Value::Scalar(_) => Err("a vector was expected".to_owned()),
        }
    }

    pub fn scalar(&self, expr: &Expr, time: i64) -> Evaluated<f64> {
        match self.at(expr, time)? {
            Value::Scalar(value) => Ok(value),
            Value::Vector(_) => Err("a scalar was expected".to_owned()),
        }
    }

    pub fn pinned(&self, at: Option<AtModifier>, time: i64) -> i64 {
        match at {
            None => time,
            Some(AtModifier::TimestampMs(time)) => time,
            Some(AtModifier::Start) => self.start_ms,
            Some(AtModifier::End) => self.end_ms,
        }
    }

    pub fn ms(&self, duration: &DurationValue) -> i64 {
        match duration {
            DurationValue::FixedNs(ns) => ns / 1_000_000,
            DurationValue::Expr(expr) => (seconds(expr, self.step_ms) * 1e3) as i64,
        }
    }

    pub fn matching<'s>(&'s self, selector: &'s VectorSelector) -> impl Iterator<Item = &'s Series> {
        self.data.iter().filter(move |series| self.satisfies(&series.labels, selector))
    }

    /// Whether labels satisfy the matchers of a selector.
    pub fn satisfies(&self, labels: &LabelMap, selector: &VectorSelector) -> bool {
        selector.matchers.iter().all(|matcher| {
            let name = matcher.name.to_str_lossy();
            let value = labels.get(&*name).map_or("", String::as_str);
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
    }

    pub fn select(
        &self,
        selector: &VectorSelector,
        time: i64,
        value: impl Fn(i64, &Val) -> Val,
    ) -> Vec<Sample> {
        let reference = self.pinned(selector.at, time) - self.ms(&selector.offset);
        let mut samples = Vec::new();
        for series in self.matching(selector) {
            if let Some((time, found)) = newest(&series.samples, reference) {
                samples.push(Sample {
                    labels: series.labels.clone(),
                    value: value(*time, found),
                    drop_name: false,
                });
            }
        }
        samples
    }

    /// Applies a function to each value and drops the name.
    pub fn mapped(&self, samples: Vec<Sample>, change: impl Fn(&Val) -> Option<Val>) -> Evaluated<Value> {
        let mut results = Vec::new();
        for sample in samples {
            let Some(value) = change(&sample.value) else { continue };
            let labels = if self.delayed_name_removal { sample.labels } else { nameless(&sample.labels) };
            results.push(Sample { labels, value, drop_name: true });
        }
        if !self.delayed_name_removal {
            unique_of_a_kind(&results)?;
        }
        Ok(Value::Vector(results))
    }

    /// Applies a function to each number, drops histograms and the name.
    pub fn mapped_floats(
        &self,
        samples: Vec<Sample>,
        change: impl Fn(f64) -> Option<f64>,
    ) -> Evaluated<Value> {
        self.mapped(samples, |value| value.float().and_then(&change).map(Val::Float))
    }
}

fn negated(value: &Val) -> Val {
    match value {
        Val::Float(value) => Val::Float(-value),
        Val::Histogram(histogram) => histogram.times(-1.0).into(),
    }
}

/// The sample that is current at a time.
pub fn newest(samples: &[(i64, Val)], reference: i64) -> Option<&(i64, Val)> {
    let newest = samples.iter().rfind(|(time, _)| *time <= reference);
    newest.filter(|(time, value)| *time > reference - LOOKBACK_MS && !value.is_stale())
}

/// Seconds of a duration expression.
fn seconds(expr: &DurationExpr, step_ms: i64) -> f64 {
    let of = |expr: &DurationExpr| seconds(expr, step_ms);
    match &expr.kind {
        DurationKind::Literal(number) => number.value,
        DurationKind::Step => step_ms as f64 / 1000.0,
        DurationKind::Range => unreachable!("it is not generated"),
        DurationKind::MinOf(a, b) => of(a).min(of(b)),
        DurationKind::MaxOf(a, b) => of(a).max(of(b)),
        DurationKind::Negate(a) => -of(a),
        DurationKind::Binary(op, a, b) => match op {
            DurationOp::Add => of(a) + of(b),
            DurationOp::Sub => of(a) - of(b),
            DurationOp::Mul => of(a) * of(b),
            DurationOp::Div => of(a) / of(b),
            DurationOp::Mod => of(a) % of(b),
            DurationOp::Pow => of(a).powf(of(b)),
        },
    }
}

pub fn nameless(labels: &LabelMap) -> LabelMap {
    let mut labels = labels.clone();
    labels.remove("__name__");
    labels
}

pub fn set(sample: &mut Sample, name: &str, value: &str) {
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

/// As [`unique`], but labels that a float and a histogram share are another failure.
pub fn unique_of_a_kind(samples: &[Sample]) -> Evaluated<()> {
    for floats in [true, false] {
        let of_kind = samples.iter().filter(|sample| sample.value.float().is_some() == floats);
        unique(&of_kind.cloned().collect::<Vec<_>>())?;
    }
    unique(samples).map_err(|_| FLOAT_BESIDE_HISTOGRAM.to_owned())
}

pub fn clamp(value: f64, low: f64, high: f64) -> f64 {
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

pub fn absent_labels(expr: &Expr) -> LabelMap {
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
