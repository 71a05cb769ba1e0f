//! A folder becomes a block in the bucket.
//!
//! Order: chunks, index, then `meta.json`, which is what makes it a block for readers. Every object but that is read back
//! first ([`Bucket::put_file`]), and `meta.json` is created if absent and read back, too.
//!
//! What may go wrong is that the process dies anywhere, or that a success is answered with an error. So all of it may be
//! repeated: objects that are there with the right content are left alone, and a block that is listed already is not
//! touched. Two that upload the same block put the same bytes.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use gyre_ring::TenantId;
use gyre_tsdb::block::{BlockError, File, Meta, Thanos};

use super::error::ArchiveError;
use super::layout::{self, CHUNKS, INDEX, META};
use crate::cluster::store::Bucket;
use crate::env::crash_point;

/// No description is larger.
pub const META_BYTES_MAX: u64 = 16 << 20;

/// What the section of Thanos has as the maker of blocks.
const SOURCE: &str = "gyre";

/// The label of the section of Thanos that names the tenant.
pub const TENANT_LABEL: &str = "__org_id__";

/// What an upload did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// The block is in the bucket now.
    Now,
    /// It was there before.
    Before,
}

/// The description under which a block in a folder is uploaded: with the tenant in the section of Thanos, and the files
/// that there are. Other labels of that section are kept.
pub fn describe(folder: &Path, mut meta: Meta, tenant: &TenantId) -> Result<Meta, ArchiveError> {
    let mut thanos = meta.thanos.take().unwrap_or_default();
    thanos.version = 1;
    thanos.labels.insert(TENANT_LABEL, tenant.as_str().into());
    if thanos.source.is_empty() {
        thanos.source = SOURCE.to_owned();
    }
    let files = files(folder)?;
    let chunk_file = |file: &File| file.rel_path.strip_prefix("chunks/").map(str::to_owned);
    thanos.segment_files = files.iter().filter_map(chunk_file).collect();
    thanos.files = files;
    thanos.files.push(File { rel_path: META.to_owned(), ..File::default() });
    meta.thanos = Some(thanos);
    Ok(meta)
}

/// Uploads the block in a folder that nobody writes to, under a description from [`describe`]. `progress` is told of bytes
/// that are done, twice [`total_bytes`] in the end.
///
/// # Errors
/// After any of them it may be done again. After one that [may pass](ArchiveError::is_retryable) the block may even be
/// listed already.
pub async fn upload(
    bucket: &Bucket,
    tenant: &TenantId,
    folder: &Path,
    meta: &Meta,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Uploaded, ArchiveError> {
    let meta_path = layout::meta(tenant, meta.ulid);
    let bytes = Bytes::from(meta.to_json());
    let listed = bucket.retrying(|| bucket.get(&meta_path, META_BYTES_MAX)).await?;
    if let Some(listed) = listed {
        is_same(bucket, &meta_path, &listed, meta, folder)?;
        progress(2 * total_bytes(meta));
        return Ok(Uploaded::Before);
    }
    crash_point("upload-begin");
    for file in files(folder)? {
        let object = layout::block_object(tenant, meta.ulid, &file.rel_path);
        bucket.put_file(&object, &folder.join(&file.rel_path), progress).await?;
        crash_point(if file.rel_path == INDEX { "upload-after-index" } else { "upload-after-chunks" });
    }
    let stored = bucket.retrying(|| bucket.create(&meta_path, bytes.clone(), META_BYTES_MAX)).await?;
    crash_point("upload-after-meta");
    if stored != bytes {
        is_same(bucket, &meta_path, &stored, meta, folder)?;
    }
    Ok(Uploaded::Now)
}

/// The bytes of a block's files, but for `meta.json`.
pub fn total_bytes(meta: &Meta) -> u64 {
    let files = meta.thanos.as_ref().map(|thanos| thanos.files.as_slice()).unwrap_or_default();
    files.iter().map(|file| file.size_bytes).sum()
}

/// An error unless a listed description is that of the same block: same data, same place. When it was uploaded, and
/// remarks, may differ.
fn is_same(
    bucket: &Bucket,
    path: &str,
    listed: &[u8],
    own: &Meta,
    folder: &Path,
) -> Result<(), ArchiveError> {
    let object = || bucket.object(path);
    let listed = Meta::parse(listed)
        .map_err(|error| ArchiveError::Object { object: object(), problem: error.to_string() })?;
    let files = |meta: &Meta| {
        let files = |thanos: &Thanos| {
            let mut files: Vec<_> =
                thanos.files.iter().map(|file| (file.rel_path.clone(), file.size_bytes)).collect();
            files.sort();
            files
        };
        meta.thanos.as_ref().map(files)
    };
    let is_same = (listed.ulid, listed.min_ms, listed.end_ms) == (own.ulid, own.min_ms, own.end_ms)
        && listed.compaction.sources == own.compaction.sources
        && listed.stats.num_samples == own.stats.num_samples
        // Not every version of others lists files.
        && (files(&listed) == files(own) || files(&listed).is_none_or(|files| files.is_empty()));
    match is_same {
        true => Ok(()),
        false => Err(ArchiveError::Taken { object: object(), ulid: own.ulid, path: folder.to_owned() }),
    }
}

/// The files of a block that are uploaded, in order. Tombstones are not: nobody reads them from a bucket, so a block that has
/// any must be rewritten first.
fn files(folder: &Path) -> Result<Vec<File>, ArchiveError> {
    let failed = |path: PathBuf, problem: String| ArchiveError::File { path, problem };
    let chunks = folder.join(CHUNKS);
    let unreadable = |error: std::io::Error| failed(chunks.clone(), error.to_string());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&chunks).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        // As readers do it, leave out what is no number.
        names.extend(name.to_str().filter(|name| name.parse::<u32>().is_ok()).map(str::to_owned));
    }
    names.sort();
    let paths = names.into_iter().map(|name| format!("{CHUNKS}/{name}")).chain([INDEX.to_owned()]);
    paths
        .map(|rel_path| {
            let path = folder.join(&rel_path);
            let size = std::fs::metadata(&path).map_err(|error| failed(path, error.to_string()))?.len();
            Ok(File { rel_path, size_bytes: size, ..File::default() })
        })
        .collect()
}

/// Reads the description of a block in a folder.
pub fn read_meta(folder: &Path) -> Result<Meta, ArchiveError> {
    let path = folder.join(META);
    let bytes = std::fs::read(&path)
        .map_err(|error| ArchiveError::File { path: path.clone(), problem: error.to_string() })?;
    Meta::parse(&bytes).map_err(|source: BlockError| ArchiveError::Block { path: folder.to_owned(), source })
}
