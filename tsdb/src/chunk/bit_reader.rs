//! Reads a chunk's bits, most significant first.

use super::ChunkError;

/// A cursor over bits.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The bit to be read next.
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        BitReader { bytes, at: 0 }
    }

    /// The bit to be read next, counted from the first.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Bits that are left.
    pub(crate) fn left(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.at)
    }

    /// The next 57 to 64 bits in the top of a word, with zeros where the input has ended.
    #[inline]
    fn window(&self) -> u64 {
        let byte = self.at / 8;
        let word = match self.bytes.get(byte..byte + 8) {
            Some(window) => u64::from_be_bytes(window.try_into().expect("the slice is eight bytes long")),
            None => {
                let mut window = [0; 8];
                let rest = self.bytes.get(byte..).unwrap_or_default();
                window[..rest.len()].copy_from_slice(rest);
                u64::from_be_bytes(window)
            }
        };
        word << (self.at % 8)
    }

    #[inline]
    fn advance(&mut self, count: u32) -> Result<(), ChunkError> {
        self.at += count as usize;
        if self.at > self.bytes.len() * 8 { Err(ChunkError::Truncated) } else { Ok(()) }
    }

    /// The next `count` bits, 1 to 64, as a number.
    #[inline]
    pub(crate) fn take(&mut self, count: u32) -> Result<u64, ChunkError> {
        if count > 56 {
            let high = self.take(count - 32)?;
            return Ok(high << 32 | self.take(32)?);
        }
        let value = self.window() >> (64 - count);
        self.advance(count)?;
        Ok(value)
    }

    /// Counts and takes ones up to the first zero, which is taken too, or up to `max` ones.
    #[inline]
    pub(crate) fn take_ones(&mut self, max: u32) -> Result<u32, ChunkError> {
        let ones = self.window().leading_ones().min(max);
        self.advance(if ones < max { ones + 1 } else { ones })?;
        Ok(ones)
    }

    /// An unsigned varint of whole bytes.
    pub(crate) fn take_uvarint(&mut self) -> Result<u64, ChunkError> {
        let mut value = 0u64;
        for i in 0..10 {
            let byte = self.take(8)?;
            if i == 9 && byte > 1 {
                return Err(ChunkError::Malformed);
            }
            value |= (byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ChunkError::Malformed)
    }
}
