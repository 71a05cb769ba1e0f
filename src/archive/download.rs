//! A block in the bucket becomes a folder.
//!
//! The folder gets its name when all of it is on the disk, so that one that has its name is whole. What may go wrong: names
//! of files come from an object that anybody may have written; only those that a block has are used.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use gyre_ring::TenantId;
use gyre_tsdb::block::{Meta, remove_unfinished};
use gyre_tsdb::disk::OsDisk;

use super::error::ArchiveError;
use super::layout::{self, CHUNKS, INDEX, META};
use crate::cluster::store::Bucket;

/// The objects of a block but for `meta.json`, by their paths within it, with their sizes: as the description has them if
/// it names any, else as the bucket lists them.
pub async fn objects(
    bucket: &Bucket,
    tenant: &TenantId,
    meta: &Meta,
) -> Result<Vec<(String, u64)>, ArchiveError> {
    let files = meta.thanos.as_ref().map(|thanos| thanos.files.as_slice()).unwrap_or_default();
    let named = files.iter().map(|file| (file.rel_path.clone(), file.size_bytes));
    let named: Vec<_> = named.filter(|(name, _)| is_data(name)).collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let folder = layout::block_folder(tenant, meta.ulid);
    let listed = bucket.list(&folder).await?.into_iter();
    let listed = listed.map(|object| (object.path[folder.len() + 1..].to_owned(), object.size_bytes));
    Ok(listed.filter(|(name, _)| is_data(name)).collect())
}

fn is_data(name: &str) -> bool {
    let chunks = name.strip_prefix(CHUNKS).and_then(|rest| rest.strip_prefix('/'));
    name == INDEX || chunks.is_some_and(|file| !file.is_empty() && file.bytes().all(|b| b.is_ascii_digit()))
}

/// Downloads a listed block into a folder of blocks, durably, and gives the block's own folder. One that is there already is
/// left alone. `progress` is told of bytes that have come.
pub async fn download(
    bucket: &Bucket,
    tenant: &TenantId,
    meta: &Meta,
    folder: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<PathBuf, ArchiveError> {
    let done = folder.join(meta.ulid.to_string());
    let objects = objects(bucket, tenant, meta).await?;
    if done.join(META).exists() {
        progress(objects.iter().map(|(_, bytes)| bytes).sum());
        return Ok(done);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| ArchiveError::File { path, problem: error.to_string() }
    };
    let unfinished = folder.join(format!("{}.tmp", meta.ulid));
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    remove_unfinished(&OsDisk, folder).map_err(failed(folder))?;
    let chunks = unfinished.join(CHUNKS);
    std::fs::create_dir_all(&chunks).map_err(failed(&chunks))?;
    for (name, size_bytes) in objects {
        let object = layout::block_object(tenant, meta.ulid, &name);
        let wrong = |problem: String| ArchiveError::Object { object: bucket.object(&object), problem };
        match bucket.get_file(&object, &unfinished.join(&name), progress).await? {
            None => return Err(wrong("is not there, though meta.json names it".to_owned())),
            Some(got_bytes) if got_bytes != size_bytes => {
                return Err(wrong(format!("has {got_bytes} bytes, {size_bytes} by meta.json")));
            }
            Some(_) => {}
        }
    }
    let path = unfinished.join(META);
    let mut file = File::create_new(&path).map_err(failed(&path))?;
    file.write_all(&meta.to_json()).and_then(|()| file.sync_all()).map_err(failed(&path))?;
    let sync = |path: &Path| File::open(path).and_then(|folder| folder.sync_all()).map_err(failed(path));
    sync(&chunks)?;
    sync(&unfinished)?;
    std::fs::rename(&unfinished, &done).map_err(failed(&done))?;
    sync(folder)?;
    Ok(done)
}
