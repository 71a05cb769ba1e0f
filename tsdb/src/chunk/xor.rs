//! Prometheus's XOR chunk (encoding 1): timestamps as deltas of deltas, values XORed with their predecessor.
//!
//! The layout is that of Prometheus's chunk format documentation, after the Gorilla paper:
//! `count u16 BE | varint t0 | v0 64 bits | uvarint t1-t0 | xor v1 | (dod, xor)*`, bits most significant
//! first. The encoder is a state of a few words beside the bits, since it is the hottest code of all: the head
//! keeps it in the series and the bits in [extents](crate::mem), so that an append decodes nothing.
//!
//! Traps: the ranges of the delta-of-delta codes are asymmetric (`-(2^(n-1)-1) ..= 2^(n-1)`), 64 significant
//! bits are written as 0, leading zeros are capped at 31, and time arithmetic wraps.

use super::sink::{BitSink, VecSink};
use super::{BitReader, ChunkError};
use crate::varint;

/// The encoding's number in Prometheus's files.
pub const ENCODING: u8 = 1;

/// Bits before the first sample: the count.
pub const HEADER_BITS: u16 = 16;

/// "No window yet" in the leading zeros of an encoder.
pub(super) const NO_WINDOW: u8 = 0xff;

/// What the encoder must remember between two samples of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// The last timestamp in milliseconds.
    pub t_ms: i64,
    /// The last value's bits.
    pub value: u64,
    /// The last two timestamps' distance.
    pub delta: u64,
    /// Samples so far.
    pub count: u16,
    /// Leading zeros of the current window, or "none yet".
    pub leading: u8,
    /// Trailing zeros of the current window.
    pub trailing: u8,
}

impl Encoder {
    /// The state before the first sample. The sink must hold [`HEADER_BITS`] for the count already.
    pub const EMPTY: Encoder =
        Encoder { t_ms: 0, value: 0, delta: 0, count: 0, leading: NO_WINDOW, trailing: 0 };

    /// Appends a sample. Timestamps should ascend; nothing breaks if they don't.
    #[inline]
    pub fn append(&mut self, sink: &mut impl BitSink, t_ms: i64, value: u64) {
        match self.count {
            0 => {
                put_uvarint(sink, varint::zigzag(t_ms));
                sink.put_long(value, 64);
            }
            1 => {
                self.delta = t_ms.wrapping_sub(self.t_ms) as u64;
                put_uvarint(sink, self.delta);
                put_xor(sink, value ^ self.value, &mut self.leading, &mut self.trailing);
            }
            _ => {
                let delta = t_ms.wrapping_sub(self.t_ms) as u64;
                put_delta_of_delta(sink, delta.wrapping_sub(self.delta) as i64);
                self.delta = delta;
                put_xor(sink, value ^ self.value, &mut self.leading, &mut self.trailing);
            }
        }
        self.t_ms = t_ms;
        self.value = value;
        self.count += 1;
    }
}

/// Appends the XOR of a value with its predecessor; `leading` and `trailing` are the window's.
#[inline]
pub(super) fn put_xor(sink: &mut impl BitSink, xor: u64, leading: &mut u8, trailing: &mut u8) {
    if xor == 0 {
        return sink.put(0, 1);
    }
    let zeros_before = (xor.leading_zeros() as u8).min(31);
    let zeros_behind = xor.trailing_zeros() as u8;
    if *leading != NO_WINDOW && zeros_before >= *leading && zeros_behind >= *trailing {
        let significant = u32::from(64 - *leading - *trailing);
        let bits = xor >> *trailing;
        if significant <= 54 {
            return sink.put(0b10 << significant | bits, significant + 2);
        }
        sink.put(0b10, 2);
        return sink.put_long(bits, significant);
    }
    (*leading, *trailing) = (zeros_before, zeros_behind);
    let significant = u32::from(64 - zeros_before - zeros_behind);
    let header = 0b11 << 11 | u64::from(zeros_before) << 6 | u64::from(significant & 63);
    let bits = xor >> zeros_behind;
    if significant <= 43 {
        return sink.put(header << significant | bits, significant + 13);
    }
    sink.put(header, 13);
    sink.put_long(bits, significant);
}

/// Takes what [`put_xor`] wrote.
#[inline]
pub(super) fn take_xor(
    bits: &mut BitReader<'_>,
    leading: &mut u8,
    trailing: &mut u8,
) -> Result<u64, ChunkError> {
    match bits.take_ones(2)? {
        0 => Ok(0),
        1 => {
            // Prometheus takes a window for set, and 64 bits wide, after it has opened a chunk again.
            let before = if *leading == NO_WINDOW { 0 } else { *leading };
            Ok(bits.take(u32::from(64 - before - *trailing))? << *trailing)
        }
        _ => {
            let header = bits.take(11)?;
            *leading = (header >> 6) as u8;
            let significant = if header & 63 == 0 { 64 } else { (header & 63) as u8 };
            if *leading + significant > 64 {
                return Err(ChunkError::Malformed);
            }
            *trailing = 64 - *leading - significant;
            Ok(bits.take(u32::from(significant))? << *trailing)
        }
    }
}

#[inline]
fn put_delta_of_delta(sink: &mut impl BitSink, dod: i64) {
    let fits = |bits: u32| (-((1i64 << (bits - 1)) - 1)..=1i64 << (bits - 1)).contains(&dod);
    let low = |bits: u32| dod as u64 & ((1 << bits) - 1);
    if dod == 0 {
        sink.put(0, 1);
    } else if fits(14) {
        sink.put(0b10 << 14 | low(14), 16);
    } else if fits(17) {
        sink.put(0b110 << 17 | low(17), 20);
    } else if fits(20) {
        sink.put(0b1110 << 20 | low(20), 24);
    } else {
        sink.put(0b1111, 4);
        sink.put_long(dod as u64, 64);
    }
}

fn put_uvarint(sink: &mut impl BitSink, mut value: u64) {
    while value >= 0x80 {
        sink.put(value & 0x7f | 0x80, 8);
        value >>= 7;
    }
    sink.put(value, 8);
}

/// Calls `sample` with the time (ms) and the value's bits of each sample of a chunk.
#[inline]
pub fn decode(chunk: &[u8], mut sample: impl FnMut(i64, u64)) -> Result<(), ChunkError> {
    let mut bits = BitReader::new(chunk);
    let count = bits.take(u32::from(HEADER_BITS))?;
    if count == 0 {
        return Ok(());
    }
    let mut t_ms = varint::unzigzag(bits.take_uvarint()?);
    let mut value = bits.take(64)?;
    sample(t_ms, value);
    let mut delta = 0u64;
    let (mut leading, mut trailing) = (0, 0);
    for i in 1..count {
        if i == 1 {
            delta = bits.take_uvarint()?;
        } else {
            delta = delta.wrapping_add(take_delta_of_delta(&mut bits)? as u64);
        }
        t_ms = t_ms.wrapping_add(delta as i64);
        value ^= take_xor(&mut bits, &mut leading, &mut trailing)?;
        sample(t_ms, value);
    }
    Ok(())
}

/// The time of a chunk's first sample; `None` if it holds none.
pub fn first_time(chunk: &[u8]) -> Option<i64> {
    let mut bits = BitReader::new(chunk);
    if bits.take(u32::from(HEADER_BITS)).ok()? == 0 {
        return None;
    }
    bits.take_uvarint().ok().map(varint::unzigzag)
}

#[inline]
fn take_delta_of_delta(bits: &mut BitReader<'_>) -> Result<i64, ChunkError> {
    let width = match bits.take_ones(4)? {
        0 => return Ok(0),
        1 => 14,
        2 => 17,
        3 => 20,
        _ => return Ok(bits.take(64)? as i64),
    };
    let value = bits.take(width)? as i64;
    Ok(if value > 1 << (width - 1) { value - (1 << width) } else { value })
}

/// Encodes samples `(t_ms, value bits)` into one chunk. At most 65,535.
pub fn encode(samples: &[(i64, u64)]) -> Vec<u8> {
    let mut sink = VecSink::default();
    sink.put(samples.len() as u64, u32::from(HEADER_BITS));
    let mut encoder = Encoder::EMPTY;
    for &(t_ms, value) in samples {
        encoder.append(&mut sink, t_ms, value);
    }
    sink.into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(chunk: &[u8]) -> Result<Vec<(i64, u64)>, ChunkError> {
        let mut samples = Vec::new();
        decode(chunk, |t, v| samples.push((t, v)))?;
        Ok(samples)
    }

    #[test]
    fn the_bits_are_those_of_the_format() {
        // Worked out by hand from the format: t0=1 (zig-zag 2), v0=1.0; then delta 3, same value ("0");
        // then a delta of delta of 0 ("0") and 2.0: xor 1.0^2.0 = 0x7ff0..., 1 leading zero, 11 significant
        // bits, hence "11" 00001 001011 11111111111.
        let chunk = encode(&[(1, 1f64.to_bits()), (4, 1f64.to_bits()), (7, 2f64.to_bits())]);
        let one = 1f64.to_bits().to_be_bytes();
        let mut expected = vec![0, 3, 2];
        expected.extend(one);
        expected.push(3);
        // 0 | 0 | 11 | 00001 | 001011 | 11111111111
        expected.extend([0b0011_0000, 0b1001_0111, 0b1111_1111, 0b1100_0000]);
        assert_eq!(chunk, expected);
    }

    #[test]
    fn delta_of_delta_codes_switch_at_their_asymmetric_bounds() {
        for bound in [1i64 << 13, 1 << 16, 1 << 19] {
            for dod in [bound - 1, bound, bound + 1, -bound + 1, -bound, -bound - 1, -bound + 2] {
                let samples: Vec<_> = [0, 1_000_000, 2_000_000 + dod].map(|t| (t, 0)).to_vec();
                assert_eq!(decoded(&encode(&samples)).unwrap(), samples, "{dod}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_samples_come_back_bit_exact(
            samples in proptest::collection::vec((any::<i64>(), any::<u64>()), 0..200),
        ) {
            prop_assert_eq!(decoded(&encode(&samples)).unwrap(), samples);
        }

        #[test]
        fn scraped_samples_come_back_bit_exact(
            steps in proptest::collection::vec((-20i64..20, -3i32..50), 1..240), start: i64,
        ) {
            let mut t = start / 2;
            let mut v = 0f64;
            let samples: Vec<_> = steps.iter().map(|(jitter, step)| {
                t += 15_000 + jitter;
                v += f64::from(*step);
                (t, v.to_bits())
            }).collect();
            prop_assert_eq!(decoded(&encode(&samples)).unwrap(), samples);
        }

        #[test]
        fn garbage_is_an_error_or_samples_but_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decoded(&bytes);
        }
    }

    #[test]
    fn a_cut_chunk_is_an_error() {
        let chunk = encode(&[(1, 7), (4, 9), (7, 11)]);
        for cut in 2..chunk.len() {
            assert_eq!(decoded(&chunk[..cut]), Err(ChunkError::Truncated), "{cut}");
        }
    }
}
