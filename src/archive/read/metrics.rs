//! What reading blocks costs, and what went wrong.

use std::borrow::Cow;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type ByLabel = Family<[(&'static str, Cow<'static, str>); 1], Counter>;

/// Counters of block reads.
#[derive(Clone, Debug, Default)]
pub struct BlockMetrics {
    pages: ByLabel,
    failures: ByLabel,
    /// Requests to the bucket for parts of blocks.
    pub requests: Counter,
    /// Bytes that these brought.
    pub request_bytes: Counter,
    /// Pages in the cache on disk that were not what was written there.
    pub disk_damaged: Counter,
    /// Pages that were not written to the cache on disk because it did not keep up, or failed.
    pub disk_skipped: Counter,
    /// Blocks opened.
    pub opened: Counter,
    /// Blocks set aside as damaged.
    pub quarantined: Counter,
}

/// Where a page came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFrom {
    /// The cache in memory.
    Memory,
    /// The cache on disk.
    Disk,
    /// The bucket.
    Bucket,
}

impl BlockMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        let by_label = [
            ("gyre_block_pages_read", "Pages of blocks that queries needed, by where they were", &self.pages),
            ("gyre_block_read_failures", "Blocks that a query could not read, by reason", &self.failures),
        ];
        for (name, help, family) in by_label {
            registry.register(name, help, family.clone());
        }
        for (name, help, counter) in [
            ("gyre_block_requests", "Requests to the object store for parts of blocks", &self.requests),
            ("gyre_block_request_bytes", "Bytes of blocks got from the object store", &self.request_bytes),
            ("gyre_block_cache_disk_damaged", "Damaged pages found in the cache on disk", &self.disk_damaged),
            ("gyre_block_cache_disk_skipped", "Pages not written to the cache on disk", &self.disk_skipped),
            ("gyre_blocks_opened", "Blocks whose index header was read", &self.opened),
            ("gyre_blocks_quarantined", "Blocks found damaged and set aside", &self.quarantined),
        ] {
            registry.register(name, help, counter.clone());
        }
    }

    /// Counts pages.
    pub fn pages(&self, from: PageFrom, count: u64) {
        if count > 0 {
            let from = match from {
                PageFrom::Memory => "memory",
                PageFrom::Disk => "disk",
                PageFrom::Bucket => "bucket",
            };
            self.pages.get_or_create(&[("from", Cow::Borrowed(from))]).inc_by(count);
        }
    }

    /// Counts a block that could not be read.
    pub fn failure(&self, reason: &'static str) {
        self.failures.get_or_create(&[("reason", Cow::Borrowed(reason))]).inc();
    }
}
