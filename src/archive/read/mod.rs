//! Reading blocks in queries: from a tenant's list of blocks and some label matchers to series with their chunks.
//!
//! - [`object`]: names of blocks, files, pages;
//! - [`pages`], [`disk`]: the page cache, in memory and on disk;
//! - [`io`]: ranges of files for threads that may wait;
//! - [`listed`]: which blocks there are;
//! - [`opened`]: index headers, bounded in memory;
//! - [`select`], `entries`, `pass`, [`series`], `chunks`: matchers to series, series to batches in order of their keys;
//! - [`failure`], [`quarantine`]: what may go wrong, and what becomes of it;
//! - [`metrics`]: what is counted.
//!
//! Nothing is read before a query needs it: a node with a thousand blocks starts as fast as one with none.
//!
//! What may go wrong: a block is damaged, cannot be had now, or was replaced since it was listed. Its reader learns which,
//! and nothing is left out silently. Neighbours of a damaged block are served on.

mod chunks;
pub mod disk;
mod entries;
pub mod failure;
pub mod io;
pub mod listed;
pub mod metrics;
pub mod object;
pub mod opened;
pub mod pages;
mod pass;
pub mod quarantine;
pub mod select;
pub mod series;

use std::io::Result as IoResult;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gyre_ring::{HashSeed, TenantId};
use tokio::time::Instant;

use self::disk::DiskPages;
use self::entries::Entries;
use self::failure::{BlockFailure, Trouble};
use self::io::{BlockIo, BlockRuntime};
use self::metrics::BlockMetrics;
pub use self::object::BlockRef;
use self::object::Tenants;
use self::opened::{OpenBlock, OpenBlocks};
use self::pages::Pages;
use self::quarantine::Quarantine;
use self::select::BlockQuery;
use crate::cluster::store::Bucket;

/// The file of the page cache in the data directory.
const CACHE_FILE: &str = "block-cache";

/// The part of the memory that opened blocks may take, and that decoded entries may; pages have the rest.
const SHARE: u64 = 4;

/// Tells which blocks a tenant has.
#[async_trait]
pub trait BlockList: Send + Sync {
    /// The tenant's blocks that may hold samples from `min_ms` to `max_ms`, as they were at `since` or later (time since some
    /// fixed moment), as far as is known; the error is a text that says why that is not known.
    async fn blocks(
        &self,
        tenant: &TenantId,
        (min_ms, max_ms): (i64, i64),
        since: Duration,
    ) -> Result<Vec<BlockRef>, String>;

    /// Whether a tenant is known to have had no block at all at `since` or later.
    fn had_none(&self, tenant: &TenantId, since: Duration) -> bool {
        let _ = (tenant, since);
        false
    }

    /// Looks which blocks there are now.
    async fn refresh(&self, tenant: &TenantId) -> Result<(), String>;
}

/// How much is kept of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSizes {
    /// In memory.
    pub memory_bytes: u64,
    /// On disk. A bucket that is on this machine has no cache there.
    pub disk_bytes: u64,
}

/// Reads blocks of all tenants.
pub struct Archive {
    list: Arc<dyn BlockList>,
    pages: Arc<Pages>,
    opened: OpenBlocks,
    entries: Entries,
    tenants: Arc<Tenants>,
    quarantine: Quarantine,
    metrics: BlockMetrics,
    io: BlockRuntime,
    seed: HashSeed,
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").finish_non_exhaustive()
    }
}

impl Archive {
    /// Reads the blocks of a list from a bucket, with caches. `seed` is that of series keys.
    pub fn new(
        bucket: Bucket,
        list: Arc<dyn BlockList>,
        sizes: CacheSizes,
        data_dir: &Path,
        seed: HashSeed,
        metrics: BlockMetrics,
    ) -> IoResult<Self> {
        let io = BlockRuntime::start()?;
        let tenants = Arc::new(Tenants::default());
        let disk = if bucket.is_near() || sizes.disk_bytes == 0 {
            None
        } else {
            let path = data_dir.join(CACHE_FILE);
            Some(DiskPages::open(&path, sizes.disk_bytes, tenants.clone(), metrics.clone())?)
        };
        let share_bytes = sizes.memory_bytes / SHARE;
        let pages = Pages::new(bucket, sizes.memory_bytes - 2 * share_bytes, disk, metrics.clone());
        let (pages, quarantine) = (Arc::new(pages), Quarantine::default());
        let (opened, entries) = (OpenBlocks::new(share_bytes), Entries::new(share_bytes));
        Ok(Archive { list, pages, opened, entries, tenants, quarantine, metrics, io, seed })
    }

    /// The list of blocks.
    pub fn list(&self) -> &dyn BlockList {
        self.list.as_ref()
    }

    /// A reader of some blocks, for one query.
    pub fn query(self: &Arc<Self>, blocks: Vec<BlockRef>, deadline: Instant) -> BlockQuery {
        let (pages, metrics, io) = (self.pages.clone(), self.metrics.clone(), self.io.handle());
        BlockQuery::new(self.clone(), blocks, BlockIo { pages, metrics, io, deadline })
    }

    /// The blocks that are set aside as damaged, of some.
    pub fn quarantined(&self, blocks: &[BlockRef]) -> Vec<BlockFailure> {
        blocks.iter().filter_map(|block| self.quarantine.check(block).err()).collect()
    }

    fn open(&self, block: &BlockRef, io: &BlockIo) -> Result<Arc<OpenBlock>, BlockFailure> {
        self.quarantine.check(block)?;
        self.opened.get(block, &self.tenants, io)
    }

    /// Sets a block aside that was found damaged, and counts every failure.
    fn judge<T>(&self, read: Result<T, BlockFailure>) -> Result<T, BlockFailure> {
        let Err(BlockFailure { tenant, ulid, trouble }) = &read else { return read };
        match trouble {
            Trouble::Damaged(reason) => {
                self.metrics.failure("damaged");
                if self.quarantine.add(tenant, *ulid, reason) {
                    self.metrics.quarantined.inc();
                    tracing::warn!(%tenant, block = %ulid, reason, "a block is damaged and not read any more");
                }
            }
            Trouble::Unavailable(_) => self.metrics.failure("unavailable"),
            Trouble::Gone(_) => self.metrics.failure("gone"),
        }
        read
    }
}
