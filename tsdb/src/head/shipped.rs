//! Series batches as bytes, for a reader on another node (`docs/format/rpc.md`).
//!
//! Chunks travel as they are. Those that lie in files are read and checked where they lie, so that damage is reported
//! by the node that has it. What comes back from bytes is checked as far as it is trusted later: structure, and that
//! labels are canonical. Whether a chunk's bytes make sense shows when it is decoded.

use std::ops::Range;

use super::read::{ChunkData, ReadError, SeriesBatch, SeriesData, as_range, of_frame};
use crate::labels::Labels;
use crate::sealed::{self, FrameError};
use crate::varint;

/// The version of the form.
const VERSION: u8 = 1;

/// Flag of a series whose chunks overlap.
const MERGE: u8 = 1;

/// Bytes that are no series batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotABatch {
    /// Another version.
    #[error("series come in version {0:?}, this node reads version {VERSION}")]
    Version(Option<u8>),
    /// Anything else.
    #[error("these bytes are no series")]
    Malformed,
}

impl SeriesBatch {
    /// Begins a batch's bytes: for [`SeriesBatch::put_shipped`].
    pub fn begin_shipped(out: &mut Vec<u8>) {
        out.push(VERSION);
    }

    /// Appends a series, with the bytes of all its chunks. May read files. After an error `out` is as it was.
    pub fn put_shipped(&self, series: &SeriesData, out: &mut Vec<u8>) -> Result<(), ReadError> {
        let begin = out.len();
        let result = self.put_series(series, out);
        if result.is_err() {
            out.truncate(begin);
        }
        result
    }

    fn put_series(&self, series: &SeriesData, out: &mut Vec<u8>) -> Result<(), ReadError> {
        put_bytes(out, self.labels(series).as_bytes());
        out.push(if series.merge { MERGE } else { 0 });
        varint::put_u64(out, u64::from(series.chunks.end - series.chunks.start));
        let mut frame = Vec::new();
        for chunk in &self.chunks[as_range(&series.chunks)] {
            let (encoding, data) = match chunk {
                ChunkData::Open(range, encoding) => (*encoding, &self.bytes[as_range(range)]),
                ChunkData::Frame(range) => of_frame(&self.bytes[as_range(range)])?,
                ChunkData::Sealed(at) => {
                    frame.clear();
                    let view = self.views.get(&at.file).ok_or(FrameError)?;
                    sealed::read_frame(view.as_ref(), at.offset, &mut frame)?;
                    of_frame(&frame)?
                }
            };
            out.push(encoding);
            put_bytes(out, data);
        }
        Ok(())
    }

    /// The batch that these bytes are.
    pub fn from_shipped(bytes: Vec<u8>) -> Result<Self, NotABatch> {
        let mut batch = SeriesBatch::default();
        let mut rest = match bytes.split_first() {
            Some((&VERSION, rest)) => rest,
            other => return Err(NotABatch::Version(other.map(|(&version, _)| version))),
        };
        if u32::try_from(bytes.len()).is_err() {
            return Err(NotABatch::Malformed);
        }
        while !rest.is_empty() {
            let series = take_series(&bytes, &mut rest, &mut batch.chunks).ok_or(NotABatch::Malformed)?;
            batch.series.push(series);
        }
        batch.bytes = bytes;
        Ok(batch)
    }
}

fn take_series(all: &[u8], rest: &mut &[u8], chunks: &mut Vec<ChunkData>) -> Option<SeriesData> {
    let labels = take_bytes(all, rest)?;
    Labels::parse(&all[as_range(&labels)]).ok()?;
    let flags = take_byte(rest)?;
    if flags & !MERGE != 0 {
        return None;
    }
    let count = varint::take_u64(rest)?;
    let first = chunks.len() as u32;
    for _ in 0..count {
        // Each takes two bytes at least, so a count that is too great ends here before it costs anything.
        let encoding = take_byte(rest)?;
        chunks.push(ChunkData::Open(take_bytes(all, rest)?, encoding));
    }
    Some(SeriesData { labels, chunks: first..chunks.len() as u32, merge: flags & MERGE != 0 })
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (&first, behind) = rest.split_first()?;
    *rest = behind;
    Some(first)
}

/// Takes bytes with their length from the front of `rest`, which is the end of `all`; gives their place in `all`.
fn take_bytes(all: &[u8], rest: &mut &[u8]) -> Option<Range<u32>> {
    let len = usize::try_from(varint::take_u64(rest)?).ok()?;
    let begin = all.len() - rest.len();
    *rest = rest.get(len..)?;
    Some(begin as u32..(begin + len) as u32)
}
