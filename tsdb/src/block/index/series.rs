//! A series' entry: its labels as references to symbols, and where its chunks are.
//!
//! `uvarint len | labels | chunks | crc32c`. Labels: `uvarint count | (uvarint name, uvarint value)*`. Chunks: `uvarint
//! count`, then of the first `varint min | uvarint max-min | uvarint reference`, of the next
//! `uvarint min-(max before) | uvarint max-min | varint reference-(reference before)`.

use super::CRC_BYTES;
use crate::block::error::{BlockError, BlockFile, damaged};
use crate::block::segment::ChunkRef;
use crate::varint;

/// Where a chunk is, and the times of its first and last sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Its place.
    pub at: ChunkRef,
    /// The first sample's time.
    pub min_ms: i64,
    /// The last sample's time.
    pub max_ms: i64,
}

/// A series as the index has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesEntry {
    /// References to the symbols of names and values, in order of names.
    pub labels: Vec<(u32, u32)>,
    /// Its chunks, in order of time.
    pub chunks: Vec<ChunkMeta>,
}

/// What came of bytes whose length was a guess.
#[derive(Debug, PartialEq, Eq)]
pub enum Got<T> {
    /// All that was wanted.
    All(T),
    /// The bytes are too few: so many are needed.
    Needs(u64),
}

/// Reads the entry that begins at `offset` of the index. Bytes behind it do not count.
pub fn parse_series(bytes: &[u8], offset: u64, series: &mut SeriesEntry) -> Result<Got<()>, BlockError> {
    let body = match entry_body(bytes, offset)? {
        Got::All(body) => body,
        Got::Needs(bytes) => return Ok(Got::Needs(bytes)),
    };
    match parse_body(body, series) {
        Ok(()) => Ok(Got::All(())),
        Err(what) => Err(damaged(BlockFile::Index, offset, what)),
    }
}

/// The checked body of an entry.
fn entry_body(bytes: &[u8], offset: u64) -> Result<Got<&[u8]>, BlockError> {
    let wrong = |what| damaged(BlockFile::Index, offset, what);
    let mut rest = bytes;
    let Some(len) = varint::take_u64(&mut rest) else {
        if bytes.len() < varint::LEN_MAX {
            return Ok(Got::Needs(varint::LEN_MAX as u64));
        }
        return Err(wrong("a series has no length"));
    };
    let head = (bytes.len() - rest.len()) as u64;
    let needed = head.checked_add(CRC_BYTES as u64).and_then(|more| more.checked_add(len));
    let needed = needed.ok_or_else(|| wrong("a series is longer than any file"))?;
    if (bytes.len() as u64) < needed {
        return Ok(Got::Needs(needed));
    }
    let (body, rest) = rest.split_at(len as usize);
    if rest.first_chunk::<CRC_BYTES>() != Some(&crc32c::crc32c(body).to_be_bytes()) {
        return Err(wrong("checksum mismatch"));
    }
    Ok(Got::All(body))
}

fn parse_body(mut body: &[u8], series: &mut SeriesEntry) -> Result<(), &'static str> {
    series.labels.clear();
    series.chunks.clear();
    let reference = |from: &mut &[u8]| varint::take_u64(from).and_then(|n| u32::try_from(n).ok());
    for _ in 0..varint::take_u64(&mut body).ok_or("a series has no labels")? {
        let name = reference(&mut body).ok_or("a label is cut off")?;
        series.labels.push((name, reference(&mut body).ok_or("a label is cut off")?));
    }
    let chunks = varint::take_u64(&mut body).ok_or("a series has no chunks")?;
    for _ in 0..chunks {
        let chunk = take_chunk(&mut body, series.chunks.last()).ok_or("a chunk's place makes no sense")?;
        series.chunks.push(chunk);
    }
    if body.is_empty() { Ok(()) } else { Err("a series is longer than its parts") }
}

fn take_chunk(body: &mut &[u8], before: Option<&ChunkMeta>) -> Option<ChunkMeta> {
    let later = |t_ms: i64, by: u64| t_ms.checked_add_unsigned(by);
    let min_ms = match before {
        None => varint::take_i64(body)?,
        Some(before) => later(before.max_ms, varint::take_u64(body)?)?,
    };
    let max_ms = later(min_ms, varint::take_u64(body)?)?;
    let at = match before {
        None => varint::take_u64(body)?,
        Some(before) => before.at.0.checked_add_signed(varint::take_i64(body)?)?,
    };
    Some(ChunkMeta { at: ChunkRef(at), min_ms, max_ms })
}

impl SeriesEntry {
    /// Appends the entry's bytes, length and checksum included.
    pub(in crate::block) fn put(
        labels: &[(u32, u32)],
        chunks: &[ChunkMeta],
        scratch: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) {
        scratch.clear();
        varint::put_u64(scratch, labels.len() as u64);
        for (name, value) in labels {
            varint::put_u64(scratch, u64::from(*name));
            varint::put_u64(scratch, u64::from(*value));
        }
        varint::put_u64(scratch, chunks.len() as u64);
        let mut before: Option<&ChunkMeta> = None;
        for chunk in chunks {
            match before {
                None => varint::put_i64(scratch, chunk.min_ms),
                Some(before) => varint::put_u64(scratch, chunk.min_ms.wrapping_sub(before.max_ms) as u64),
            }
            varint::put_u64(scratch, chunk.max_ms.wrapping_sub(chunk.min_ms) as u64);
            match before {
                None => varint::put_u64(scratch, chunk.at.0),
                Some(before) => varint::put_i64(scratch, chunk.at.0.wrapping_sub(before.at.0) as i64),
            }
            before = Some(chunk);
        }
        varint::put_u64(out, scratch.len() as u64);
        out.extend_from_slice(scratch);
        out.extend(crc32c::crc32c(scratch).to_be_bytes());
    }
}
