//! The files with the chunks: `85 BD 40 DD | version 1 | 3 zeros`, then chunks, one behind the other:
//! `uvarint len | encoding | data of len bytes | crc32c` over encoding and data.

use std::ops::Range;

use super::error::{BlockError, BlockFile, damaged};
use super::index::{ChunkMeta, Got};
use crate::varint;

/// What a file begins with.
pub(super) const FILE_HEADER: [u8; 8] = [0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0];

/// Prometheus's writer makes no longer file.
pub const SEGMENT_BYTES_MAX: u64 = 512 << 20;

/// Bytes in which nearly every chunk fits: Thanos's and Cortex's guess.
pub const CHUNK_BYTES_GUESS: u64 = 16_000;

/// The length before a chunk takes so many bytes at most; readers look at so many, chunk or not.
const LEN_BYTES_MAX: usize = 5;

const CRC_BYTES: usize = 4;

/// Where a chunk is: the number of its file, from 0, and the offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkRef(pub u64);

impl ChunkRef {
    pub(super) fn new(segment: u32, offset: u32) -> Self {
        ChunkRef(u64::from(segment) << 32 | u64::from(offset))
    }

    /// The file.
    pub fn segment(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The offset in it.
    pub fn offset(self) -> u64 {
        self.0 & 0xffff_ffff
    }

    pub(super) fn file(self) -> BlockFile {
        BlockFile::Segment(self.segment())
    }
}

/// A chunk's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The number of its encoding.
    pub encoding: u8,
    /// What the encoding makes of the samples.
    pub data: &'a [u8],
}

impl Chunk<'_> {
    /// Bytes that the chunk takes in its file.
    pub(super) fn file_bytes(&self) -> u64 {
        let mut len = Vec::new();
        varint::put_u64(&mut len, self.data.len() as u64);
        (len.len() + 1 + self.data.len() + CRC_BYTES) as u64
    }
}

/// Checks the first bytes of a segment.
pub fn check_segment_header(bytes: &[u8], segment: u32) -> Result<(), BlockError> {
    let file = BlockFile::Segment(segment);
    match bytes.first_chunk::<{ FILE_HEADER.len() }>() {
        Some(header) if header[..5] == FILE_HEADER[..5] => Ok(()),
        Some(header) if header[..4] == FILE_HEADER[..4] => {
            let (offset, number) = (4, u64::from(header[4]));
            Err(BlockError::Unsupported { file, offset, what: "version", number })
        }
        _ => Err(damaged(file, 0, "not a file of chunks")),
    }
}

/// How many bytes the chunk at the front of `bytes` has in all; `None` if that does not stand there.
pub(super) fn chunk_bytes(bytes: &[u8]) -> Option<u64> {
    let head = &bytes[..bytes.len().min(LEN_BYTES_MAX)];
    let mut rest = head;
    let len = varint::take_u64(&mut rest)?;
    Some((head.len() - rest.len()) as u64 + 1 + len + CRC_BYTES as u64)
}

/// Reads the chunk at the front of `bytes`. What stands behind it does not count.
pub fn parse_chunk(bytes: &[u8], at: ChunkRef) -> Result<Got<Chunk<'_>>, BlockError> {
    let wrong = |what| damaged(at.file(), at.offset(), what);
    let Some(needed) = chunk_bytes(bytes) else {
        return if bytes.len() < LEN_BYTES_MAX {
            Ok(Got::Needs(LEN_BYTES_MAX as u64))
        } else {
            Err(wrong("a chunk has no length"))
        };
    };
    if (bytes.len() as u64) < needed {
        return Ok(Got::Needs(needed));
    }
    let begin = bytes.iter().position(|byte| *byte < 0x80).map_or(0, |last| last + 1);
    let end = needed as usize - CRC_BYTES;
    let (&encoding, data) =
        bytes[begin..end].split_first().ok_or_else(|| wrong("a chunk has no encoding"))?;
    if bytes[end..end + CRC_BYTES] != crc32c::crc32c(&bytes[begin..end]).to_be_bytes() {
        return Err(wrong("checksum mismatch"));
    }
    Ok(Got::All(Chunk { encoding, data }))
}

/// The ranges that hold a series' chunks, with the numbers of their files. Where the next chunk of the series follows in
/// the same file, its begin is the end; else so many bytes are taken, such as [`CHUNK_BYTES_GUESS`], and should a chunk have
/// more, [`parse_chunk`] says how many. Ranges may reach beyond the end of the file.
pub fn chunk_ranges(chunks: &[ChunkMeta], bytes: u64) -> impl Iterator<Item = (u32, Range<u64>)> {
    chunks.iter().enumerate().map(move |(i, chunk)| {
        let begin = chunk.at.offset();
        let next = chunks.get(i + 1).map(|next| next.at);
        let next = next.filter(|next| next.segment() == chunk.at.segment() && next.offset() > begin);
        let end = begin.saturating_add(bytes);
        (chunk.at.segment(), begin..next.map_or(end, |next| next.offset().min(end)))
    })
}

/// How many samples a chunk says it holds: all encodings begin with that.
pub(super) fn sample_count(data: &[u8]) -> Option<u16> {
    data.first_chunk().map(|count| u16::from_be_bytes(*count))
}

/// Appends a chunk.
pub(super) fn put_chunk(out: &mut Vec<u8>, chunk: Chunk<'_>) {
    varint::put_u64(out, chunk.data.len() as u64);
    let begin = out.len();
    out.push(chunk.encoding);
    out.extend_from_slice(chunk.data);
    let crc = crc32c::crc32c(&out[begin..]);
    out.extend(crc.to_be_bytes());
}
