//! Durations in brackets and after `offset`: settled ones, and expressions that need the query's step and range.

use super::ast::NumberLiteral;
use super::span::Span;

/// A duration as far as it is known before the query's step and range are.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationValue {
    /// Nanoseconds, negative for an offset into the future.
    FixedNs(i64),
    /// To be computed when the query's step and range are known.
    Expr(Box<DurationExpr>),
}

impl DurationValue {
    /// No duration: no offset, the default step.
    pub const ZERO: Self = Self::FixedNs(0);

    /// Whether this is [`DurationValue::ZERO`].
    pub fn is_zero(&self) -> bool {
        matches!(self, Self::FixedNs(0))
    }

    /// The nanoseconds of a settled duration.
    pub fn fixed_ns(&self) -> Option<i64> {
        match self {
            Self::FixedNs(ns) => Some(*ns),
            Self::Expr(_) => None,
        }
    }
}

/// Arithmetic on durations, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct DurationExpr {
    /// What it is.
    pub kind: DurationKind,
    /// Whether it stands in parentheses, and prints with them.
    pub wrapped: bool,
    /// Where it stands, as Prometheus counts it (without most parentheses).
    pub span: Span,
}

impl DurationExpr {
    /// The number, if this is one and not in parentheses.
    pub fn as_literal(&self) -> Option<&NumberLiteral> {
        match &self.kind {
            DurationKind::Literal(number) if !self.wrapped => Some(number),
            _ => None,
        }
    }
}

/// The forms of a duration expression.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationKind {
    /// A number or a duration.
    Literal(NumberLiteral),
    /// `step()`: the query's step.
    Step,
    /// `range()`: the distance from the query's start to its end.
    Range,
    /// `min_of(a, b)`
    MinOf(Box<DurationExpr>, Box<DurationExpr>),
    /// `max_of(a, b)`
    MaxOf(Box<DurationExpr>, Box<DurationExpr>),
    /// `-a`
    Negate(Box<DurationExpr>),
    /// `a + b`
    Binary(DurationOp, Box<DurationExpr>, Box<DurationExpr>),
}

/// An operator between durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DurationOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
}

impl DurationOp {
    /// The operator as printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
        }
    }
}
