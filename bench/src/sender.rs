//! Sends a stream to a server over one connection a lane and times each request.
//!
//! Each lane is in time order, but lanes run apart; a gate keeps them within a few steps of each other, as a real
//! sender's shards are, so that no server sees samples as too old. A 429 or 5xx is tried again after a pause, as
//! Prometheus does; any other refusal ends the run, since the stream is valid.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::http::Connection;
use crate::server::Server;
use crate::stream::{Lane, Request, Stream};

/// Steps by which a lane may be ahead of the slowest one.
const STEPS_AHEAD_MAX: u32 = 4;
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const RETRIES_MAX: usize = 600;
/// Longest that sending one part of a stream may take.
const SEND_LIMIT: Duration = Duration::from_secs(1_800);

/// Which part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The measured one.
    Main,
    /// The few requests before the kill.
    Tail,
    /// The measured one's steps before this.
    Before(u32),
    /// The measured one's steps from this on.
    From(u32),
}

/// What sending took.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Acknowledged samples.
    pub samples: u64,
    /// From the first request to the last answer.
    pub wall: Duration,
    /// Time from a request's first byte to its answer, sorted.
    pub latencies: Vec<Duration>,
    /// Requests sent again after a 429 or 5xx.
    pub retries: usize,
}

impl Sent {
    /// The latency that this share of requests does not exceed.
    pub fn latency_quantile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let place = (share * last as f64).ceil() as usize;
        self.latencies.get(place.min(last)).copied().unwrap_or_default()
    }
}

/// Sends one part of the stream and waits for all answers.
pub fn send(stream: &Stream, server: &Server, part: Part) -> Result<Sent> {
    let gate = Gate::new(stream.lanes.len());
    let started = Instant::now();
    let outcomes: Vec<Result<LaneSent>> = thread::scope(|scope| {
        let lanes: Vec<_> = stream
            .lanes
            .iter()
            .enumerate()
            .map(|(index, lane)| {
                let gate = &gate;
                scope.spawn(move || {
                    let outcome = send_lane(stream, server, requests_of(lane, part), |step| {
                        gate.enter(index, step, started + SEND_LIMIT)
                    });
                    gate.leave(index);
                    outcome
                })
            })
            .collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().unwrap_or_else(|_| Err(Error::server("sender", "a lane panicked"))))
            .collect()
    });
    let wall = started.elapsed();
    let mut sent = Sent { samples: 0, wall, latencies: Vec::new(), retries: 0 };
    for outcome in outcomes {
        let lane = outcome.map_err(|error| match server.check_running() {
            Ok(()) => error,
            Err(ended) => ended,
        })?;
        sent.samples += lane.samples;
        sent.retries += lane.retries;
        sent.latencies.extend(lane.latencies);
    }
    sent.latencies.sort_unstable();
    Ok(sent)
}

fn requests_of(lane: &Lane, part: Part) -> &[Request] {
    // A lane's steps never go back.
    let place_of = |step| lane.main.partition_point(|request| request.step < step);
    match part {
        Part::Main => &lane.main,
        Part::Tail => &lane.tail,
        Part::Before(step) => &lane.main[..place_of(step)],
        Part::From(step) => &lane.main[place_of(step)..],
    }
}

#[derive(Debug, Default)]
struct LaneSent {
    samples: u64,
    latencies: Vec<Duration>,
    retries: usize,
}

fn send_lane(
    stream: &Stream,
    server: &Server,
    requests: &[Request],
    enter_step: impl Fn(u32) -> Result<()>,
) -> Result<LaneSent> {
    let mut connection = server.connect();
    let mut body = Vec::new();
    let mut sent = LaneSent { latencies: Vec::with_capacity(requests.len()), ..LaneSent::default() };
    for request in requests {
        stream.read(*request, &mut body)?;
        enter_step(request.step)?;
        let begun = Instant::now();
        sent.retries += write_once(&mut connection, server.product.write_path(), &body)?;
        sent.latencies.push(begun.elapsed());
        sent.samples += u64::from(request.samples);
    }
    Ok(sent)
}

/// Sends until acknowledged; the number of retries.
fn write_once(connection: &mut Connection, path: &str, body: &[u8]) -> Result<usize> {
    for retries in 0..=RETRIES_MAX {
        let answer = connection.post_remote_write(path, body)?;
        if answer.status == 429 || answer.status >= 500 {
            if retries == RETRIES_MAX {
                answer.into_text()?;
            }
            thread::sleep(RETRY_PAUSE);
            continue;
        }
        answer.into_text()?;
        return Ok(retries);
    }
    unreachable!("the last round returns or fails")
}

/// Keeps lanes within [`STEPS_AHEAD_MAX`] of the slowest that is still sending.
#[derive(Debug)]
struct Gate {
    /// Step that each lane is at; `u32::MAX` once it has left.
    steps: Mutex<Vec<u32>>,
    moved: Condvar,
}

impl Gate {
    fn new(lanes: usize) -> Gate {
        Gate { steps: Mutex::new(vec![0; lanes]), moved: Condvar::new() }
    }

    fn enter(&self, lane: usize, step: u32, give_up: Instant) -> Result<()> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        if steps[lane] != step {
            steps[lane] = step;
            self.moved.notify_all();
        }
        loop {
            let slowest = steps.iter().copied().min().unwrap_or(step);
            let now = Instant::now();
            if now >= give_up {
                return Err(Error::server("sender", format!("not done after {SEND_LIMIT:?}")));
            }
            if step <= slowest.saturating_add(STEPS_AHEAD_MAX) {
                return Ok(());
            }
            let waited = self.moved.wait_timeout(steps, give_up - now);
            steps = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn leave(&self, lane: usize) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps[lane] = u32::MAX;
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_latencies_are_those_of_the_sorted_list() {
        let latencies = (1..=100).map(Duration::from_millis).collect();
        let sent = Sent { samples: 0, wall: Duration::ZERO, latencies, retries: 0 };
        assert_eq!(sent.latency_quantile(0.5), Duration::from_millis(51));
        assert_eq!(sent.latency_quantile(0.99), Duration::from_millis(100));
        let none = Sent { latencies: Vec::new(), ..sent };
        assert_eq!(none.latency_quantile(0.99), Duration::ZERO);
    }

    #[test]
    fn a_lane_far_ahead_waits_until_the_slowest_moves_or_leaves() {
        let gate = Gate::new(2);
        let soon = Instant::now() + Duration::from_millis(30);
        assert!(gate.enter(0, STEPS_AHEAD_MAX, soon).is_ok());
        assert!(gate.enter(0, STEPS_AHEAD_MAX + 1, soon).is_err());
        let later = Instant::now() + Duration::from_secs(60);
        thread::scope(|scope| {
            let ahead = scope.spawn(|| gate.enter(0, 100, later).is_ok());
            gate.leave(1);
            assert!(ahead.join().unwrap());
        });
    }
}
