//! Blocks made here, in stores that may fail, and all that is in them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gyre::archive::read::failure::BlockFailure;
use gyre::archive::read::metrics::BlockMetrics;
use gyre::archive::read::select::BlockQuery;
use gyre::archive::read::{Archive, BlockList, BlockRef, CacheSizes};
use gyre::cluster::store::Bucket;
use gyre::shard::read::TimeRange;
use gyre_ring::{HashSeed, TenantId};
use gyre_tsdb::block::{BlockFile, Meta, Ulid};
use gyre_tsdb::disk::OsDisk;
use gyre_tsdb::{Decoded, Matcher};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::time::Instant;

use crate::blocks;

pub const SEED: HashSeed = HashSeed(77);
pub const BLOCK_MS: i64 = 2 * 3_600_000;
pub const ALL: TimeRange = TimeRange { min_ms: i64::MIN, max_ms: i64::MAX };
const STEP_MS: i64 = 60_000;
const SAMPLES_PER_CHUNK: usize = 50;

/// Labels, times and bits of values.
pub type Data = BTreeMap<Vec<(String, String)>, Vec<(i64, u64)>>;

pub fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

/// Where a block's time begins.
pub fn begin_ms(block: usize) -> i64 {
    1_700_006_400_000 + block as i64 * BLOCK_MS
}

/// What is in a block of so many series. Values are of little pattern, so that chunks have many bits that matter.
pub fn data(block: usize, series: usize) -> Data {
    let labels = |number: usize| {
        let pair = |name: &str, value: String| (name.to_owned(), value);
        vec![
            pair("__name__", "m".to_owned()),
            pair("series", format!("s{number:05}")),
            pair("zone", format!("z{}", number % 3)),
        ]
    };
    let sample = |number: usize, t_ms: i64| {
        let value = (t_ms / STEP_MS) as f64 * (number + 1) as f64;
        (t_ms, value.sqrt().to_bits())
    };
    let times = (begin_ms(block)..begin_ms(block + 1)).step_by(STEP_MS as usize);
    (0..series).map(|n| (labels(n), times.clone().map(|t_ms| sample(n, t_ms)).collect())).collect()
}

/// Makes a block and puts it into a store; gives its description.
pub async fn put(store: &dyn ObjectStore, block: usize, data: &Data) -> Meta {
    put_as(store, block, block as u128 + 1, data).await
}

/// The same under another name.
pub async fn put_as(store: &dyn ObjectStore, block: usize, name: u128, data: &Data) -> Meta {
    let folder = tempfile::tempdir().unwrap();
    let ulid = Ulid::new(begin_ms(block) as u64, name);
    let meta = Meta::of_head(ulid, begin_ms(block), begin_ms(block + 1));
    let series = data
        .iter()
        .map(|(labels, samples)| (labels.clone(), blocks::float_chunks(samples, SAMPLES_PER_CHUNK)))
        .collect();
    let meta = blocks::write(Arc::new(OsDisk), folder.path(), meta, &series, 1 << 20).unwrap().unwrap();
    put_folder(store, &folder.path().join(ulid.to_string()), ulid).await;
    meta
}

async fn put_folder(store: &dyn ObjectStore, folder: &Path, ulid: Ulid) {
    let chunks = std::fs::read_dir(folder.join("chunks")).unwrap().count() as u32;
    for file in (0..chunks).map(BlockFile::Segment).chain([BlockFile::Index, BlockFile::Meta]) {
        let bytes = std::fs::read(folder.join(file.to_string())).unwrap();
        store.put(&object(ulid, file), PutPayload::from(bytes)).await.unwrap();
    }
}

pub fn object(ulid: Ulid, file: BlockFile) -> ObjectPath {
    ObjectPath::from(format!("{}/{ulid}/{file}", tenant()))
}

/// A list that the test makes.
pub struct FixedList(pub Vec<BlockRef>);

#[async_trait]
impl BlockList for FixedList {
    async fn blocks(
        &self,
        _: &TenantId,
        (min_ms, max_ms): (i64, i64),
        _: std::time::Duration,
    ) -> Result<Vec<BlockRef>, String> {
        Ok(self.0.iter().filter(|block| block.overlaps(min_ms, max_ms)).cloned().collect())
    }

    async fn refresh(&self, _: &TenantId) -> Result<(), String> {
        Ok(())
    }
}

/// References to blocks.
pub fn refs(metas: &[Meta]) -> Vec<BlockRef> {
    metas.iter().map(|meta| BlockRef::new(tenant(), Arc::new(meta.clone()))).collect()
}

/// A reader of a store.
pub fn archive(bucket: Bucket, sizes: CacheSizes, data_dir: &Path, metrics: BlockMetrics) -> Arc<Archive> {
    let list = Arc::new(FixedList(Vec::new()));
    Arc::new(Archive::new(bucket, list, sizes, data_dir, SEED, metrics).unwrap())
}

/// Enough for all tests that are not about it.
pub const SIZES: CacheSizes = CacheSizes { memory_bytes: 32 << 20, disk_bytes: 0 };

pub fn query(archive: &Arc<Archive>, metas: &[Meta]) -> BlockQuery {
    archive.query(refs(metas), Instant::now() + Duration::from_secs(30))
}

/// All series that satisfy matchers, with their samples. They must come in order of their keys.
pub fn read(query: &BlockQuery, matchers: &[Matcher], range: TimeRange) -> Result<Data, BlockFailure> {
    let mut series = query.select(matchers, range)?;
    let (mut data, mut last_key) = (Data::new(), None);
    while let Some(batch) = series.next_batch()? {
        for one in batch.series() {
            let labels = batch.labels(one);
            let key = SEED.key(labels.as_bytes());
            assert!(last_key.replace(key).is_none_or(|last| last < key), "series are not in order of keys");
            let (mut times, mut values) = (Vec::new(), Vec::new());
            let mut to =
                Decoded { times: &mut times, values: &mut values, histogram: &mut |_, _| unreachable!() };
            batch.decode(one, (range.min_ms, range.max_ms), &mut to, &mut Vec::new()).unwrap();
            let labels = labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let samples = times.into_iter().zip(values.into_iter().map(f64::to_bits)).collect();
            assert!(data.insert(labels, samples).is_none(), "a series came twice");
        }
    }
    Ok(data)
}

/// What blocks hold together.
pub fn together<'a>(blocks: impl IntoIterator<Item = &'a Data>) -> Data {
    let mut all = Data::new();
    for (labels, samples) in blocks.into_iter().flatten() {
        all.entry(labels.clone()).or_default().extend(samples);
    }
    all.values_mut().for_each(|samples| samples.sort_unstable());
    all
}
