//! The start times that newer encodings have behind their samples. They are read over: nothing here knows of them.
//!
//! A byte of the chunk's header says whether the first sample has one (`0x80`), and from which sample on the others have
//! (the other bits; 0: none). The first is a zig-zag varint, the others are signed integers in bits. Facts:
//! Prometheus's `tsdb/chunkenc/st.go`.

use super::{BitReader, ChunkError, varbit};
use crate::varint;

const FIRST: u8 = 0x80;

/// Which samples of a chunk have start times.
#[derive(Clone, Copy, Debug)]
pub(super) struct StartTimes {
    of_first: bool,
    /// 0: of none.
    from: u8,
}

impl StartTimes {
    /// Reads the byte of the header.
    pub(super) fn parse(header: u8) -> Self {
        StartTimes { of_first: header & FIRST != 0, from: header & !FIRST }
    }

    /// Reads over that of a sample, by its number from 0.
    pub(super) fn skip(self, bits: &mut BitReader<'_>, number: u16) -> Result<(), ChunkError> {
        match number {
            0 if self.of_first => take_uvarint(bits).map(drop),
            0 => Ok(()),
            _ if self.from > 0 && number >= u16::from(self.from) => varbit::take_int(bits).map(drop),
            _ => Ok(()),
        }
    }
}

/// Takes an unsigned varint, which need not begin with a byte of the chunk.
pub(super) fn take_uvarint(bits: &mut BitReader<'_>) -> Result<u64, ChunkError> {
    let mut value = 0;
    for i in 0..varint::LEN_MAX {
        let byte = bits.take(8)?;
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
