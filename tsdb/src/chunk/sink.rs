//! Where encoders write bits, most significant first.

/// Takes bits.
pub trait BitSink {
    /// Appends the low `count` bits, 1 to 56.
    fn put(&mut self, bits: u64, count: u32);

    /// Appends the low `count` bits, 1 to 64.
    #[inline]
    fn put_long(&mut self, bits: u64, count: u32) {
        if count > 56 {
            self.put(bits >> 32, count - 32);
            self.put(bits & 0xffff_ffff, 32);
        } else {
            self.put(bits, count);
        }
    }
}

/// Bits in a plain buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VecSink {
    bytes: Vec<u8>,
    bits: usize,
}

impl VecSink {
    /// A sink that goes on behind the first `bits` bits of `bytes`, which end there.
    pub(super) fn resume(bytes: Vec<u8>, bits: usize) -> Self {
        debug_assert_eq!(bytes.len(), bits.div_ceil(8));
        VecSink { bytes, bits }
    }

    /// The bytes so far; unused bits of the last one are zero.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes of heap held.
    pub(super) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The bytes, to be patched.
    pub(super) fn bytes_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bits so far.
    #[cfg(test)]
    pub(super) fn bits(&self) -> usize {
        self.bits
    }
}

impl BitSink for VecSink {
    #[inline]
    fn put(&mut self, bits: u64, count: u32) {
        debug_assert!((1..=56).contains(&count));
        // The bits behind those that the last byte has already, in the top of a word.
        let used = (self.bits % 8) as u32;
        let word = (bits << (64 - count) >> used).to_be_bytes();
        let end = (used + count).div_ceil(8) as usize;
        let begin = usize::from(used > 0);
        if let Some(last) = self.bytes.last_mut().filter(|_| used > 0) {
            *last |= word[0];
        }
        self.bytes.extend_from_slice(&word[begin..end]);
        self.bits += count as usize;
    }
}
