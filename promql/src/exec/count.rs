//! How many samples a query looks at, as Prometheus counts them: for a query's statistics.
//!
//! Each step counts as if it were evaluated alone: an instant selector one sample a series, a function over a range
//! all samples of its window. Values of a subquery count as samples of the function around it, and what is read to
//! compute them does not. Nothing is counted unless somebody asks.

use std::sync::{Mutex, PoisonError};

use super::grid::Counted;
use super::row::Row;
use crate::storage::SampleBuffer;

/// Samples looked at, by step of the query.
#[derive(Debug)]
pub(crate) struct SampleCounts(Mutex<Vec<u64>>);

impl SampleCounts {
    pub fn new(steps: usize) -> Self {
        Self(Mutex::new(vec![0; steps]))
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub fn snapshot(&self) -> Vec<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn restore(&self, counts: Vec<u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// Adds what was counted apart.
    pub fn absorb(&self, counts: &[u64]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
    }

    /// Adds what the steps of a (sub)query looked at.
    pub fn add(&self, counted: Counted, counts: &[u64]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match counted {
            Counted::AtSteps => all.iter_mut().zip(counts).for_each(|(all, count)| *all += count),
            Counted::AtEach(steps) => {
                let sum: u64 = counts.iter().sum();
                all.iter_mut().take(steps).for_each(|all| *all += sum);
            }
            Counted::Not => {}
        }
    }
}

/// Adds the values of a row, each at its step.
pub(super) fn add_values(row: &Row, counts: &mut [u64]) {
    row.floats().for_each(|(step, _)| counts[step] += 1);
    for (step, histogram) in row.histograms() {
        counts[*step as usize] += histogram.size_in_samples() as u64;
    }
}

/// The samples of a buffer.
pub(super) fn samples_in(buffer: &SampleBuffer) -> u64 {
    let histograms = buffer.histograms.iter().map(|histogram| histogram.size_in_samples() as u64);
    buffer.floats.len() as u64 + histograms.sum::<u64>()
}
