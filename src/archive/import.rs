//! Blocks of a Prometheus, a Thanos or a Cortex become blocks of a tenant.
//!
//! Each is verified first, every checksum of it: what was damaged before must not become ours. What may go wrong is what
//! others wrote into descriptions. What a Gyre or Mimir said there about its own shards means nothing in this cluster and is
//! left out; tombstones, which nobody reads from a bucket, are carried out. A block that is rewritten for that gets a name
//! that follows from its old one, so that importing it again finds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gyre_ring::TenantId;
use gyre_tsdb::block::{Block, BlockError, Meta, Ulid, compact, verify};
use gyre_tsdb::disk::OsDisk;

use super::error::ArchiveError;
use super::layout::{DELETION_MARK, META};
use super::list::TenantBlocks;
use super::ship::SHARD_LABEL;
use super::upload::{Uploaded, describe, read_meta, upload};
use crate::cluster::store::Bucket;
use crate::env::crash_point;

/// What became of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// It is in the bucket now, under this name.
    Now(Ulid),
    /// It was there before: this block, or one that was compacted from it.
    Before(Ulid),
    /// All its samples were deleted.
    Empty,
    /// It is not imported: this is wrong with it.
    Damaged(Vec<String>),
}

/// The folders of blocks that a path names: itself, or those in it, oldest name first. Blocks that are marked for removal
/// are left out.
pub fn find_blocks(path: &Path) -> Result<Vec<PathBuf>, ArchiveError> {
    if path.join(META).is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |problem: String| ArchiveError::File { path: path.to_owned(), problem };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| failed(error.to_string()))? {
        let folder = entry.map_err(|error| failed(error.to_string()))?.path();
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_block = name.parse::<Ulid>().is_ok() && folder.join(META).is_file();
        if is_block && !folder.join(DELETION_MARK).exists() {
            found.push(folder);
        }
    }
    if found.is_empty() {
        return Err(failed("holds no blocks".to_owned()));
    }
    found.sort();
    Ok(found)
}

/// Labels in a block's description that hold for all its series, but are on none of them. Queries here do not add them.
pub fn external_labels(meta: &Meta) -> Vec<String> {
    let labels = meta.thanos.iter().flat_map(|thanos| thanos.labels.to_map());
    let labels = labels.filter(|(name, _)| !name.starts_with("__"));
    labels.map(|(name, value)| format!("{name}={value}")).collect()
}

/// Imports the block in a folder, unless the list has it. `scratch` is a folder for blocks that must be rewritten.
/// `progress` is told of bytes that are done of twice as many in chunks and index.
pub async fn import(
    bucket: &Bucket,
    listed: &TenantBlocks,
    folder: &Path,
    scratch: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Imported, ArchiveError> {
    let tenant = listed.tenant();
    let meta = read_meta(folder)?;
    if let Some(thanos) = &meta.thanos
        && thanos.downsample.resolution != 0
    {
        let what = format!("is downsampled to {} ms, which queries cannot use", thanos.downsample.resolution);
        return Ok(Imported::Damaged(vec![what]));
    }
    if listed.blocks().contains_key(&meta.ulid) {
        // Compares the descriptions, and touches nothing.
        let meta = describe(folder, imported_meta(meta), tenant)?;
        upload(bucket, tenant, folder, &meta, progress).await?;
        return Ok(Imported::Before(meta.ulid));
    }
    if let Some(holder) = listed.whole_holder_of(&meta.compaction.sources) {
        return Ok(Imported::Before(holder));
    }
    let failed = |source: BlockError| ArchiveError::Block { path: folder.to_owned(), source };
    let own = folder.to_owned();
    let checked = on_a_thread(move || {
        let block = Block::open(&OsDisk, &own)?;
        let findings: Vec<String> = verify(&block).iter().map(ToString::to_string).collect();
        Ok((block, findings))
    });
    let (block, findings) = checked.await.map_err(failed)?;
    if !findings.is_empty() {
        return Ok(Imported::Damaged(findings));
    }
    crash_point("import-verified");
    if block.tombstones.count() == 0 {
        return import_files(bucket, tenant, folder, meta, progress).await;
    }
    let meta = Meta {
        thanos: meta.thanos.clone(),
        ..Meta::of_part(rewritten_name(folder, &meta)?, meta.min_ms, meta.end_ms, &[&meta])
    };
    if listed.blocks().contains_key(&meta.ulid) {
        return Ok(Imported::Before(meta.ulid));
    }
    let into = scratch.to_owned();
    let written = on_a_thread(move || compact(Arc::new(OsDisk), &into, &[block], None, meta));
    match written.await.map_err(failed)? {
        None => Ok(Imported::Empty),
        Some(meta) => {
            let rewritten = scratch.join(meta.ulid.to_string());
            let imported = import_files(bucket, tenant, &rewritten, meta, progress).await;
            // Only space is lost if this fails.
            let _ = std::fs::remove_dir_all(&rewritten);
            imported
        }
    }
}

async fn import_files(
    bucket: &Bucket,
    tenant: &TenantId,
    folder: &Path,
    meta: Meta,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Imported, ArchiveError> {
    let meta = describe(folder, imported_meta(meta), tenant)?;
    match upload(bucket, tenant, folder, &meta, progress).await? {
        Uploaded::Now => Ok(Imported::Now(meta.ulid)),
        Uploaded::Before => Ok(Imported::Before(meta.ulid)),
    }
}

/// A description without what holds only where it comes from.
fn imported_meta(mut meta: Meta) -> Meta {
    if let Some(thanos) = &mut meta.thanos {
        thanos.labels.remove(SHARD_LABEL);
        thanos.other.change(|other| {
            if let Some(extensions) = other.get_mut("extensions").and_then(|value| value.as_object_mut()) {
                extensions.remove("gyre");
            }
        });
    }
    meta
}

/// The name of a block without what its tombstones delete.
fn rewritten_name(folder: &Path, meta: &Meta) -> Result<Ulid, ArchiveError> {
    let path = folder.join("tombstones");
    let stones = std::fs::read(&path)
        .map_err(|error| ArchiveError::File { path: path.clone(), problem: error.to_string() })?;
    let of = [&meta.ulid.0.to_be_bytes()[..], &stones].concat();
    Ok(Ulid::new(meta.ulid.time_ms(), xxhash_rust::xxh3::xxh3_128(&of)))
}

/// Runs something that reads a whole block where it holds up nobody.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlockError> + Send + 'static,
) -> Result<T, BlockError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(died) => std::panic::resume_unwind(died.into_panic()),
    }
}
