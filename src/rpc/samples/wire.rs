//! Varints as in Protocol Buffers (signed ones zig-zagged) and a cursor that never reads past the end.

/// The most bytes a 64-bit integer takes.
const LEN_MAX: usize = 10;

/// Appends an unsigned integer, seven bits a byte, lowest first.
#[inline]
pub(super) fn put_unsigned(out: &mut Vec<u8>, value: u64) {
    let mut rest = value;
    loop {
        let more = rest > 0x7f;
        out.push(rest as u8 & 0x7f | u8::from(more) << 7);
        rest >>= 7;
        if !more {
            return;
        }
    }
}

/// Appends a signed integer: small magnitudes are short.
#[inline]
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value >> 63) ^ (value << 1)) as u64);
}

/// Appends bytes behind their number.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What is left of a batch's bytes. Everything taken is `None` if it is not there in full.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// All that is left, without taking it.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|byte| byte[0])
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u128::from_le_bytes(*taken))
    }

    #[inline]
    pub(super) fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0;
        for at in 0..LEN_MAX {
            let byte = *self.rest.get(at)?;
            // The tenth byte holds the 64th bit and nothing else.
            if at + 1 == LEN_MAX && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Some(value);
            }
        }
        None
    }

    #[inline]
    pub(super) fn signed(&mut self) -> Option<i64> {
        self.unsigned().map(|zigzag| (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// A count or length of at most `max`.
    #[inline]
    pub(super) fn count(&mut self, max: usize) -> Option<usize> {
        self.unsigned().and_then(|count| usize::try_from(count).ok()).filter(|&count| count <= max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_come_back(unsigned: u64, signed: i64) {
            let mut out = Vec::new();
            put_unsigned(&mut out, unsigned);
            put_signed(&mut out, signed);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.unsigned(), Some(unsigned));
            prop_assert_eq!(cursor.signed(), Some(signed));
            prop_assert!(cursor.is_empty());
        }
    }

    #[test]
    fn extremes_have_the_bytes_of_protocol_buffers() {
        let mut out = Vec::new();
        put_unsigned(&mut out, 300);
        put_signed(&mut out, -1);
        put_signed(&mut out, i64::MIN);
        let min = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(out, [&[0xac, 0x02, 0x01][..], &min].concat());
    }

    #[test]
    fn cut_off_and_oversized_integers_are_refused() {
        for bytes in [&[][..], &[0x80], &[0xff; 9], &[0xff; 11]] {
            assert_eq!(Cursor::new(bytes).unsigned(), None, "{bytes:?}");
        }
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(Cursor::new(&too_large).unsigned(), None);
    }
}
