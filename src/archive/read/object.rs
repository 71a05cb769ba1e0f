//! Names of what is read: blocks, their files, pages of these.
//!
//! A page's key is small, since caches hold hundreds of thousands. Tenants stand in it as numbers that are this process's
//! own, and never as hashes: two tenants never share a page.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::failure::Trouble;
use crate::archive::cover::is_ours;
use crate::archive::ship::SHARD_LABEL;
use gyre_ring::TenantId;
use gyre_tsdb::block::{BlockFile, Meta, Ulid};

/// A block that readers may use.
#[derive(Clone, Debug)]
pub struct BlockRef {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is.
    pub meta: Arc<Meta>,
    /// Index and count of the shard whose series it holds; `None`: of any.
    pub shard: Option<(u32, u32)>,
}

impl BlockRef {
    /// A block of a tenant, by its `meta.json`.
    pub fn new(tenant: TenantId, meta: Arc<Meta>) -> Self {
        let label = meta.thanos.as_ref().and_then(|thanos| thanos.labels.get(SHARD_LABEL));
        let shard = label.filter(|_| is_ours(&meta)).and_then(|label| {
            let (number, count) = label.as_str()?.split_once("_of_")?;
            let (number, count): (u32, u32) = (number.parse().ok()?, count.parse().ok()?);
            (count.is_power_of_two() && (1..=count).contains(&number)).then(|| (number - 1, count))
        });
        BlockRef { tenant, meta, shard }
    }

    /// Whether it may hold samples from `min_ms` to `max_ms`.
    pub fn overlaps(&self, min_ms: i64, max_ms: i64) -> bool {
        self.meta.min_ms <= max_ms && min_ms < self.meta.end_ms
    }

    /// The least and the greatest key that its series may have.
    pub fn keys(&self) -> (u128, u128) {
        let Some((index, count)) = self.shard.filter(|(_, count)| *count > 1) else { return (0, u128::MAX) };
        let shift = 128 - count.trailing_zeros();
        let first = u128::from(index) << shift;
        (first, first | ((1 << shift) - 1))
    }
}

impl fmt::Display for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.meta.ulid.fmt(f)
    }
}

/// A tenant within the keys of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantNumber(u32);

/// A block within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockKey {
    /// Whose.
    pub tenant: TenantNumber,
    /// Which.
    pub ulid: Ulid,
}

/// A page: so many bytes of a file, the last one fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageKey {
    /// The block.
    pub block: BlockKey,
    /// Its file: 0 is the index, others are files of chunks, from 1.
    pub file: u32,
    /// The page's number in it.
    pub page: u32,
}

/// A file of a block.
#[derive(Clone, Debug)]
pub struct Object {
    /// The block.
    pub block: BlockKey,
    /// As in [`PageKey`].
    pub file: u32,
    /// Its name in the bucket.
    pub path: String,
}

impl Object {
    /// A page of it.
    pub fn page(&self, page: u32) -> PageKey {
        PageKey { block: self.block, file: self.file, page }
    }

    /// That it ends within something.
    pub(super) fn ends(&self, begin: u64) -> Trouble {
        Trouble::at(self.block_file(), begin, "the file ends within this")
    }

    /// The file as errors name it.
    pub fn block_file(&self) -> BlockFile {
        match self.file.checked_sub(1) {
            None => BlockFile::Index,
            Some(segment) => BlockFile::Segment(segment),
        }
    }
}

/// The numbers of tenants.
#[derive(Debug, Default)]
pub struct Tenants(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    by_id: HashMap<TenantId, u32>,
    ids: Vec<TenantId>,
}

impl Tenants {
    /// A tenant's number.
    pub fn number(&self, tenant: &TenantId) -> TenantNumber {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.by_id.get(tenant) {
            return TenantNumber(*number);
        }
        let number = numbers.ids.len() as u32;
        numbers.ids.push(tenant.clone());
        numbers.by_id.insert(tenant.clone(), number);
        TenantNumber(number)
    }

    /// The tenant of a number.
    pub fn id(&self, number: TenantNumber) -> Option<TenantId> {
        let numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.ids.get(number.0 as usize).cloned()
    }

    /// A block's key.
    pub fn block(&self, block: &BlockRef) -> BlockKey {
        BlockKey { tenant: self.number(&block.tenant), ulid: block.meta.ulid }
    }

    /// A block's file.
    pub fn object(&self, block: &BlockRef, file: BlockFile) -> Object {
        let number = match file {
            BlockFile::Segment(segment) => segment.saturating_add(1),
            _ => 0,
        };
        let path = format!("{}/{}/{file}", block.tenant, block.meta.ulid);
        Object { block: self.block(block), file: number, path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(label: &str) -> BlockRef {
        block_of(label, r#"{"gyre":{"version":1,"covers":[]}}"#)
    }

    fn block_of(label: &str, extensions: &str) -> BlockRef {
        let json = format!(
            r#"{{"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV","minTime":10,"maxTime":20,"compaction":{{"level":1}},"version":1,
                "thanos":{{"labels":{{"__compactor_shard_id__":"{label}"}},"extensions":{extensions}}}}}"#
        );
        BlockRef::new(TenantId::new("a").unwrap(), Arc::new(Meta::parse(json.as_bytes()).unwrap()))
    }

    #[test]
    fn a_shard_s_block_says_which_keys_it_may_hold_and_a_strange_label_says_nothing() {
        assert_eq!(block("1_of_4").keys(), (0, (1 << 126) - 1));
        assert_eq!(block("4_of_4").keys(), (3 << 126, u128::MAX));
        for label in ["1_of_1", "", "0_of_4", "5_of_4", "1_of_3", "x_of_4", "1-of-4"] {
            assert_eq!(block(label).keys(), (0, u128::MAX), "{label:?}");
        }
        assert_eq!(block_of("1_of_4", "{}").keys(), (0, u128::MAX), "others number shards by other hashes");
    }

    #[test]
    fn a_block_overlaps_what_its_samples_may_lie_in() {
        // `maxTime` itself is not in the block.
        let block = block("");
        assert!(block.overlaps(0, 10) && block.overlaps(19, 30));
        assert!(!block.overlaps(0, 9) && !block.overlaps(20, 30));
    }
}
