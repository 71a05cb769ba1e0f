//! Type check: are the operands, arguments and modifiers of each node of kinds that fit?
//!
//! Runs over a finished tree, in Prometheus's order, since the first error found is the one reported.

use super::ast::{AggregateExpr, BinaryExpr, Call, Cardinality, Expr, VectorSelector};
use super::error::ParseError;
use super::functions::{Function, ValueType, Variadic};
use super::label_name::LabelName;
use super::lexer::ParseResult;
use super::matcher::METRIC_NAME_LABEL;
use super::operators::AggregateOp;
use super::span::Span;
use crate::gostd::quote;

/// Checks `expr`, and settles what depends on types: the matching of operators other than vector to vector.
pub(super) fn check(input: &str, expr: &mut Expr) -> ParseResult<()> {
    Checker { input }.expr(expr).map(drop)
}

struct Checker<'a> {
    input: &'a str,
}

impl Checker<'_> {
    #[cold]
    fn fail<T>(&self, span: Span, message: impl Into<String>) -> ParseResult<T> {
        Err(Box::new(ParseError::new(self.input, span, message)))
    }

    /// Checks `expr` and what it contains; its type.
    #[inline]
    fn expr(&self, expr: &mut Expr) -> ParseResult<ValueType> {
        match expr {
            Expr::Matrix(matrix) => {
                self.selector(&matrix.selector, true)?;
                Ok(ValueType::Matrix)
            }
            Expr::Vector(vector) => {
                self.selector(vector, true)?;
                Ok(ValueType::Vector)
            }
            Expr::Number(_) => Ok(ValueType::Scalar),
            Expr::String(_) => Ok(ValueType::String),
            _ => self.inner_node(expr),
        }
    }

    #[inline(never)]
    fn inner_node(&self, expr: &mut Expr) -> ParseResult<ValueType> {
        match expr {
            Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Call(call) => self.call(call),
            Expr::Paren(paren) => self.expr(&mut paren.expr),
            Expr::Subquery(subquery) => match self.expr(&mut subquery.expr)? {
                ValueType::Vector => Ok(ValueType::Matrix),
                other => {
                    let found = other.as_str();
                    let message = format!("subquery is only allowed on instant vector, got {found} instead");
                    self.fail(subquery.span(), message)
                }
            },
            Expr::Unary(unary) => match self.expr(&mut unary.expr)? {
                allowed @ (ValueType::Scalar | ValueType::Vector) => Ok(allowed),
                other => {
                    let message = format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got \"{}\"",
                        other.documented()
                    );
                    self.fail(unary.span(), message)
                }
            },
            Expr::Matrix(_) | Expr::Number(_) | Expr::String(_) | Expr::Vector(_) => self.expr(expr),
        }
    }

    fn expect_type(&self, expr: &mut Expr, wanted: ValueType, context: &str) -> ParseResult<()> {
        let found = self.expr(expr)?;
        if found == wanted {
            return Ok(());
        }
        let (wanted, found) = (wanted.documented(), found.documented());
        self.fail(expr.span(), format!("expected type {wanted} in {context}, got {found}"))
    }

    fn aggregate(&self, aggregate: &mut AggregateExpr) -> ParseResult<ValueType> {
        self.expect_type(&mut aggregate.expr, ValueType::Vector, "aggregation expression")?;
        let Some(param) = &mut aggregate.param else { return Ok(ValueType::Vector) };
        let wanted =
            if aggregate.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
        self.expect_type(param, wanted, "aggregation parameter")?;
        Ok(ValueType::Vector)
    }

    fn binary(&self, binary: &mut BinaryExpr) -> ParseResult<ValueType> {
        let (left, right) = (self.expr(&mut binary.lhs)?, self.expr(&mut binary.rhs)?);
        let op = binary.op;
        if binary.return_bool && !op.is_comparison() {
            let message = "bool modifier can only be used on comparison operators";
            return self.fail(self.operator_span(binary), message);
        }
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        if op.is_comparison() && !binary.return_bool && scalars {
            let message = "comparisons between scalars must use BOOL modifier";
            return self.fail(self.operator_span(binary), message);
        }
        let mut has_fill = false;
        let mut has_group = false;
        let mut has_labels = false;
        if let Some(matching) = &mut binary.matching {
            has_fill = matching.fill_left.is_some() || matching.fill_right.is_some();
            has_group = matches!(matching.cardinality, Cardinality::OneToMany | Cardinality::ManyToOne);
            has_labels = !matching.labels.is_empty();
            if op.is_set() && !has_group {
                matching.cardinality = Cardinality::ManyToMany;
            }
            let twice = |label: &&LabelName| matching.on && matching.include.contains(label);
            if let Some(label) = matching.labels.iter().find(twice) {
                let label = quote(label.as_bytes());
                let message = format!("label {label} must not occur in ON and GROUP clause at once");
                return self.fail(self.operator_span(binary), message);
            }
        }
        for (side, side_type) in [(&binary.lhs, left), (&binary.rhs, right)] {
            if !matches!(side_type, ValueType::Scalar | ValueType::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return self.fail(side.span(), message);
            }
        }
        if left != ValueType::Vector || right != ValueType::Vector {
            if has_labels {
                return self.fail(binary.span(), "vector matching only allowed between instant vectors");
            }
            if has_fill {
                return self
                    .fail(binary.span(), "filling in missing series only allowed between instant vectors");
            }
            binary.matching = None;
            if op.is_set() {
                let op = op.as_str();
                return self.fail(
                    binary.span(),
                    format!("set operator \"{op}\" not allowed in binary scalar expression"),
                );
            }
        } else if op.is_set() {
            if has_group {
                return self
                    .fail(binary.span(), format!("no grouping allowed for \"{}\" operation", op.as_str()));
            }
            if has_fill {
                return self.fail(binary.span(), "filling in missing series not allowed for set operators");
            }
        }
        Ok(if scalars { ValueType::Scalar } else { ValueType::Vector })
    }

    /// The operator with its modifiers, without the spaces around them.
    fn operator_span(&self, binary: &BinaryExpr) -> Span {
        let (start, end) = (binary.lhs.span().end, binary.rhs.span().start.max(binary.lhs.span().end));
        let between = self.input.as_bytes().get(start as usize..end as usize).unwrap_or_default();
        let leading = between.iter().take_while(|byte| byte.is_ascii_whitespace()).count() as u32;
        Span::new(start + leading, end)
    }

    fn call(&self, call: &mut Call) -> ParseResult<ValueType> {
        let signature = call.func.signature();
        let (name, wanted, found) = (signature.name, signature.args.len(), call.args.len());
        let wrong_count = match signature.variadic {
            Variadic::Exactly if found != wanted => Some(format!("expected {wanted}")),
            Variadic::UpTo(_) | Variadic::Unbounded if found + 1 < wanted => {
                Some(format!("expected at least {}", wanted - 1))
            }
            Variadic::UpTo(extra) if found > wanted - 1 + extra => {
                Some(format!("expected at most {}", wanted - 1 + extra))
            }
            _ => None,
        };
        if let Some(expected) = wrong_count {
            return self
                .fail(call.span, format!("{expected} argument(s) in call to \"{name}\", got {found}"));
        }
        if let (Function::Info, Some(labels)) = (call.func, call.args.get(1)) {
            self.info_labels(labels, call.span)?;
        }
        for (at, arg) in call.args.iter_mut().enumerate() {
            let Some(&wanted) = signature.args.get(at).or(signature.args.last()) else { break };
            let found = match arg {
                Expr::Vector(vector) if call.func == Function::Info && at == 1 => {
                    self.selector(vector, false)?;
                    ValueType::Vector
                }
                _ => self.expr(arg)?,
            };
            if found != wanted {
                let (wanted, found) = (wanted.documented(), found.documented());
                let message = format!("expected type {wanted} in call to function \"{name}\", got {found}");
                return self.fail(arg.span(), message);
            }
        }
        Ok(signature.returns)
    }

    /// The second argument of `info` is not data but a selection of labels: matchers without a metric name.
    fn info_labels(&self, labels: &Expr, call_span: Span) -> ParseResult<()> {
        let found = labels.value_type();
        if found != ValueType::Vector {
            let (wanted, found) = (ValueType::Vector.documented(), found.documented());
            let message = format!("expected type {wanted} in call to function \"info\", got {found}");
            return self.fail(call_span, message);
        }
        match labels {
            Expr::Vector(vector) if !vector.named => Ok(()),
            Expr::Vector(_) => {
                self.fail(labels.span(), "expected label selectors only, got vector selector instead")
            }
            _ => self.fail(labels.span(), "expected label selectors only"),
        }
    }

    fn selector(&self, selector: &VectorSelector, needs_non_empty_matcher: bool) -> ParseResult<()> {
        if let Some((_, written)) = selector.matchers.split_last().filter(|_| selector.named) {
            // The last matcher is the name before the braces; there must not be another inside.
            if let Some(other) = written.iter().find(|matcher| matcher.name == METRIC_NAME_LABEL) {
                let (name, value) = (quote(selector.name().as_bytes()), quote(other.value.as_bytes()));
                return self
                    .fail(selector.span, format!("metric name must not be set twice: {name} or {value}"));
            }
            return Ok(());
        }
        if needs_non_empty_matcher && selector.matchers.iter().all(|matcher| matcher.matches_empty()) {
            return self.fail(selector.span, "vector selector must contain at least one non-empty matcher");
        }
        Ok(())
    }
}
