//! Writes a chunk of histograms.

use super::decoder::Decoder;
use super::fields::Fields;
use super::fit::Fit;
use super::{FLAGS, HEADER_BYTES, encoding_of, flags_of, layout};
use crate::chunk::{ChunkError, VecSink};
use crate::histogram::{CounterReset, Histogram, Kind, Span};

/// A chunk that grows. It is never without a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    sink: VecSink,
    counter_reset: CounterReset,
    samples: u16,
    t_ms: i64,
    /// The last sample in the chunk's layout; of a stale marker only the sum is right.
    last: Histogram,
    fields: Fields,
}

impl Encoder {
    /// A chunk that begins with a sample. `counter_reset` goes into its header.
    pub fn begin(counter_reset: CounterReset, t_ms: i64, sample: &Histogram) -> Self {
        let sample = if sample.is_stale() { Histogram::stale(sample.kind) } else { sample.clone() };
        let mut sink = VecSink::resume(vec![0, 1, flags_of(counter_reset)], HEADER_BYTES * 8);
        layout::put(&mut sink, &sample);
        let fields = Fields::new(&sample);
        fields.put_first(&mut sink, t_ms, &sample);
        Encoder { sink, counter_reset, samples: 1, t_ms, last: sample, fields }
    }

    /// Goes on with a chunk that was written before.
    pub fn resume(chunk: &[u8], kind: Kind) -> Result<Self, ChunkError> {
        let mut decoder = Decoder::new(chunk, kind)?;
        while decoder.advance()? {}
        if decoder.samples == 0 {
            return Err(ChunkError::Truncated);
        }
        let bits = HEADER_BYTES * 8 + decoder.bits.position();
        if chunk.len() != bits.div_ceil(8) {
            return Err(ChunkError::Malformed);
        }
        let Decoder { counter_reset, samples, t_ms, last, fields, .. } = decoder;
        let sink = VecSink::resume(chunk.to_vec(), bits);
        Ok(Encoder { sink, counter_reset, samples, t_ms, last, fields })
    }

    /// Appends a sample that fits ([`Fit::Same`]).
    pub fn push(&mut self, t_ms: i64, sample: &Histogram) {
        let marker = Histogram::stale(sample.kind);
        let sample = if sample.is_stale() { &marker } else { sample };
        self.fields.put(&mut self.sink, (self.t_ms, &self.last), (t_ms, sample));
        self.t_ms = t_ms;
        self.samples += 1;
        self.sink.bytes_mut()[..2].copy_from_slice(&self.samples.to_be_bytes());
        self.last.sum = sample.sum;
        if sample.is_stale() {
            (self.last.count, self.last.zero_count) = (0, 0);
            return;
        }
        (self.last.count, self.last.zero_count) = (sample.count, sample.zero_count);
        self.last.positive.counts.copy_from_slice(&sample.positive.counts);
        self.last.negative.counts.copy_from_slice(&sample.negative.counts);
    }

    /// The same samples in a layout that has all the buckets of this one's.
    pub fn widened(&self, positive: &[Span], negative: &[Span]) -> Result<Self, ChunkError> {
        let mut decoder = Decoder::new(self.bytes(), self.kind())?;
        let mut wide: Option<Encoder> = None;
        while decoder.advance()? {
            let mut sample = decoder.last.clone();
            sample.positive = sample.positive.spread(positive);
            sample.negative = sample.negative.spread(negative);
            match &mut wide {
                None => wide = Some(Encoder::begin(self.counter_reset, decoder.t_ms, &sample)),
                Some(wide) => wide.push(decoder.t_ms, &sample),
            }
        }
        wide.ok_or(ChunkError::Truncated)
    }

    /// How a sample fits behind the last one.
    pub fn fit(&self, sample: &Histogram) -> Fit {
        Fit::of(self.counter_reset, &self.last, sample)
    }

    /// The chunk's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.sink.bytes()
    }

    /// The chunk's encoding.
    pub fn encoding(&self) -> u8 {
        encoding_of(self.kind())
    }

    /// The kind of its samples.
    pub fn kind(&self) -> Kind {
        self.last.kind
    }

    /// How many samples it holds.
    pub fn samples(&self) -> u16 {
        self.samples
    }

    /// The last sample's time.
    pub fn t_ms(&self) -> i64 {
        self.t_ms
    }

    /// The last sample; of a stale marker only the sum is right.
    pub fn last(&self) -> &Histogram {
        &self.last
    }

    /// What its header says.
    pub fn counter_reset(&self) -> CounterReset {
        debug_assert_eq!(self.bytes()[FLAGS], flags_of(self.counter_reset));
        self.counter_reset
    }

    /// Bytes of heap held.
    pub fn heap_bytes(&self) -> usize {
        self.bytes().len() + self.last.heap_bytes() + self.fields.heap_bytes()
    }
}
