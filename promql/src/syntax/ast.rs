//! The syntax tree.
//!
//! A tree returned by the parser is type-checked, and its depth is bounded by
//! [`ParserOptions::nesting_depth_max`](super::ParserOptions::nesting_depth_max). Nodes keep what was written
//! (parentheses, unary plus, durations as durations), so that a tree prints as Prometheus prints it. Equality
//! includes the spans.

use smallvec::SmallVec;

use super::duration::DurationValue;
use super::functions::{Function, ValueType};
use super::label_name::LabelName;
use super::matcher::Matcher;
use super::operators::{AggregateOp, BinaryOp, UnaryOp};
use super::span::Span;
use crate::gostd::GoString;

/// Any expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// `sum by (job) (x)`
    Aggregate(Box<AggregateExpr>),
    /// `a + on (job) b`
    Binary(Box<BinaryExpr>),
    /// `rate(x[5m])`
    Call(Call),
    /// `x[5m]`
    Matrix(MatrixSelector),
    /// `1.5`, or a duration standing for its seconds: `5m`
    Number(NumberLiteral),
    /// `(a)`
    Paren(Box<ParenExpr>),
    /// `"text"`
    String(StringLiteral),
    /// `x[5m:1m]`
    Subquery(Box<SubqueryExpr>),
    /// `-x`
    Unary(Box<UnaryExpr>),
    /// `x{job="a"}`
    Vector(Box<VectorSelector>),
}

/// An aggregation over the series of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateExpr {
    /// Which aggregation.
    pub op: AggregateOp,
    /// The instant vector.
    pub expr: Expr,
    /// The parameter of those aggregations that have one ([`AggregateOp::has_param`]).
    pub param: Option<Expr>,
    /// Labels of the `by` or `without` clause. Empty for `by ()` and for no clause, which mean the same.
    pub grouping: Vec<LabelName>,
    /// Whether the clause is `without`.
    pub without: bool,
    /// The whole expression.
    pub span: Span,
}

/// An operator between two expressions.
#[derive(Clone, Debug, PartialEq)]
pub struct BinaryExpr {
    /// The operator.
    pub op: BinaryOp,
    /// Left operand.
    pub lhs: Expr,
    /// Right operand.
    pub rhs: Expr,
    /// How series find their partners; `None` unless both operands are instant vectors.
    pub matching: Option<VectorMatching>,
    /// The `bool` modifier: a comparison gives 0 or 1 and does not filter.
    pub return_bool: bool,
}

/// Which series of two instant vectors belong together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VectorMatching {
    /// How many series of each side may match one of the other.
    pub cardinality: Cardinality,
    /// Labels of the `on` or `ignoring` clause.
    pub labels: Vec<LabelName>,
    /// Whether `labels` are the ones to match `on`, not the ones to ignore.
    pub on: bool,
    /// Labels of the `group_left` or `group_right` clause, copied from the "one" side.
    pub include: Vec<LabelName>,
    /// Value standing in for a missing series of the left side.
    pub fill_left: Option<f64>,
    /// Value standing in for a missing series of the right side.
    pub fill_right: Option<f64>,
}

/// How many series of each side may match one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cardinality {
    /// The default.
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// A function call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The function.
    pub func: Function,
    /// The arguments; number and types fit the function's signature.
    pub args: Vec<Expr>,
    /// From the name to the closing parenthesis.
    pub span: Span,
}

/// A range of samples of each selected series. Its `@` and `offset` are in the selector.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSelector {
    /// The series, with `@`, `offset`, `anchored` and `smoothed`.
    pub selector: Box<VectorSelector>,
    /// Length of the window, more than 0.
    pub range: DurationValue,
    /// One past the last byte.
    pub end: u32,
}

/// An expression evaluated over a range of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct SubqueryExpr {
    /// The instant vector evaluated at each step.
    pub expr: Expr,
    /// Length of the window, more than 0.
    pub range: DurationValue,
    /// Distance of the evaluation times; 0 stands for the default.
    pub step: DurationValue,
    /// Shift into the past; 0 if there is none.
    pub offset: DurationValue,
    /// The `@` modifier.
    pub at: Option<AtModifier>,
    /// One past the last byte.
    pub end: u32,
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumberLiteral {
    /// Its value; seconds if written as a duration.
    pub value: f64,
    /// Whether it was written as a duration, and prints as one.
    pub duration: bool,
    /// Where it stands, sign included.
    pub span: Span,
}

/// An expression in parentheses.
#[derive(Clone, Debug, PartialEq)]
pub struct ParenExpr {
    /// What they enclose.
    pub expr: Expr,
    /// From the opening to the closing parenthesis.
    pub span: Span,
}

/// A string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringLiteral {
    /// The value, unquoted.
    pub value: GoString,
    /// With the quotes.
    pub span: Span,
}

/// A sign before an expression other than a number.
#[derive(Clone, Debug, PartialEq)]
pub struct UnaryExpr {
    /// The sign.
    pub op: UnaryOp,
    /// The operand.
    pub expr: Expr,
    /// Where the sign stands.
    pub start: u32,
}

/// The current sample of each selected series.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// Whether a metric name was written before the braces. It is the last of `matchers`.
    pub named: bool,
    /// In the order written; the name, if given before the braces, comes last.
    pub matchers: Matchers,
    /// Shift into the past; 0 if there is none.
    pub offset: DurationValue,
    /// The `@` modifier.
    pub at: Option<AtModifier>,
    /// `anchored` or `smoothed`.
    pub extended: Option<ExtendedRange>,
    /// Name, braces and modifiers.
    pub span: Span,
}

/// The matchers of a selector. Few have more than are kept in place.
pub type Matchers = SmallVec<[Matcher; 4]>;

/// The time a selector or subquery is pinned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtModifier {
    /// Milliseconds since the epoch.
    TimestampMs(i64),
    /// `start()`: the first evaluation time of the query.
    Start,
    /// `end()`: the last evaluation time of the query.
    End,
}

/// How a range treats its boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedRange {
    /// `anchored`: the sample before the window stands in at its start.
    Anchored,
    /// `smoothed`: values at both boundaries are interpolated.
    Smoothed,
}

impl Expr {
    /// The type the expression evaluates to.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Aggregate(_) | Self::Vector(_) => ValueType::Vector,
            Self::Binary(binary) => match (binary.lhs.value_type(), binary.rhs.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            Self::Call(call) => call.func.signature().returns,
            Self::Matrix(_) | Self::Subquery(_) => ValueType::Matrix,
            Self::Number(_) => ValueType::Scalar,
            Self::Paren(paren) => paren.expr.value_type(),
            Self::String(_) => ValueType::String,
            Self::Unary(unary) => unary.expr.value_type(),
        }
    }

    /// Where the expression stands in the query.
    pub fn span(&self) -> Span {
        match self {
            Self::Aggregate(aggregate) => aggregate.span,
            Self::Binary(binary) => binary.span(),
            Self::Call(call) => call.span,
            Self::Matrix(matrix) => matrix.span(),
            Self::Number(number) => number.span,
            Self::Paren(paren) => paren.span,
            Self::String(string) => string.span,
            Self::Subquery(subquery) => subquery.span(),
            Self::Unary(unary) => unary.span(),
            Self::Vector(vector) => vector.span,
        }
    }

    /// The expression without the parentheses around it.
    pub fn unwrap_parens(&self) -> &Self {
        let mut expr = self;
        while let Self::Paren(paren) = expr {
            expr = &paren.expr;
        }
        expr
    }

    /// The direct sub-expressions, in the order Prometheus visits them.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        let (first, second, rest): (Option<&Self>, Option<&Self>, &[Self]) = match self {
            Self::Aggregate(aggregate) => (Some(&aggregate.expr), aggregate.param.as_ref(), &[]),
            Self::Binary(binary) => (Some(&binary.lhs), Some(&binary.rhs), &[]),
            Self::Call(call) => (None, None, &call.args),
            Self::Paren(paren) => (Some(&paren.expr), None, &[]),
            Self::Subquery(subquery) => (Some(&subquery.expr), None, &[]),
            Self::Unary(unary) => (Some(&unary.expr), None, &[]),
            Self::Matrix(_) | Self::Number(_) | Self::String(_) | Self::Vector(_) => (None, None, &[]),
        };
        first.into_iter().chain(second).chain(rest)
    }
}

/// Selects everything, at no place of a query.
impl Default for VectorSelector {
    #[inline]
    fn default() -> Self {
        Self {
            named: false,
            matchers: Matchers::new(),
            offset: DurationValue::ZERO,
            at: None,
            extended: None,
            span: Span::default(),
        }
    }
}

impl VectorSelector {
    /// The metric name written before the braces; empty if there is none.
    pub fn name(&self) -> &str {
        let name = self.matchers.last().filter(|_| self.named);
        name.and_then(|matcher| matcher.value.as_str()).unwrap_or_default()
    }
}

impl BinaryExpr {
    /// From the left to the right operand.
    pub fn span(&self) -> Span {
        self.lhs.span().to(self.rhs.span())
    }
}

impl MatrixSelector {
    /// From the name to the last modifier.
    pub fn span(&self) -> Span {
        Span::new(self.selector.span.start, self.end)
    }
}

impl SubqueryExpr {
    /// From the inner expression to the last modifier.
    pub fn span(&self) -> Span {
        Span::new(self.expr.span().start, self.end)
    }
}

impl UnaryExpr {
    /// From the sign to the end of the operand.
    pub fn span(&self) -> Span {
        Span::new(self.start, self.expr.span().end)
    }
}

impl ExtendedRange {
    /// The modifier as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::Smoothed => "smoothed",
        }
    }
}
