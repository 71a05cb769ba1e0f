//! Chunks of blocks as a batch of series, as a head gives them: what a query reads.
//!
//! Chunks come block by block, of many series each, since that is how they are got. At the end each series has its chunks in
//! order of time, whichever blocks they are from. Chunks that overlap are merged by whoever [decodes](SeriesBatch::decode)
//! the batch. What tombstones delete is taken out here, so that the batch needs no notion of it.
//!
//! Trap: the header of a chunk of histograms says whether a counter reset came between the chunk before and this one. Behind
//! a chunk of another block that is not known.

use super::error::BlockError;
use super::index::ChunkMeta;
use super::merge::SeriesMerge;
use super::reader;
use super::segment::{Chunk, ChunkRef};
use super::tombstones::DeletedRange;
use super::writer::NewChunk;
use crate::chunk::{histogram, xor};
use crate::head::{BatchChunk, SeriesBatch, encode_histograms};
use crate::winner::Value;

/// A batch of series on its way.
#[derive(Default)]
pub struct BatchAssembler {
    /// Chunks, one behind the other; then labels.
    bytes: Vec<u8>,
    /// In the order in which they came.
    parts: Vec<Part>,
    deleted: Vec<(u32, u32, DeletedRange)>,
}

/// A chunk.
#[derive(Clone, Copy, Debug)]
struct Part {
    series: u32,
    source: u32,
    chunk: BatchChunk,
    at: ChunkRef,
    min_ms: i64,
    max_ms: i64,
}

impl Part {
    /// In this order the chunks of a series are in its batch.
    fn order(&self) -> (i64, i64, u32) {
        (self.min_ms, self.max_ms, self.source)
    }
}

/// A chunk that had to be decoded, because something of it is deleted, and could not be.
#[derive(Debug)]
pub struct AssembleError {
    /// The source that it comes from.
    pub source: u32,
    /// Where in it, and what is wrong.
    pub error: BlockError,
}

impl BatchAssembler {
    /// Adds a chunk of a series. A series has a number, in the order in which [`BatchAssembler::finish`] gets their labels; a
    /// source is a block. Chunks of encodings that no head has are encoded anew.
    pub fn chunk(
        &mut self,
        series: u32,
        source: u32,
        chunk: Chunk<'_>,
        meta: &ChunkMeta,
    ) -> Result<(), BlockError> {
        let ChunkMeta { at, min_ms, max_ms } = *meta;
        if reader::is_of_heads(chunk.encoding) {
            let chunk = self.put(chunk.encoding, chunk.data);
            self.parts.push(Part { series, source, chunk, at, min_ms, max_ms });
            return Ok(());
        }
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        chunk.decode(at, |t_ms, value| match value {
            Value::Float(bits) => floats.push((t_ms, bits)),
            Value::Histogram(histogram) => histograms.push((t_ms, Box::new(histogram.clone()))),
        })?;
        if !floats.is_empty() {
            let chunk = self.put(xor::ENCODING, &xor::encode(&floats));
            self.parts.push(Part { series, source, chunk, at, min_ms, max_ms });
        }
        for new in encode_histograms(&histograms) {
            let chunk = self.put(new.encoding, &new.data);
            let (min_ms, max_ms) = (new.min_ms, new.max_ms);
            self.parts.push(Part { series, source, chunk, at, min_ms, max_ms });
        }
        Ok(())
    }

    /// Notes that samples of a series that are in one source do not count.
    pub fn delete(&mut self, series: u32, source: u32, range: DeletedRange) {
        self.deleted.push((series, source, range));
    }

    /// Bytes of the chunks so far.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn put(&mut self, encoding: u8, data: &[u8]) -> BatchChunk {
        let begin = self.bytes.len() as u32;
        self.bytes.extend_from_slice(data);
        BatchChunk { begin, end: self.bytes.len() as u32, encoding }
    }

    /// The batch: one series for each of the canonical label sets, in their order.
    pub fn finish<'a>(
        mut self,
        labels: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<SeriesBatch, AssembleError> {
        let (parts, ends) = self.by_series();
        let mut batch = SeriesBatch::default();
        let mut own = Vec::new();
        for (series, labels) in (0..).zip(labels) {
            let range = ends.get(series as usize).map_or(0..0, |end| end.0..end.1);
            own.clear();
            own.extend(parts[range].iter().map(|part| self.parts[*part as usize]));
            if !own.is_sorted_by_key(Part::order) {
                own.sort_by_key(Part::order);
            }
            let without_deleted;
            let own = if self.deleted.iter().any(|(of, ..)| *of == series) {
                without_deleted = self.without_deleted(series, &own)?;
                without_deleted.as_slice()
            } else {
                own.as_slice()
            };
            let overlap = own.windows(2).any(|pair| pair[1].min_ms <= pair[0].max_ms);
            for (i, part) in own.iter().enumerate() {
                let follows = i > 0 && own[i - 1].source == part.source;
                if !follows && histogram::kind_of(part.chunk.encoding).is_some() {
                    let (begin, end) = (part.chunk.begin as usize, part.chunk.end as usize);
                    histogram::forget_counter_reset(&mut self.bytes[begin..end]);
                }
            }
            let begin = self.bytes.len() as u32;
            self.bytes.extend_from_slice(labels);
            let labels = begin..self.bytes.len() as u32;
            batch.push_series(labels, own.iter().map(|part| part.chunk), overlap);
        }
        batch.set_bytes(self.bytes);
        Ok(batch)
    }

    /// Numbers of parts in order of series, and where in these each series begins and ends. Parts of a series are in the
    /// order in which they came.
    fn by_series(&self) -> (Vec<u32>, Vec<(usize, usize)>) {
        let series = self.parts.iter().map(|part| part.series as usize + 1).max().unwrap_or(0);
        let mut counts = vec![0; series];
        self.parts.iter().for_each(|part| counts[part.series as usize] += 1);
        let mut end = 0;
        let begin_of = |count: usize| {
            end += count;
            (end - count, end - count)
        };
        // Each end moves as its parts are put in.
        let mut ends: Vec<(usize, usize)> = counts.into_iter().map(begin_of).collect();
        let mut parts = vec![0; self.parts.len()];
        for (number, part) in (0..).zip(&self.parts) {
            let end = &mut ends[part.series as usize].1;
            parts[*end] = number;
            *end += 1;
        }
        (parts, ends)
    }

    /// A series' chunks without what is deleted.
    fn without_deleted(&mut self, series: u32, parts: &[Part]) -> Result<Vec<Part>, AssembleError> {
        let mut kept = Vec::new();
        let mut sources: Vec<u32> = parts.iter().map(|part| part.source).collect();
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            let own: Vec<&Part> = parts.iter().filter(|part| part.source == source).collect();
            let deleted = self.deleted.iter().filter(|(of, from, _)| (*of, *from) == (series, source));
            let mut merge = SeriesMerge::default();
            deleted.for_each(|(.., range)| merge.delete(source, *range));
            for part in &own {
                let BatchChunk { begin, end, encoding } = part.chunk;
                let data = &self.bytes[begin as usize..end as usize];
                merge.add(source, NewChunk { encoding, data, min_ms: part.min_ms, max_ms: part.max_ms });
            }
            if let Err(error) = merge.run(i64::MIN, i64::MAX) {
                let at = own.get(error.number as usize).map_or(ChunkRef::default(), |part| part.at);
                return Err(AssembleError { source, error: error.at(at) });
            }
            for new in merge.chunks() {
                let chunk = self.put(new.encoding, new.data);
                let (min_ms, max_ms) = (new.min_ms, new.max_ms);
                kept.push(Part { series, source, chunk, at: ChunkRef::default(), min_ms, max_ms });
            }
        }
        kept.sort_by_key(Part::order);
        Ok(kept)
    }
}
