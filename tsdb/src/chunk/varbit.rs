//! Integers of variable length in bits, as histogram chunks hold them: a prefix of ones tells the width.
//!
//! Trap: signed ranges are asymmetric, `-(2^(n-1)-1) ..= 2^(n-1)`, as in the XOR chunk.

use super::sink::BitSink;
use super::{BitReader, ChunkError};

/// Widths by the number of ones in front.
const WIDTHS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// Appends a signed integer.
pub(super) fn put_int(sink: &mut impl BitSink, value: i64) {
    let fits =
        |width: u32| width == 64 || (-((1i64 << (width - 1)) - 1)..=1i64 << (width - 1)).contains(&value);
    put(sink, value as u64, if value == 0 { 0 } else { ones_for(fits) });
}

/// Appends an unsigned integer.
pub(super) fn put_uint(sink: &mut impl BitSink, value: u64) {
    let ones = if value == 0 { 0 } else { ones_for(|width| width == 64 || value >> width == 0) };
    put(sink, value, ones);
}

fn ones_for(fits: impl Fn(u32) -> bool) -> usize {
    (1..WIDTHS.len()).find(|ones| fits(WIDTHS[*ones])).unwrap_or(WIDTHS.len() - 1)
}

fn put(sink: &mut impl BitSink, value: u64, ones: usize) {
    match ones {
        0 => return sink.put(0, 1),
        8 => sink.put(0xff, 8),
        _ => sink.put((1 << (ones + 1)) - 2, ones as u32 + 1),
    }
    let width = WIDTHS[ones];
    sink.put_long(value & (u64::MAX >> (64 - width)), width);
}

/// Takes a signed integer.
pub(super) fn take_int(bits: &mut BitReader<'_>) -> Result<i64, ChunkError> {
    let width = WIDTHS[bits.take_ones(8)? as usize];
    if width == 0 {
        return Ok(0);
    }
    let value = bits.take(width)?;
    let is_negative = width < 64 && value > 1 << (width - 1);
    Ok(if is_negative { value.wrapping_sub(1 << width) } else { value } as i64)
}

/// Takes an unsigned integer.
pub(super) fn take_uint(bits: &mut BitReader<'_>) -> Result<u64, ChunkError> {
    match WIDTHS[bits.take_ones(8)? as usize] {
        0 => Ok(0),
        width => bits.take(width),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::sink::VecSink;

    fn bits_of_int(value: i64) -> (usize, i64) {
        let mut sink = VecSink::default();
        put_int(&mut sink, value);
        (sink.bits(), take_int(&mut BitReader::new(sink.bytes())).unwrap())
    }

    #[test]
    fn widths_switch_at_the_documented_bounds() {
        // Prefix and width for the largest magnitudes that fit.
        for (bits, least, greatest) in
            [(5, -3, 4), (9, -31, 32), (13, -255, 256), (17, -2047, 2048), (24, -131_071, 131_072)]
        {
            assert_eq!(bits_of_int(least), (bits, least));
            assert_eq!(bits_of_int(greatest), (bits, greatest));
            assert!(bits_of_int(least - 1).0 > bits);
            assert!(bits_of_int(greatest + 1).0 > bits);
        }
        assert_eq!(bits_of_int(0), (1, 0));
        assert_eq!(bits_of_int(i64::MIN), (72, i64::MIN));
    }

    proptest! {
        #[test]
        fn any_integers_come_back(values in proptest::collection::vec((any::<i64>(), 0u32..64), 1..50)) {
            let values: Vec<i64> = values.into_iter().map(|(value, shift)| value >> shift).collect();
            let mut sink = VecSink::default();
            for value in &values {
                put_int(&mut sink, *value);
                put_uint(&mut sink, *value as u64);
            }
            let mut bits = BitReader::new(sink.bytes());
            for value in &values {
                prop_assert_eq!(take_int(&mut bits).unwrap(), *value);
                prop_assert_eq!(take_uint(&mut bits).unwrap(), *value as u64);
            }
        }
    }
}
