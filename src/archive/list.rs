//! Which blocks a tenant has.
//!
//! Descriptions never change, so each is read once; a refresh costs a listing of the tenant's folder and one of its marks.
//! What may go wrong: a listing lags, or is made while somebody uploads or removes. So a block is believed to be there
//! when its `meta.json` was read; one that is to be removed, or that a listing lacks, is asked for again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use gyre_ring::TenantId;
use gyre_tsdb::block::{DeletionMark, Meta, NoCompactMark, Ulid};
use serde::Deserialize;

use super::bucket_index::BucketIndex;
use super::error::ArchiveError;
use super::layout;
use super::marks::Marks;
use super::upload::META_BYTES_MAX;
use crate::cluster::store::{Bucket, ObjectFacts};

/// So many descriptions are read at once.
const READS_AT_ONCE: usize = 16;

/// How blocks that are not known yet are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// By listing the bucket.
    Listing,
    /// By the bucket index, if there is one that was made at this time or later, milliseconds since 1970; else by listing.
    /// Spares the listing of the tenant's folder, and does not see what was uploaded since.
    IndexFrom(i64),
}

/// A complete block. Few have marks, and there may be very many blocks: so marks are apart.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedBlock {
    /// Its description.
    pub meta: Arc<Meta>,
    /// When its description was put, milliseconds since 1970 by the store's clock.
    pub uploaded_ms: i64,
    /// It is to be removed.
    pub deletion: Option<Box<DeletionMark>>,
    /// It is not to be compacted.
    pub no_compact: Option<Box<NoCompactMark>>,
    /// A compacted block that has all of its sources.
    pub superseded_by: Option<Ulid>,
}

/// The blocks of a tenant, as of the last refresh.
#[derive(Clone, Debug)]
pub struct TenantBlocks {
    tenant: TenantId,
    blocks: BTreeMap<Ulid, ListedBlock>,
    partial: BTreeSet<Ulid>,
    damaged: BTreeMap<Ulid, String>,
    marks: Marks,
}

impl TenantBlocks {
    /// None yet.
    pub fn new(tenant: TenantId) -> Self {
        TenantBlocks {
            tenant,
            blocks: BTreeMap::new(),
            partial: BTreeSet::new(),
            damaged: BTreeMap::new(),
            marks: Marks::default(),
        }
    }

    /// The blocks of a tenant, by listing.
    pub async fn load(bucket: &Bucket, tenant: &TenantId) -> Result<Self, ArchiveError> {
        let mut blocks = TenantBlocks::new(tenant.clone());
        blocks.refresh(bucket, Discovery::Listing).await?;
        Ok(blocks)
    }

    /// Whose they are.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// All complete blocks, by name.
    pub fn blocks(&self) -> &BTreeMap<Ulid, ListedBlock> {
        &self.blocks
    }

    /// Blocks without a description: uploads that go on or that ended early, and removals.
    pub fn partial(&self) -> &BTreeSet<Ulid> {
        &self.partial
    }

    /// Blocks whose description is not what it must be, and why.
    pub fn damaged(&self) -> &BTreeMap<Ulid, String> {
        &self.damaged
    }

    /// The marks, also those of blocks that are gone.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// The blocks that queries read: without those that others supersede, and without those that were marked for removal
    /// before a time, seconds since 1970.
    pub fn to_query(&self, marked_from_s: i64) -> impl Iterator<Item = &ListedBlock> {
        self.blocks.values().filter(move |block| {
            block.superseded_by.is_none()
                && block.deletion.as_ref().is_none_or(|mark| mark.time_s >= marked_from_s)
        })
    }

    /// The complete block that has what a block has: itself, or one that was compacted from it.
    pub fn holder_of(&self, source: Ulid) -> Option<&ListedBlock> {
        self.blocks
            .get(&source)
            .or_else(|| self.blocks.values().find(|block| holds_all(&block.meta, &[source])))
    }

    /// A block that has all of these sources and is to stay.
    pub fn whole_holder_of(&self, sources: &[Ulid]) -> Option<Ulid> {
        let holds = |block: &ListedBlock| {
            block.deletion.is_none() && !is_partition(&block.meta) && holds_all(&block.meta, sources)
        };
        self.blocks.values().find(|block| holds(block)).map(|block| block.meta.ulid)
    }

    /// Brings the list up to date. After an error it is as it was.
    pub async fn refresh(&mut self, bucket: &Bucket, discovery: Discovery) -> Result<(), ArchiveError> {
        let mut marks = self.marks.clone();
        marks.refresh(bucket, &self.tenant).await?;
        let names = self.discover(bucket, discovery).await?;
        let mut next = TenantBlocks { marks, ..TenantBlocks::new(self.tenant.clone()) };
        let mut unread = Vec::new();
        for block in names.iter().chain(self.blocks.keys().filter(|known| !names.contains(known))) {
            match self.blocks.get(block) {
                // Of one that is marked, a half may be gone.
                Some(known) if names.contains(block) && !next.marks.deletion.contains_key(block) => {
                    next.blocks.insert(*block, known.clone());
                }
                _ => unread.push(*block),
            }
        }
        let tenant = &self.tenant;
        let mut reads = stream::iter(unread)
            .map(|block| async move {
                let path = layout::meta(tenant, block);
                (block, bucket.retrying(|| bucket.fetch(&path, META_BYTES_MAX)).await)
            })
            .buffer_unordered(READS_AT_ONCE);
        while let Some((block, found)) = reads.next().await {
            match found? {
                Some((facts, json)) => next.take(block, &facts, &json),
                None if names.contains(&block) => drop(next.partial.insert(block)),
                None => {}
            }
        }
        drop(reads);
        for (ulid, block) in &mut next.blocks {
            block.deletion = next.marks.deletion.get(ulid).cloned().map(Box::new);
            block.no_compact = next.marks.no_compact.get(ulid).cloned().map(Box::new);
        }
        next.find_superseded();
        *self = next;
        Ok(())
    }

    /// The names of blocks that may be there.
    async fn discover(&self, bucket: &Bucket, discovery: Discovery) -> Result<BTreeSet<Ulid>, ArchiveError> {
        if let Discovery::IndexFrom(from_ms) = discovery {
            match BucketIndex::load(bucket, &self.tenant).await {
                Ok(Some(index)) if index.updated_s.saturating_mul(1000) >= from_ms => {
                    // What is known need not be in an index that somebody else writes.
                    let known = self.blocks.keys().copied();
                    return Ok(index.blocks.iter().map(|block| block.ulid).chain(known).collect());
                }
                Err(error @ ArchiveError::Store(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, "the bucket index is damaged; listing the bucket instead")
                }
                Ok(_) => {}
            }
        }
        let listing = bucket.list_folder(&layout::tenant_folder(&self.tenant)).await?;
        Ok(listing.folders.iter().filter_map(|name| name.parse().ok()).collect())
    }

    fn take(&mut self, block: Ulid, facts: &ObjectFacts, json: &[u8]) {
        match Meta::parse(json) {
            Ok(meta) if meta.ulid == block => {
                let listed = ListedBlock {
                    meta: Arc::new(meta),
                    uploaded_ms: facts.modified_ms,
                    deletion: None,
                    no_compact: None,
                    superseded_by: None,
                };
                self.blocks.insert(block, listed);
            }
            Ok(meta) => {
                self.damaged.insert(block, format!("meta.json is that of block {}", meta.ulid));
            }
            Err(error) => {
                self.damaged.insert(block, error.to_string());
            }
        }
    }

    /// Blocks that are to be removed supersede nothing: whoever marked them may have done so because they are bad. What
    /// supersedes them supersedes their sources, too.
    fn find_superseded(&mut self) {
        let mut by_source: HashMap<Ulid, Vec<Arc<Meta>>> = HashMap::new();
        for block in self.blocks.values().filter(|block| block.deletion.is_none()) {
            if block.meta.compaction.level > 1 && !is_partition(&block.meta) {
                for source in &block.meta.compaction.sources {
                    by_source.entry(*source).or_default().push(block.meta.clone());
                }
            }
        }
        for block in self.blocks.values_mut() {
            let own = &block.meta;
            let candidates = own.compaction.sources.first().and_then(|source| by_source.get(source));
            let other = candidates.into_iter().flatten().find(|other| supersedes(other, own));
            block.superseded_by = other.map(|other| other.ulid);
        }
    }
}

/// The tenants that a bucket has a folder of. What else there is in a bucket, such as the cluster's documents, may look like
/// a tenant, but has no blocks in it.
pub async fn tenants(bucket: &Bucket) -> Result<Vec<TenantId>, ArchiveError> {
    let listing = bucket.list_folder("").await?;
    Ok(listing.folders.iter().filter_map(|name| TenantId::new(name).ok()).collect())
}

/// Whether `other` has all that `own` has, by their sources.
fn supersedes(other: &Meta, own: &Meta) -> bool {
    let (theirs, ours) = (&other.compaction, &own.compaction);
    let resolution = |meta: &Meta| meta.thanos.as_ref().map_or(0, |thanos| thanos.downsample.resolution);
    other.ulid != own.ulid
        && resolution(other) == resolution(own)
        && holds_all(other, &ours.sources)
        // Of equals the one that was compacted more often; between blocks that are alike in this, too, nothing is
        // decided: they may be parts of one whole.
        && (!holds_all(own, &theirs.sources) || theirs.level > ours.level)
}

fn holds_all(meta: &Meta, sources: &[Ulid]) -> bool {
    !sources.is_empty() && sources.iter().all(|source| meta.compaction.sources.contains(source))
}

/// What Cortex's partitioning compactor writes into the section of Thanos.
#[derive(Deserialize)]
struct SaysOfPartitions {
    extensions: PartitionExtension,
}

#[derive(Deserialize)]
struct PartitionExtension {
    partition_info: PartitionInfo,
}

#[derive(Deserialize)]
struct PartitionInfo {
    partition_count: u64,
}

/// Whether it is one of several blocks of Cortex's partitioning compactor, which all name the sources of the whole.
pub(super) fn is_partition(meta: &Meta) -> bool {
    let says = meta.thanos.as_ref().and_then(|thanos| thanos.other.read::<SaysOfPartitions>());
    says.is_some_and(|says| says.extensions.partition_info.partition_count > 1)
}
