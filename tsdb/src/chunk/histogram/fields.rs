//! How the numbers of a sample follow from those of its predecessor: the part that encoder and decoder share.

use crate::chunk::varbit::{put_int, put_uint, take_int, take_uint};
use crate::chunk::xor::{NO_WINDOW, put_xor, take_xor};
use crate::chunk::{BitReader, BitSink, ChunkError};
use crate::histogram::{Histogram, Kind};

/// What is remembered of one number between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// The last difference, of an integer.
    Delta(i64),
    /// The window of the last XOR, of a float.
    Window { leading: u8, trailing: u8 },
}

impl Field {
    const FLOAT: Field = Field::Window { leading: NO_WINDOW, trailing: 0 };

    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Integer => Field::Delta(0),
            Kind::Float => Field::FLOAT,
        }
    }

    fn put(&mut self, sink: &mut impl BitSink, before: u64, now: u64) {
        match self {
            Field::Delta(last) => {
                let delta = now.wrapping_sub(before) as i64;
                put_int(sink, delta.wrapping_sub(*last));
                *last = delta;
            }
            Field::Window { leading, trailing } => put_xor(sink, now ^ before, leading, trailing),
        }
    }

    fn take(&mut self, bits: &mut BitReader<'_>, before: u64) -> Result<u64, ChunkError> {
        Ok(match self {
            Field::Delta(last) => {
                *last = last.wrapping_add(take_int(bits)?);
                before.wrapping_add(*last as u64)
            }
            Field::Window { leading, trailing } => before ^ take_xor(bits, leading, trailing)?,
        })
    }
}

/// What is remembered of a whole sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    kind: Kind,
    time: Field,
    count: Field,
    zero_count: Field,
    sum: Field,
    positive: Vec<Field>,
    negative: Vec<Field>,
}

impl Fields {
    /// Before the first sample of a chunk of this layout.
    pub(super) fn new(layout: &Histogram) -> Self {
        let field = Field::new(layout.kind);
        Fields {
            kind: layout.kind,
            time: Field::Delta(0),
            count: field,
            zero_count: field,
            sum: Field::FLOAT,
            positive: vec![field; layout.positive.counts.len()],
            negative: vec![field; layout.negative.counts.len()],
        }
    }

    /// Appends the first sample.
    pub(super) fn put_first(&self, sink: &mut impl BitSink, t_ms: i64, sample: &Histogram) {
        put_int(sink, t_ms);
        for count in [sample.count, sample.zero_count] {
            match self.kind {
                Kind::Integer => put_uint(sink, count),
                Kind::Float => sink.put_long(count, 64),
            }
        }
        sink.put_long(sample.sum, 64);
        for side in [&sample.positive, &sample.negative] {
            for word in words(self.kind, &side.counts) {
                match self.kind {
                    Kind::Integer => put_int(sink, word as i64),
                    Kind::Float => sink.put_long(word, 64),
                }
            }
        }
    }

    /// Takes the first sample into its layout; gives the time.
    pub(super) fn take_first(
        &self,
        bits: &mut BitReader<'_>,
        sample: &mut Histogram,
    ) -> Result<i64, ChunkError> {
        let t_ms = take_int(bits)?;
        for count in [&mut sample.count, &mut sample.zero_count] {
            *count = match self.kind {
                Kind::Integer => take_uint(bits)?,
                Kind::Float => bits.take(64)?,
            };
        }
        sample.sum = bits.take(64)?;
        if sample.is_stale() {
            return Ok(t_ms);
        }
        for side in [&mut sample.positive, &mut sample.negative] {
            let mut left = 0u64;
            for count in &mut side.counts {
                *count = match self.kind {
                    Kind::Integer => left.wrapping_add(take_int(bits)? as u64),
                    Kind::Float => bits.take(64)?,
                };
                left = *count;
            }
        }
        Ok(t_ms)
    }

    /// Appends a sample that follows another one of the same layout. Of a stale marker only the sum counts.
    pub(super) fn put(
        &mut self,
        sink: &mut impl BitSink,
        (t_before_ms, before): (i64, &Histogram),
        (t_ms, now): (i64, &Histogram),
    ) {
        self.time.put(sink, t_before_ms as u64, t_ms as u64);
        if now.is_stale() && self.kind == Kind::Integer {
            // No difference, whatever the numbers: nothing reads them.
            sink.put(0, 2);
            return self.sum.put(sink, before.sum, now.sum);
        }
        self.count.put(sink, before.count, now.count);
        self.zero_count.put(sink, before.zero_count, now.zero_count);
        self.sum.put(sink, before.sum, now.sum);
        if now.is_stale() {
            return;
        }
        let sides = [
            (&mut self.positive, &before.positive, &now.positive),
            (&mut self.negative, &before.negative, &now.negative),
        ];
        for (fields, before, now) in sides {
            let pairs = words(self.kind, &before.counts).zip(words(self.kind, &now.counts));
            for (field, (before, now)) in fields.iter_mut().zip(pairs) {
                field.put(sink, before, now);
            }
        }
    }

    /// Takes a sample that follows `sample`, which becomes it; gives the time.
    pub(super) fn take(
        &mut self,
        bits: &mut BitReader<'_>,
        t_before_ms: i64,
        sample: &mut Histogram,
    ) -> Result<i64, ChunkError> {
        let t_ms = self.time.take(bits, t_before_ms as u64)? as i64;
        sample.count = self.count.take(bits, sample.count)?;
        sample.zero_count = self.zero_count.take(bits, sample.zero_count)?;
        sample.sum = self.sum.take(bits, sample.sum)?;
        if sample.is_stale() {
            return Ok(t_ms);
        }
        let sides = [(&mut self.positive, &mut sample.positive), (&mut self.negative, &mut sample.negative)];
        for (fields, side) in sides {
            let (mut left_before, mut left) = (0u64, 0u64);
            for (field, count) in fields.iter_mut().zip(&mut side.counts) {
                let before = *count;
                *count = match self.kind {
                    Kind::Integer => left.wrapping_add(field.take(bits, before.wrapping_sub(left_before))?),
                    Kind::Float => field.take(bits, before)?,
                };
                (left_before, left) = (before, *count);
            }
        }
        Ok(t_ms)
    }

    /// Bytes of heap held.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.positive.capacity() + self.negative.capacity()) * size_of::<Field>()
    }
}

/// What a chunk holds of bucket counts: differences to the left neighbour if they are integers.
fn words(kind: Kind, counts: &[u64]) -> impl Iterator<Item = u64> + '_ {
    let mut left = 0;
    counts.iter().map(move |&count| {
        let word = match kind {
            Kind::Integer => count.wrapping_sub(left),
            Kind::Float => count,
        };
        left = count;
        word
    })
}
