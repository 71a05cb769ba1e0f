//! What series are pushed through.
//!
//! A [`Pipeline`] is a source of series and the stages each series passes. [`drive`](super::drive) runs it: workers take
//! batches from the source, push each series through all stages and into a sink of their own. The caller merges the
//! sinks.

use super::count::SampleCounts;
use super::grid::{Counted, Grid};
use super::row::Row;
use super::rows::{Rows, SeriesRow};
use crate::annotations::Annotations;
use crate::engine::{Pace, QueryError, Tracker};
use crate::plan::{RangeCall, Selector};
use crate::storage::{LabelMatcher, SampleBuffer, SelectHints};
use crate::syntax::Span;

/// What a worker has to itself.
pub(crate) struct Worker<'t> {
    pub tracker: &'t Tracker,
    /// Stops long loops.
    pub pace: Pace<'t>,
    pub annotations: Annotations,
    /// For decoded samples.
    pub buffer: SampleBuffer,
    /// For a stage that makes a new row of the old one.
    pub spare: Row,
    /// Where to count the samples that are looked at, if anybody asks.
    pub counts: Option<&'t SampleCounts>,
    /// Hashes of the label sets that passed each guard.
    pub(super) guards: Vec<Vec<u128>>,
    /// A series lost more than its metric name by [`Step::DropOneName`].
    pub(super) saw_type_or_unit: bool,
}

impl<'t> Worker<'t> {
    pub(super) fn new(tracker: &'t Tracker, counts: Option<&'t SampleCounts>, guards: usize) -> Self {
        Self {
            tracker,
            counts,
            pace: Pace::new(tracker),
            annotations: Annotations::default(),
            buffer: SampleBuffer::default(),
            spare: Row::default(),
            guards: vec![Vec::new(); guards],
            saw_type_or_unit: false,
        }
    }
}

/// Turns the samples of a series into its row.
pub(crate) trait Reader: Sync {
    /// The times samples are needed for, milliseconds, both included.
    fn time_range_ms(&self) -> (i64, i64);

    /// Fills `series.row` (its labels are set) from `worker.buffer`.
    fn read(&self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError>;

    /// Adds how many samples each step looked at to `counts`, behind [`Reader::read`].
    fn count(&self, row: &Row, _buffer: &SampleBuffer, counts: &mut [u64]) {
        super::count::add_values(row, counts);
    }
}

/// Changes a series on its way. A series without values is not passed on.
pub(crate) trait Stage: Sync {
    fn apply(&self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError>;

    /// Whether it looks at the series' labels.
    fn sees_labels(&self) -> bool {
        true
    }
}

/// Takes series in.
pub(crate) trait Sink: Send {
    /// May take the row out of `series`.
    fn consume(&mut self, series: &mut SeriesRow, worker: &mut Worker<'_>) -> Result<(), QueryError>;

    /// Whether a metric name makes a difference to it.
    fn sees_metric_name(&self) -> bool {
        true
    }
}

/// Where a pipeline's series come from.
pub(crate) enum Source<'p> {
    Scan(Scan<'p>),
    Rows(Rows<'p>),
}

/// Series of a storage, and how to make rows of them.
pub(crate) struct Scan<'p> {
    pub matchers: &'p [LabelMatcher],
    pub hints: SelectHints<'p>,
    pub reader: Box<dyn Reader + 'p>,
    /// Which steps of the query the samples count for.
    pub counted: Counted,
    /// What the reader computes, to be told apart from others.
    pub computes: Option<Computes<'p>>,
}

/// What a row is made of samples by: two readers that compute the same need do it only once.
#[derive(Clone, Copy)]
pub(crate) enum Computes<'p> {
    Current(&'p Selector, Grid),
    Range(&'p RangeCall, Grid),
}

impl Computes<'_> {
    /// Whether the rows are the same, of the same series.
    pub fn same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Current(a, grid), Self::Current(b, other)) => grid == other && a.same_samples(b),
            (Self::Range(a, grid), Self::Range(b, other)) => grid == other && a.same_values(b),
            _ => false,
        }
    }

    /// Where annotations of the rows point.
    pub fn span(self) -> Span {
        match self {
            Self::Current(selector, _) => selector.span,
            Self::Range(call, _) => call.span,
        }
    }
}

pub(super) enum Step<'p> {
    Stage(Box<dyn Stage + 'p>),
    /// Label sets must be unique from here on.
    Guard(usize),
    /// Drops the metric name of series that all have the same one, and so stay unique.
    DropOneName,
}

/// A source and what happens to each series.
pub(crate) struct Pipeline<'p> {
    pub(super) source: Source<'p>,
    pub(super) steps: Vec<Step<'p>>,
    pub(super) guards: Vec<Guard>,
    /// The operator that drops a name by [`Step::DropOneName`].
    pub(super) drops_one_name: Option<usize>,
}

/// What to do if an operator gave two series the same labels.
#[derive(Clone, Copy)]
pub(crate) enum Guard {
    /// Fail.
    Fail,
    /// Evaluate again, holding the output of this operator (identified by its plan's address) and merging.
    Merge(usize),
}

/// Why a pipeline did not finish.
pub(crate) enum Failure {
    Query(QueryError),
    /// The guard of this operator was tripped.
    Duplicates(usize),
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

impl<'p> Pipeline<'p> {
    pub fn new(source: Source<'p>) -> Self {
        Self { source, steps: Vec::new(), guards: Vec::new(), drops_one_name: None }
    }

    pub fn rows(rows: Rows<'p>) -> Self {
        Self::new(Source::Rows(rows))
    }

    pub fn then(mut self, stage: impl Stage + 'p) -> Self {
        self.steps.push(Step::Stage(Box::new(stage)));
        self
    }

    /// Drops the metric name, which is the same for all series. If one has a type or unit beside it, which go with the
    /// name, that may make two series the same, and the pipeline fails with the operator's duplicates.
    pub fn dropping_one_name(mut self, operator: usize) -> Self {
        self.steps.push(Step::DropOneName);
        self.drops_one_name = Some(operator);
        self
    }

    pub fn guarded(mut self, guard: Guard) -> Self {
        self.steps.push(Step::Guard(self.guards.len()));
        self.guards.push(guard);
        self
    }
}
