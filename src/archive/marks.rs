//! Marks of blocks: to be removed, or not to be compacted. Each is put twice, among the marks of all blocks, where one
//! listing finds them and where Cortex looks, and beside the block, where Thanos looks.
//!
//! What may go wrong: a crash between the two. The one among all blocks is put first and removed last, and counts.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use gyre_ring::TenantId;
use gyre_tsdb::block::{DeletionMark, NoCompactMark, Ulid};

use super::error::ArchiveError;
use super::layout::{self, DELETION_MARK, NO_COMPACT_MARK};
use crate::cluster::store::Bucket;
use crate::env::crash_point;

/// No mark is larger.
const MARK_BYTES_MAX: u64 = 1 << 20;

/// So many are read at once.
const READS_AT_ONCE: usize = 16;

/// The marks of a tenant's blocks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    /// Blocks that are to be removed.
    pub deletion: BTreeMap<Ulid, DeletionMark>,
    /// Blocks that are not to be compacted.
    pub no_compact: BTreeMap<Ulid, NoCompactMark>,
    /// Marks that cannot be read, by path, and why. The block counts as marked by nothing.
    pub damaged: BTreeMap<String, String>,
}

impl Marks {
    /// Brings them up to date. Marks do not change, so that only new ones are read.
    pub async fn refresh(&mut self, bucket: &Bucket, tenant: &TenantId) -> Result<(), ArchiveError> {
        let listing = bucket.list_folder(&layout::markers_folder(tenant)).await?;
        let mut next = Marks::default();
        let mut unread = Vec::new();
        for object in listing.objects {
            let name = object.path.rsplit('/').next().unwrap_or_default();
            match layout::parse_marker(name) {
                Some((block, DELETION_MARK)) => match self.deletion.remove(&block) {
                    Some(mark) => drop(next.deletion.insert(block, mark)),
                    None => unread.push(object.path),
                },
                Some((block, NO_COMPACT_MARK)) => match self.no_compact.remove(&block) {
                    Some(mark) => drop(next.no_compact.insert(block, mark)),
                    None => unread.push(object.path),
                },
                // A tenant's own marks, and kinds of others.
                _ => {}
            }
        }
        let mut reads = stream::iter(unread)
            .map(|path| async move {
                let bytes = bucket.retrying(|| bucket.get(&path, MARK_BYTES_MAX)).await;
                (path, bytes)
            })
            .buffer_unordered(READS_AT_ONCE);
        while let Some((path, bytes)) = reads.next().await {
            // Gone since it was listed: no mark any more.
            let Some(bytes) = bytes? else { continue };
            next.take(path, &bytes);
        }
        *self = next;
        Ok(())
    }

    fn take(&mut self, path: String, bytes: &[u8]) {
        let name = path.rsplit('/').next().unwrap_or_default();
        let Some((block, kind)) = layout::parse_marker(name) else { return };
        let problem = match kind {
            DELETION_MARK => match DeletionMark::parse(bytes) {
                Ok(mark) if mark.id == block => {
                    self.deletion.insert(block, mark);
                    return;
                }
                Ok(mark) => format!("is the mark of block {}", mark.id),
                Err(error) => error.to_string(),
            },
            _ => match NoCompactMark::parse(bytes) {
                Ok(mark) if mark.id == block => {
                    self.no_compact.insert(block, mark);
                    return;
                }
                Ok(mark) => format!("is the mark of block {}", mark.id),
                Err(error) => error.to_string(),
            },
        };
        self.damaged.insert(path, problem);
    }
}

/// Marks a block as one that is to be removed. A block that is marked already keeps its mark, and its time.
pub async fn mark_deletion(
    bucket: &Bucket,
    tenant: &TenantId,
    mark: &DeletionMark,
) -> Result<(), ArchiveError> {
    put_mark(bucket, tenant, mark.id, DELETION_MARK, mark.to_json()).await
}

/// Marks a block as one that is not to be compacted.
pub async fn mark_no_compact(
    bucket: &Bucket,
    tenant: &TenantId,
    mark: &NoCompactMark,
) -> Result<(), ArchiveError> {
    put_mark(bucket, tenant, mark.id, NO_COMPACT_MARK, mark.to_json()).await
}

async fn put_mark(
    bucket: &Bucket,
    tenant: &TenantId,
    block: Ulid,
    kind: &str,
    json: Vec<u8>,
) -> Result<(), ArchiveError> {
    let (path, json) = (layout::marker(tenant, block, kind), Bytes::from(json));
    let stored = bucket.retrying(|| bucket.create(&path, json.clone(), MARK_BYTES_MAX)).await?;
    crash_point("mark-between");
    bucket.put(&layout::block_object(tenant, block, kind), stored).await?;
    Ok(())
}
