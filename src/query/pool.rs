//! Where queries are evaluated: away from the threads that serve HTTP and own shards, a bounded number at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Queries that run or wait.
    inflight: Arc<AtomicU64>,
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

/// Counts a query while it waits or runs, wherever that is.
struct Inflight(Arc<AtomicU64>);

impl Inflight {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Inflight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl QueryPool {
    /// A pool that runs so many at a time, and lets so many wait.
    pub fn new(running_max: usize, waiting_max: usize) -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        QueryPool {
            running: semaphore(running_max),
            waiting: semaphore(waiting_max),
            inflight: Arc::default(),
        }
    }

    /// How many queries run or wait at this moment. One whose client went away counts until it has stopped.
    pub fn inflight(&self) -> u64 {
        self.inflight.load(Ordering::Relaxed)
    }

    /// Runs a query unless it waits for longer than `patience`. Dropping the future cancels it.
    pub async fn run<T: Send + 'static>(
        &self,
        patience: Duration,
        cancel: CancelToken,
        query: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, PoolError> {
        let inflight = Inflight::new(&self.inflight);
        let waiting = self.waiting.clone().try_acquire_owned().map_err(|_| PoolError::Full)?;
        let turn = tokio::time::timeout(patience, self.running.clone().acquire_owned());
        let running = turn.await.map_err(|_| PoolError::Waited)?.map_err(|_| PoolError::Full)?;
        drop(waiting);
        let _cancel = CancelOnDrop(cancel);
        let (sender, receiver) = oneshot::channel();
        // A thread per query: they are few, start in some ten microseconds and need a deep stack.
        let run = move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(query));
            drop((running, inflight));
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

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::{Either, join, select};
    use std::pin::pin;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_query_waits_for_its_turn_as_long_as_it_may_and_only_so_many_wait() {
        actix_rt::System::new().block_on(async {
            let pool = QueryPool::new(1, 1);
            let (finish, finished) = mpsc::channel::<()>();
            let first = pool.run(LONG, CancelToken::default(), move || {
                // Until the sender is gone.
                let _ = finished.recv();
                Ok(1)
            });
            let others = async {
                let impatient = pool.run(Duration::from_millis(1), CancelToken::default(), || Ok(2)).await;
                assert!(matches!(impatient, Err(PoolError::Waited)), "{impatient:?}");
                let waiting = pin!(pool.run(LONG, CancelToken::default(), || Ok(3)));
                let refused = pin!(pool.run(LONG, CancelToken::default(), || Ok(4)));
                // The first of the two is polled first, and takes the only place there is to wait.
                match select(waiting, refused).await {
                    Either::Right((outcome, waiting)) => {
                        assert!(matches!(outcome, Err(PoolError::Full)), "{outcome:?}");
                        drop(finish);
                        assert!(matches!(waiting.await, Ok(3)));
                    }
                    Either::Left((outcome, _)) => panic!("not its turn: {outcome:?}"),
                }
            };
            let (first, ()) = join(first, others).await;
            assert!(matches!(first, Ok(1)));
        });
    }
}
