//! Opened blocks: what every lookup in a block's index needs, and its tombstones.
//!
//! Of an index its table of contents, symbols and table of postings are kept, in as much memory as all opened blocks may
//! take together; the one that was used least goes first. A block is opened when a query needs it, with two requests: one
//! for the end of the index, where tables are, one for its front. They come through the [page cache](super::pages), whose disk
//! part makes them survive a restart; so there is no further file per block to bound and to check.
//!
//! What may go wrong: the index is no index, or ends early. Sections have checksums, so a header that parses is whole.

use std::sync::Arc;

use gyre_tsdb::block::{BlockError, BlockFile, IndexHeader, Toc, Tombstones};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::failure::{BlockFailure, Trouble};
use super::io::BlockIo;
use super::object::{BlockKey, BlockRef, Object, Tenants};

/// Bytes at the end of an index that are got at once: in most cases the table of postings is among them.
const TAIL_BYTES: u64 = 256 << 10;

/// A file of tombstones is not longer.
const TOMBSTONES_BYTES_MAX: u64 = 64 << 20;

/// What a header takes beside its sections, of which the sparse tables are the most.
const OVERHEAD: f64 = 1.3;

/// An opened block.
#[derive(Debug)]
pub struct OpenBlock {
    /// For lookups.
    pub header: IndexHeader,
    /// What does not count.
    pub tombstones: Tombstones,
    /// The index.
    pub index: Object,
}

impl OpenBlock {
    fn bytes(&self) -> u64 {
        let ranges = self.header.toc().header_ranges();
        let sections = [ranges.symbols, ranges.postings_table];
        let sections: u64 = sections.iter().map(|range| range.end - range.start).sum();
        (sections as f64 * OVERHEAD) as u64 + self.tombstones.count() * 64 + 4096
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<BlockKey, Arc<OpenBlock>> for ByBytes {
    fn weight(&self, _: &BlockKey, block: &Arc<OpenBlock>) -> u64 {
        block.bytes()
    }
}

/// The opened blocks.
pub struct OpenBlocks {
    cache: Cache<BlockKey, Arc<OpenBlock>, ByBytes>,
}

impl OpenBlocks {
    /// Keeps so many bytes of them.
    pub fn new(bytes_max: u64) -> Self {
        // Some tens of KiB are a small block's.
        let blocks = (bytes_max / (64 << 10)).max(16) as usize;
        OpenBlocks { cache: Cache::with_weighter(blocks, bytes_max, ByBytes) }
    }

    /// A block, opened now if it is not yet. Blocks. Whoever else wants the same waits.
    pub fn get(
        &self,
        block: &BlockRef,
        tenants: &Tenants,
        io: &BlockIo,
    ) -> Result<Arc<OpenBlock>, BlockFailure> {
        let open = || open(block, tenants, io).map(Arc::new);
        self.cache.get_or_insert_with(&tenants.block(block), open)
    }
}

fn open(block: &BlockRef, tenants: &Tenants, io: &BlockIo) -> Result<OpenBlock, BlockFailure> {
    let failed = |trouble| BlockFailure::new(block, trouble);
    let damaged = |error: BlockError| BlockFailure::damaged(block, &error);
    let index = tenants.object(block, BlockFile::Index);
    let bytes = index_bytes(block, &index, io).map_err(failed)?;
    let tail = bytes.saturating_sub(TAIL_BYTES)..bytes;
    let toc_range = Toc::range(bytes).map_err(damaged)?;
    let got = io.read(&index, &[toc_range.clone(), tail]).map_err(failed)?;
    let toc = Toc::parse(&got[0], bytes).map_err(damaged)?;
    let ranges = toc.header_ranges();
    let got = io.read(&index, &[ranges.head, ranges.symbols, ranges.postings_table]).map_err(failed)?;
    let header = IndexHeader::parse(toc, &got[0], got[1].to_vec(), &got[2]).map_err(damaged)?;
    let mut tombstones = Tombstones::default();
    if block.meta.stats.num_tombstones > 0 {
        let path = format!("{}/{}/{}", block.tenant, block.meta.ulid, BlockFile::Tombstones);
        let bucket = io.pages.bucket().clone();
        let file = io.wait(async move {
            let file = bucket.get(&path, TOMBSTONES_BYTES_MAX).await;
            file.map_err(|error| Trouble::Unavailable(error.to_string()))
        });
        let gone = || failed(Trouble::Gone(BlockFile::Tombstones.to_string()));
        tombstones = Tombstones::parse(&file.map_err(failed)?.ok_or_else(gone)?).map_err(damaged)?;
    }
    io.metrics.opened.inc();
    Ok(OpenBlock { header, tombstones, index })
}

/// How long the index is: by `meta.json`, or else by the bucket.
fn index_bytes(block: &BlockRef, index: &Object, io: &BlockIo) -> Result<u64, Trouble> {
    let files = block.meta.thanos.iter().flat_map(|thanos| &thanos.files);
    let mut listed =
        files.filter(|file| file.rel_path == BlockFile::Index.to_string() && file.size_bytes > 0);
    if let Some(file) = listed.next() {
        return Ok(file.size_bytes);
    }
    let (bucket, path) = (io.pages.bucket().clone(), index.path.clone());
    let bytes =
        io.wait(
            async move { bucket.head(&path).await.map_err(|error| Trouble::Unavailable(error.to_string())) },
        )?;
    let bytes = bytes.map(|facts| facts.size_bytes);
    bytes.ok_or_else(|| Trouble::Gone(BlockFile::Index.to_string()))
}
