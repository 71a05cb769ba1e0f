//! Planning of function calls.

use super::build::{Builder, Hints, Planned, matchers};
use super::{
    Absent, HistogramCall, HistogramOp, Info, MapCall, MapOp, RangeCall, RangeSource, Relabel, RelabelValue,
    ScalarPlan, Sort, VectorPlan, as_selector,
};
use crate::engine::QueryError;
use crate::gostd::GoString;
use crate::gostd::regexp::CapturingRegex;
use crate::labels::{Labels, LabelsBuilder, METRIC_NAME_LABEL};
use crate::syntax::ast::{Call, Expr, ExtendedRange};
use crate::syntax::{Function, MatchOp, Span, ValueType};

impl Builder<'_> {
    pub(super) fn call(&self, call: &Call, hints: Hints<'_>) -> Result<Planned<VectorPlan>, QueryError> {
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
