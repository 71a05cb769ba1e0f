//! From the syntax tree to what is to be computed.
//!
//! The plan is typed (vectors and scalars are different trees), has no modifiers left to resolve (durations are
//! milliseconds, `@ start()` is a time), computes constants once, and marks what does not depend on the step, which
//! the executor then evaluates for one step only. Positions stay, for annotations.

mod build;
mod call;
mod duration;
mod scalar;
mod selector;

use std::sync::Arc;

pub use build::{PlanContext, plan};
pub(crate) use call::depends_on_evaluation_time;
pub(crate) use selector::has_matchers;
pub use selector::{RangeSelector, Selector};

use crate::exec::{Counted, Grid};
use crate::storage::LabelMatcher;
use crate::syntax::ast::{Expr, VectorMatching};
use crate::syntax::{AggregateOp, BinaryOp, Function, Span};

/// What a query asks for.
#[derive(Clone, Debug)]
pub enum Plan {
    /// One number per step.
    Scalar(ScalarPlan),
    /// An instant vector.
    Vector(VectorPlan),
    /// A range vector, shown as it is.
    Matrix(RangeSource),
    /// A string literal.
    String(String),
}

/// A number per step.
#[derive(Clone, Debug)]
pub enum ScalarPlan {
    /// The same at every step.
    Constant(f64),
    /// The evaluation time, in seconds.
    Time,
    /// An operator between two scalars; comparisons give 0 or 1.
    Binary { op: BinaryOp, lhs: Box<ScalarPlan>, rhs: Box<ScalarPlan> },
    /// `-x`
    Negate(Box<ScalarPlan>),
    /// `min_of` or `max_of`.
    MinMax { max: bool, lhs: Box<ScalarPlan>, rhs: Box<ScalarPlan> },
    /// `scalar(v)`: the only float of a vector, or NaN.
    FromVector(Box<VectorPlan>),
    /// Does not depend on the step.
    StepInvariant(Box<ScalarPlan>),
}

/// An instant vector per step.
#[derive(Clone, Debug)]
pub enum VectorPlan {
    /// The current samples of the matched series.
    Select(Arc<Selector>),
    /// `timestamp(selector)` and `start_timestamp(selector)`: times of the current samples.
    SelectTimes { selector: Arc<Selector>, start: bool },
    /// A function over windows of samples.
    Range(RangeCall),
    /// A function or operator applied to each sample by itself.
    Map(MapCall),
    /// `vector(s)`
    FromScalar(ScalarPlan),
    /// A date function without argument: of the evaluation time.
    DateOfTime(Function),
    /// An aggregation over series.
    Aggregate(Box<Aggregate>),
    /// An arithmetic or comparison operator between two vectors.
    Binary(Box<VectorBinary>),
    /// `and`, `or`, `unless`.
    Set(Box<SetOperation>),
    /// `histogram_quantile`, `histogram_quantiles`, `histogram_fraction`.
    Histogram(Box<HistogramCall>),
    /// `absent`, `absent_over_time`: one series where there is none.
    Absent(Box<Absent>),
    /// `sort` and its relatives.
    Sort(Box<Sort>),
    /// `label_replace` or `label_join`.
    Relabel(Box<Relabel>),
    /// `info`
    Info(Box<Info>),
    /// Does not depend on the step.
    StepInvariant(Box<VectorPlan>),
    /// No series.
    Nothing,
    /// Series computed elsewhere, by number; see [`crate::fragment`].
    Given(usize),
}

impl VectorPlan {
    /// Whether the series of a plan come from storage, each from one of it alone, and do not meet.
    pub fn is_apart(&self) -> bool {
        match self {
            Self::Select(_) | Self::SelectTimes { .. } => true,
            Self::Range(call) => {
                call.params.iter().all(ScalarPlan::needs_no_data)
                    && match &call.source {
                        RangeSource::Selector(_) => true,
                        RangeSource::Subquery(subquery) => subquery.input.is_apart(),
                    }
            }
            Self::Map(call) => {
                let apart = match &call.op {
                    MapOp::Function { params, .. } => params.iter().all(ScalarPlan::needs_no_data),
                    MapOp::Scalar { scalar, .. } => scalar.needs_no_data(),
                    MapOp::HistogramFunction(_) | MapOp::Timestamp | MapOp::Negate => true,
                };
                apart && call.input.is_apart()
            }
            Self::Relabel(relabel) => relabel.input.is_apart(),
            Self::StepInvariant(input) => input.is_apart(),
            Self::FromScalar(_)
            | Self::DateOfTime(_)
            | Self::Aggregate(_)
            | Self::Binary(_)
            | Self::Set(_)
            | Self::Histogram(_)
            | Self::Absent(_)
            | Self::Sort(_)
            | Self::Info(_)
            | Self::Nothing
            | Self::Given(_) => false,
        }
    }
}

/// Where windows of samples come from.
#[derive(Clone, Debug)]
pub enum RangeSource {
    /// Samples as stored.
    Selector(Arc<RangeSelector>),
    /// Values of an expression at times of its own.
    Subquery(Box<Subquery>),
}

/// An expression evaluated over a range of its own.
#[derive(Clone, Debug)]
pub struct Subquery {
    /// The expression.
    pub input: VectorPlan,
    /// Length of the window, milliseconds.
    pub range_ms: i64,
    /// Distance of the evaluation times, milliseconds.
    pub step_ms: i64,
    /// Shift into the past, milliseconds.
    pub offset_ms: i64,
    /// The time it is pinned to, milliseconds.
    pub at_ms: Option<i64>,
}

impl Subquery {
    /// The evaluation times inside an evaluation at `grid`.
    pub fn grid(&self, grid: &Grid) -> Grid {
        let first = self.at_ms.unwrap_or(grid.start_ms).saturating_sub(self.offset_ms);
        let last = self.at_ms.unwrap_or(grid.end_ms()).saturating_sub(self.offset_ms);
        let after = first.saturating_sub(self.range_ms);
        // The first multiple of the step after the window's open start; the division truncates, as in Go.
        let mut start_ms = self.step_ms.saturating_mul(after / self.step_ms);
        if start_ms <= after {
            start_ms = start_ms.saturating_add(self.step_ms);
        }
        Grid { counted: Counted::Not, ..Grid::range(start_ms, last, self.step_ms) }
    }
}

/// A function over windows.
#[derive(Clone, Debug)]
pub struct RangeCall {
    /// Which.
    pub func: Function,
    /// Over what.
    pub source: RangeSource,
    /// The scalar arguments, in order.
    pub params: Vec<ScalarPlan>,
    /// Where annotations point: the first argument.
    pub span: Span,
}

impl RangeCall {
    /// Whether another one gives the same values, of stored samples and wherever it stands.
    pub fn same_values(&self, other: &Self) -> bool {
        let (RangeSource::Selector(a), RangeSource::Selector(b)) = (&self.source, &other.source) else {
            return false;
        };
        let params = self.params.iter().zip(&other.params);
        self.func == other.func
            && a.range_ms == b.range_ms
            && a.selector.same_samples(&b.selector)
            && self.params.len() == other.params.len()
            && params.into_iter().all(|(a, b)| a.same_values(b))
    }
}

/// A function of single samples.
#[derive(Clone, Debug)]
pub struct MapCall {
    /// What to do.
    pub op: MapOp,
    /// With which samples.
    pub input: Box<VectorPlan>,
}

/// What to do with each sample.
#[derive(Clone, Debug)]
pub enum MapOp {
    /// A function of floats; histograms are dropped.
    Function { func: Function, params: Vec<ScalarPlan> },
    /// A function of histograms; floats are dropped.
    HistogramFunction(Function),
    /// `timestamp(expression)`: the evaluation time.
    Timestamp,
    /// `-v`
    Negate,
    /// An operator with a scalar on one side.
    Scalar { op: BinaryOp, scalar: ScalarPlan, scalar_on_left: bool, return_bool: bool, span: Span },
}

/// An aggregation.
#[derive(Clone, Debug)]
pub struct Aggregate {
    /// Which.
    pub op: AggregateOp,
    /// Over what.
    pub input: VectorPlan,
    /// `k` or the quantile.
    pub param: Option<ScalarPlan>,
    /// The label of `count_values`.
    pub value_label: Option<String>,
    /// Labels of the clause, sorted.
    pub grouping: Vec<String>,
    /// Whether they are those to drop.
    pub without: bool,
    /// Position of the whole.
    pub span: Span,
    /// Position of the input.
    pub input_span: Span,
    /// Position of the parameter.
    pub param_span: Span,
}

/// An operator between vectors.
#[derive(Clone, Debug)]
pub struct VectorBinary {
    /// Which.
    pub op: BinaryOp,
    /// Left operand.
    pub lhs: VectorPlan,
    /// Right operand.
    pub rhs: VectorPlan,
    /// Which series belong together.
    pub matching: VectorMatching,
    /// Whether a comparison gives 0 or 1.
    pub return_bool: bool,
    /// Position of the whole.
    pub span: Span,
}

/// A set operator.
#[derive(Clone, Debug)]
pub struct SetOperation {
    /// Which.
    pub op: BinaryOp,
    /// Left operand.
    pub lhs: VectorPlan,
    /// Right operand.
    pub rhs: VectorPlan,
    /// Which series belong together.
    pub matching: VectorMatching,
}

/// A function of whole histograms, classic or native.
#[derive(Clone, Debug)]
pub struct HistogramCall {
    /// What to compute.
    pub op: HistogramOp,
    /// The buckets or native histograms.
    pub input: VectorPlan,
    /// Position of the input.
    pub input_span: Span,
}

/// What to compute from a histogram.
#[derive(Clone, Debug)]
pub enum HistogramOp {
    /// One quantile.
    Quantile { quantile: ScalarPlan, span: Span },
    /// Several quantiles, told apart by a label.
    Quantiles { label: String, quantiles: Vec<(ScalarPlan, Span)> },
    /// The share of observations between two values.
    Fraction { lower: ScalarPlan, upper: ScalarPlan },
}

/// `absent` or `absent_over_time`.
#[derive(Clone, Debug)]
pub struct Absent {
    /// What may be absent; for `absent_over_time`, whether there is any sample.
    pub input: VectorPlan,
    /// Labels of the series that says so.
    pub labels: crate::labels::Labels,
    /// Whether the input's metric name is to be dropped at the end (`absent_over_time`).
    pub drop_name: bool,
}

/// An ordering of an instant vector.
#[derive(Clone, Debug)]
pub struct Sort {
    /// What to sort.
    pub input: VectorPlan,
    /// Labels to sort by; values if there are none.
    pub labels: Option<Vec<String>>,
    /// Largest first.
    pub descending: bool,
    /// Position of the whole.
    pub span: Span,
}

/// A change of labels.
#[derive(Clone, Debug)]
pub struct Relabel {
    /// Whose labels.
    pub input: VectorPlan,
    /// The label to set.
    pub target: String,
    /// To what.
    pub value: RelabelValue,
}

/// The new value of a label.
#[derive(Clone, Debug)]
pub enum RelabelValue {
    /// `label_replace`
    Replace { source: String, regex: crate::gostd::regexp::CapturingRegex, replacement: String },
    /// `label_join`
    Join { separator: String, sources: Vec<String> },
}

/// `info`: adds the labels of info metrics.
#[derive(Clone, Debug)]
pub struct Info {
    /// Whose labels.
    pub input: VectorPlan,
    /// Matchers of the second argument; `None` without one.
    pub matchers: Option<Vec<LabelMatcher>>,
    /// Offset of the first selector inside, milliseconds.
    pub offset_ms: i64,
    /// The time the first selector inside is pinned to, milliseconds.
    pub at_ms: Option<i64>,
}

/// Whether the expression is a plain selector, looking through parentheses.
fn as_selector(expr: &Expr) -> Option<&crate::syntax::ast::VectorSelector> {
    match expr.unwrap_parens() {
        Expr::Vector(selector) => Some(selector),
        _ => None,
    }
}
