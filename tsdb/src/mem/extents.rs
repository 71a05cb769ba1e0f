//! Memory of open chunks: chains of 64-byte extents.
//!
//! An open chunk grows by a few bytes a sample, and all series of a scrape grow in step. With size classes
//! each class would have to hold all of them once; with extents of one size there is nothing to move and
//! nothing to fragment, and an append touches one cache line.

use super::Paged;

/// Bytes of an extent: 60 of payload, 4 for the number of the next one.
const EXTENT_BYTES: usize = 64;
const NEXT: usize = EXTENT_BYTES - 4;

/// Bits of payload in an extent.
pub(crate) const EXTENT_PAYLOAD_BITS: u32 = NEXT as u32 * 8;

/// Numbers an extent.
pub(crate) type ExtentRef = u32;

/// Ends a chain.
pub(crate) const NO_EXTENT: ExtentRef = u32::MAX;

#[repr(align(64))]
struct Extent([u8; EXTENT_BYTES]);

/// All extents of a head, with a list of the free ones threaded through them.
pub(crate) struct Extents {
    extents: Paged<Extent>,
    free: ExtentRef,
    used: usize,
}

impl Default for Extents {
    fn default() -> Self {
        Extents { extents: Paged::default(), free: NO_EXTENT, used: 0 }
    }
}

impl Extents {
    /// An extent that ends its chain. Its payload is not cleared.
    pub(crate) fn allocate(&mut self) -> ExtentRef {
        self.used += 1;
        if self.free == NO_EXTENT {
            let mut bytes = [0; EXTENT_BYTES];
            bytes[NEXT..].copy_from_slice(&NO_EXTENT.to_le_bytes());
            return self.extents.push(Extent(bytes)) as ExtentRef;
        }
        let taken = self.free;
        self.free = self.next(taken);
        self.set_next(taken, NO_EXTENT);
        taken
    }

    /// Gives a chain back.
    pub(crate) fn release(&mut self, first: ExtentRef, last: ExtentRef) {
        let mut at = first;
        while at != NO_EXTENT {
            self.used -= 1;
            at = self.next(at);
        }
        self.set_next(last, self.free);
        self.free = first;
    }

    /// Bytes in use by chains.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used * EXTENT_BYTES
    }

    /// Adds an extent to the end of the chain.
    pub(crate) fn extend(&mut self, last: ExtentRef) -> ExtentRef {
        let new = self.allocate();
        self.set_next(last, new);
        new
    }

    /// Writes the low `count` bits of `bits` at bit `offset` of an extent's payload. They must fit into it,
    /// and `count` must be from 1 to 56.
    #[inline]
    pub(crate) fn put_bits(&mut self, extent: ExtentRef, offset: u32, bits: u64, count: u32) {
        debug_assert!(offset + count <= EXTENT_PAYLOAD_BITS && (1..=56).contains(&count));
        // An 8-byte window around the bits; at the end of the extent it is moved to the left, and what it
        // covers beside the bits is written back unchanged.
        let base = (offset as usize / 8).min(EXTENT_BYTES - 8);
        let shift = 64 - (offset - base as u32 * 8) - count;
        let mask = (u64::MAX >> (64 - count)) << shift;
        let bytes = &mut self.extents[extent as usize].0;
        let window: &mut [u8; 8] =
            (&mut bytes[base..base + 8]).try_into().expect("the slice is eight bytes long");
        let value = u64::from_be_bytes(*window) & !mask | (bits << shift) & mask;
        *window = value.to_be_bytes();
    }

    /// A byte of an extent: reading it brings the extent into the cache.
    #[inline]
    pub(crate) fn touch(&self, extent: ExtentRef) -> u8 {
        self.extents[extent as usize].0[NEXT]
    }

    /// Appends the first `bytes` bytes of the chain's payload to `out`.
    pub(crate) fn copy(&self, first: ExtentRef, bytes: usize, out: &mut Vec<u8>) {
        let mut left = bytes;
        let mut at = first;
        while left > 0 {
            let take = left.min(NEXT);
            out.extend_from_slice(&self.extents[at as usize].0[..take]);
            left -= take;
            at = self.next(at);
        }
    }

    fn next(&self, extent: ExtentRef) -> ExtentRef {
        let bytes = &self.extents[extent as usize].0;
        u32::from_le_bytes([bytes[NEXT], bytes[NEXT + 1], bytes[NEXT + 2], bytes[NEXT + 3]])
    }

    fn set_next(&mut self, extent: ExtentRef, next: ExtentRef) {
        self.extents[extent as usize].0[NEXT..].copy_from_slice(&next.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_in_order_across_extents() {
        let mut extents = Extents::default();
        let first = extents.allocate();
        let (mut last, mut at) = (first, 0u32);
        // 48 values of 40 bits: four full extents.
        for i in 0..48u64 {
            if at == EXTENT_PAYLOAD_BITS {
                last = extents.extend(last);
                at = 0;
            }
            extents.put_bits(last, at, i * 0x01_0101_0101, 40);
            at += 40;
        }
        let mut bytes = Vec::new();
        extents.copy(first, 240, &mut bytes);
        let expected: Vec<u8> = (0..48u8).flat_map(|i| [i; 5]).collect();
        assert_eq!(bytes, expected);
        assert_eq!(extents.used_bytes(), 4 * 64);
    }

    #[test]
    fn released_extents_are_used_again_before_new_ones_are_made() {
        let mut extents = Extents::default();
        let first = extents.allocate();
        let last = extents.extend(first);
        extents.release(first, last);
        assert_eq!(extents.used_bytes(), 0);
        let again = [extents.allocate(), extents.allocate()];
        assert!(again.contains(&first) && again.contains(&last));
    }
}
