//! Prometheus's chunks of native histograms: integers (encoding 2) and floats (encoding 3).
//!
//! `count u16 BE | flags u8 | layout | samples`, bits most significant first. The flags' top two bits say
//! whether a counter reset came in front of the chunk; within a chunk there is none. The layout (schema, zero
//! threshold, spans, custom bounds) stands once, so all samples of a chunk have the same buckets.
//!
//! - `layout`: the part that stands once.
//! - `fields`: how one number of a sample follows from its predecessor.
//! - [`Encoder`]: appends samples; opens a chunk again. [`decode`]: reads them.
//! - `fit`: whether a sample may follow in a chunk at all, and which buckets must be added first.
//!
//! Traps: a stale marker writes no buckets, and only stale markers may follow it in its chunk. The buckets of
//! an integer sample are differences to their left neighbours, and what is written are differences of
//! differences of those. Facts: Prometheus's chunk format documentation; its encoders are what tests compare
//! with.

mod decoder;
mod encoder;
mod fields;
mod fit;
mod layout;

pub use decoder::{decode, decode_with_starts};
pub use encoder::Encoder;
pub(crate) use fit::Fit;

use super::{BitReader, CHUNK_BYTES_MAX};
use crate::histogram::{CounterReset, Kind};

/// The integer encoding's number in Prometheus's files.
pub const INTEGER_ENCODING: u8 = 2;
/// The float encoding's number in Prometheus's files.
pub const FLOAT_ENCODING: u8 = 3;

/// Of integers with start times: read, never written.
const INTEGER_WITH_STARTS: u8 = 5;
/// Of floats with start times: read, never written.
const FLOAT_WITH_STARTS: u8 = 6;

/// No sample takes more in a chunk.
pub(crate) const SAMPLE_BYTES_MAX: usize = CHUNK_BYTES_MAX - 4096;

/// Count and flags.
const HEADER_BYTES: usize = 3;
const FLAGS: usize = 2;

/// The encoding of a kind.
pub fn encoding_of(kind: Kind) -> u8 {
    match kind {
        Kind::Integer => INTEGER_ENCODING,
        Kind::Float => FLOAT_ENCODING,
    }
}

/// The kind of an encoding, if it is one of histograms.
pub fn kind_of(encoding: u8) -> Option<Kind> {
    match encoding {
        INTEGER_ENCODING => Some(Kind::Integer),
        FLOAT_ENCODING => Some(Kind::Float),
        _ => None,
    }
}

/// The kind of an encoding of histograms with start times, for [`decode_with_starts`].
pub fn kind_with_starts(encoding: u8) -> Option<Kind> {
    match encoding {
        INTEGER_WITH_STARTS => Some(Kind::Integer),
        FLOAT_WITH_STARTS => Some(Kind::Float),
        _ => None,
    }
}

/// The time of a chunk's first sample; `None` if it holds none.
pub fn first_time(chunk: &[u8]) -> Option<i64> {
    let samples = chunk.first_chunk().map(|count| u16::from_be_bytes(*count))?;
    if samples == 0 {
        return None;
    }
    let mut bits = BitReader::new(chunk.get(HEADER_BYTES..)?);
    layout::take(&mut bits).ok()?;
    super::varbit::take_int(&mut bits).ok()
}

/// Makes a chunk's header say that nothing is known about a counter reset in front of it: for a chunk that does not follow
/// the one any more that it was written behind. Gauges stay gauges.
pub(crate) fn forget_counter_reset(chunk: &mut [u8]) {
    if let Some(flags) = chunk.get_mut(FLAGS)
        && counter_reset_of(*flags) != CounterReset::Gauge
    {
        *flags &= 0x3f;
    }
}

fn flags_of(counter_reset: CounterReset) -> u8 {
    match counter_reset {
        CounterReset::Unknown => 0,
        CounterReset::NotReset => 0x40,
        CounterReset::Reset => 0x80,
        CounterReset::Gauge => 0xc0,
    }
}

fn counter_reset_of(flags: u8) -> CounterReset {
    match flags >> 6 {
        0 => CounterReset::Unknown,
        1 => CounterReset::NotReset,
        2 => CounterReset::Reset,
        _ => CounterReset::Gauge,
    }
}
