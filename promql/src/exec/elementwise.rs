//! An operator between two rows, step by step.

use std::sync::Arc;

use super::bitmap::Bitmap;
use super::math::{arithmetic, compare};
use super::row::Row;
use crate::annotations::{Annotation, Annotations, HistogramOperation};
use crate::engine::{Pace, QueryError};
use crate::histogram::{CounterReset, FloatHistogram};
use crate::syntax::{BinaryOp, Span};

/// An operator, and where its complaints go.
pub(super) struct ElementOp<'a> {
    pub op: BinaryOp,
    pub return_bool: bool,
    pub span: Span,
    pub annotations: &'a mut Annotations,
}

/// What an operator gives for one pair of samples.
enum Element {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
    /// A comparison that does not hold.
    Filtered,
    /// The operator does not apply to such samples.
    Failed,
}

/// The result of an operator between rows.
pub(super) struct Combined {
    pub row: Row,
    /// Steps at which there was a pair the operator applies to, even if a comparison then filtered the result.
    pub matched: Bitmap,
}

/// A sample of either kind.
#[derive(Clone, Copy)]
pub(super) enum Value<'r> {
    Float(f64),
    Histogram(&'r Arc<FloatHistogram>),
}

impl Row {
    pub(super) fn value(&self, step: usize) -> Option<Value<'_>> {
        self.float(step).map(Value::Float).or_else(|| self.histogram(step).map(Value::Histogram))
    }
}

impl ElementOp<'_> {
    /// The operator at each step of `steps`, where both operands have values.
    pub fn rows(
        &mut self,
        lhs: &Row,
        rhs: &Row,
        steps: &Bitmap,
        pace: &mut Pace<'_>,
    ) -> Result<Combined, QueryError> {
        if lhs.histograms().is_empty() && rhs.histograms().is_empty() && !self.op.is_trim() {
            pace.spend(lhs.steps() as u64)?;
            return Ok(self.float_rows(lhs, rhs, steps));
        }
        let mut combined = Combined { row: Row::new(lhs.steps()), matched: Bitmap::new(lhs.steps()) };
        for step in steps.ones() {
            pace.spend(Pace::HISTOGRAM)?;
            if let (Some(left), Some(right)) = (lhs.value(step), rhs.value(step)) {
                self.step(step, left, right, &mut combined);
            }
        }
        Ok(combined)
    }

    fn float_rows(&self, lhs: &Row, rhs: &Row, steps: &Bitmap) -> Combined {
        let matched = steps.clone();
        let (left, right) = (lhs.values(), rhs.values());
        let pairs = left.iter().zip(right);
        if !self.op.is_comparison() {
            // A loop per operator is what compilers turn into vector code.
            let values = match self.op {
                BinaryOp::Add => pairs.map(|(a, b)| a + b).collect(),
                BinaryOp::Sub => pairs.map(|(a, b)| a - b).collect(),
                BinaryOp::Mul => pairs.map(|(a, b)| a * b).collect(),
                BinaryOp::Div => pairs.map(|(a, b)| a / b).collect(),
                op => pairs.map(|(&a, &b)| arithmetic(op, a, b)).collect(),
            };
            return Combined { row: Row::from_lanes(values, matched.clone()), matched };
        }
        let holds = |step: usize| compare(self.op, left[step], right[step]) == Some(true);
        if self.return_bool {
            let values = (0..left.len()).map(|step| f64::from(u8::from(holds(step)))).collect();
            return Combined { row: Row::from_lanes(values, matched.clone()), matched };
        }
        let mut present = matched.clone();
        for step in matched.ones() {
            if !holds(step) {
                present.clear(step);
            }
        }
        Combined { row: Row::from_lanes(left.to_vec(), present), matched }
    }

    /// The operator at one step; steps must ascend.
    pub fn step(&mut self, step: usize, left: Value<'_>, right: Value<'_>, combined: &mut Combined) {
        let element = self.element(left, right);
        let element = match (element, self.return_bool) {
            (Element::Failed, _) => return,
            (Element::Filtered, true) => Element::Float(0.0),
            (Element::Float(_) | Element::Histogram(_), true) => Element::Float(1.0),
            (element, false) => element,
        };
        combined.matched.set(step);
        match element {
            Element::Float(value) => combined.row.set(step, value),
            Element::Histogram(histogram) => combined.row.push_histogram(step, histogram),
            Element::Filtered | Element::Failed => {}
        }
    }

    fn element(&mut self, left: Value<'_>, right: Value<'_>) -> Element {
        let op = self.op;
        match (left, right) {
            (Value::Float(left), Value::Float(right)) => match compare(op, left, right) {
                Some(true) => Element::Float(left),
                Some(false) => Element::Filtered,
                None if op.is_trim() => self.incompatible("float", "float"),
                None => Element::Float(arithmetic(op, left, right)),
            },
            (Value::Float(left), Value::Histogram(right)) => match op {
                BinaryOp::Mul => changed(right, |histogram| {
                    histogram.mul(left).compact();
                }),
                _ => self.incompatible("float", "histogram"),
            },
            (Value::Histogram(left), Value::Float(right)) => match op {
                BinaryOp::Mul => changed(left, |histogram| {
                    histogram.mul(right).compact();
                }),
                BinaryOp::Div => changed(left, |histogram| {
                    histogram.div(right).compact();
                }),
                BinaryOp::TrimUpper => changed(left, |histogram| histogram.trim_above(right)),
                BinaryOp::TrimLower => changed(left, |histogram| histogram.trim_below(right)),
                _ => self.incompatible("histogram", "float"),
            },
            (Value::Histogram(left), Value::Histogram(right)) => match op {
                BinaryOp::Add | BinaryOp::Sub => self.sum(left, right),
                BinaryOp::Eql | BinaryOp::Neq => {
                    if left.same_data(right) == (op == BinaryOp::Eql) {
                        Element::Histogram(Arc::clone(left))
                    } else {
                        Element::Filtered
                    }
                }
                _ => self.incompatible("histogram", "histogram"),
            },
        }
    }

    fn sum(&mut self, left: &FloatHistogram, right: &FloatHistogram) -> Element {
        let mut result = left.clone();
        let is_sub = self.op == BinaryOp::Sub;
        let combined = if is_sub { result.sub(right) } else { result.add(right) };
        let operation = if is_sub { HistogramOperation::Subtraction } else { HistogramOperation::Addition };
        let Ok(combined) = combined else {
            self.annotations
                .add(Annotation::IncompatibleBucketLayout { operator: self.op.as_str() }, self.span);
            return Element::Failed;
        };
        if combined.bounds_reconciled {
            self.annotations.add(Annotation::MismatchedCustomBuckets { operation }, self.span);
        }
        if combined.counter_reset_collision {
            // Prometheus warns, and leaves the result out.
            self.annotations.add(Annotation::CounterResetCollision { operation }, self.span);
            return Element::Failed;
        }
        if is_sub {
            result.counter_reset = CounterReset::Gauge;
        }
        result.compact();
        Element::Histogram(Arc::new(result))
    }

    fn incompatible(&mut self, left: &'static str, right: &'static str) -> Element {
        let annotation = Annotation::IncompatibleTypes { left, operator: self.op.as_str(), right };
        self.annotations.add(annotation, self.span);
        Element::Failed
    }
}

fn changed(histogram: &Arc<FloatHistogram>, change: impl FnOnce(&mut FloatHistogram)) -> Element {
    let mut histogram = (**histogram).clone();
    change(&mut histogram);
    Element::Histogram(Arc::new(histogram))
}
