//! A tenant's ingestion rate, as a token bucket.
//!
//! Time is passed in, as nanoseconds of any monotonic clock, so that tests and simulation decide what time it is.

use std::sync::{Mutex, PoisonError};

/// Tokens refill at `rate` a second up to `burst`; a request takes all its tokens or none.
#[derive(Debug)]
pub struct TokenBucket {
    rate: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: f64,
    refilled_at_ns: u64,
}

impl TokenBucket {
    /// A full bucket. A rate of 0 admits everything.
    pub fn new(rate: f64, burst: u64) -> Self {
        let burst = burst as f64;
        Self { rate, burst, state: Mutex::new(State { tokens: burst, refilled_at_ns: 0 }) }
    }

    /// Tokens a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes `tokens` if they are there. A clock that goes back refills nothing and takes nothing away.
    pub fn try_take(&self, tokens: u64, now_ns: u64) -> bool {
        if self.rate == 0.0 {
            return true;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed_ns = now_ns.saturating_sub(state.refilled_at_ns);
        state.tokens = (state.tokens + elapsed_ns as f64 / 1e9 * self.rate).min(self.burst);
        state.refilled_at_ns = state.refilled_at_ns.max(now_ns);
        let tokens = tokens as f64;
        if tokens > state.tokens {
            return false;
        }
        state.tokens -= tokens;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let bucket = TokenBucket::new(100.0, 250);
        assert!(bucket.try_take(200, SECOND));
        assert!(!bucket.try_take(51, SECOND), "50 are left");
        assert!(bucket.try_take(50, SECOND));
        assert!(!bucket.try_take(100, SECOND + SECOND / 2), "only 50 have refilled");
        assert!(bucket.try_take(100, 2 * SECOND));
    }

    #[test]
    fn a_refused_request_takes_nothing() {
        let bucket = TokenBucket::new(1.0, 10);
        assert!(!bucket.try_take(11, 0));
        assert!(bucket.try_take(10, 0));
    }

    #[test]
    fn the_bucket_never_holds_more_than_the_burst() {
        let bucket = TokenBucket::new(1000.0, 10);
        assert!(!bucket.try_take(11, 3600 * SECOND));
        assert!(bucket.try_take(10, 3600 * SECOND));
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_tokens_twice() {
        let bucket = TokenBucket::new(10.0, 10);
        assert!(bucket.try_take(10, 5 * SECOND));
        assert!(!bucket.try_take(1, 4 * SECOND));
        assert!(!bucket.try_take(1, 5 * SECOND));
        assert!(bucket.try_take(10, 6 * SECOND));
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let bucket = TokenBucket::new(0.0, 1);
        assert!(bucket.try_take(u64::MAX, 0));
    }
}
