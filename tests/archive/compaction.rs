//! Blocks become others in the bucket, and old ones go, whatever happens meanwhile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gyre::archive::cleanup::{mark_expired, mark_superseded, remove_marked, remove_partial};
use gyre::archive::compact::{Compacted, Compactor};
use gyre::archive::cover::{Cover, covers_of, set_covers};
use gyre::archive::download::download;
use gyre::archive::list::Discovery;
use gyre::archive::marks::mark_deletion;
use gyre::archive::plan::{PlanOptions, Work, plan};
use gyre::archive::{ArchiveError, ListedBlock, TenantBlocks};
use gyre::cluster::store::Bucket;
use gyre_ring::{BatchNumber, BatchSet, BootId, Epoch, HashSeed, Segment, Shard, ShardCount, ShardIndex};
use gyre_tsdb::block::{Block, DeletionMark, Meta, Thanos, Ulid};
use gyre_tsdb::disk::OsDisk;

use crate::faulty::{Fault, Faulty, Request};
use crate::rig::{HOUR_MS, block_of, memory_bucket, must_upload, objects_of, small_block, tenant};
use crate::scene::{Model, read};

const SEED: HashSeed = HashSeed(42);
const NOW_MS: i64 = 4_000_000_000_000;

fn count(shards: u32) -> ShardCount {
    ShardCount::new(shards).unwrap()
}

/// A window of shard 1 of 1, with the batches of these numbers.
fn own_block(folder: &Path, window: i64, batches: (u64, u64), series: u64) -> (PathBuf, Meta) {
    let mut meta = Meta::of_head(Ulid::new(window as u64, u128::from(batches.0)), 0, 0);
    (meta.min_ms, meta.end_ms) = (window * 2 * HOUR_MS, (window + 1) * 2 * HOUR_MS);
    let labels = [("__compactor_shard_id__".to_owned(), "1_of_1".into())].into_iter().collect();
    meta.thanos = Some(Thanos { version: 1, labels, ..Thanos::default() });
    let shard = Shard { tenant: tenant(), index: ShardIndex(0), count: count(1) };
    let mut set = BatchSet::default();
    set.insert_interval(BootId(7), BatchNumber(batches.0), BatchNumber(batches.1));
    set_covers(&mut meta, [Cover { segment: Segment { shard, epoch: Epoch(1) }, window, batches: set }]);
    block_of(folder, meta, series)
}

/// Three windows, the last one in two blocks with different series.
async fn put_own_blocks(bucket: &Bucket, folder: &Path) -> Vec<Meta> {
    let mut metas = Vec::new();
    for (window, batches, series) in [(0, (1, 9), 6), (1, (10, 19), 6), (2, (20, 29), 6), (2, (30, 31), 9)] {
        let (path, meta) = own_block(folder, window, batches, series);
        must_upload(bucket, &path, &meta).await;
        metas.push(meta);
    }
    metas
}

async fn load(bucket: &Bucket) -> TenantBlocks {
    TenantBlocks::load(bucket, &tenant()).await.unwrap()
}

/// What queries would read of blocks, all of it.
async fn samples(bucket: &Bucket, blocks: impl Iterator<Item = &ListedBlock>) -> Model {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    for block in blocks {
        let path = download(bucket, &tenant(), &block.meta, folder.path(), &|_| ()).await.unwrap();
        for (labels, samples) in read(&Block::open(&OsDisk, &path).unwrap()).unwrap() {
            model.entry(labels).or_default().extend(samples);
        }
    }
    model
}

async fn compact_all(bucket: &Bucket, shards: u32) -> Result<Vec<Compacted>, ArchiveError> {
    let scratch = tempfile::tempdir().unwrap();
    let compactor = Compactor { bucket, seed: SEED, scratch: scratch.path() };
    let mut done = Vec::new();
    loop {
        let list = TenantBlocks::load(bucket, &tenant()).await?;
        let Some(job) =
            plan(list.blocks().values(), &PlanOptions::new(NOW_MS, count(shards))).into_iter().next()
        else {
            return Ok(done);
        };
        done.push(compactor.run(&list, &job, NOW_MS / 1000).await?);
    }
}

#[actix_rt::test]
async fn a_merged_block_has_all_samples_sources_and_covers_of_those_that_it_replaces() {
    let (bucket, folder) = (memory_bucket(), tempfile::tempdir().unwrap());
    let metas = put_own_blocks(&bucket, folder.path()).await;
    let before = samples(&bucket, load(&bucket).await.to_query(i64::MIN)).await;
    assert_eq!(before.len(), 9);
    let done = compact_all(&bucket, 1).await.unwrap();
    assert_eq!((done.len(), done[0].made.len(), done[0].replaced.len()), (1, 1, 4));

    let list = load(&bucket).await;
    let queried: Vec<&ListedBlock> = list.to_query(NOW_MS / 1000 + 1).collect();
    assert_eq!(queried.iter().map(|block| block.meta.ulid).collect::<Vec<_>>(), done[0].made);
    assert_eq!(samples(&bucket, queried.into_iter()).await, before);
    let made = &list.blocks()[&done[0].made[0]].meta;
    let mut sources: Vec<Ulid> = metas.iter().map(|meta| meta.ulid).collect();
    sources.sort();
    assert_eq!((made.compaction.level, &made.compaction.sources), (2, &sources));
    assert_eq!((made.min_ms, made.end_ms), (0, 6 * HOUR_MS));
    let covers = covers_of(made);
    assert_eq!(covers.iter().map(|cover| cover.window).collect::<Vec<_>>(), [0, 1, 2]);
    for meta in &metas {
        for cover in covers_of(meta) {
            let merged = covers.iter().find(|merged| merged.window == cover.window).unwrap();
            assert!(merged.batches.contains_all(&cover.batches));
        }
    }
    assert_eq!(covers.iter().map(|cover| cover.batches.len()).sum::<u64>(), 9 + 10 + 10 + 2);
    let thanos = made.thanos.clone().unwrap();
    let labels = serde_json::json!({"__org_id__": "acme", "__compactor_shard_id__": "1_of_1"});
    assert_eq!(serde_json::Value::Object(thanos.labels.to_map()), labels);
    assert!(thanos.index_stats.is_some_and(|stats| stats.series_max_size > 0 && stats.chunk_max_size > 0));
    for meta in &metas {
        let mark = list.blocks()[&meta.ulid].deletion.clone().unwrap();
        assert!(mark.details.contains(&done[0].made[0].to_string()), "{mark:?}");
    }
}

#[actix_rt::test]
async fn a_block_of_several_shards_becomes_one_for_each_whose_series_are_that_shard_s() {
    let (bucket, folder) = (memory_bucket(), tempfile::tempdir().unwrap());
    let (path, foreign) = block_of(folder.path(), Meta::of_head(Ulid::new(5, 5), 7, 30 * HOUR_MS), 40);
    must_upload(&bucket, &path, &foreign).await;
    let before = samples(&bucket, load(&bucket).await.to_query(i64::MIN)).await;
    let done = compact_all(&bucket, 4).await.unwrap();
    assert_eq!((done.len(), &done[0].replaced), (1, &vec![foreign.ulid]));
    let list = load(&bucket).await;
    let queried: Vec<&ListedBlock> = list.to_query(NOW_MS / 1000 + 1).collect();
    assert_eq!(queried.len(), 4);
    let mut series = 0;
    for block in &queried {
        assert_eq!(block.meta.compaction.sources, [block.meta.ulid]);
        let label = block.meta.thanos.as_ref().unwrap().labels.to_map()["__compactor_shard_id__"]
            .as_str()
            .unwrap()
            .to_owned();
        let index: u32 = label.strip_suffix("_of_4").unwrap().parse::<u32>().unwrap() - 1;
        for labels in samples(&bucket, [*block].into_iter()).await.keys() {
            let bytes = gyre_tsdb::labels::encode(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            assert_eq!(count(4).index_of(SEED.key(&bytes)), index, "{labels:?} in {label}");
            series += 1;
        }
    }
    assert_eq!(series, before.len());
    assert_eq!(samples(&bucket, queried.into_iter()).await, before);
}

#[actix_rt::test]
async fn wherever_a_compaction_ends_early_nothing_is_missing_and_the_next_one_completes_it() {
    for shards in [1, 2] {
        let whole = memory_bucket();
        let put = async |bucket: &Bucket| {
            let folder = tempfile::tempdir().unwrap();
            if shards == 1 {
                put_own_blocks(bucket, folder.path()).await;
            } else {
                for number in [1, 2] {
                    let (path, meta) = small_block(folder.path(), number);
                    must_upload(bucket, &path, &meta).await;
                }
            }
        };
        put(&whole).await;
        let before = samples(&whole, load(&whole).await.to_query(i64::MIN)).await;
        compact_all(&whole, shards).await.unwrap();
        let expected: Vec<Ulid> =
            load(&whole).await.to_query(NOW_MS / 1000 + 1).map(|block| block.meta.ulid).collect();
        let mut interrupted = 0;
        for at in 0.. {
            let store = Faulty::new(|_, _| Fault::None);
            let bucket = store.bucket(Duration::from_secs(5));
            put(&bucket).await;
            // From then on the bucket takes nothing more: as if the process were gone.
            let mut writes = 0;
            store.set_plan(move |request, _| {
                writes += u64::from(matches!(request, Request::Put | Request::Delete));
                if writes > at && request != Request::List { Fault::Denied } else { Fault::None }
            });
            let ended = compact_all(&bucket, shards).await;
            store.set_plan(|_, _| Fault::None);
            let list = load(&bucket).await;
            // As of any time that marks allow.
            for marked_from_s in [i64::MIN, NOW_MS / 1000 + 1] {
                let seen = samples(&bucket, list.to_query(marked_from_s)).await;
                assert!(seen == before, "{shards} shards, ended after {at} writes: samples are missing");
            }
            compact_all(&bucket, shards).await.unwrap();
            let list = load(&bucket).await;
            mark_superseded(&bucket, &list, NOW_MS).await.unwrap();
            let list = load(&bucket).await;
            let left: Vec<Ulid> = list.to_query(NOW_MS / 1000 + 1).map(|block| block.meta.ulid).collect();
            assert_eq!(left, expected, "{shards} shards, ended after {at} writes");
            assert!(list.partial().is_empty());
            if ended.is_ok() {
                break;
            }
            interrupted += 1;
        }
        assert!(interrupted > 6, "{interrupted}");
    }
}

#[actix_rt::test]
async fn two_that_compact_the_same_make_the_same() {
    let (bucket, folder) = (memory_bucket(), tempfile::tempdir().unwrap());
    put_own_blocks(&bucket, folder.path()).await;
    let list = load(&bucket).await;
    let job = plan(list.blocks().values(), &PlanOptions::new(NOW_MS, count(1))).remove(0);
    assert_eq!(job.work, Work::Merge);
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let compactor = |scratch| Compactor { bucket: &bucket, seed: SEED, scratch };
    let (one, other) = (compactor(first.path()), compactor(second.path()));
    let (a, b) = futures_util::join!(one.run(&list, &job, 1), other.run(&list, &job, 2));
    assert_eq!(a.unwrap(), b.unwrap());
    assert_eq!(load(&bucket).await.blocks().len(), 5);
}

#[actix_rt::test]
async fn what_a_bad_block_was_made_of_is_not_marked() {
    let (bucket, folder) = (memory_bucket(), tempfile::tempdir().unwrap());
    let metas = put_own_blocks(&bucket, folder.path()).await;
    let list = load(&bucket).await;
    let job = plan(list.blocks().values(), &PlanOptions::new(NOW_MS, count(1))).remove(0);
    let scratch = tempfile::tempdir().unwrap();
    let compactor = Compactor { bucket: &bucket, seed: SEED, scratch: scratch.path() };
    let made = compactor.run(&list, &job, 1).await.unwrap().made[0];
    for meta in &metas {
        bucket.delete(&format!("acme/markers/{}-deletion-mark.json", meta.ulid)).await.unwrap();
    }
    mark_deletion(&bucket, &tenant(), &DeletionMark::new(made, "bad".to_owned(), 2)).await.unwrap();
    let list = load(&bucket).await;
    let error = compactor.run(&list, &job, 3).await.unwrap_err().to_string();
    assert!(error.contains(&made.to_string()) && error.contains("is marked for removal"), "{error}");
    assert!(load(&bucket).await.blocks()[&metas[0].ulid].deletion.is_none());
}

#[actix_rt::test]
async fn a_damaged_block_is_not_compacted_and_is_named() {
    let (bucket, folder) = (memory_bucket(), tempfile::tempdir().unwrap());
    let metas = put_own_blocks(&bucket, folder.path()).await;
    let path = format!("acme/{}/chunks/000001", metas[1].ulid);
    let mut bytes = bucket.get(&path, 1 << 30).await.unwrap().unwrap().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bucket.put(&path, bytes.into()).await.unwrap();
    let error = compact_all(&bucket, 1).await.unwrap_err().to_string();
    assert!(error.contains(&metas[1].ulid.to_string()) && error.contains("chunks/000001"), "{error}");
    let list = load(&bucket).await;
    assert_eq!(list.blocks().len(), 4);
    assert!(list.marks().deletion.is_empty());
}

#[actix_rt::test]
async fn retention_marks_what_is_wholly_older_and_removal_waits_and_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (old, old_meta) = own_block(folder.path(), 0, (1, 2), 3);
    let (new, new_meta) = own_block(folder.path(), 1, (3, 4), 3);
    for at in 0.. {
        let store = Faulty::new(|_, _| Fault::None);
        let bucket = store.bucket(Duration::from_secs(5));
        must_upload(&bucket, &old, &old_meta).await;
        must_upload(&bucket, &new, &new_meta).await;
        let list = load(&bucket).await;
        let retention_ms = 3 * HOUR_MS as u64;
        assert_eq!(mark_expired(&bucket, &list, 0, i64::MAX).await.unwrap(), []);
        assert_eq!(mark_expired(&bucket, &list, retention_ms, 5 * HOUR_MS - 1).await.unwrap(), []);
        assert_eq!(mark_expired(&bucket, &list, retention_ms, 5 * HOUR_MS).await.unwrap(), [old_meta.ulid]);
        let mut list = load(&bucket).await;
        assert_eq!(mark_expired(&bucket, &list, retention_ms, 5 * HOUR_MS).await.unwrap(), []);
        assert_eq!(remove_marked(&bucket, &list, HOUR_MS, 6 * HOUR_MS - 1).await.unwrap(), []);
        assert_eq!(objects_of(&bucket, old_meta.ulid).await.len(), 4, "chunks, index, meta.json, mark");

        let mut deletes = 0;
        store.set_plan(move |request, _| {
            deletes += u64::from(request == Request::Delete);
            if deletes > at { Fault::Denied } else { Fault::None }
        });
        let ended = remove_marked(&bucket, &list, HOUR_MS, 6 * HOUR_MS).await;
        store.set_plan(|_, _| Fault::None);
        list.refresh(&bucket, Discovery::Listing).await.unwrap();
        // After the first step nobody finds it any more.
        assert_eq!(list.blocks().contains_key(&old_meta.ulid), at == 0);
        remove_marked(&bucket, &list, HOUR_MS, 6 * HOUR_MS).await.unwrap();
        list.refresh(&bucket, Discovery::Listing).await.unwrap();
        assert_eq!(list.blocks().keys().collect::<Vec<_>>(), [&new_meta.ulid]);
        assert!(list.partial().is_empty() && list.marks().deletion.is_empty());
        assert!(objects_of(&bucket, old_meta.ulid).await.is_empty());
        assert_eq!(objects_of(&bucket, new_meta.ulid).await.len(), 3);
        if ended.is_ok() {
            assert!(at > 4, "{at}");
            break;
        }
    }
}

#[actix_rt::test]
async fn what_an_upload_left_is_removed_when_nothing_was_put_there_for_long() {
    let (bucket, folder) = (memory_bucket(), tempfile::tempdir().unwrap());
    let (path, meta) = small_block(folder.path(), 1);
    must_upload(&bucket, &path, &meta).await;
    bucket.delete(&format!("acme/{}/meta.json", meta.ulid)).await.unwrap();
    let (whole, whole_meta) = small_block(folder.path(), 2);
    must_upload(&bucket, &whole, &whole_meta).await;
    let list = load(&bucket).await;
    let put_ms = bucket.head(&format!("acme/{}/index", meta.ulid)).await.unwrap().unwrap().modified_ms;
    assert_eq!(remove_partial(&bucket, &list, HOUR_MS, put_ms + HOUR_MS - 1).await.unwrap(), []);
    // The upload ends after the list was made.
    must_upload(&bucket, &path, &meta).await;
    assert_eq!(remove_partial(&bucket, &list, HOUR_MS, put_ms + 100 * HOUR_MS).await.unwrap(), []);
    assert_eq!(load(&bucket).await.blocks().len(), 2);
    bucket.delete(&format!("acme/{}/meta.json", meta.ulid)).await.unwrap();
    assert_eq!(remove_partial(&bucket, &list, HOUR_MS, put_ms + 100 * HOUR_MS).await.unwrap(), [meta.ulid]);
    assert!(objects_of(&bucket, meta.ulid).await.is_empty());
    assert_eq!(load(&bucket).await.blocks().keys().collect::<Vec<_>>(), [&whole_meta.ulid]);
}
