//! Building the plan of an expression.

use std::sync::Arc;

use super::duration::{DurationContext, Sign};
use super::{
    Absent, Aggregate, HistogramCall, HistogramOp, Info, MapCall, MapOp, Plan, RangeCall, RangeSelector,
    RangeSource, Relabel, RelabelValue, ScalarPlan, Selector, SetOperation, Sort, Subquery, VectorBinary,
    VectorPlan, as_selector,
};
use crate::engine::QueryError;
use crate::gostd::GoString;
use crate::gostd::regexp::CapturingRegex;
use crate::labels::{Labels, LabelsBuilder, METRIC_NAME_LABEL};
use crate::storage::LabelMatcher;
use crate::syntax::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Call, Expr, ExtendedRange, MatrixSelector, SubqueryExpr,
    VectorSelector,
};
use crate::syntax::{AggregateOp, DurationValue, Function, MatchOp, Matcher, Span, UnaryOp, ValueType};

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
struct Planned<T> {
    plan: T,
    /// The value is the same at every step.
    invariant: bool,
    /// Evaluating it once is worth a node of its own (literals are cheap as they are).
    wrap: bool,
}

impl<T> Planned<T> {
    fn varying(plan: T) -> Self {
        Self { plan, invariant: false, wrap: false }
    }
}

impl Planned<VectorPlan> {
    /// The plan, evaluated once if it does not depend on the step.
    fn settle_vector(self) -> VectorPlan {
        if self.wrap { VectorPlan::StepInvariant(Box::new(self.plan)) } else { self.plan }
    }
}

impl Planned<ScalarPlan> {
    fn settle_scalar(self) -> ScalarPlan {
        match self.plan {
            ScalarPlan::Constant(value) => ScalarPlan::Constant(value),
            plan if self.wrap => ScalarPlan::StepInvariant(Box::new(plan)),
            plan => plan,
        }
    }
}

/// What stands around an expression.
#[derive(Clone, Copy, Default)]
struct Hints<'a> {
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

    fn inside_function(self, func: Function) -> Hints<'static> {
        use Function as F;
        let mut hints = self.inside();
        hints.func = func.name();
        hints.needs_stats |= matches!(func, F::HistogramCount | F::HistogramSum | F::HistogramAvg);
        hints.needs_buckets |=
            matches!(func, F::HistogramQuantile | F::HistogramQuantiles | F::HistogramFraction);
        hints
    }
}

struct Builder<'a> {
    context: &'a PlanContext,
    durations: DurationContext,
}

impl Builder<'_> {
    fn vector(&self, expr: &Expr, hints: Hints<'_>) -> Result<Planned<VectorPlan>, QueryError> {
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
        let mut grouping = aggregate.grouping.clone();
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
            grouping: &aggregate.grouping,
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

    fn call(&self, call: &Call, hints: Hints<'_>) -> Result<Planned<VectorPlan>, QueryError> {
        let hints = hints.inside_function(call.func);
        let mut planned = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            planned.push(match arg.value_type() {
                ValueType::String => PlannedArg::String,
                ValueType::Scalar => PlannedArg::Scalar(self.scalar(arg, hints)?),
                ValueType::Vector => PlannedArg::Vector(self.vector(arg, hints)?),
                ValueType::Matrix => PlannedArg::Range(self.range_source(arg, hints)?),
            });
        }
        // Functions that look at sample times depend on the step, unless they look at pinned samples directly.
        let invariant = if call.func == Function::Timestamp {
            as_selector(&call.args[0]).is_some_and(|selector| selector.at.is_some())
        } else {
            !depends_on_evaluation_time(call.func) && planned.iter().all(PlannedArg::is_invariant)
        };
        let plan = Args { builder: self, call, planned, invariant }.plan()?;
        Ok(Planned { plan, invariant, wrap: invariant })
    }

    fn scalar(&self, expr: &Expr, hints: Hints<'_>) -> Result<Planned<ScalarPlan>, QueryError> {
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

    fn range_source(&self, expr: &Expr, hints: Hints<'_>) -> Result<Planned<RangeSource>, QueryError> {
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

    fn offset(&self, offset: &DurationValue) -> Result<i64, QueryError> {
        self.durations.milliseconds(offset, Sign::Any)
    }

    fn at(&self, at: AtModifier) -> i64 {
        match at {
            AtModifier::TimestampMs(timestamp_ms) => timestamp_ms,
            AtModifier::Start => self.context.start_ms,
            AtModifier::End => self.context.end_ms,
        }
    }

    fn go_string(&self, expr: &Expr) -> GoString {
        match expr.unwrap_parens() {
            Expr::String(string) => string.value.clone(),
            _ => GoString::default(),
        }
    }

    fn string(&self, expr: &Expr) -> String {
        self.go_string(expr).to_str_lossy().into_owned()
    }
}

/// An argument of a call.
enum PlannedArg {
    String,
    Scalar(Planned<ScalarPlan>),
    Vector(Planned<VectorPlan>),
    Range(Planned<RangeSource>),
    /// Already part of the call's plan.
    Taken,
}

impl PlannedArg {
    fn is_invariant(&self) -> bool {
        match self {
            Self::String | Self::Taken => true,
            Self::Scalar(planned) => planned.invariant,
            Self::Vector(planned) => planned.invariant,
            Self::Range(planned) => planned.invariant,
        }
    }
}

/// A call whose arguments are planned.
struct Args<'a, 'b> {
    builder: &'a Builder<'b>,
    call: &'a Call,
    planned: Vec<PlannedArg>,
    /// The whole call is invariant, so its arguments need not be evaluated once on their own.
    invariant: bool,
}

impl Args<'_, '_> {
    fn plan(mut self) -> Result<VectorPlan, QueryError> {
        use Function as F;
        let func = self.call.func;
        Ok(match func {
            F::Vector => VectorPlan::FromScalar(self.scalar(0)?),
            F::Timestamp | F::StartTimestamp => {
                let start = func == F::StartTimestamp;
                match self.vector(0)? {
                    VectorPlan::Select(selector) => VectorPlan::SelectTimes { selector, start },
                    VectorPlan::StepInvariant(input) if matches!(*input, VectorPlan::Select(_)) => {
                        let VectorPlan::Select(selector) = *input else { return Ok(VectorPlan::Nothing) };
                        VectorPlan::SelectTimes { selector, start }
                    }
                    // Only stored samples have start times.
                    _ if start => VectorPlan::Nothing,
                    input => VectorPlan::Map(MapCall { op: MapOp::Timestamp, input: Box::new(input) }),
                }
            }
            F::Absent => VectorPlan::Absent(Box::new(Absent {
                labels: self.absent_labels(),
                input: self.vector(0)?,
                drop_name: false,
            })),
            F::AbsentOverTime => VectorPlan::Absent(Box::new(Absent {
                labels: self.absent_labels(),
                input: VectorPlan::Range(self.range_call()?),
                drop_name: true,
            })),
            F::LabelReplace => self.label_replace()?,
            F::LabelJoin => self.label_join()?,
            F::Info => self.info()?,
            F::Sort | F::SortDesc | F::SortByLabel | F::SortByLabelDesc => {
                let by_label = matches!(func, F::SortByLabel | F::SortByLabelDesc);
                let labels = self.call.args[1..].iter().map(|arg| self.builder.string(arg)).collect();
                VectorPlan::Sort(Box::new(Sort {
                    input: self.vector(0)?,
                    labels: by_label.then_some(labels),
                    descending: matches!(func, F::SortDesc | F::SortByLabelDesc),
                    span: self.call.span,
                }))
            }
            F::HistogramQuantile => {
                let op = HistogramOp::Quantile { quantile: self.scalar(0)?, span: self.span(0) };
                self.histogram(op, 1)?
            }
            F::HistogramFraction => {
                let (lower, upper) = (self.scalar(0)?, self.scalar(1)?);
                self.histogram(HistogramOp::Fraction { lower, upper }, 2)?
            }
            F::HistogramQuantiles => {
                let mut quantiles = Vec::new();
                for at in 2..self.call.args.len() {
                    quantiles.push((self.scalar(at)?, self.span(at)));
                }
                let label = self.builder.string(&self.call.args[1]);
                self.histogram(HistogramOp::Quantiles { label, quantiles }, 0)?
            }
            F::HistogramAvg
            | F::HistogramCount
            | F::HistogramSum
            | F::HistogramStddev
            | F::HistogramStdvar => {
                let input = Box::new(self.vector(0)?);
                VectorPlan::Map(MapCall { op: MapOp::HistogramFunction(func), input })
            }
            _ if func.signature().args.contains(&ValueType::Matrix) => VectorPlan::Range(self.range_call()?),
            _ if self.call.args.is_empty() => VectorPlan::DateOfTime(func),
            _ => {
                let params: Result<_, _> = (1..self.call.args.len()).map(|at| self.scalar(at)).collect();
                let op = MapOp::Function { func, params: params? };
                VectorPlan::Map(MapCall { op, input: Box::new(self.vector(0)?) })
            }
        })
    }

    fn take(&mut self, at: usize) -> PlannedArg {
        std::mem::replace(&mut self.planned[at], PlannedArg::Taken)
    }

    fn vector(&mut self, at: usize) -> Result<VectorPlan, QueryError> {
        match self.take(at) {
            PlannedArg::Vector(planned) if self.invariant => Ok(planned.plan),
            PlannedArg::Vector(planned) => Ok(planned.settle_vector()),
            _ => Err(self.unexpected(at)),
        }
    }

    fn scalar(&mut self, at: usize) -> Result<ScalarPlan, QueryError> {
        match self.take(at) {
            PlannedArg::Scalar(planned) if self.invariant => Ok(planned.plan),
            PlannedArg::Scalar(planned) => Ok(planned.settle_scalar()),
            _ => Err(self.unexpected(at)),
        }
    }

    fn unexpected(&self, at: usize) -> QueryError {
        QueryError::internal(format!("unexpected type of argument {} of {}", at + 1, self.call.func.name()))
    }

    fn span(&self, at: usize) -> Span {
        self.call.args[at].unwrap_parens().span()
    }

    fn histogram(&mut self, op: HistogramOp, at: usize) -> Result<VectorPlan, QueryError> {
        let input = self.vector(at)?;
        Ok(VectorPlan::Histogram(Box::new(HistogramCall { op, input, input_span: self.span(at) })))
    }

    fn range_call(&mut self) -> Result<RangeCall, QueryError> {
        let func = self.call.func;
        let last = self.planned.len() - 1;
        let at = self.planned.iter().position(|arg| matches!(arg, PlannedArg::Range(_))).unwrap_or(0);
        let PlannedArg::Range(Planned { plan: source, .. }) = self.take(at) else {
            return Err(self.unexpected(at));
        };
        check_extended(func, &source)?;
        // Prometheus puts the subquery's result in the place of the argument, and with it loses the position.
        let is_first_subquery = at == 0 && matches!(source, RangeSource::Subquery(_));
        let params: Result<_, _> = (0..=last).filter(|&i| i != at).map(|i| self.scalar(i)).collect();
        Ok(RangeCall {
            func,
            source,
            params: params?,
            span: if is_first_subquery { Span::default() } else { self.span(0) },
        })
    }

    /// The labels of the series that `absent` makes up: those the selector asks for with `=`, once.
    fn absent_labels(&self) -> Labels {
        let matchers = match self.call.args[0].unwrap_parens() {
            Expr::Vector(selector) => &selector.matchers,
            Expr::Matrix(matrix) => &matrix.selector.matchers,
            _ => return Labels::empty(),
        };
        let mut builder = LabelsBuilder::default();
        let mut seen: Vec<&GoString> = Vec::new();
        for matcher in matchers {
            let name = matcher.name.to_str_lossy();
            if name == METRIC_NAME_LABEL {
                continue;
            }
            if matcher.op == MatchOp::Equal && !seen.contains(&&matcher.name) {
                builder.set(&name, &matcher.value.to_str_lossy());
                seen.push(&matcher.name);
            } else {
                builder.delete(&name);
            }
        }
        builder.build()
    }

    fn label_replace(&mut self) -> Result<VectorPlan, QueryError> {
        let pattern = self.builder.string(&self.call.args[4]);
        let regex = CapturingRegex::anchored(&pattern).map_err(|_| {
            QueryError::execution(format!("invalid regular expression in label_replace(): {pattern}"))
        })?;
        let target = self.label_name(1, "invalid destination label name in label_replace()")?;
        let replacement = self.builder.string(&self.call.args[2]);
        let source = self.builder.string(&self.call.args[3]);
        let value = RelabelValue::Replace { source, regex, replacement };
        Ok(VectorPlan::Relabel(Box::new(Relabel { input: self.vector(0)?, target, value })))
    }

    fn label_join(&mut self) -> Result<VectorPlan, QueryError> {
        let separator = self.builder.string(&self.call.args[2]);
        let sources: Result<_, _> = (3..self.call.args.len())
            .map(|at| self.label_name(at, "invalid source label name in label_join()"))
            .collect();
        let value = RelabelValue::Join { separator, sources: sources? };
        let target = self.label_name(1, "invalid destination label name in label_join()")?;
        Ok(VectorPlan::Relabel(Box::new(Relabel { input: self.vector(0)?, target, value })))
    }

    /// A string argument that must be a label name: any non-empty UTF-8 text.
    fn label_name(&self, at: usize, error: &str) -> Result<String, QueryError> {
        let name = self.builder.go_string(&self.call.args[at]);
        match name.as_str() {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(QueryError::execution(format!("{error}: {}", name.to_str_lossy()))),
        }
    }

    fn info(&mut self) -> Result<VectorPlan, QueryError> {
        let matchers = match self.call.args.get(1).map(Expr::unwrap_parens) {
            Some(Expr::Vector(selector)) => Some(matchers(&selector.matchers)?),
            _ => None,
        };
        let (at_ms, offset_ms) = self.first_selector_times(&self.call.args[0])?.unwrap_or((None, 0));
        Ok(VectorPlan::Info(Box::new(Info { input: self.vector(0)?, matchers, offset_ms, at_ms })))
    }

    /// Pinned time and offset of the first selector in an expression, those of subqueries around it included.
    fn first_selector_times(&self, expr: &Expr) -> Result<Option<(Option<i64>, i64)>, QueryError> {
        let selector = match expr {
            Expr::Vector(selector) => selector,
            Expr::Matrix(matrix) => &matrix.selector,
            _ => {
                for child in expr.children() {
                    let Some((mut at_ms, mut offset_ms)) = self.first_selector_times(child)? else {
                        continue;
                    };
                    if let (Expr::Subquery(subquery), None) = (expr, at_ms) {
                        offset_ms += self.builder.offset(&subquery.offset)?;
                        at_ms = subquery.at.map(|at| self.builder.at(at));
                    }
                    return Ok(Some((at_ms, offset_ms)));
                }
                return Ok(None);
            }
        };
        let at_ms = selector.at.map(|at| self.builder.at(at));
        Ok(Some((at_ms, self.builder.offset(&selector.offset)?)))
    }
}

/// Functions whose value depends on the evaluation time even if their arguments do not.
pub(crate) fn depends_on_evaluation_time(func: Function) -> bool {
    use Function as F;
    matches!(
        func,
        F::DaysInMonth
            | F::DayOfMonth
            | F::DayOfWeek
            | F::DayOfYear
            | F::End
            | F::Hour
            | F::Minute
            | F::Month
            | F::Year
            | F::PredictLinear
            | F::Range
            | F::Start
            | F::Step
            | F::Time
            | F::Timestamp
    )
}

fn check_extended(func: Function, source: &RangeSource) -> Result<(), QueryError> {
    let RangeSource::Selector(range) = source else { return Ok(()) };
    let (modifier, allowed): (_, &[Function]) = match range.selector.extended {
        None => return Ok(()),
        Some(ExtendedRange::Anchored) => (
            "anchored",
            &[Function::Changes, Function::Delta, Function::Increase, Function::Rate, Function::Resets],
        ),
        Some(ExtendedRange::Smoothed) => ("smoothed", &[Function::Delta, Function::Increase, Function::Rate]),
    };
    if allowed.contains(&func) {
        return Ok(());
    }
    let names: Vec<&str> = allowed.iter().map(|func| func.name()).collect();
    Err(QueryError::execution(format!(
        "{modifier} modifier can only be used with: {} - not with {}",
        names.join(", "),
        func.name()
    )))
}

fn matchers(matchers: &[Matcher]) -> Result<Vec<LabelMatcher>, QueryError> {
    matchers
        .iter()
        .map(|matcher| {
            LabelMatcher::new(matcher.op, &matcher.name.to_str_lossy(), &matcher.value.to_str_lossy())
                .map_err(|error| QueryError::bad_data(error.to_string()))
        })
        .collect()
}
