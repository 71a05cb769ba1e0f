//! Writes a chunk of histograms.

use super::decoder::Decoder;
use super::fields::Fields;
use super::fit::Fit;
use super::{HEADER_BYTES, encoding_of, flags_of, layout};
use crate::chunk::{CHUNK_BYTES_MAX, ChunkError, VecSink};
use crate::histogram::{CounterReset, Histogram, Kind, Span};

/// A chunk that grows. It is never without a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    sink: VecSink,
    counter_reset: CounterReset,
    samples: u16,
    t_ms: i64,
    /// The last sample in the chunk's layout, and nothing about the one before; of a stale marker only the sum is
    /// right.
    last: Histogram,
    fields: Fields,
}

impl Encoder {
    /// A chunk that begins with a sample. `counter_reset` goes into its header.
    pub fn begin(counter_reset: CounterReset, t_ms: i64, sample: &Histogram) -> Self {
        let mut sample = if sample.is_stale() { Histogram::stale(sample.kind) } else { sample.clone() };
        sample.counter_reset = CounterReset::Unknown;
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
        let Decoder { counter_reset, samples, t_ms, mut last, fields, .. } = decoder;
        last.counter_reset = CounterReset::Unknown;
        let sink = VecSink::resume(chunk.to_vec(), bits);
        Ok(Encoder { sink, counter_reset, samples, t_ms, last, fields })
    }

    /// Appends a sample. If it needs a new chunk, nothing changes, and what is given goes into that one's header.
    pub fn append(&mut self, t_ms: i64, sample: &Histogram) -> Result<(), CounterReset> {
        self.append_as(self.fit(sample), t_ms, sample)
    }

    /// How a sample fits behind the last one.
    pub(crate) fn fit(&self, sample: &Histogram) -> Fit {
        if sample.kind != self.kind() {
            // Nothing is known about a reset between integers and floats.
            return Fit::New(match sample.counter_reset {
                said @ (CounterReset::Reset | CounterReset::Gauge) => said,
                CounterReset::Unknown | CounterReset::NotReset => CounterReset::Unknown,
            });
        }
        Fit::of(self.counter_reset, &self.last, sample)
    }

    /// Appends a sample that fits like this.
    pub(crate) fn append_as(&mut self, fit: Fit, t_ms: i64, sample: &Histogram) -> Result<(), CounterReset> {
        match fit {
            Fit::New(header) => return Err(header),
            Fit::Same => self.push(t_ms, sample),
            Fit::Wider { positive, negative, chunk, histogram } => {
                if chunk {
                    let room = CHUNK_BYTES_MAX.saturating_sub(sample.chunk_bytes_max());
                    let wide = self.widened(&positive, &negative).ok();
                    // A chunk that would become too long stays as it is.
                    *self = wide.filter(|wide| wide.bytes().len() <= room).ok_or(self.header_of_next())?;
                }
                if histogram {
                    let mut sample = sample.clone();
                    sample.positive = sample.positive.spread(&positive);
                    sample.negative = sample.negative.spread(&negative);
                    self.push(t_ms, &sample);
                } else {
                    self.push(t_ms, sample);
                }
            }
        }
        Ok(())
    }

    /// The header of a chunk that is begun though its first sample would fit into this one.
    pub(crate) fn header_of_next(&self) -> CounterReset {
        match self.counter_reset {
            CounterReset::Gauge => CounterReset::Gauge,
            _ => CounterReset::NotReset,
        }
    }

    /// Appends a sample that has the chunk's buckets.
    fn push(&mut self, t_ms: i64, sample: &Histogram) {
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
    fn widened(&self, positive: &[Span], negative: &[Span]) -> Result<Self, ChunkError> {
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

    /// The chunk's bytes.
    pub fn bytes(&self) -> &[u8] {
        self.sink.bytes()
    }

    /// The chunk's encoding.
    pub fn encoding(&self) -> u8 {
        encoding_of(self.kind())
    }

    /// What its header says of a counter reset.
    pub(crate) fn header(&self) -> CounterReset {
        self.counter_reset
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

    /// Bytes of heap held.
    pub fn heap_bytes(&self) -> usize {
        self.sink.heap_bytes() + self.last.heap_bytes() + self.fields.heap_bytes()
    }
}
