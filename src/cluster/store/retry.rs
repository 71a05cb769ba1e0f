//! Making a request again that failed in passing.
//!
//! Only for requests that may be made twice with the same result. What may go wrong: a store that is away for long; then
//! the last error is the answer, and whoever asked asks again later.

use std::time::Duration;

use super::bucket::Bucket;
use super::error::StoreError;

/// How often a request is made at most.
const ATTEMPTS: u32 = 5;

/// The pause before the second attempt, or less where answers are expected sooner; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

impl Bucket {
    /// Makes a request until it succeeds, or fails for good, or has failed five times.
    pub async fn retrying<T, F>(&self, mut request: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = FIRST_PAUSE.min(self.deadline / 4);
        for attempt in 1.. {
            match request().await {
                Err(error) if error.is_retryable() && attempt < ATTEMPTS => {
                    tracing::debug!(%error, attempt, "asking the object store again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                other => return other,
            }
        }
        unreachable!("the last attempt returns")
    }
}
