//! The engine: queries in, results out.

mod error;
mod limits;
mod workers;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use error::{QueryError, QueryErrorKind};
pub use limits::CancelToken;
pub(crate) use limits::{Pace, Tracker};
pub use workers::{ScopedThreads, Serial, Workers};

use crate::annotations::Annotations;
use crate::exec::{Context, Executor, Grid, SampleCounts};
use crate::plan::{Plan, PlanContext, plan};
use crate::storage::Storage;
use crate::syntax::{Expr, ParserOptions, ValueType, parse_expr};
use crate::value::Value;

/// Settings of an engine, named like Prometheus's where it has them.
#[derive(Clone)]
pub struct EngineOptions {
    /// What the parser accepts.
    pub parser: ParserOptions,
    /// `--query.lookback-delta`: how old the current sample of a series may be.
    pub lookback_delta: Duration,
    /// `--query.max-samples`: how many samples a query may hold at once.
    pub samples_max: u64,
    /// How many bytes a query may hold at once.
    pub bytes_max: u64,
    /// `--query.timeout`
    pub timeout: Duration,
    /// Step of subqueries that name none (Prometheus: the evaluation interval of rules).
    pub default_subquery_step: Duration,
    /// `--enable-feature=promql-delayed-name-removal`
    pub delayed_name_removal: bool,
    /// `--enable-feature=type-and-unit-labels`
    pub type_and_unit_labels: bool,
    /// `--enable-feature=use-start-timestamps`
    pub use_start_timestamps: bool,
    /// Who computes.
    pub workers: Arc<dyn Workers>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            parser: ParserOptions::default(),
            lookback_delta: Duration::from_secs(5 * 60),
            samples_max: 50_000_000,
            bytes_max: 2 << 30,
            timeout: Duration::from_secs(2 * 60),
            default_subquery_step: Duration::from_secs(60),
            delayed_name_removal: false,
            type_and_unit_labels: false,
            use_start_timestamps: false,
            workers: Arc::new(Serial),
        }
    }
}

/// What one query may override.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// Instead of the engine's.
    pub lookback_delta: Option<Duration>,
    /// At most the engine's.
    pub timeout: Option<Duration>,
    /// Ends the query early.
    pub cancel: CancelToken,
    /// Count the samples that each step looks at.
    pub count_samples: bool,
}

/// A query to evaluate: text, or a tree already parsed.
#[derive(Clone, Copy, Debug)]
pub enum Query<'a> {
    /// As typed.
    Text(&'a str),
    /// Parsed; the text is needed for positions.
    Parsed(&'a Expr, &'a str),
}

impl<'a> From<&'a str> for Query<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

/// The result of a query.
#[derive(Clone, Debug)]
pub struct QueryResult {
    /// What it evaluates to.
    pub value: Value,
    /// What the user should know.
    pub annotations: Annotations,
    /// What it took.
    pub stats: QueryStats,
}

/// What a query took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Series read from storage.
    pub series_read: u64,
    /// Samples read from storage.
    pub samples_read: u64,
    /// Most samples held at once.
    pub samples_peak: u64,
    /// Most bytes held at once.
    pub bytes_peak: u64,
    /// Samples that each step looked at, as Prometheus counts them; empty unless asked for.
    pub samples_per_step: Vec<u64>,
    /// Time for parsing and planning.
    pub preparation: Duration,
    /// Time for everything after that but sorting the result.
    pub evaluation: Duration,
    /// Time for sorting the result.
    pub sorting: Duration,
}

/// When a query is evaluated.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub grid: Grid,
    /// As asked for; the last evaluation may be earlier.
    end_ms: i64,
    pub is_range: bool,
}

impl Times {
    pub fn instant(time_ms: i64) -> Self {
        Self { grid: Grid::instant(time_ms), end_ms: time_ms, is_range: false }
    }

    pub fn range(start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Self, QueryError> {
        if step_ms <= 0 {
            return Err(QueryError::bad_data(
                "zero or negative query resolution step widths are not accepted".into(),
            ));
        }
        Ok(Self { grid: Grid::range(start_ms, end_ms, step_ms), end_ms, is_range: true })
    }

    /// The plan of an expression at these times.
    pub fn plan(&self, expr: &Expr, default_subquery_step_ms: i64) -> Result<Plan, QueryError> {
        let value_type = expr.value_type();
        if self.is_range && matches!(value_type, ValueType::Matrix | ValueType::String) {
            return Err(QueryError::bad_data(format!(
                "invalid expression type \"{}\" for range query, must be Scalar or instant Vector",
                value_type.documented()
            )));
        }
        let context = PlanContext {
            start_ms: self.grid.start_ms,
            end_ms: self.end_ms,
            step_ms: if self.is_range { self.grid.step_ms } else { 0 },
            default_subquery_step_ms,
        };
        plan(expr, &context)
    }
}

/// A duration as the engine counts time.
pub(crate) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl EngineOptions {
    /// Fails if the parser does.
    pub(crate) fn parser_accepts(&self, query: &str) -> Result<(), QueryError> {
        parse_expr(query, &self.parser)?;
        Ok(())
    }
}

/// Evaluates queries. Cheap to clone, usable from several threads.
#[derive(Clone)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    /// An engine with these settings.
    pub fn new(options: EngineOptions) -> Self {
        Self { options }
    }

    /// The settings.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Evaluates at one time.
    pub fn instant<'a>(
        &self,
        storage: &dyn Storage,
        query: impl Into<Query<'a>>,
        time_ms: i64,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        self.evaluate(storage, query.into(), Times::instant(time_ms), options)
    }

    /// Evaluates at `start_ms`, `start_ms + step_ms`, ... up to `end_ms`.
    pub fn range<'a>(
        &self,
        storage: &dyn Storage,
        query: impl Into<Query<'a>>,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let times = Times::range(start_ms, end_ms, step_ms)?;
        self.evaluate(storage, query.into(), times, options)
    }

    fn evaluate(
        &self,
        storage: &dyn Storage,
        query: Query<'_>,
        times: Times,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let begun = Instant::now();
        let parsed;
        let expr = match query {
            Query::Text(text) => {
                parsed = parse_expr(text, &self.options.parser)?;
                &parsed
            }
            Query::Parsed(expr, _) => expr,
        };
        let plan = times.plan(expr, milliseconds(self.options.default_subquery_step))?;
        let mut tracker = self.tracker(options);
        tracker.counts = options.count_samples.then(|| SampleCounts::new(times.grid.steps));
        tracker.check()?;
        let lookback_ms = milliseconds(options.lookback_delta.unwrap_or(self.options.lookback_delta));
        let mut executor = Executor::new(storage, &self.options, &tracker, lookback_ms);
        executor.share_scans(&plan, times.grid);
        let preparation = begun.elapsed();
        let (value, annotations) = executor.run(&plan, times.grid, times.is_range, Context::default())?;
        let mut stats = tracker.stats();
        stats.preparation = preparation;
        stats.evaluation = begun.elapsed().saturating_sub(preparation + stats.sorting);
        Ok(QueryResult { value, annotations, stats })
    }

    /// Watches limits and time of a query that begins now.
    pub(crate) fn tracker(&self, options: &QueryOptions) -> Tracker {
        let timeout =
            options.timeout.map_or(self.options.timeout, |timeout| timeout.min(self.options.timeout));
        Tracker::new(
            self.options.samples_max,
            self.options.bytes_max,
            Instant::now().checked_add(timeout),
            options.cancel.clone(),
        )
    }
}
