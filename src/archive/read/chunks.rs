//! Chunks of blocks on their way into a batch. Each has a checksum, which is checked each time.

use std::ops::Range;

use bytes::Bytes;
use gyre_tsdb::block::{BatchAssembler, BlockError, BlockFile, ChunkMeta, Got, parse_chunk};

use super::failure::{BlockFailure, Trouble};
use super::io::ITEM_BYTES_MAX;
use super::object::{BlockRef, Object};
use super::series::{BlockSeries, Selected};

/// Nearly every chunk has fewer bytes.
const CHUNK_BYTES_GUESS: u64 = 1024;

/// A chunk to get.
pub(super) struct Wanted {
    pub(super) chunk: ChunkMeta,
    /// Where the next chunk of the series is.
    next: u64,
    /// The series' place in the batch.
    place: u32,
    /// The series' number in the block.
    number: u32,
}

impl Wanted {
    /// Chunks of a series that follow each other.
    pub(super) fn of(chunks: &[ChunkMeta], place: u32, number: u32) -> impl Iterator<Item = Wanted> {
        chunks.iter().enumerate().map(move |(i, chunk)| {
            let next = chunks.get(i + 1).map_or(u64::MAX, |next| next.at.0);
            Wanted { chunk: *chunk, next, place, number }
        })
    }

    fn range(&self, guess: u64) -> Range<u64> {
        let begin = self.chunk.at.offset();
        let next = self.next.checked_sub(self.chunk.at.0).filter(|distance| *distance > 0);
        begin..begin + next.map_or(guess, |distance| distance.min(guess))
    }
}

impl BlockSeries {
    /// Adds chunks of one block to a batch: those that are wanted, in order of their places.
    pub(super) fn chunks(
        &self,
        number: u32,
        wanted: &[Wanted],
        batch: &mut BatchAssembler,
    ) -> Result<(), BlockFailure> {
        let Selected { block, .. } = &self.blocks[number as usize];
        let failed = |trouble| BlockFailure::new(block, trouble);
        let stats = block.meta.thanos.as_ref().and_then(|thanos| thanos.index_stats);
        let guess = stats.map(|stats| stats.chunk_max_size).filter(|bytes| *bytes > 0);
        let guess = guess.map_or(CHUNK_BYTES_GUESS, |bytes| bytes.min(CHUNK_BYTES_GUESS));
        for of_file in wanted.chunk_by(|a, b| a.chunk.at.segment() == b.chunk.at.segment()) {
            let segment = of_file[0].chunk.at.segment();
            let object = self.archive.tenants.object(block, BlockFile::Segment(segment));
            let ranges: Vec<Range<u64>> = of_file.iter().map(|wanted| wanted.range(guess)).collect();
            let got = self.io.read(&object, &ranges).map_err(failed)?;
            for (wanted, bytes) in of_file.iter().zip(&got) {
                self.chunk((number, block), &object, wanted, bytes, batch)?;
            }
        }
        if block.meta.stats.num_tombstones > 0 {
            let opened = self.archive.open(block, &self.io)?;
            for of_series in wanted.chunk_by(|a, b| a.place == b.place) {
                for range in opened.tombstones.of(u64::from(of_series[0].number)) {
                    batch.delete(of_series[0].place, number, *range);
                }
            }
        }
        Ok(())
    }

    fn chunk(
        &self,
        (number, block): (u32, &BlockRef),
        object: &Object,
        wanted: &Wanted,
        bytes: &[u8],
        batch: &mut BatchAssembler,
    ) -> Result<(), BlockFailure> {
        let damaged = |error: BlockError| BlockFailure::damaged(block, &error);
        let failed = |trouble| BlockFailure::new(block, trouble);
        let (at, long);
        at = wanted.chunk.at;
        let chunk = match parse_chunk(bytes, at).map_err(damaged)? {
            Got::All(chunk) => chunk,
            Got::Needs(needed) => {
                long = self.long(object, at.offset(), needed).map_err(failed)?;
                match parse_chunk(&long, at).map_err(damaged)? {
                    Got::All(chunk) => chunk,
                    Got::Needs(_) => return Err(failed(object.ends(at.offset()))),
                }
            }
        };
        batch.chunk(wanted.place, number, chunk, &wanted.chunk).map_err(damaged)
    }

    /// Reads something that has more bytes than was guessed.
    pub(super) fn long(&self, object: &Object, begin: u64, needed: u64) -> Result<Bytes, Trouble> {
        if needed > ITEM_BYTES_MAX {
            return Err(Trouble::at(object.block_file(), begin, "a length that nothing has"));
        }
        let got = self.io.read(object, std::slice::from_ref(&(begin..begin + needed)))?;
        got.into_iter().next().ok_or_else(|| object.ends(begin))
    }
}
