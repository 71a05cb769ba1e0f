//! Building the plan of an expression.

use std::sync::Arc;

use super::duration::{DurationContext, Sign};
use super::{
    Aggregate, MapCall, MapOp, Plan, RangeSelector, RangeSource, ScalarPlan, Selector, SetOperation,
    Subquery, VectorBinary, VectorPlan,
};
use crate::engine::QueryError;
use crate::gostd::GoString;
use crate::storage::LabelMatcher;
use crate::syntax::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Expr, MatrixSelector, SubqueryExpr, VectorSelector,
};
use crate::syntax::{AggregateOp, DurationValue, Function, Matcher, UnaryOp, ValueType};

/// What the plan of a query depends on besides its text.
#[derive(Clone, Copy, Debug)]
pub struct PlanContext {
    /// First evaluation time, milliseconds.
    pub start_ms: i64,
    /// Last evaluation time as asked for, milliseconds.
    pub end_ms: i64,
    /// Distance of the evaluation times, milliseconds.
    pub step_ms: i64,
    /// Step of subqueries that name none, milliseconds.
    pub default_subquery_step_ms: i64,
}

/// The plan of `expr`.
pub fn plan(expr: &Expr, context: &PlanContext) -> Result<Plan, QueryError> {
    let builder = Builder {
        context,
        durations: DurationContext {
            step_s: context.step_ms as f64 / 1000.0,
            range_s: (context.end_ms - context.start_ms) as f64 / 1000.0,
        },
    };
    Ok(match expr.value_type() {
        ValueType::Scalar => Plan::Scalar(builder.scalar(expr, Hints::default())?.settle_scalar()),
        ValueType::Vector => Plan::Vector(builder.vector(expr, Hints::default())?.settle_vector()),
        ValueType::Matrix => Plan::Matrix(builder.range_source(expr.unwrap_parens(), Hints::default())?.plan),
        ValueType::String => Plan::String(builder.string(expr)),
    })
}

/// A plan and how it depends on the step.
pub(super) struct Planned<T> {
    pub plan: T,
    /// The value is the same at every step.
    pub invariant: bool,
    /// Evaluating it once is worth a node of its own (literals are cheap as they are).
    pub wrap: bool,
}

impl<T> Planned<T> {
    fn varying(plan: T) -> Self {
        Self { plan, invariant: false, wrap: false }
    }
}

impl Planned<VectorPlan> {
    /// The plan, evaluated once if it does not depend on the step.
    pub fn settle_vector(self) -> VectorPlan {
        if self.wrap { VectorPlan::StepInvariant(Box::new(self.plan)) } else { self.plan }
    }
}

impl Planned<ScalarPlan> {
    pub fn settle_scalar(self) -> ScalarPlan {
        match self.plan {
            ScalarPlan::Constant(value) => ScalarPlan::Constant(value),
            plan if self.wrap => ScalarPlan::StepInvariant(Box::new(plan)),
            plan => plan,
        }
    }
}

/// What stands around an expression.
#[derive(Clone, Copy, Default)]
pub(super) struct Hints<'a> {
    /// The function or aggregation directly around it.
    func: &'static str,
    grouping: &'a [String],
    by: bool,
    /// Somewhere around it is a function that needs only count and sum of histograms.
    needs_stats: bool,
    /// Somewhere around it is something that needs the buckets of histograms.
    needs_buckets: bool,
}

impl Hints<'_> {
    /// For the operands of something that is neither function nor aggregation.
    fn inside(self) -> Hints<'static> {
        Hints { needs_stats: self.needs_stats, needs_buckets: self.needs_buckets, ..Hints::default() }
    }

    pub fn inside_function(self, func: Function) -> Hints<'static> {
        use Function as F;
        let mut hints = self.inside();
        hints.func = func.name();
        hints.needs_stats |= matches!(func, F::HistogramCount | F::HistogramSum | F::HistogramAvg);
        hints.needs_buckets |=
            matches!(func, F::HistogramQuantile | F::HistogramQuantiles | F::HistogramFraction);
        hints
    }
}

pub(super) struct Builder<'a> {
    context: &'a PlanContext,
    durations: DurationContext,
}

impl Builder<'_> {
    pub fn vector(&self, expr: &Expr, hints: Hints<'_>) -> Result<Planned<VectorPlan>, QueryError> {
        match expr {
            Expr::Paren(paren) => self.vector(&paren.expr, hints),
            Expr::Vector(selector) => {
                let selector = Arc::new(self.selector(selector, hints)?);
                let pinned = selector.at_ms.is_some();
                Ok(Planned { plan: VectorPlan::Select(selector), invariant: pinned, wrap: pinned })
            }
            Expr::Aggregate(aggregate) => self.aggregate(aggregate, hints),
            Expr::Binary(binary) => self.binary(binary, hints),
            Expr::Unary(unary) => {
                let input = self.vector(&unary.expr, hints)?;
                if unary.op == UnaryOp::Plus {
                    return Ok(input);
                }
                let Planned { plan, invariant, wrap } = input;
                let plan = VectorPlan::Map(MapCall { op: MapOp::Negate, input: Box::new(plan) });
                Ok(Planned { plan, invariant, wrap })
            }
            Expr::Call(call) => self.call(call, hints),
            Expr::Number(_) | Expr::String(_) | Expr::Matrix(_) | Expr::Subquery(_) => {
                Err(QueryError::internal(format!("unexpected expression of type {:?}", expr.value_type())))
            }
        }
    }

    fn aggregate(
        &self,
        aggregate: &AggregateExpr,
        hints: Hints<'_>,
    ) -> Result<Planned<VectorPlan>, QueryError> {
        let labels: Vec<String> = aggregate.grouping.iter().map(|name| name.to_string()).collect();
        let mut grouping = labels.clone();
        grouping.sort();
        let mut param = None;
        let mut value_label = None;
        let mut param_span = aggregate.span;
        if let Some(expr) = &aggregate.param {
            param_span = expr.unwrap_parens().span();
            if aggregate.op == AggregateOp::CountValues {
                let label = self.go_string(expr);
                let Some(text) = label.as_str().filter(|text| !text.is_empty()) else {
                    let quoted = crate::gostd::quote(label.as_bytes());
                    return Err(QueryError::execution(format!("invalid label name {quoted}")));
                };
                if !aggregate.without {
                    grouping.push(text.to_owned());
                    grouping.sort();
                }
                value_label = Some(text.to_owned());
            } else {
                param = Some(self.scalar(expr, hints)?.settle_scalar());
            }
        }
        let hints = Hints {
            func: aggregate.op.as_str(),
            grouping: &labels,
            by: !aggregate.without,
            ..hints.inside()
        };
        let input = self.vector(&aggregate.expr, hints)?;
        let plan = VectorPlan::Aggregate(Box::new(Aggregate {
            op: aggregate.op,
            input: input.plan,
            param,
            value_label,
            grouping,
            without: aggregate.without,
            span: aggregate.span,
            input_span: aggregate.expr.unwrap_parens().span(),
            param_span,
        }));
        Ok(Planned { plan, invariant: input.invariant, wrap: input.wrap })
    }

    fn binary(&self, binary: &BinaryExpr, hints: Hints<'_>) -> Result<Planned<VectorPlan>, QueryError> {
        let mut hints = hints.inside();
        hints.needs_buckets |= binary.op.is_trim();
        let span = binary.span();
        let (op, return_bool) = (binary.op, binary.return_bool);
        let scalar_operand = |scalar: &Expr, vector: &Expr, scalar_on_left: bool| {
            let scalar = self.scalar(scalar, hints)?;
            let vector = self.vector(vector, hints)?;
            let both = scalar.invariant && vector.invariant;
            let (scalar, input) = if both {
                (scalar.plan, vector.plan)
            } else {
                (scalar.settle_scalar(), vector.settle_vector())
            };
            let op = MapOp::Scalar { op, scalar, scalar_on_left, return_bool, span };
            let plan = VectorPlan::Map(MapCall { op, input: Box::new(input) });
            Ok(Planned { plan, invariant: both, wrap: both })
        };
        match (binary.lhs.value_type(), binary.rhs.value_type()) {
            (ValueType::Scalar, _) => return scalar_operand(&binary.lhs, &binary.rhs, true),
            (_, ValueType::Scalar) => return scalar_operand(&binary.rhs, &binary.lhs, false),
            _ => {}
        }
        let lhs = self.vector(&binary.lhs, hints)?;
        let rhs = self.vector(&binary.rhs, hints)?;
        let both = lhs.invariant && rhs.invariant;
        let (lhs, rhs) = if both { (lhs.plan, rhs.plan) } else { (lhs.settle_vector(), rhs.settle_vector()) };
        let matching = binary.matching.clone().unwrap_or_default();
        let plan = if op.is_set() {
            VectorPlan::Set(Box::new(SetOperation { op, lhs, rhs, matching }))
        } else {
            VectorPlan::Binary(Box::new(VectorBinary { op, lhs, rhs, matching, return_bool, span }))
        };
        Ok(Planned { plan, invariant: both, wrap: both })
    }

    pub fn scalar(&self, expr: &Expr, hints: Hints<'_>) -> Result<Planned<ScalarPlan>, QueryError> {
        let constant = |value| Planned { plan: ScalarPlan::Constant(value), invariant: true, wrap: false };
        Ok(match expr {
            Expr::Paren(paren) => self.scalar(&paren.expr, hints)?,
            Expr::Number(number) => constant(number.value),
            Expr::Unary(unary) => {
                let input = self.scalar(&unary.expr, hints)?;
                match (unary.op, input.plan) {
                    (UnaryOp::Plus, plan) => Planned { plan, ..input },
                    (UnaryOp::Minus, ScalarPlan::Constant(value)) => constant(-value),
                    (UnaryOp::Minus, plan) => Planned { plan: ScalarPlan::Negate(Box::new(plan)), ..input },
                }
            }
            Expr::Binary(binary) => {
                let lhs = self.scalar(&binary.lhs, hints)?;
                let rhs = self.scalar(&binary.rhs, hints)?;
                let op = binary.op;
                self.scalar_pair(lhs, rhs, |lhs, rhs| ScalarPlan::Binary { op, lhs, rhs })
            }
            Expr::Call(call) => match call.func {
                Function::Time => Planned::varying(ScalarPlan::Time),
                Function::Pi => constant(std::f64::consts::PI),
                Function::Start => constant(self.context.start_ms as f64 / 1000.0),
                Function::End => constant(self.context.end_ms as f64 / 1000.0),
                Function::Range => constant(self.durations.range_s),
                Function::Step if self.context.start_ms == self.context.end_ms => constant(0.0),
                Function::Step => constant(self.durations.step_s),
                Function::MinOf | Function::MaxOf => {
                    let max = call.func == Function::MaxOf;
                    let hints = hints.inside_function(call.func);
                    let lhs = self.scalar(&call.args[0], hints)?;
                    let rhs = self.scalar(&call.args[1], hints)?;
                    self.scalar_pair(lhs, rhs, |lhs, rhs| ScalarPlan::MinMax { max, lhs, rhs })
                }
                _ => {
                    let input = self.vector(&call.args[0], hints.inside_function(call.func))?;
                    let (invariant, wrap) = (input.invariant, input.invariant);
                    Planned { plan: ScalarPlan::FromVector(Box::new(input.plan)), invariant, wrap }
                }
            },
            _ => return Err(QueryError::internal("a scalar was expected".to_owned())),
        })
    }

    fn scalar_pair(
        &self,
        lhs: Planned<ScalarPlan>,
        rhs: Planned<ScalarPlan>,
        combine: impl Fn(Box<ScalarPlan>, Box<ScalarPlan>) -> ScalarPlan,
    ) -> Planned<ScalarPlan> {
        let both = lhs.invariant && rhs.invariant;
        let constants = matches!((&lhs.plan, &rhs.plan), (ScalarPlan::Constant(_), ScalarPlan::Constant(_)));
        let (lhs, rhs) = if both { (lhs.plan, rhs.plan) } else { (lhs.settle_scalar(), rhs.settle_scalar()) };
        let plan = combine(Box::new(lhs), Box::new(rhs));
        let plan = match plan.constant_value() {
            Some(value) if constants => ScalarPlan::Constant(value),
            _ => plan,
        };
        Planned { plan, invariant: both, wrap: both && !constants }
    }

    pub fn range_source(&self, expr: &Expr, hints: Hints<'_>) -> Result<Planned<RangeSource>, QueryError> {
        match expr.unwrap_parens() {
            Expr::Matrix(matrix) => {
                let selector = self.range_selector(matrix, hints)?;
                let invariant = selector.selector.at_ms.is_some();
                Ok(Planned { plan: RangeSource::Selector(Arc::new(selector)), invariant, wrap: false })
            }
            Expr::Subquery(subquery) => {
                let subquery = self.subquery(subquery, hints)?;
                let invariant = subquery.at_ms.is_some();
                Ok(Planned { plan: RangeSource::Subquery(Box::new(subquery)), invariant, wrap: false })
            }
            _ => Err(QueryError::internal("a range vector was expected".to_owned())),
        }
    }

    fn range_selector(&self, matrix: &MatrixSelector, hints: Hints<'_>) -> Result<RangeSelector, QueryError> {
        let range_ms = self.durations.milliseconds(&matrix.range, Sign::Positive)?;
        Ok(RangeSelector { selector: self.selector(&matrix.selector, hints)?, range_ms })
    }

    fn subquery(&self, subquery: &SubqueryExpr, hints: Hints<'_>) -> Result<Subquery, QueryError> {
        let range_ms = self.durations.milliseconds(&subquery.range, Sign::Positive)?;
        let step_ms = match &subquery.step {
            step if step.is_zero() => 0,
            step => self.durations.milliseconds(step, Sign::Positive)?,
        };
        // Counter resets between the values of a subquery can only be told from whole histograms.
        let input = self.vector(&subquery.expr, Hints { needs_buckets: true, ..hints })?;
        // Inside a subquery everything invariant is evaluated once, also what would not be worth it elsewhere.
        let input = match input.plan {
            plan if input.invariant => VectorPlan::StepInvariant(Box::new(plan)),
            plan => plan,
        };
        Ok(Subquery {
            input,
            range_ms,
            step_ms: if step_ms == 0 { self.context.default_subquery_step_ms } else { step_ms },
            offset_ms: self.offset(&subquery.offset)?,
            at_ms: subquery.at.map(|at| self.at(at)),
        })
    }

    fn selector(&self, selector: &VectorSelector, hints: Hints<'_>) -> Result<Selector, QueryError> {
        Ok(Selector {
            matchers: matchers(&selector.matchers)?,
            offset_ms: self.offset(&selector.offset)?,
            at_ms: selector.at.map(|at| self.at(at)),
            extended: selector.extended,
            span: selector.span,
            hint_func: hints.func,
            hint_grouping: hints.grouping.to_vec(),
            hint_by: hints.by,
            histogram_stats: hints.needs_stats && !hints.needs_buckets,
        })
    }

    pub fn offset(&self, offset: &DurationValue) -> Result<i64, QueryError> {
        self.durations.milliseconds(offset, Sign::Any)
    }

    pub fn at(&self, at: AtModifier) -> i64 {
        match at {
            AtModifier::TimestampMs(timestamp_ms) => timestamp_ms,
            AtModifier::Start => self.context.start_ms,
            AtModifier::End => self.context.end_ms,
        }
    }

    pub fn go_string(&self, expr: &Expr) -> GoString {
        match expr.unwrap_parens() {
            Expr::String(string) => string.value.clone(),
            _ => GoString::default(),
        }
    }

    pub fn string(&self, expr: &Expr) -> String {
        self.go_string(expr).to_str_lossy().into_owned()
    }
}

pub(super) fn matchers(matchers: &[Matcher]) -> Result<Vec<LabelMatcher>, QueryError> {
    matchers
        .iter()
        .map(|matcher| {
            LabelMatcher::new(matcher.op, &matcher.name.to_str_lossy(), &matcher.value.to_str_lossy())
                .map_err(|error| QueryError::bad_data(error.to_string()))
        })
        .collect()
}
