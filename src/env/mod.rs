//! Where time and randomness come from. Production asks the operating system; a simulation gives its own, so
//! that a run is a function of its seed. The disk's trait lives with the storage engine: [`gyre_tsdb::disk`].

mod crash_point;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use crash_point::crash_point;

/// Clocks and randomness.
pub trait Env: Send + Sync {
    /// Wall-clock time in milliseconds since 1970.
    fn now_ms(&self) -> i64;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// A number that nobody can guess.
    fn random(&self) -> u128;
}

/// A shared environment.
pub type SharedEnv = Arc<dyn Env>;

/// The operating system's.
pub struct OsEnv {
    start: Instant,
}

impl OsEnv {
    /// The environment of a real process.
    pub fn shared() -> SharedEnv {
        Arc::new(OsEnv { start: Instant::now() })
    }
}

impl Env for OsEnv {
    fn now_ms(&self) -> i64 {
        // Before 1970 the clock is wrong anyway; 0 makes every sample "in the future" and says so.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random numbers");
        u128::from_ne_bytes(bytes)
    }
}
