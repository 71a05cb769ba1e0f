//! Reads a chunk of histograms.

use super::fields::Fields;
use super::{FLAGS, HEADER_BYTES, counter_reset_of, layout};
use crate::chunk::start_times::StartTimes;
use crate::chunk::{BitReader, ChunkError};
use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, Kind, SCHEMA_MAX, SCHEMA_MIN};

/// The bits of a header's first two bytes that count samples where the others say what the chunk follows.
const SAMPLES_WITH_STARTS: u16 = 0x3fff;

/// A chunk that is being read.
pub(super) struct Decoder<'a> {
    pub(super) bits: BitReader<'a>,
    pub(super) counter_reset: CounterReset,
    pub(super) samples: u16,
    pub(super) read: u16,
    pub(super) t_ms: i64,
    /// The last sample read; of a stale marker only the sum is right.
    pub(super) last: Histogram,
    pub(super) fields: Fields,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(chunk: &'a [u8], kind: Kind) -> Result<Self, ChunkError> {
        let (header, rest) = chunk.split_first_chunk::<HEADER_BYTES>().ok_or(ChunkError::Truncated)?;
        let samples = u16::from_be_bytes([header[0], header[1]]);
        Self::behind_header(rest, kind, samples, counter_reset_of(header[FLAGS]))
    }

    fn behind_header(
        rest: &'a [u8],
        kind: Kind,
        samples: u16,
        counter_reset: CounterReset,
    ) -> Result<Self, ChunkError> {
        let mut bits = BitReader::new(rest);
        let mut last = Histogram { kind, ..Histogram::default() };
        if samples > 0 {
            last = Histogram { kind, ..layout::take(&mut bits)? };
            if last.schema != CUSTOM_BUCKETS_SCHEMA && !(SCHEMA_MIN..=SCHEMA_MAX).contains(&last.schema) {
                return Err(ChunkError::Malformed);
            }
        }
        let fields = Fields::new(&last);
        Ok(Decoder { bits, counter_reset, samples, read: 0, t_ms: 0, last, fields })
    }

    /// Reads the next sample; false if there is none.
    pub(super) fn advance(&mut self) -> Result<bool, ChunkError> {
        if self.read == self.samples {
            return Ok(false);
        }
        self.t_ms = if self.read == 0 {
            self.fields.take_first(&mut self.bits, &mut self.last)?
        } else {
            self.fields.take(&mut self.bits, self.t_ms, &mut self.last)?
        };
        if self.last.is_stale() {
            (self.last.count, self.last.zero_count) = (0, 0);
        }
        self.read += 1;
        self.last.counter_reset = match self.counter_reset {
            CounterReset::Gauge => CounterReset::Gauge,
            _ if self.read > 1 => CounterReset::NotReset,
            // The chunk that came before may be gone, or samples have come between them since: what the header
            // says of the first sample does not hold for whoever reads it.
            _ => CounterReset::Unknown,
        };
        Ok(true)
    }
}

/// Calls `sample` with the time (ms) of each sample of a chunk and the histogram, which says of its
/// predecessor what Prometheus's querier says of it.
pub fn decode(chunk: &[u8], kind: Kind, mut sample: impl FnMut(i64, &Histogram)) -> Result<(), ChunkError> {
    let stale = Histogram::stale(kind);
    let mut decoder = Decoder::new(chunk, kind)?;
    while decoder.advance()? {
        let histogram = if decoder.last.is_stale() { &stale } else { &decoder.last };
        sample(decoder.t_ms, histogram);
    }
    Ok(())
}

/// As [`decode`], of a chunk with start times (encodings 5 and 6), which are read over. Its header is that of other
/// chunks, but what is in the third byte there is in the top bits of the first, and the third says which samples have
/// start times. Facts: Prometheus's `tsdb/chunkenc/histogram_st.go`.
pub fn decode_with_starts(
    chunk: &[u8],
    kind: Kind,
    mut sample: impl FnMut(i64, &Histogram),
) -> Result<(), ChunkError> {
    let stale = Histogram::stale(kind);
    let (header, rest) = chunk.split_first_chunk::<HEADER_BYTES>().ok_or(ChunkError::Truncated)?;
    let samples = u16::from_be_bytes([header[0], header[1]]) & SAMPLES_WITH_STARTS;
    let mut decoder = Decoder::behind_header(rest, kind, samples, counter_reset_of(header[0]))?;
    let starts = StartTimes::parse(header[2]);
    while decoder.advance()? {
        starts.skip(&mut decoder.bits, decoder.read - 1)?;
        let histogram = if decoder.last.is_stale() { &stale } else { &decoder.last };
        sample(decoder.t_ms, histogram);
    }
    Ok(())
}
