//! Which of two values for one series and timestamp counts: the same one on every replica, in whatever order they
//! came.
//!
//! Two coordinators may each admit a value for the same timestamp before either knows of the other's. Replicas
//! then get both in any order, and so does whoever merges what several replicas hold. So the winner is a matter
//! of the two values alone: [`compare`] puts all values in order, and the greatest wins. Stale markers are the
//! least, then come floats by their bit patterns, then histograms by their
//! [canonical bytes](Histogram::canonical_bytes). The order means nothing; that there is one matters.

use std::cmp::Ordering;

use super::read::Decoded;
use crate::histogram::{CounterReset, Histogram, STALE_NAN};

/// A sample's value.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A float's bits.
    Float(u64),
    /// A histogram.
    Histogram(&'a Histogram),
}

impl Value<'_> {
    /// Whether this stands for the end of a series.
    pub fn is_stale(self) -> bool {
        match self {
            Value::Float(bits) => bits == STALE_NAN,
            Value::Histogram(histogram) => histogram.is_stale(),
        }
    }
}

/// Compares two values for one series and timestamp: the greater one wins, equal ones are the same sample. All
/// stale markers are the same, whatever they end; so are histograms of the [same data](Histogram::same_data).
pub fn compare(a: Value<'_>, b: Value<'_>) -> Ordering {
    match (a, b) {
        _ if a.is_stale() || b.is_stale() => b.is_stale().cmp(&a.is_stale()),
        (Value::Float(a), Value::Float(b)) => a.cmp(&b),
        (Value::Float(_), Value::Histogram(_)) => Ordering::Less,
        (Value::Histogram(_), Value::Float(_)) => Ordering::Greater,
        (Value::Histogram(a), Value::Histogram(b)) if a.same_data(b) => Ordering::Equal,
        (Value::Histogram(a), Value::Histogram(b)) => a.canonical_bytes().cmp(&b.canonical_bytes()),
    }
}

/// Samples of one series, from chunks that overlap or from several replicas, on their way to become one
/// sequence.
#[derive(Debug, Default)]
pub struct Merge {
    floats: Vec<(i64, u64)>,
    histograms: Vec<(i64, Histogram)>,
}

impl Merge {
    /// Adds a float: milliseconds and bits.
    pub fn float(&mut self, t_ms: i64, bits: u64) {
        self.floats.push((t_ms, bits));
    }

    /// Adds a histogram.
    pub fn histogram(&mut self, t_ms: i64, histogram: &Histogram) {
        self.histograms.push((t_ms, histogram.clone()));
    }

    /// Hands on what counts: floats and histograms each in order of time, and no time twice over both.
    pub fn finish(self, to: &mut Decoded<'_>) {
        self.winners(|t_ms, value| match value {
            Value::Float(bits) => {
                to.times.push(t_ms);
                to.values.push(f64::from_bits(bits));
            }
            Value::Histogram(histogram) => (to.histogram)(t_ms, histogram),
        });
    }

    /// Calls `winner` with what counts, in order of time, and no time twice.
    pub(crate) fn winners(mut self, mut winner: impl FnMut(i64, Value<'_>)) {
        // Of each time the winner comes first, and stays.
        let floats = |a: u64, b: u64| compare(Value::Float(b), Value::Float(a));
        self.floats.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| floats(a.1, b.1)));
        self.floats.dedup_by_key(|sample| sample.0);
        let histograms = |a: &Histogram, b: &Histogram| compare(Value::Histogram(b), Value::Histogram(a));
        self.histograms.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| histograms(&a.1, &b.1)));
        self.histograms.dedup_by_key(|sample| sample.0);

        let mut floats = self.floats.into_iter().peekable();
        for (t_ms, mut sample) in self.histograms {
            while let Some((t_ms, bits)) = floats.next_if(|(t, _)| *t < t_ms) {
                winner(t_ms, Value::Float(bits));
            }
            if let Some(same) = floats.next_if(|(t, _)| *t == t_ms)
                && compare(Value::Float(same.1), Value::Histogram(&sample)).is_gt()
            {
                winner(t_ms, Value::Float(same.1));
                continue;
            }
            // That there was no reset is known only within a chunk, and between two samples of one there may be
            // some of another now.
            if sample.counter_reset == CounterReset::NotReset {
                sample.counter_reset = CounterReset::Unknown;
            }
            winner(t_ms, Value::Histogram(&sample));
        }
        floats.for_each(|(t_ms, bits)| winner(t_ms, Value::Float(bits)));
    }
}
