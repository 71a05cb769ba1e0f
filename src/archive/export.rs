//! Blocks of a tenant become a folder that a Prometheus starts on.
//!
//! What may go wrong: it is interrupted. Blocks get their names when they are whole, and have the same names each time, so
//! that doing it again goes on where it was; Prometheus removes what is unfinished.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gyre_ring::TenantId;
use gyre_tsdb::block::{Block, BlockError, Meta, Ulid, compact};
use gyre_tsdb::disk::OsDisk;

use super::download::download;
use super::error::ArchiveError;
use super::import::on_a_thread;
use crate::cluster::store::Bucket;

/// Where blocks lie that are to be cut. Not the name of a block, so that Prometheus leaves it alone.
const UNFINISHED: &str = "unfinished";

/// Downloads a block into a folder of blocks, without samples before `from_ms` or from `to_ms` on, and gives the new block's
/// own folder; `None` if it has no samples in this time.
pub async fn export(
    bucket: &Bucket,
    tenant: &TenantId,
    meta: &Meta,
    (from_ms, to_ms): (i64, i64),
    into: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Option<PathBuf>, ArchiveError> {
    let (begin_ms, end_ms) = (meta.min_ms.max(from_ms), meta.end_ms.min(to_ms));
    if begin_ms >= end_ms {
        return Ok(None);
    }
    if (begin_ms, end_ms) == (meta.min_ms, meta.end_ms) {
        return Ok(Some(download(bucket, tenant, meta, into, progress).await?));
    }
    let cut_of =
        [meta.ulid.0.to_be_bytes().as_slice(), &begin_ms.to_be_bytes(), &end_ms.to_be_bytes()].concat();
    let name = Ulid::new(meta.ulid.time_ms(), xxhash_rust::xxh3::xxh3_128(&cut_of));
    let path = into.join(name.to_string());
    let unfinished = into.join(UNFINISHED);
    if path.exists() {
        // An earlier run may have ended before it removed this. If it stays, nobody minds.
        let _ = std::fs::remove_dir_all(&unfinished);
        return Ok(Some(path));
    }
    let whole = download(bucket, tenant, meta, &unfinished, progress).await?;
    let (folder, part) = (into.to_owned(), Meta::of_part(name, begin_ms, end_ms, &[meta]));
    let cut = on_a_thread(move || {
        let block = Block::open(&OsDisk, &whole)?;
        compact(Arc::new(OsDisk), &folder, &[block], None, part)
    });
    let cut = cut.await.map_err(|source: BlockError| ArchiveError::Block { path: path.clone(), source })?;
    std::fs::remove_dir_all(&unfinished)
        .map_err(|error| ArchiveError::File { path: unfinished, problem: error.to_string() })?;
    Ok(cut.map(|_| path))
}
