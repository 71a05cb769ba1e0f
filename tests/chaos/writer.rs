//! A sender as unpleasant as real ones: late batches, repeated batches, new series, any float.

use std::net::SocketAddr;
use std::time::Duration;

use bench::http::Connection;
use bench::remote_write::{EncodedLabels, RequestBuilder};
use bench::rng::Rng;

use crate::ledger::{Ledger, SeriesKey};

const SERIES_AT_START: usize = 10;
/// Added at each round, so that a kill also meets series creation.
const SERIES_PER_ROUND: usize = 5;
const STEP_MS: i64 = 100;
/// Keeps timestamps within 25 minutes over all rounds, and answers small.
const BATCHES_PER_ROUND_MAX: usize = 1_500;
const BATCHES_TOTAL_MAX: i64 = 15_000;
/// Batches that may be held back at a time, to be sent late.
const HELD_MAX: usize = 8;

type Batch = Vec<(SeriesKey, i64, f64)>;

/// One sender with its own series, alive over all rounds.
#[derive(Debug)]
pub struct Writer {
    index: usize,
    start_ms: i64,
    rng: Rng,
    next_step: i64,
    labels: Vec<EncodedLabels>,
    held: Vec<Batch>,
    /// Sent without an answer when the server was killed.
    unanswered: Option<Batch>,
}

impl Writer {
    pub fn new(index: usize, start_ms: i64, seed: u64) -> Writer {
        Writer {
            index,
            start_ms,
            rng: Rng::new(seed),
            next_step: 0,
            labels: Vec::new(),
            held: Vec::new(),
            unanswered: None,
        }
    }

    /// Sends until the connection breaks; what it sent and what was acknowledged.
    pub fn write_until_cut_off(&mut self, round: u64, address: SocketAddr, path: &str) -> Ledger {
        while self.labels.len() < SERIES_AT_START + SERIES_PER_ROUND * round as usize {
            let (writer, series) = (self.index.to_string(), self.labels.len().to_string());
            let labels = [("__name__", "chaos"), ("writer", &writer), ("series", &series)];
            self.labels.push(EncodedLabels::new(&labels));
        }
        let mut ledger = Ledger::default();
        let mut connection = Connection::new(address).with_timeout(Duration::from_secs(20));
        let mut request = RequestBuilder::default();
        for _ in 0..BATCHES_PER_ROUND_MAX {
            let Some(batch) = self.next_batch() else { break };
            ledger.sent(&batch);
            let repeats = if self.rng.chance(0.05) { 2 } else { 1 };
            for _ in 0..repeats {
                for (key, timestamp_ms, value) in &batch {
                    request.push(&self.labels[key.series], *timestamp_ms, *value);
                }
                match connection.post_remote_write(path, &request.finish()) {
                    Ok(answer) if (200..300).contains(&answer.status) => ledger.acked(&batch),
                    // Busy or stopping: not acknowledged, so nothing is owed.
                    Ok(answer) if answer.status == 429 || answer.status >= 500 => {}
                    Ok(answer) => {
                        let body = String::from_utf8_lossy(&answer.body).into_owned();
                        panic!("a valid batch was refused with {}: {body}", answer.status);
                    }
                    Err(_) => {
                        self.unanswered = Some(batch);
                        return ledger;
                    }
                }
            }
        }
        ledger
    }

    /// The unanswered batch of the last round (or never again), a held one, or new samples.
    fn next_batch(&mut self) -> Option<Batch> {
        if let Some(batch) = self.unanswered.take()
            && self.rng.chance(0.7)
        {
            return Some(batch);
        }
        if self.held.len() >= HELD_MAX || (!self.held.is_empty() && self.rng.chance(0.1)) {
            let place = self.rng.below(self.held.len() as u64) as usize;
            return Some(self.held.swap_remove(place));
        }
        let batch = self.new_batch()?;
        if self.rng.chance(0.15) {
            self.held.push(batch);
            return self.new_batch();
        }
        Some(batch)
    }

    fn new_batch(&mut self) -> Option<Batch> {
        if self.next_step >= BATCHES_TOTAL_MAX {
            return None;
        }
        let timestamp_ms = self.start_ms + self.next_step * STEP_MS;
        self.next_step += 1;
        let mut batch = Batch::new();
        for series in 0..self.labels.len() {
            if self.rng.chance(0.9) {
                let key = SeriesKey { writer: self.index, series };
                batch.push((key, timestamp_ms, self.value()));
            }
        }
        Some(batch)
    }

    fn value(&mut self) -> f64 {
        const SPECIAL: [f64; 7] =
            [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MIN_POSITIVE / 8.0, f64::MAX];
        match self.rng.below(10) {
            0 => *self.rng.pick(&SPECIAL),
            1..=3 => self.rng.below(1_000) as f64,
            4..=6 => self.rng.unit() * 1e6,
            _ => {
                let any = f64::from_bits(self.rng.next_u64());
                // A NaN could be the stale marker, which a query hides.
                if any.is_nan() { 1.5 } else { any }
            }
        }
    }
}
