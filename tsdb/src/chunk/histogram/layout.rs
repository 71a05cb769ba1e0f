//! What stands once in a chunk: zero threshold, schema, spans, custom bounds.

use crate::chunk::varbit::{put_int, put_uint, take_int, take_uint};
use crate::chunk::{BitReader, BitSink, ChunkError};
use crate::histogram::{CUSTOM_BUCKETS_SCHEMA, Histogram, Side, Span};

/// Stands for a zero threshold that follows in full.
const FULL_THRESHOLD: u64 = 255;
/// Added to the exponent of a threshold that is a power of two. The exponent belongs to a fraction of 0.5.
const THRESHOLD_BIAS: i64 = 243;
/// The largest custom bound, times 1,000, that is written as an integer.
const SHORT_BOUND_MAX: f64 = 33_554_430.0;

/// Appends a histogram's layout.
pub(super) fn put(sink: &mut impl BitSink, histogram: &Histogram) {
    put_zero_threshold(sink, histogram.zero_threshold);
    put_int(sink, i64::from(histogram.schema));
    for side in [&histogram.positive, &histogram.negative] {
        put_uint(sink, side.spans.len() as u64);
        for span in &side.spans {
            put_uint(sink, u64::from(span.length));
            put_int(sink, i64::from(span.offset));
        }
    }
    if histogram.schema == CUSTOM_BUCKETS_SCHEMA {
        put_uint(sink, histogram.bounds.len() as u64);
        for bound in histogram.bounds.iter() {
            put_bound(sink, *bound);
        }
    }
}

/// Takes a layout; its buckets are empty.
pub(super) fn take(bits: &mut BitReader<'_>) -> Result<Histogram, ChunkError> {
    let zero_threshold = take_zero_threshold(bits)?;
    let schema = i32::try_from(take_int(bits)?).map_err(|_| ChunkError::Malformed)?;
    let positive = take_side(bits)?;
    let negative = take_side(bits)?;
    let mut histogram = Histogram { schema, zero_threshold, positive, negative, ..Histogram::default() };
    if schema == CUSTOM_BUCKETS_SCHEMA {
        let count = take_count(bits)?;
        histogram.bounds = (0..count).map(|_| take_bound(bits)).collect::<Result<_, _>>()?;
    }
    Ok(histogram)
}

fn take_side(bits: &mut BitReader<'_>) -> Result<Side, ChunkError> {
    let mut spans = Vec::new();
    let mut buckets = 0u64;
    for _ in 0..take_count(bits)? {
        let length = u32::try_from(take_uint(bits)?).map_err(|_| ChunkError::Malformed)?;
        let offset = i32::try_from(take_int(bits)?).map_err(|_| ChunkError::Malformed)?;
        buckets += u64::from(length);
        spans.push(Span { offset, length });
    }
    // Each takes a bit at least.
    if buckets > bits.left() as u64 {
        return Err(ChunkError::Malformed);
    }
    Ok(Side { spans, counts: vec![0; buckets as usize] })
}

/// A number of items, each of at least a bit, that must follow.
fn take_count(bits: &mut BitReader<'_>) -> Result<usize, ChunkError> {
    let count = take_uint(bits)?;
    if count > bits.left() as u64 { Err(ChunkError::Malformed) } else { Ok(count as usize) }
}

/// One byte for zero and for powers of two from 2^-243 to 2^10, nine for others.
fn put_zero_threshold(sink: &mut impl BitSink, threshold: f64) {
    if threshold == 0.0 {
        return sink.put(0, 8);
    }
    let bits = threshold.to_bits();
    let exponent = (bits >> 52) as i64 - 1022;
    let is_power_of_two = bits & ((1 << 52) - 1) == 0;
    if is_power_of_two && (-242..=11).contains(&exponent) {
        return sink.put((exponent + THRESHOLD_BIAS) as u64, 8);
    }
    sink.put(FULL_THRESHOLD, 8);
    sink.put_long(bits, 64);
}

fn take_zero_threshold(bits: &mut BitReader<'_>) -> Result<f64, ChunkError> {
    Ok(match bits.take(8)? {
        0 => 0.0,
        FULL_THRESHOLD => f64::from_bits(bits.take(64)?),
        byte => f64::from_bits(((byte as i64 - THRESHOLD_BIAS + 1022) as u64) << 52),
    })
}

/// Multiples of 0.001 as integers from 1 on, others in full behind a zero.
fn put_bound(sink: &mut impl BitSink, bound: f64) {
    let thousandfold = bound * 1000.0;
    let is_short = (0.0..=SHORT_BOUND_MAX).contains(&thousandfold) && thousandfold.round() / 1000.0 == bound;
    if is_short {
        return put_uint(sink, thousandfold.round() as u64 + 1);
    }
    sink.put(0, 1);
    sink.put_long(bound.to_bits(), 64);
}

fn take_bound(bits: &mut BitReader<'_>) -> Result<f64, ChunkError> {
    Ok(match take_uint(bits)? {
        0 => f64::from_bits(bits.take(64)?),
        thousandfold => (thousandfold - 1) as f64 / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::VecSink;

    #[test]
    fn zero_thresholds_take_a_byte_where_the_format_has_one_for_them() {
        // Prometheus's documentation: the default threshold, 2^-128, is byte 116.
        for (threshold, bytes) in [
            (0.0, vec![0]),
            ((-128f64).exp2(), vec![116]),
            ((-243f64).exp2(), vec![1]),
            (1024.0, vec![254]),
            (2048.0, [&[255][..], &2048f64.to_be_bytes()].concat()),
            ((-244f64).exp2(), [&[255][..], &(-244f64).exp2().to_be_bytes()].concat()),
            (0.001, [&[255][..], &0.001f64.to_be_bytes()].concat()),
        ] {
            let mut sink = VecSink::default();
            put_zero_threshold(&mut sink, threshold);
            assert_eq!(sink.bytes(), bytes, "{threshold}");
            assert_eq!(take_zero_threshold(&mut BitReader::new(&bytes)), Ok(threshold));
        }
    }

    #[test]
    fn custom_bounds_come_back_in_both_forms() {
        for (bound, bits) in [(0.0, 5), (0.005, 5), (0.25, 13), (33_554.43, 32), (33_554.431, 65), (-1.0, 65)]
        {
            let mut sink = VecSink::default();
            put_bound(&mut sink, bound);
            assert_eq!(sink.bits(), bits, "{bound}");
            assert_eq!(take_bound(&mut BitReader::new(sink.bytes())), Ok(bound));
        }
    }
}
