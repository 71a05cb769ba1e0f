//! Bytes of fragments and partial results: varints, floats, texts.
//!
//! What is read may be anything. A length is believed only as far as bytes follow, so that memory is bounded by the
//! input; every text is checked.

use std::fmt;

/// Bytes that are no fragment or partial result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WireError(pub(crate) &'static str);

pub(crate) const TRUNCATED: WireError = WireError("ends early");

/// Texts of one label set may have so many bytes.
pub(crate) const LABELS_BYTES_MAX: usize = 16 << 20;

/// Writes.
#[derive(Default)]
pub(crate) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// Seven bits a byte, lowest first.
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn length(&mut self, value: usize) {
        self.number(value as u64);
    }

    /// Zig-zag.
    pub fn signed(&mut self, value: i64) {
        self.number((value << 1 ^ value >> 63) as u64);
    }

    pub fn float(&mut self, value: f64) {
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    pub fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }
}

/// Reads from the front.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({} bytes left)", self.0.len())
    }
}

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| TRUNCATED)
    }

    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn bool(&mut self) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError("a flag is neither 0 nor 1")),
        }
    }

    pub fn number(&mut self) -> Result<u64, WireError> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError("a number does not fit into 64 bits"))
    }

    pub fn signed(&mut self) -> Result<i64, WireError> {
        let value = self.number()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub fn float(&mut self) -> Result<f64, WireError> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    /// How many things follow, each of at least `bytes_min` bytes.
    pub fn count(&mut self, bytes_min: usize) -> Result<usize, WireError> {
        let count = usize::try_from(self.number()?).map_err(|_| TRUNCATED)?;
        if count.checked_mul(bytes_min.max(1)).is_none_or(|bytes| bytes > self.0.len()) {
            return Err(TRUNCATED);
        }
        Ok(count)
    }

    pub fn text(&mut self) -> Result<&'a str, WireError> {
        let count = self.count(1)?;
        str::from_utf8(self.take(count)?).map_err(|_| WireError("a text is not UTF-8"))
    }

    /// Fails unless all was read.
    pub fn end(self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError("bytes follow the end")) }
    }
}
