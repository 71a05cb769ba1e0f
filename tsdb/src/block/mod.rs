//! Blocks: a range of time as immutable files, in Prometheus's format, so that promtool, Prometheus, Thanos and Cortex read
//! what is written here, and the other way round.
//!
//! A block is a folder named by a [`Ulid`]: `meta.json` ([`Meta`]), `index`, `chunks/000001` ..., `tombstones`. There are
//! deletion and no-compact marks beside it. Facts about the format: Prometheus's `tsdb/docs/format` and its behaviour.
//!
//! **Looking something up** needs no whole files, and no folder: the bytes may come from an object store.
//! 1. [`Toc::range`], [`Toc::parse`], [`Toc::header_ranges`], then [`IndexHeader::parse`]: kept per block.
//! 2. [`IndexHeader::plan`] tells the ranges of the posting lists that label matchers take, [`PostingsPlan::select`] the
//!    series they mean. Label names and values are in [`IndexHeader::postings`]; [`parse_postings`] reads a single list.
//! 3. [`IndexHeader::series_range`] tells where an entry is, [`parse_series`] reads it, [`IndexHeader::put_labels`] makes
//!    labels of it.
//! 4. [`chunk_ranges`] tells where chunks are, [`parse_chunk`] reads them, [`Chunk::decode`] makes samples of them.
//!
//! [`BatchAssembler`] makes a batch of series of the chunks of several blocks, as a head gives them to queries. [`coalesce`]
//! joins ranges that lie close together. What may go wrong: every length, offset and checksum is checked
//! before it is believed; errors name the file of the block and the place in it; nothing is allocated that the file could
//! not hold.
//!
//! **Reading all of it** in order: [`Block::open`], [`Block::series`], [`Block::chunks`].
//!
//! **Writing**: [`BlockWriter`] takes symbols, then series in order with their chunks. [`WindowSeries`] and [`HeadBlock`]
//! write a window of a head, [`compact()`] writes one block of several or a part of them.
//!
//! **Checking**: [`verify()`] lists what is wrong with a block.

mod assemble;
mod bits;
mod compact;
mod error;
mod fields;
mod from_head;
mod index;
mod marks;
mod merge;
mod meta;
mod ranges;
mod reader;
mod segment;
mod symbols_union;
mod tombstones;
mod ulid;
mod verify;
mod window;
mod writer;

pub use assemble::{AssembleError, BatchAssembler};
pub use compact::{SeriesFilter, compact};
pub use error::{BlockError, BlockFile};
pub use fields::Fields;
pub use from_head::{HeadBlock, HeadBlockError, WindowSeries, WindowSlice};
pub use index::{
    ChunkMeta, Got, HEADER_BYTES, HeaderRanges, IndexHeader, IndexVersion, PostingsList, PostingsPlan,
    PostingsTable, SERIES_BYTES_GUESS, SeriesEntry, SeriesStream, SymbolTable, Toc, parse_postings,
    parse_series,
};
pub use marks::{DeletionMark, NoCompactMark};
pub use meta::{Compaction, Downsample, File, IndexStats, Meta, Parent, Stats, Thanos};
pub use ranges::{coalesce, find};
pub use reader::{Block, ChunkReader};
pub use segment::{
    CHUNK_BYTES_GUESS, Chunk, ChunkRef, SEGMENT_BYTES_MAX, check_segment_header, chunk_ranges, parse_chunk,
};
pub use tombstones::{DeletedRange, Tombstones};
pub use ulid::{NotAUlid, Ulid};
pub use verify::verify;
pub use writer::{BlockWriter, NewChunk, remove_unfinished};
