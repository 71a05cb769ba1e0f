//! Native histograms as samples: what is stored, logged and encoded into chunks.
//!
//! One type holds both of Prometheus's kinds, integer and float. Its counts are 64-bit words, whose meaning
//! [`Kind`] tells, so that everything that only moves counts about (layouts, the log, comparing) is written
//! once. Bucket counts are absolute; the deltas of remote write and of chunks are made where they are needed.
//!
//! What may go wrong: histograms come from outside. [`Histogram::validate`] is the door; nothing behind it
//! panics or grows without bound on one that was not let in, but what it computes is of no use then.

mod bytes;
mod layout;
mod reduce;
mod validate;

use std::sync::Arc;

pub use validate::Invalid;

/// The schema of histograms with custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;
/// The coarsest exponential schema.
pub const SCHEMA_MIN: i32 = -4;
/// The finest exponential schema.
pub const SCHEMA_MAX: i32 = 8;

/// The bits of the float that ends a series.
pub const STALE_NAN: u64 = 0x7ff0_0000_0000_0002;

/// What the words of a histogram are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Unsigned integers.
    #[default]
    Integer,
    /// Bits of floats.
    Float,
}

impl Kind {
    /// A word as a float.
    pub fn value(self, word: u64) -> f64 {
        match self {
            Kind::Integer => word as f64,
            Kind::Float => f64::from_bits(word),
        }
    }

    /// Whether the first count is less than the second.
    pub(crate) fn less(self, a: u64, b: u64) -> bool {
        match self {
            Kind::Integer => a < b,
            Kind::Float => f64::from_bits(a) < f64::from_bits(b),
        }
    }

    /// Whether a count is zero.
    pub(crate) fn is_zero(self, word: u64) -> bool {
        self.value(word) == 0.0
    }
}

/// What is known about a counter reset between a histogram and the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterReset {
    /// To be found out by comparing both.
    #[default]
    Unknown,
    /// There was a reset.
    Reset,
    /// There was none.
    NotReset,
    /// The histogram is a gauge; the question does not arise.
    Gauge,
}

/// A run of adjacent buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Gap to the span before; of the first span, the index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// The buckets of one side of zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Which buckets there are.
    pub spans: Vec<Span>,
    /// Their counts, as words.
    pub counts: Vec<u64>,
}

/// A native histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// What the counts are.
    pub kind: Kind,
    /// What its sender, or the chunk it is read from, says about its predecessor.
    pub counter_reset: CounterReset,
    /// Bucket layout: -4 to 8 exponential, [`CUSTOM_BUCKETS_SCHEMA`] custom.
    pub schema: i32,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket, a word.
    pub zero_count: u64,
    /// All observations, a word.
    pub count: u64,
    /// Bits of the sum of all observations; [`STALE_NAN`] says that the series ends.
    pub sum: u64,
    /// Buckets of positive observations, or all buckets of a custom schema.
    pub positive: Side,
    /// Buckets of negative observations.
    pub negative: Side,
    /// Upper bounds of a custom schema, without the last, which is infinite.
    pub bounds: Arc<[f64]>,
}

impl Histogram {
    /// The end of a series of histograms.
    pub fn stale(kind: Kind) -> Self {
        Histogram { kind, sum: STALE_NAN, ..Histogram::default() }
    }

    /// Whether this stands for the end of a series.
    pub fn is_stale(&self) -> bool {
        self.sum == STALE_NAN
    }

    /// Whether both hold the same data. What they say about their predecessors and buckets without
    /// observations do not count: a chunk may have added such buckets.
    pub fn same_data(&self, other: &Self) -> bool {
        if self.is_stale() || other.is_stale() {
            return self.is_stale() && other.is_stale();
        }
        self.kind == other.kind
            && self.schema == other.schema
            && (self.count, self.zero_count, self.sum) == (other.count, other.zero_count, other.sum)
            && self.zero_threshold == other.zero_threshold
            && self.bounds == other.bounds
            && self.positive.same_data(&other.positive, self.kind)
            && self.negative.same_data(&other.negative, self.kind)
    }

    /// Buckets of both sides.
    pub fn buckets(&self) -> usize {
        self.positive.counts.len() + self.negative.counts.len()
    }

    /// Bytes of heap held.
    pub fn heap_bytes(&self) -> usize {
        let side = |side: &Side| side.spans.capacity() * size_of::<Span>() + side.counts.capacity() * 8;
        side(&self.positive) + side(&self.negative) + self.bounds.len() * 8
    }
}
