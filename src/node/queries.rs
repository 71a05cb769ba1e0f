//! Queries: from a request to an answer, planned again once if a replica fails meanwhile.

use std::time::Duration;

use gyre_promql::QueryErrorKind;
use gyre_promql::syntax::{Expr, parse_expr};
use gyre_ring::{Replica, TenantId};
use tokio::time::Instant;

use super::blocks::BlockTries;
use super::{Answer, Evaluated, Node, QueryError, QueryRequest, QueryTimes};
use crate::query::evaluator::{Failed, Question};
use crate::query::limits::QueryLimits;
use crate::query::pool::PoolError;
use crate::query::storage::Culprit;
use crate::replica::read::metrics::Retry;
use crate::replica::read::plan::ReadPlan;

impl Node {
    /// Evaluates an expression.
    pub async fn query(
        &self,
        tenant: &TenantId,
        request: QueryRequest,
    ) -> Result<Answer<Evaluated>, QueryError> {
        let limits = self.query_limits(tenant);
        if let QueryTimes::Range { start_ms, end_ms, .. } = request.times {
            limits.check_length(start_ms, end_ms).map_err(QueryError::BadData)?;
        }
        let timeout = milliseconds(request.options.timeout_ms);
        if timeout.is_zero() {
            return Err(QueryError::Timeout("query timed out in query execution".to_owned()));
        }
        let QueryRequest { expr, times, options } = request;
        let question = Question {
            expr,
            times,
            lookback: options.lookback_ms.map(milliseconds),
            count_samples: options.count_samples,
            limits,
            deadline: Instant::now() + timeout,
        };
        // Before it is looked which blocks there are: what is dropped from here on waits for this.
        let _pin = self.storage.shards.pins.pin();
        let mut avoid = Vec::new();
        let mut blocks = BlockTries::default();
        loop {
            let plan = if self.reads_nothing(&question.expr) {
                ReadPlan::default()
            } else {
                self.plan_with_blocks(tenant, &avoid, &blocks, question.deadline).await?
            };
            let lost = plan.warnings.clone();
            match self.evaluator.evaluate(plan, &question).await {
                Ok(mut answer) => {
                    answer.warnings.extend(lost);
                    return Ok(answer);
                }
                Err(failed) => match *failed {
                    // Another replica has the same data.
                    Failed { culprit: Some(Culprit::Replica(replica)), .. }
                        if self.may_try_again(tenant, &avoid) =>
                    {
                        self.reader.metrics.retry(Retry::Lost);
                        avoid.push(replica);
                    }
                    Failed { culprit: Some(Culprit::Block(failure)), .. } => {
                        self.again_without(tenant, failure, &mut blocks).await?;
                    }
                    Failed { culprit: Some(Culprit::List(unlisted)), .. } => {
                        self.again_with_newer_list(tenant, unlisted, &mut blocks).await?;
                    }
                    Failed { error, culprit: Some(_) } => return Err(explain(error).into_unavailable()),
                    Failed { error, culprit: None } => return Err(explain(error)),
                },
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

    /// A plan for a tenant's data, blocks included.
    async fn plan_with_blocks(
        &self,
        tenant: &TenantId,
        avoid: &[Replica],
        tries: &BlockTries,
        until: Instant,
    ) -> Result<ReadPlan, QueryError> {
        let listed = self.blocks(tenant, None, tries, until);
        let (mut plan, mut listed) = tokio::try_join!(self.plan(tenant, avoid), listed)?;
        while listed.closing.at < plan.closing.at {
            // The plan leaves out what was closed meanwhile, and the list may be from before.
            listed = self.blocks(tenant, None, tries, until).await?;
        }
        plan.warnings.extend(listed.warning);
        plan.blocks = listed.blocks;
        Ok(plan)
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
