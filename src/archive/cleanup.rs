//! What is removed from the bucket, and when.
//!
//! Nothing that was listed is removed at once: it is marked first, and goes after a delay, which must be longer than anybody
//! reads with an old list. `meta.json` goes first, so that nobody finds half a block, and the mark last, so that a removal
//! that was interrupted goes on. What was never listed, because its upload ended early, goes when nothing was put there for
//! long.
//!
//! What may go wrong: an upload that takes longer than that delay is cut off, and begins again.

use gyre_tsdb::block::{DeletionMark, Ulid};

use super::error::ArchiveError;
use super::layout::{self, DELETION_MARK, META, NO_COMPACT_MARK};
use super::list::TenantBlocks;
use super::marks::mark_deletion;
use crate::cluster::store::Bucket;
use crate::env::crash_point;

/// Marks blocks all of whose samples are older than the retention, milliseconds; 0 keeps everything. Gives the blocks
/// that are marked now.
pub async fn mark_expired(
    bucket: &Bucket,
    list: &TenantBlocks,
    retention_ms: u64,
    now_ms: i64,
) -> Result<Vec<Ulid>, ArchiveError> {
    if retention_ms == 0 {
        return Ok(Vec::new());
    }
    let from_ms = now_ms.saturating_sub(i64::try_from(retention_ms).unwrap_or(i64::MAX));
    let expired =
        list.blocks().values().filter(|block| block.deletion.is_none() && block.meta.end_ms <= from_ms);
    let details = |_: Ulid| "older than the tenant's retention".to_owned();
    mark_all(bucket, list, expired.map(|block| block.meta.ulid).collect(), details, now_ms).await
}

/// Marks blocks that a compacted one supersedes: those whose compaction was interrupted before it marked them, or that were
/// uploaded once more.
pub async fn mark_superseded(
    bucket: &Bucket,
    list: &TenantBlocks,
    now_ms: i64,
) -> Result<Vec<Ulid>, ArchiveError> {
    let superseded =
        list.blocks().values().filter(|block| block.deletion.is_none() && block.superseded_by.is_some());
    let details = |name: Ulid| match list.blocks().get(&name).and_then(|block| block.superseded_by) {
        Some(by) => format!("superseded by {by}"),
        None => String::new(),
    };
    mark_all(bucket, list, superseded.map(|block| block.meta.ulid).collect(), details, now_ms).await
}

async fn mark_all(
    bucket: &Bucket,
    list: &TenantBlocks,
    names: Vec<Ulid>,
    details: impl Fn(Ulid) -> String,
    now_ms: i64,
) -> Result<Vec<Ulid>, ArchiveError> {
    for name in &names {
        let mark = DeletionMark::new(*name, details(*name), now_ms.div_euclid(1000));
        mark_deletion(bucket, list.tenant(), &mark).await?;
    }
    Ok(names)
}

/// Removes blocks that were marked for removal at least `delay_ms` ago, and marks of blocks that are gone. Gives the blocks.
pub async fn remove_marked(
    bucket: &Bucket,
    list: &TenantBlocks,
    delay_ms: i64,
    now_ms: i64,
) -> Result<Vec<Ulid>, ArchiveError> {
    let is_due = |mark: &DeletionMark| mark.time_s.saturating_mul(1000).saturating_add(delay_ms) <= now_ms;
    let due: Vec<Ulid> =
        list.marks().deletion.values().filter(|mark| is_due(mark)).map(|mark| mark.id).collect();
    for name in &due {
        let tenant = list.tenant();
        bucket.delete(&layout::meta(tenant, *name)).await?;
        crash_point("remove-after-meta");
        remove_rest(bucket, list, *name).await?;
        crash_point("remove-after-objects");
        for mark in [NO_COMPACT_MARK, DELETION_MARK] {
            bucket.delete(&layout::marker(tenant, *name, mark)).await?;
        }
    }
    Ok(due)
}

/// Removes what is there of blocks without `meta.json` to which nothing was added for `delay_ms`. Gives the blocks.
pub async fn remove_partial(
    bucket: &Bucket,
    list: &TenantBlocks,
    delay_ms: i64,
    now_ms: i64,
) -> Result<Vec<Ulid>, ArchiveError> {
    let mut removed = Vec::new();
    for name in list.partial() {
        let objects = bucket.list(&layout::block_folder(list.tenant(), *name)).await?;
        let Some(newest_ms) = objects.iter().map(|object| object.modified_ms).max() else { continue };
        if newest_ms.saturating_add(delay_ms) > now_ms {
            continue;
        }
        // The list may be old, and listings may lag: this is neither.
        if bucket.head(&layout::meta(list.tenant(), *name)).await?.is_some() {
            continue;
        }
        remove_rest(bucket, list, *name).await?;
        removed.push(*name);
    }
    Ok(removed)
}

/// Removes all objects of a block but `meta.json`. The mark in its folder goes last.
async fn remove_rest(bucket: &Bucket, list: &TenantBlocks, name: Ulid) -> Result<(), ArchiveError> {
    let folder = layout::block_folder(list.tenant(), name);
    let is_mark = |path: &str| path.ends_with(DELETION_MARK);
    let mut paths: Vec<String> = bucket.list(&folder).await?.into_iter().map(|object| object.path).collect();
    paths.sort_by_key(|path| is_mark(path));
    for path in paths.iter().filter(|path| !path.ends_with(META)) {
        bucket.delete(path).await?;
    }
    Ok(())
}
