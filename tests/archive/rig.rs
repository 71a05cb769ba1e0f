//! Blocks in folders, buckets, and what is in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gyre::archive::{Uploaded, describe, upload};
use gyre::cluster::store::{Bucket, StorageUrl};
use gyre_ring::TenantId;
use gyre_tsdb::block::{Meta, Ulid};
use gyre_tsdb::disk::OsDisk;
use tempfile::TempDir;

use crate::scene::{LabelSet, OwnChunk, float_chunks, write};

pub const HOUR_MS: i64 = 3_600_000;

pub fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

/// Series of floats in a range of time, of no regularity, some KB each.
pub fn series(count: u64, begin_ms: i64, end_ms: i64) -> BTreeMap<LabelSet, Vec<OwnChunk>> {
    let one = |number: u64| {
        let labels = [("__name__", "metric".to_owned()), ("number", format!("{number:06}"))];
        let labels: LabelSet = labels.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let mut state = number;
        let samples: Vec<(i64, u64)> = (begin_ms..end_ms)
            .step_by(15_000)
            .map(|t_ms| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (t_ms, ((state >> 11) as f64 / 1e9).to_bits())
            })
            .collect();
        (labels, float_chunks(&samples, 120))
    };
    (0..count).map(one).collect()
}

/// Writes a block into a folder and gives the block's own folder and its description for the tenant.
pub fn block_of(folder: &Path, meta: Meta, count: u64) -> (PathBuf, Meta) {
    let series = series(count, meta.min_ms, meta.end_ms);
    let meta = write(Arc::new(OsDisk), folder, meta, &series, 512 << 20).unwrap().unwrap();
    let path = folder.join(meta.ulid.to_string());
    let meta = describe(&path, meta, &tenant()).unwrap();
    (path, meta)
}

/// A block of a head with some series, over two hours from the beginning of time on.
pub fn small_block(folder: &Path, number: u128) -> (PathBuf, Meta) {
    block_of(folder, Meta::of_head(Ulid::new(1000, number), 0, 2 * HOUR_MS), 5)
}

/// A bucket in a folder.
pub fn folder_bucket() -> (TempDir, Bucket) {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::open(&StorageUrl::File(folder.path().join("bucket")), Path::new("")).unwrap();
    (folder, bucket)
}

/// A bucket in memory.
pub fn memory_bucket() -> Bucket {
    Bucket::open(&StorageUrl::Memory, Path::new("")).unwrap()
}

pub async fn must_upload(bucket: &Bucket, folder: &Path, meta: &Meta) -> Uploaded {
    upload(bucket, &tenant(), folder, meta, &|_| ()).await.unwrap()
}

/// The objects of a block as its folder has them: chunks, index.
pub fn files_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let chunks = std::fs::read_dir(folder.join("chunks")).unwrap();
    let names = chunks.map(|entry| format!("chunks/{}", entry.unwrap().file_name().to_str().unwrap()));
    names
        .chain(["index".to_owned()])
        .map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap()))
        .collect()
}

/// All objects of a block in a bucket, by their names in it.
pub async fn objects_of(bucket: &Bucket, block: Ulid) -> BTreeMap<String, Vec<u8>> {
    let folder = format!("{}/{block}", tenant());
    let mut objects = BTreeMap::new();
    for object in bucket.list(&folder).await.unwrap() {
        let content = bucket.get(&object.path, 1 << 30).await.unwrap().unwrap();
        assert_eq!(object.size_bytes, content.len() as u64);
        objects.insert(object.path[folder.len() + 1..].to_owned(), content.to_vec());
    }
    objects
}
