//! Reads an XOR chunk: the hottest loop of a query.
//!
//! A sample's codes are a few dozen bits at most, usually two: a load of a word often holds several samples. So bits
//! are taken from whole words, and whether a sample reached beyond the chunk's end is asked once, after it. Loads near
//! the end need bytes behind it; whoever has [`PADDING_BYTES`] there, of whatever value, spares the slow way around.
//!
//! Traps: a cut chunk must be [`ChunkError::Truncated`] although what follows the cut may look like a code, and nothing
//! may overflow, however the bits lie.

use super::{ChunkError, xor};
use crate::varint;

/// Bytes behind a chunk's end that make its last loads fast.
pub const PADDING_BYTES: usize = 8;

/// Bits that a load at any bit position is sure to hold.
const LOADED_BITS: u32 = 57;

/// A cursor over a chunk's samples.
pub(crate) struct Decoder<'a> {
    /// The chunk, and what lies behind it.
    bytes: &'a [u8],
    /// The chunk's end.
    end: usize,
    /// The bit to be read next.
    at: usize,
    t_ms: i64,
    value: u64,
    delta: u64,
    leading: u32,
    trailing: u32,
}

impl<'a> Decoder<'a> {
    /// A cursor before the first sample, and the number of samples. The chunk is the first `len` of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8], len: usize) -> Result<(usize, Self), ChunkError> {
        debug_assert!(len <= bytes.len());
        let mut decoder =
            Decoder { bytes, end: len * 8, at: 0, t_ms: 0, value: 0, delta: 0, leading: 0, trailing: 0 };
        let count = decoder.take(u32::from(xor::HEADER_BITS));
        decoder.check_end()?;
        Ok((count as usize, decoder))
    }

    /// The first sample.
    #[inline]
    pub fn first(&mut self) -> Result<(i64, u64), ChunkError> {
        self.t_ms = varint::unzigzag(self.take_uvarint()?);
        self.value = self.take(64);
        self.check_end()?;
        Ok((self.t_ms, self.value))
    }

    /// The second sample: its time is a distance.
    #[inline]
    pub fn second(&mut self) -> Result<(i64, u64), ChunkError> {
        self.delta = self.take_uvarint()?;
        let word = self.load(self.at);
        self.take_value(word, LOADED_BITS)?;
        self.t_ms = self.t_ms.wrapping_add(self.delta as i64);
        Ok((self.t_ms, self.value))
    }

    /// Any sample after the second.
    #[inline(always)]
    pub fn next(&mut self) -> Result<(i64, u64), ChunkError> {
        let word = self.load(self.at);
        let (dod, taken) = match word.leading_ones() {
            0 => (0, 1),
            1 => (signed(word << 2, 14), 16),
            2 => (signed(word << 3, 17), 20),
            3 => (signed(word << 4, 20), 24),
            _ => (self.bits(self.at + 4, 64) as i64, 68),
        };
        self.delta = self.delta.wrapping_add(dod as u64);
        self.at += taken as usize;
        if taken < LOADED_BITS {
            self.take_value(word << taken, LOADED_BITS - taken)?;
        } else {
            self.take_value(self.load(self.at), LOADED_BITS)?;
        }
        self.t_ms = self.t_ms.wrapping_add(self.delta as i64);
        Ok((self.t_ms, self.value))
    }

    /// How many of the next samples, up to `max`, are two zero bits: as far from the one before as that was from its
    /// own, with the same value. They are taken; the time of each is `delta` after the one before.
    #[inline]
    pub fn take_run(&mut self, max: usize) -> usize {
        let zeros = self.load(self.at).leading_zeros().min(LOADED_BITS - 1) as usize;
        let run = (zeros.min(self.end.saturating_sub(self.at)) / 2).min(max);
        self.at += 2 * run;
        run
    }

    /// The time of the sample a number of deltas after the last one.
    #[inline]
    pub fn step(&mut self) -> (i64, u64) {
        self.t_ms = self.t_ms.wrapping_add(self.delta as i64);
        (self.t_ms, self.value)
    }

    /// The bits from `at` on, at least [`LOADED_BITS`] of them, in the top of a word.
    #[inline]
    fn load(&self, at: usize) -> u64 {
        let byte = at / 8;
        match self.bytes.get(byte..byte + 8).and_then(|bytes| bytes.try_into().ok()) {
            Some(bytes) => u64::from_be_bytes(bytes) << (at % 8),
            None => self.load_near_end(at),
        }
    }

    #[cold]
    fn load_near_end(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        let rest = self.bytes.get(at / 8..).unwrap_or_default();
        let len = rest.len().min(8);
        word[..len].copy_from_slice(&rest[..len]);
        u64::from_be_bytes(word) << (at % 8)
    }

    /// `count` bits, 1 to 64, from `at` on.
    #[inline]
    fn bits(&self, at: usize, count: u32) -> u64 {
        if count <= LOADED_BITS {
            return self.load(at) >> (64 - count);
        }
        (self.load(at) >> 32) << (count - 32) | self.load(at + 32) >> (96 - count)
    }

    #[inline]
    fn take(&mut self, count: u32) -> u64 {
        let bits = self.bits(self.at, count);
        self.at += count as usize;
        bits
    }

    #[inline]
    fn check_end(&self) -> Result<(), ChunkError> {
        if self.at > self.end { Err(ChunkError::Truncated) } else { Ok(()) }
    }

    fn take_uvarint(&mut self) -> Result<u64, ChunkError> {
        let mut value = 0u64;
        for i in 0..varint::LEN_MAX {
            let byte = self.take(8);
            self.check_end()?;
            if i == varint::LEN_MAX - 1 && byte > 1 {
                break;
            }
            value |= (byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ChunkError::Malformed)
    }

    /// Takes a value's code, of which `known` bits are in the top of `word`.
    #[inline(always)]
    fn take_value(&mut self, word: u64, known: u32) -> Result<(), ChunkError> {
        if word >> 63 == 0 {
            self.at += 1;
            return self.check_end();
        }
        let significant;
        let taken;
        if word >> 62 == 0b10 {
            significant = 64 - self.leading - self.trailing;
            taken = 2;
        } else {
            let header = (word << 2 >> 53) as u32;
            self.leading = header >> 6;
            significant = if header & 63 == 0 { 64 } else { header & 63 };
            taken = 13;
            if self.leading + significant > 64 {
                self.at += taken as usize;
                self.check_end()?;
                return Err(ChunkError::Malformed);
            }
            self.trailing = 64 - self.leading - significant;
        }
        self.at += taken as usize;
        let bits = if taken + significant <= known {
            word << taken >> (64 - significant)
        } else {
            self.bits(self.at, significant)
        };
        self.value ^= bits << self.trailing;
        self.at += significant as usize;
        self.check_end()
    }
}

/// A delta of delta from the top `width` bits. The codes' ranges are asymmetric: the largest bit alone is positive.
#[inline]
fn signed(word: u64, width: u32) -> i64 {
    let value = (word >> (64 - width)) as i64;
    if value > 1 << (width - 1) { value - (1 << width) } else { value }
}
