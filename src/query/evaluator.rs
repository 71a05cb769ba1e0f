//! Evaluates queries over what plans say, here or beside the data.
//!
//! A plan whose shards can all be read here, or only as chunks, is read by the engine as one storage. Where other nodes
//! have whole shards, the query is evaluated [in parts](super::parts).

use std::sync::Arc;
use std::time::Duration;

use gyre_promql::fragment::{Fragment, PartialResult, QueryTimes};
use gyre_promql::{CancelToken, Engine, QueryError as EngineError, QueryOptions, QueryResult};
use gyre_ring::Replica;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::limits::QueryLimits;
use super::parts::PartsFailed;
use super::places::Places;
use super::pool::{PoolError, QueryPool};
use super::storage::{Culprit, RemoteAccess, ShardStorage};
use crate::env::SharedEnv;
use crate::node::{Answer, Evaluated, QueryStats};
use crate::replica::read::metrics::{ReadMetrics, Retry};
use crate::replica::read::place::Held;
use crate::replica::read::plan::ReadPlan;
use crate::shard::read::TimeRange;
use crate::shard::supervisor::Shards;

/// Annotations of each kind that are written out; the API shows fewer and counts the rest.
const ANNOTATIONS_MAX: usize = 1000;

/// Evaluates queries of this node, and parts of those of others.
pub struct Evaluator {
    pub(super) engine: Engine,
    pool: QueryPool,
    shards: Arc<Shards>,
    own: Replica,
    /// The runtime of tasks that receive chunks.
    io: Handle,
    env: SharedEnv,
    pub(super) metrics: ReadMetrics,
}

/// A query to evaluate.
#[derive(Clone, Debug)]
pub struct Question {
    /// The expression.
    pub expr: String,
    /// When.
    pub times: QueryTimes,
    /// How far back to look for a sample, if not the default.
    pub lookback: Option<Duration>,
    /// Whether to count the samples that it looks at.
    pub count_samples: bool,
    /// What it may read.
    pub limits: QueryLimits,
    /// When to give up.
    pub deadline: Instant,
}

/// Why a query has no answer.
#[derive(Debug)]
pub struct Failed {
    /// What to say.
    pub error: PoolError,
    /// What failed it, if another plan can do better.
    pub culprit: Option<Culprit>,
}

/// What ran on the pool, and how long it took.
pub(super) struct Ran<T> {
    pub value: T,
    pub waiting: Duration,
    pub running: Duration,
}

impl Evaluator {
    /// Evaluates with this engine, so many at a time as the pool lets through.
    pub fn new(
        engine: Engine,
        pool: QueryPool,
        shards: Arc<Shards>,
        own: Replica,
        env: SharedEnv,
        metrics: ReadMetrics,
    ) -> Self {
        Evaluator { engine, pool, shards, own, io: Handle::current(), env, metrics }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Queries, and parts of queries, that run or wait.
    pub fn inflight(&self) -> u64 {
        self.pool.inflight()
    }

    /// Evaluates a query.
    pub async fn evaluate(
        &self,
        plan: ReadPlan,
        question: &Question,
    ) -> Result<Answer<Evaluated>, Box<Failed>> {
        // The samples of each step are counted where they are read, and are no part of partial results.
        if let Some(places) = Places::of(&plan).filter(|_| !question.count_samples)
            // Without a list of blocks it is checked series by series what may be missing.
            && plan.blocks.unlisted.is_none()
            // Blocks are read here, and merged with the heads of other nodes.
            && let Some(range) = self.range_of(question)
            && !plan.blocks.overlaps(range)
        {
            match self.in_parts(places, (&plan.blocks, range), question).await {
                Ok(answer) => return Ok(answer),
                Err(PartsFailed::Failed(failed)) => return Err(failed),
                Err(PartsFailed::Unusable) => self.metrics.retry(Retry::Parts),
            }
        }
        self.whole(plan, question).await
    }

    /// The range of time that a question may look at; `None` if it looks at no samples, or has none.
    fn range_of(&self, question: &Question) -> Option<TimeRange> {
        let options = QueryOptions { lookback_delta: question.lookback, ..QueryOptions::default() };
        let range = self.engine.data_range(&question.expr, question.times, &options);
        // What is wrong with it shows when it is evaluated.
        range.ok()?.map(|(min_ms, max_ms)| TimeRange { min_ms, max_ms })
    }

    /// Reads everything here.
    async fn whole(&self, plan: ReadPlan, question: &Question) -> Result<Answer<Evaluated>, Box<Failed>> {
        let storage = Arc::new(self.storage(plan, question.limits, question.deadline));
        let Question { expr, times, .. } = question.clone();
        let read = storage.clone();
        let query = move |engine: &Engine, options: &QueryOptions| {
            let result = match times {
                QueryTimes::Instant { time_ms } => engine.instant(&*read, expr.as_str(), time_ms, options),
                QueryTimes::Range { start_ms, end_ms, step_ms } => {
                    engine.range(&*read, expr.as_str(), start_ms, end_ms, step_ms, options)
                }
            }?;
            Ok(answer(result, &expr))
        };
        match self.run(question, query).await {
            Ok(Ran { value: mut answer, waiting, running }) => {
                (answer.value.stats.waiting, answer.value.stats.running) = (waiting, running);
                answer.warnings.extend(storage.block_warnings());
                Ok(answer)
            }
            Err(error) => Err(Box::new(Failed { error, culprit: storage.culprit() })),
        }
    }

    /// Evaluates parts of a query of another node, over data that is here: a result for each, and how many series were
    /// read, if there is a limit.
    pub async fn fragments(
        &self,
        plan: ReadPlan,
        fragments: Vec<Fragment>,
        limits: QueryLimits,
        bytes_max: u64,
        deadline: Instant,
    ) -> Result<(Vec<PartialResult>, u64), Failed> {
        let storage = Arc::new(self.storage(plan, limits, deadline));
        let held = Held::new(bytes_max.min(self.engine.options().bytes_max));
        let (read, count) = (storage.clone(), fragments.len() as u64);
        let work = move |engine: &Engine, options: &QueryOptions| {
            each(engine, &read, &fragments, options, deadline, &held)
        };
        let ran = self.run_until(deadline, None, false, work).await;
        match ran {
            Ok(ran) => {
                self.metrics.fragments(count);
                Ok((ran.value, storage.fetched()))
            }
            Err(error) => Err(Failed { error, culprit: storage.culprit() }),
        }
    }

    pub(super) fn storage(&self, plan: ReadPlan, limits: QueryLimits, deadline: Instant) -> ShardStorage {
        let remote = RemoteAccess { io: self.io.clone(), deadline };
        ShardStorage::new(self.shards.clone(), self.own.clone(), plan, limits, remote)
    }

    /// Runs a piece of a query on the pool. Dropping the future cancels it.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        question: &Question,
        work: impl FnOnce(&Engine, &QueryOptions) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<Ran<T>, PoolError> {
        self.run_until(question.deadline, question.lookback, question.count_samples, work).await
    }

    async fn run_until<T: Send + 'static>(
        &self,
        deadline: Instant,
        lookback_delta: Option<Duration>,
        count_samples: bool,
        work: impl FnOnce(&Engine, &QueryOptions) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<Ran<T>, PoolError> {
        let (engine, env, cancel) = (self.engine.clone(), self.env.clone(), CancelToken::default());
        let asked = env.monotonic();
        let token = cancel.clone();
        let work = move || {
            let begun = env.monotonic();
            let options =
                QueryOptions { lookback_delta, timeout: left(deadline), cancel: token, count_samples };
            let value = work(&engine, &options)?;
            let (waiting, ended) = (begun.saturating_sub(asked), env.monotonic());
            Ok(Ran { value, waiting, running: ended.saturating_sub(begun) })
        };
        self.pool.run(deadline.saturating_duration_since(Instant::now()), cancel, work).await
    }
}

fn left(deadline: Instant) -> Option<Duration> {
    Some(deadline.saturating_duration_since(Instant::now()))
}

/// The results of fragments, one after the other.
pub(super) fn each(
    engine: &Engine,
    storage: &ShardStorage,
    fragments: &[Fragment],
    options: &QueryOptions,
    deadline: Instant,
    held: &Held,
) -> Result<Vec<PartialResult>, EngineError> {
    let one = |fragment| {
        let options = QueryOptions { timeout: left(deadline), ..options.clone() };
        let result = engine.evaluate_fragment(storage, fragment, &options)?;
        held.add(result.as_bytes().len() as u64)?;
        Ok(result)
    };
    fragments.iter().map(one).collect()
}

/// A result, but for the times that only its caller knows.
pub(super) fn answer(result: QueryResult, expr: &str) -> Answer<Evaluated> {
    let (warnings, infos) = result.annotations.texts(expr, ANNOTATIONS_MAX);
    let stats = QueryStats {
        preparation: result.stats.preparation,
        evaluation: result.stats.evaluation,
        sorting: result.stats.sorting,
        samples_peak: result.stats.samples_peak,
        samples_per_step: result.stats.samples_per_step,
        ..QueryStats::default()
    };
    Answer { value: Evaluated { value: result.value, stats }, warnings, infos }
}
