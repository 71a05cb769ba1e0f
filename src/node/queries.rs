//! Queries: from text to a value, on the query pool.

use std::time::Duration;

use gyre_promql::value::Value;
use gyre_promql::{CancelToken, QueryError as EngineError, QueryErrorKind, QueryResult};
use gyre_ring::TenantId;

use super::{Answer, InstantQuery, Node, QueryError, QueryOptions, RangeQuery};
use crate::query::pool::PoolError;
use crate::query::storage::ShardStorage;

/// Annotations of each kind that are written out; the API shows fewer and counts the rest.
const ANNOTATIONS_MAX: usize = 1000;

impl Node {
    /// Evaluates an expression at one time.
    pub async fn query(&self, tenant: &TenantId, query: InstantQuery) -> Result<Answer<Value>, QueryError> {
        let InstantQuery { expr, time_ms, options } = query;
        self.evaluate(tenant, expr, options, move |engine, storage, expr, options| {
            engine.instant(storage, expr, time_ms, options)
        })
        .await
    }

    /// Evaluates an expression at many times.
    pub async fn query_range(
        &self,
        tenant: &TenantId,
        query: RangeQuery,
    ) -> Result<Answer<Value>, QueryError> {
        let RangeQuery { expr, start_ms, end_ms, step_ms, options } = query;
        self.evaluate(tenant, expr, options, move |engine, storage, expr, options| {
            engine.range(storage, expr, start_ms, end_ms, step_ms, options)
        })
        .await
    }

    async fn evaluate(
        &self,
        tenant: &TenantId,
        expr: String,
        options: QueryOptions,
        run: impl FnOnce(
            &gyre_promql::Engine,
            &ShardStorage,
            &str,
            &gyre_promql::QueryOptions,
        ) -> Result<QueryResult, EngineError>
        + Send
        + 'static,
    ) -> Result<Answer<Value>, QueryError> {
        let shards = self.storage.shards.clone();
        let storage = ShardStorage::new(shards.clone(), shards.get(tenant));
        let cancel = CancelToken::default();
        let milliseconds = |ms: i64| Duration::from_millis(ms.max(0) as u64);
        let timeout = milliseconds(options.timeout_ms);
        let lookback_delta = options.lookback_ms.map(milliseconds);
        let options = gyre_promql::QueryOptions { lookback_delta, timeout: None, cancel: cancel.clone() };
        let engine = self.engine.clone();
        let query = move |rest| {
            let options = gyre_promql::QueryOptions { timeout: Some(rest), ..options };
            let result = run(&engine, &storage, &expr, &options)?;
            let (warnings, infos) = result.annotations.texts(&expr, ANNOTATIONS_MAX);
            Ok(Answer { value: result.value, warnings, infos })
        };
        self.queries.run(timeout, cancel, query).await.map_err(explain)
    }
}

fn explain(error: PoolError) -> QueryError {
    match error {
        PoolError::Full => QueryError::TooManyRequests("too many outstanding requests".to_owned()),
        PoolError::TimedOut => QueryError::Timeout("query timed out in query queue".to_owned()),
        PoolError::Panicked => QueryError::Internal("the query failed unexpectedly; see the log".to_owned()),
        PoolError::Query(error) => {
            let text = error.to_string();
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
