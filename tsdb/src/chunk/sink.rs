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
    fn put(&mut self, bits: u64, count: u32) {
        let mut left = count;
        while left > 0 {
            let used = (self.bits % 8) as u32;
            if used == 0 {
                self.bytes.push(0);
            }
            let taken = left.min(8 - used);
            let part = bits >> (left - taken) & ((1 << taken) - 1);
            let last = self.bytes.len() - 1;
            self.bytes[last] |= (part << (8 - used - taken)) as u8;
            self.bits += taken as usize;
            left -= taken;
        }
    }
}
