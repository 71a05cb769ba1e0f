//! Variable-length integers as in Protocol Buffers and Go's `encoding/binary`: seven bits a byte, lowest
//! first; signed ones are zig-zagged first.

/// The most bytes a 64-bit integer takes.
pub(crate) const LEN_MAX: usize = 10;

/// Appends an unsigned integer.
#[inline]
pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed integer.
#[inline]
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put_u64(out, zigzag(value));
}

/// Takes an unsigned integer from the front; `None` if it is cut off or does not fit into 64 bits.
#[inline]
pub(crate) fn take_u64(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (i, &byte) in from.iter().take(LEN_MAX).enumerate() {
        if i == LEN_MAX - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *from = &from[i + 1..];
            return Some(value);
        }
    }
    None
}

/// Takes a signed integer from the front.
#[inline]
pub(crate) fn take_i64(from: &mut &[u8]) -> Option<i64> {
    take_u64(from).map(unzigzag)
}

/// Small magnitudes to small numbers.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// The inverse of [`zigzag`].
#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_come_back(unsigned: u64, signed: i64) {
            let mut out = Vec::new();
            put_u64(&mut out, unsigned);
            put_i64(&mut out, signed);
            let mut rest = out.as_slice();
            prop_assert_eq!(take_u64(&mut rest), Some(unsigned));
            prop_assert_eq!(take_i64(&mut rest), Some(signed));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn cut_off_and_oversized_integers_are_refused() {
        assert_eq!(take_u64(&mut [0x80u8].as_slice()), None);
        assert_eq!(take_u64(&mut [].as_slice()), None);
        assert_eq!(take_u64(&mut [0xff; 11].as_slice()), None);
        assert_eq!(take_u64(&mut [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2].as_slice()), None);
        assert_eq!(unzigzag(zigzag(i64::MIN)), i64::MIN);
    }
}
