//! `kill -9` right after an ack: how long until the first correct answer, and what is missing.

use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::query::api;
use crate::sender::{self, Part};
use crate::server::Server;
use crate::stream::Stream;

/// Longest replay.
const RECOVERY_LIMIT: Duration = Duration::from_secs(300);
/// A server that answers, but not correctly, for this long has lost data.
const WRONG_ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// What came back after the kill.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovery {
    /// From the kill to the first correct count of recent samples; None if it never came.
    pub first_correct_answer: Option<Duration>,
    /// From the kill to the first successful answer, correct or not.
    pub first_answer: Option<Duration>,
    /// Acknowledged samples.
    pub acked_samples: u64,
    /// Acknowledged samples that are gone, metric by metric.
    pub missing_samples: u64,
    /// Samples counted beyond those sent.
    pub phantom_samples: u64,
}

/// Sends the tail, kills the server after its last ack, starts it again and counts.
pub fn kill_and_recover(server: &mut Server, stream: &Stream) -> Result<Recovery> {
    sender::send(stream, server, Part::Tail)?;
    let killed = Instant::now();
    server.kill()?;
    server.relaunch()?;

    // Odd: no sample is on the edge of a range.
    let at_ms = stream.shape.end_ms | 1;
    let recent = stream.probe.count_query(at_ms);
    let expected = stream.probe.samples as f64;
    let mut connection = server.connect().with_timeout(Duration::from_secs(60));
    let mut first_answer = None;
    let mut first_correct_answer = None;
    while killed.elapsed() < RECOVERY_LIMIT {
        server.check_running()?;
        // Refused connections and 503 are what a replaying server is expected to answer.
        if let Ok(found) = api::instant_value(server, &mut connection, &recent, at_ms) {
            let elapsed = killed.elapsed();
            let first = *first_answer.get_or_insert(elapsed);
            if found == Some(expected) {
                first_correct_answer = Some(elapsed);
                break;
            }
            if elapsed > first + WRONG_ANSWER_LIMIT {
                break;
            }
        }
        thread::sleep(Duration::from_millis(2));
    }

    let range_ms = stream.shape.span_ms() + 4 * stream.shape.step_ms;
    let mut found_samples = 0;
    let mut missing_samples = 0;
    for (metric, sent) in &stream.metric_samples {
        let count = format!("sum(count_over_time({metric}[{range_ms}ms]))");
        let found = api::instant_value(server, &mut connection, &count, at_ms)
            .map_err(|error| Error::server(server.product.name(), format!("counting {metric}: {error}")))?;
        let found = found.unwrap_or(0.0) as u64;
        found_samples += found;
        missing_samples += sent.saturating_sub(found);
    }
    let acked_samples = stream.main_samples + stream.tail_samples;
    Ok(Recovery {
        first_correct_answer,
        first_answer,
        acked_samples,
        missing_samples,
        phantom_samples: (found_samples + missing_samples).saturating_sub(acked_samples),
    })
}
