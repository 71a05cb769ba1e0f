//! Queries: from text to a value, on the query pool.

use std::sync::Arc;
use std::time::Duration;

use gyre_promql::syntax::{Expr, parse_expr};
use gyre_promql::{CancelToken, QueryErrorKind};
use gyre_ring::{Replica, TenantId};
use tokio::time::Instant;

use super::blocks::{BlockTries, warning};
use super::{Answer, Evaluated, Node, QueryError, QueryRequest, QueryStats, QueryTimes};
use crate::query::limits::QueryLimits;
use crate::query::pool::PoolError;
use crate::query::storage::{Failed, RemoteAccess, ShardStorage};
use crate::replica::read::metrics::Retry;
use crate::replica::read::plan::ReadPlan;

/// Annotations of each kind that are written out; the API shows fewer and counts the rest.
const ANNOTATIONS_MAX: usize = 1000;

impl Node {
    /// Evaluates an expression.
    pub async fn query(
        &self,
        tenant: &TenantId,
        request: QueryRequest,
    ) -> Result<Answer<Evaluated>, QueryError> {
        if let QueryTimes::Range { start_ms, end_ms, .. } = request.times {
            self.query_limits(tenant).check_length(start_ms, end_ms).map_err(QueryError::BadData)?;
        }
        let timeout = milliseconds(request.options.timeout_ms);
        if timeout.is_zero() {
            return Err(QueryError::Timeout("query timed out in query execution".to_owned()));
        }
        let deadline = self.env.monotonic() + timeout;
        let mut avoid = Vec::new();
        let mut blocks = BlockTries::default();
        loop {
            let (result, failed) = self.try_query(tenant, &request, deadline, &avoid, &blocks).await;
            match failed {
                // Another replica has the same data.
                Some(Failed::Replica(replica)) if self.may_try_again(tenant, &avoid) => {
                    self.reader.metrics.retry(Retry::Lost);
                    avoid.push(replica);
                }
                Some(Failed::Block(failure)) => self.again_without(tenant, failure, &mut blocks).await?,
                Some(Failed::Replica(_)) => return result.map_err(QueryError::into_unavailable),
                None => return result,
            }
        }
    }

    fn query_limits(&self, tenant: &TenantId) -> QueryLimits {
        let limits = self.overrides.of(tenant);
        QueryLimits {
            series_max: limits.max_fetched_series_per_query,
            length_ms_max: limits.max_query_length_ms,
        }
    }

    /// Whether an expression needs no shard, so that it has an answer whoever is away. One that cannot be parsed needs
    /// none either: the engine says what is wrong with it.
    fn reads_nothing(&self, expr: &str) -> bool {
        parse_expr(expr, self.parser_options()).map_or(true, |expr| !has_selector(&expr))
    }

    /// Plans and evaluates. If a replica failed meanwhile, also which.
    async fn try_query(
        &self,
        tenant: &TenantId,
        request: &QueryRequest,
        deadline: Duration,
        avoid: &[Replica],
        tries: &BlockTries,
    ) -> (Result<Answer<Evaluated>, QueryError>, Option<Failed>) {
        let timeout = deadline.saturating_sub(self.env.monotonic());
        let (mut plan, mut blocks) = (ReadPlan::default(), None);
        if !self.reads_nothing(&request.expr) {
            let until = Instant::now() + timeout;
            match tokio::try_join!(self.plan(tenant, avoid), self.blocks(tenant, None, tries, until)) {
                Ok((planned, listed)) => {
                    plan = planned;
                    plan.warnings.extend(listed.warning);
                    blocks = listed.query;
                }
                Err(error) => return (Err(error), None),
            }
        }
        let lost = std::mem::take(&mut plan.warnings);
        let (engine, env) = (self.engine.clone(), self.env.clone());
        let asked = env.monotonic();
        let timeout = deadline.saturating_sub(asked);
        let remote = RemoteAccess { io: self.io.clone(), deadline: Instant::now() + timeout };
        let (shards, own) = (self.storage.shards.clone(), self.cluster.own().clone());
        let storage = ShardStorage::new(shards, own, plan, self.query_limits(tenant), remote);
        let storage = Arc::new(storage.with_blocks(blocks));
        let cancel = CancelToken::default();
        let QueryRequest { expr, times, options } = request.clone();
        let mut options = gyre_promql::QueryOptions {
            lookback_delta: options.lookback_ms.map(milliseconds),
            timeout: None,
            cancel: cancel.clone(),
            count_samples: options.count_samples,
        };
        let read = storage.clone();
        let query = move || {
            let begun = env.monotonic();
            let waiting = begun.saturating_sub(asked);
            options.timeout = Some(timeout.saturating_sub(waiting));
            let text = expr.as_str();
            let result = match times {
                QueryTimes::Instant { time_ms } => engine.instant(&*read, text, time_ms, &options),
                QueryTimes::Range { start_ms, end_ms, step_ms } => {
                    engine.range(&*read, text, start_ms, end_ms, step_ms, &options)
                }
            }?;
            let stats = QueryStats {
                waiting,
                running: env.monotonic().saturating_sub(begun),
                preparation: result.stats.preparation,
                evaluation: result.stats.evaluation,
                sorting: result.stats.sorting,
                samples_peak: result.stats.samples_peak,
                samples_per_step: result.stats.samples_per_step,
            };
            let (mut warnings, infos) = result.annotations.texts(&expr, ANNOTATIONS_MAX);
            warnings.extend(lost);
            warnings.extend(warning(&read.lost_blocks()));
            Ok(Answer { value: Evaluated { value: result.value, stats }, warnings, infos })
        };
        let result = self.queries.run(timeout, cancel, query).await.map_err(explain);
        let failed = result.as_ref().err().and_then(|_| storage.failed());
        (result, failed)
    }
}

/// Whether a series is selected anywhere in an expression.
fn has_selector(expr: &Expr) -> bool {
    matches!(expr, Expr::Vector(_) | Expr::Matrix(_)) || expr.children().any(has_selector)
}

fn milliseconds(ms: i64) -> Duration {
    Duration::from_millis(ms.max(0) as u64)
}

fn explain(error: PoolError) -> QueryError {
    match error {
        PoolError::Full => QueryError::TooManyRequests("too many outstanding requests".to_owned()),
        PoolError::Waited => QueryError::Timeout("query timed out in query queue".to_owned()),
        PoolError::Panicked => QueryError::Internal("the query failed unexpectedly; see the log".to_owned()),
        PoolError::Query(error) => {
            let mut text = error.to_string();
            if text.ends_with("(the limit on bytes per query)") {
                text.push_str("; raise it with --query.bytes-max");
            }
            match error.kind {
                QueryErrorKind::BadData => QueryError::Parse(text),
                QueryErrorKind::Execution => QueryError::Execution(text),
                QueryErrorKind::Timeout => QueryError::Timeout(text),
                QueryErrorKind::Canceled => QueryError::Canceled(text),
                _ => QueryError::Internal(text),
            }
        }
    }
}
