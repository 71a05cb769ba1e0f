//! Where queries are evaluated: away from the threads that serve HTTP and own shards, a bounded number at a time.

use std::sync::Arc;
use std::time::Duration;

use gyre_promql::{CancelToken, QueryError as EngineError};
use tokio::sync::{Semaphore, oneshot};

/// Bytes of a query thread's stack: expressions may be nested.
const STACK_BYTES: usize = 8 << 20;

/// Runs queries.
pub struct QueryPool {
    /// Queries that run; the others wait their turn.
    running: Arc<Semaphore>,
    /// Queries that may wait.
    waiting: Arc<Semaphore>,
}

/// Why a query was not run to its end.
#[derive(Debug)]
pub enum PoolError {
    /// Too many are waiting already.
    Full,
    /// It was not its turn in time.
    Waited,
    /// It panicked.
    Panicked,
    /// The engine says no.
    Query(EngineError),
}

/// Cancels the query when whoever waits for it goes away.
struct CancelOnDrop(CancelToken);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl QueryPool {
    /// A pool that runs so many at a time, and lets so many wait.
    pub fn new(running_max: usize, waiting_max: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        QueryPool { running: semaphore(running_max), waiting: semaphore(waiting_max) }
    }

    /// Runs a query unless it waits for longer than `patience`. Dropping the future cancels it.
    pub async fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        cancel: CancelToken,
        query: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, PoolError> {
        let waiting = self.waiting.clone().try_acquire_owned().map_err(|_| PoolError::Full)?;
        let turn = tokio::time::timeout(patience, self.running.clone().acquire_owned());
        let running = turn.await.map_err(|_| PoolError::Waited)?.map_err(|_| PoolError::Full)?;
        drop(waiting);
        let _cancel = CancelOnDrop(cancel);
        let (sender, receiver) = oneshot::channel();
        // A thread per query: they are few, start in some ten microseconds and need a deep stack.
        let run = move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(query));
            drop(running);
            // Nobody waits any more: nothing to do.
            let _ = sender.send(result);
        };
        let thread = std::thread::Builder::new().name("query".into()).stack_size(STACK_BYTES).spawn(run);
        if let Err(error) = thread {
            tracing::warn!(%error, "cannot start a thread for a query");
            return Err(PoolError::Full);
        }
        match receiver.await {
            Ok(Ok(result)) => result.map_err(PoolError::Query),
            Ok(Err(_)) | Err(_) => {
                tracing::error!("a query panicked");
                Err(PoolError::Panicked)
            }
        }
    }
}
