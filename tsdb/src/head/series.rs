//! What the head keeps of one series beside its labels: one cache line.

use super::WalBase;
use super::sealed_refs::NO_BLOCK;
use crate::chunk::BitSink;
use crate::chunk::xor::{self, Encoder};
use crate::mem::{EXTENT_PAYLOAD_BITS, ExtentRef, Extents, NO_EXTENT};

/// What the newest in-order sample of a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newest {
    /// There is none.
    None,
    /// A float; the encoder has its time and value.
    Float,
    /// A histogram; the encoder has its time, and the [open chunk](super::histograms) is beside the series.
    Histogram,
    /// A histogram whose chunk was [released](super::release). The encoder has its time; its value is beside the series too,
    /// unless the series has stopped.
    Released,
}

/// State of a series.
#[derive(Clone, Copy)]
pub(super) struct Series {
    /// The open chunk's encoder. With no open chunk its count is 0, and its time still is the newest
    /// in-order sample's.
    pub(super) encoder: Encoder,
    pub(super) wal_base: WalBase,
    /// The open chunk's bits so far, header included.
    pub(super) bits: u16,
    pub(super) newest: Newest,
    pub(super) first: ExtentRef,
    pub(super) last: ExtentRef,
    /// The newest block of references to sealed chunks.
    pub(super) sealed: u32,
}

const _: () = assert!(size_of::<Series>() <= 64, "a series is one cache line");

impl Default for Series {
    fn default() -> Self {
        Series {
            encoder: Encoder::EMPTY,
            wal_base: WalBase::default(),
            bits: 0,
            newest: Newest::None,
            first: NO_EXTENT,
            last: NO_EXTENT,
            sealed: NO_BLOCK,
        }
    }
}

impl Series {
    /// Whether there is any sample.
    #[inline]
    pub(super) fn has_samples(&self) -> bool {
        self.newest != Newest::None
    }

    /// Appends to the open chunk, which is begun if there is none.
    #[inline]
    pub(super) fn push(&mut self, extents: &mut Extents, t_ms: i64, value: u64) {
        if self.encoder.count == 0 {
            self.encoder = Encoder::EMPTY;
            self.first = extents.allocate();
            self.last = self.first;
            // The count is filled in when the chunk is copied.
            self.bits = xor::HEADER_BITS;
        }
        let mut sink = ExtentSink { extents, last: self.last, bits: self.bits };
        self.encoder.append(&mut sink, t_ms, value);
        (self.last, self.bits) = (sink.last, sink.bits);
        self.newest = Newest::Float;
    }

    /// Appends the open chunk's bytes to `out`.
    pub(super) fn copy_open_chunk(&self, extents: &Extents, out: &mut Vec<u8>) {
        let begin = out.len();
        extents.copy(self.first, usize::from(self.bits).div_ceil(8), out);
        out[begin..begin + 2].copy_from_slice(&self.encoder.count.to_be_bytes());
        // The last byte's unused bits hold whatever was there before; equal chunks should be equal bytes.
        let unused = (8 - self.bits % 8) % 8;
        if let Some(last) = out.last_mut() {
            *last = *last >> unused << unused;
        }
    }

    /// Forgets the open chunk, whose bytes have been copied.
    pub(super) fn close_chunk(&mut self, extents: &mut Extents) {
        extents.release(self.first, self.last);
        (self.first, self.last, self.bits) = (NO_EXTENT, NO_EXTENT, 0);
        self.encoder.count = 0;
    }
}

/// Writes bits to the end of a chain of extents.
struct ExtentSink<'a> {
    extents: &'a mut Extents,
    last: ExtentRef,
    bits: u16,
}

impl BitSink for ExtentSink<'_> {
    #[inline]
    fn put(&mut self, bits: u64, count: u32) {
        let offset = u32::from(self.bits) % EXTENT_PAYLOAD_BITS;
        // A chain never ends with an empty extent: the next one is added when there is a bit for it.
        let full = offset == 0;
        if full {
            self.last = self.extents.extend(self.last);
        }
        let room = EXTENT_PAYLOAD_BITS - offset;
        if count <= room {
            self.extents.put_bits(self.last, offset, bits, count);
        } else {
            self.extents.put_bits(self.last, offset, bits >> (count - room), room);
            self.last = self.extents.extend(self.last);
            self.extents.put_bits(self.last, 0, bits, count - room);
        }
        self.bits += count as u16;
    }
}
