//! Writes a block: symbols first, then series in order of their labels with their chunks.
//!
//! A block is written in a folder of its own, `<ulid>.tmp`, made durable and renamed. What a crash leaves there nobody
//! reads, and [`remove_unfinished`] removes it.
//!
//! Memory: 4 bytes a series, some 6 bytes a distinct label pair, and about 20 MiB of buffers; not the labels, not the
//! chunks. A temporary file in the folder takes some 2 bytes a series and label.

mod append_file;
mod index;
mod postings;
mod segments;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::BlockError;
use super::index::ChunkMeta;
use super::meta::{File, IndexStats, Meta};
use super::segment::{Chunk, SEGMENT_BYTES_MAX, sample_count};
use super::tombstones::Tombstones;
use super::ulid::Ulid;
use crate::chunk::{histogram, xor};
use crate::disk::Disk;
use append_file::AppendFile;
use index::IndexWriter;
use segments::SegmentWriter;

/// Chunks of a block are in order of time and do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewChunk<'a> {
    /// 1: XOR, 2: integer histograms, 3: float histograms.
    pub encoding: u8,
    /// The chunk as its encoding has it.
    pub data: &'a [u8],
    /// The first sample's time.
    pub min_ms: i64,
    /// The last sample's time.
    pub max_ms: i64,
}

/// A block that is being written.
pub struct BlockWriter {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    unfinished: PathBuf,
    meta: Meta,
    index: IndexWriter,
    segments: SegmentWriter,
    chunks: Vec<ChunkMeta>,
}

const SPILL: &str = "postings.spill";

impl BlockWriter {
    /// Begins a block in `folder`, the one that holds blocks. The statistics in `meta` are filled in, and, if it has a
    /// section of Thanos's, the files and sizes there.
    pub fn begin(disk: Arc<dyn Disk>, folder: &Path, meta: Meta) -> Result<Self, BlockError> {
        Self::with_segment_bytes(disk, folder, meta, SEGMENT_BYTES_MAX)
    }

    /// As [`BlockWriter::begin`], with another bound on the length of files of chunks: at most 4 GiB.
    pub fn with_segment_bytes(
        disk: Arc<dyn Disk>,
        folder: &Path,
        meta: Meta,
        segment_bytes_max: u64,
    ) -> Result<Self, BlockError> {
        let unfinished = folder.join(format!("{}.tmp", meta.ulid));
        let chunks = unfinished.join("chunks");
        let begin = disk.remove_dir_all(&unfinished).and_then(|()| disk.create_dir_all(&chunks));
        begin.map_err(|source| BlockError::Write { path: chunks.clone(), source })?;
        let index = IndexWriter::create(disk.clone(), &unfinished.join("index"), &unfinished.join(SPILL))?;
        let segments = SegmentWriter::new(disk.clone(), chunks, segment_bytes_max);
        let folder = folder.to_owned();
        Ok(BlockWriter { disk, folder, unfinished, meta, index, segments, chunks: Vec::new() })
    }

    /// Adds a symbol, a label's name or value, and gives its reference: they count up from 0. All symbols come in order
    /// of their bytes, before the first series; such as no series uses do no harm.
    pub fn symbol(&mut self, symbol: &[u8]) -> Result<u32, BlockError> {
        self.index.symbol(symbol)
    }

    /// Adds a series: references of names and values, in order of names, and its chunks. Series come in order of their
    /// labels, each once. A series without chunks is left out.
    pub fn series(&mut self, labels: &[(u32, u32)], chunks: &[NewChunk<'_>]) -> Result<(), BlockError> {
        if chunks.is_empty() {
            return Ok(());
        }
        self.chunks.clear();
        for chunk in chunks {
            let NewChunk { encoding, data, min_ms, max_ms } = *chunk;
            if self.chunks.last().is_some_and(|last| last.max_ms >= min_ms) || min_ms > max_ms {
                return Err(BlockError::Refused("chunks overlap"));
            }
            if min_ms < self.meta.min_ms || max_ms >= self.meta.end_ms {
                return Err(BlockError::Refused("a chunk reaches out of the block's time"));
            }
            let samples = u64::from(sample_count(data).unwrap_or(0));
            if samples == 0 {
                return Err(BlockError::Refused("a chunk holds no sample"));
            }
            let stats = &mut self.meta.stats;
            if encoding == xor::ENCODING {
                stats.num_float_samples += samples;
            } else if histogram::kind_of(encoding).is_some() {
                stats.num_histogram_samples += samples;
            } else {
                return Err(BlockError::Refused("not every reader of blocks knows the encoding of a chunk"));
            }
            stats.num_samples += samples;
            stats.num_chunks += 1;
            let at = self.segments.put(Chunk { encoding, data })?;
            self.chunks.push(ChunkMeta { at, min_ms, max_ms });
        }
        self.meta.stats.num_series += 1;
        self.index.series(labels, &self.chunks)
    }

    /// Makes the block durable and gives its description. A block without series is not kept.
    pub fn finish(self) -> Result<Option<Meta>, BlockError> {
        let BlockWriter { disk, folder, unfinished, mut meta, index, mut segments, .. } = self;
        let disk = disk.as_ref();
        let to_write = |path: &Path| {
            let path = path.to_owned();
            move |source| BlockError::Write { path, source }
        };
        if meta.stats.num_series == 0 {
            drop((index, segments));
            disk.remove_dir_all(&unfinished).map_err(to_write(&unfinished))?;
            return Ok(None);
        }
        let index_stats =
            IndexStats { series_max_size: index.series_bytes_max, chunk_max_size: segments.chunk_bytes_max };
        let segments = segments.finish()?;
        let index_bytes = index.finish()?;
        let spill = unfinished.join(SPILL);
        disk.remove(&spill).map_err(to_write(&spill))?;
        if let Some(thanos) = &mut meta.thanos {
            let file = |rel_path: String, size_bytes| File { rel_path, size_bytes, ..File::default() };
            thanos.segment_files = segments.iter().map(|(name, _)| name.clone()).collect();
            thanos.files = segments.iter().map(|(name, len)| file(format!("chunks/{name}"), *len)).collect();
            thanos.files.push(file("index".to_owned(), index_bytes));
            thanos.files.push(file("meta.json".to_owned(), 0));
            thanos.index_stats = Some(index_stats);
        }
        for (name, bytes) in [("tombstones", Tombstones::empty_file()), ("meta.json", meta.to_json())] {
            let mut file = AppendFile::create(disk, &unfinished.join(name))?;
            file.put_bytes(&bytes)?;
            file.sync()?;
        }
        let path = folder.join(meta.ulid.to_string());
        let sync = || -> io::Result<()> {
            disk.sync_dir(&unfinished.join("chunks"))?;
            disk.sync_dir(&unfinished)?;
            disk.rename(&unfinished, &path)?;
            disk.sync_dir(&folder)
        };
        sync().map_err(to_write(&path))?;
        Ok(Some(meta))
    }
}

/// Removes what unfinished writers left in a folder of blocks. None may be at work there.
pub fn remove_unfinished(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    for path in disk.list(folder)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.strip_suffix(".tmp").is_some_and(|name| name.parse::<Ulid>().is_ok()) {
            disk.remove_dir_all(&path)?;
        }
    }
    Ok(())
}
