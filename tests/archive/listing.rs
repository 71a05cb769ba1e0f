//! Which blocks a tenant has, and which of them are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gyre::archive::bucket_index::BucketIndex;
use gyre::archive::list::Discovery;
use gyre::archive::marks::{mark_deletion, mark_no_compact};
use gyre::archive::{TenantBlocks, describe};
use gyre::cluster::store::Bucket;
use gyre_tsdb::block::{DeletionMark, Meta, NoCompactMark, Thanos, Ulid};

use crate::faulty::{Fault, Faulty, Request};
use crate::rig::{HOUR_MS, folder_bucket, memory_bucket, must_upload, small_block, tenant};

fn ulid(number: u128) -> Ulid {
    Ulid::new(5000, number)
}

/// Only a description: what lists read.
async fn put_meta(bucket: &Bucket, meta: &Meta) {
    let path = format!("acme/{}/meta.json", meta.ulid);
    bucket.put(&path, meta.to_json().into()).await.unwrap();
}

fn head(number: u128) -> Meta {
    Meta::of_head(ulid(number), 0, 2 * HOUR_MS)
}

async fn load(bucket: &Bucket) -> TenantBlocks {
    TenantBlocks::load(bucket, &tenant()).await.unwrap()
}

fn queried(list: &TenantBlocks) -> Vec<Ulid> {
    list.to_query(i64::MIN).map(|block| block.meta.ulid).collect()
}

#[actix_rt::test]
async fn complete_partial_and_damaged_blocks_are_told_apart() {
    let (_keep, on_disk) = folder_bucket();
    for bucket in [memory_bucket(), on_disk] {
        put_meta(&bucket, &head(1)).await;
        bucket.put(&format!("acme/{}/index", ulid(2)), "x".into()).await.unwrap();
        bucket.put(&format!("acme/{}/meta.json", ulid(3)), "{".into()).await.unwrap();
        bucket.put(&format!("acme/{}/meta.json", ulid(4)), head(1).to_json().into()).await.unwrap();
        bucket.put("acme/debug/meta.json", "x".into()).await.unwrap();
        bucket.put(&format!("other/{}/meta.json", ulid(9)), head(9).to_json().into()).await.unwrap();
        let list = load(&bucket).await;
        assert_eq!(list.blocks().keys().copied().collect::<Vec<_>>(), [ulid(1)]);
        assert_eq!(list.partial().iter().copied().collect::<Vec<_>>(), [ulid(2)]);
        let damaged: Vec<_> = list.damaged().iter().collect();
        assert_eq!((damaged[0].0, damaged[1].0), (&ulid(3), &ulid(4)));
        assert!(damaged[1].1.contains(&ulid(1).to_string()), "{damaged:?}");
    }
}

#[actix_rt::test]
async fn a_tenant_without_blocks_has_an_empty_list_but_a_folder_that_is_gone_is_an_error() {
    assert!(load(&memory_bucket()).await.blocks().is_empty());
    let (keep, bucket) = folder_bucket();
    assert!(load(&bucket).await.blocks().is_empty());
    std::fs::remove_dir_all(keep.path().join("bucket")).unwrap();
    let error = TenantBlocks::load(&bucket, &tenant()).await.unwrap_err().to_string();
    assert!(error.contains("the folder is gone"), "{error}");
}

#[actix_rt::test]
async fn a_refresh_reads_only_what_is_new() {
    let reads = Arc::new(AtomicU64::new(0));
    let counted = reads.clone();
    let store = Faulty::new(move |request, _| {
        counted.fetch_add(u64::from(request == Request::Get), Ordering::SeqCst);
        Fault::None
    });
    let bucket = store.bucket(Duration::from_secs(5));
    for number in 0..50 {
        put_meta(&bucket, &head(number)).await;
    }
    let mut list = load(&bucket).await;
    assert_eq!((list.blocks().len(), reads.swap(0, Ordering::SeqCst)), (50, 50));
    put_meta(&bucket, &head(50)).await;
    list.refresh(&bucket, Discovery::Listing).await.unwrap();
    assert_eq!((list.blocks().len(), reads.load(Ordering::SeqCst)), (51, 1));
}

#[actix_rt::test]
async fn after_a_refresh_that_fails_the_list_is_as_it_was() {
    let store = Faulty::new(|_, _| Fault::None);
    let bucket = store.bucket(Duration::from_millis(20));
    put_meta(&bucket, &head(1)).await;
    let mut list = load(&bucket).await;
    put_meta(&bucket, &head(2)).await;
    for failing in [Request::List, Request::Get] {
        store.set_plan(move |request, _| if request == failing { Fault::Before } else { Fault::None });
        list.refresh(&bucket, Discovery::Listing).await.unwrap_err();
        assert_eq!(list.blocks().len(), 1);
    }
}

#[actix_rt::test]
async fn a_listing_that_lags_loses_no_block_that_was_known() {
    let store = Faulty::new(|_, _| Fault::None);
    let bucket = store.bucket(Duration::from_secs(5));
    put_meta(&bucket, &head(1)).await;
    put_meta(&bucket, &head(2)).await;
    let mut list = load(&bucket).await;
    let lagging = format!("acme/{}", ulid(1));
    store.set_plan(move |request, path| match request {
        Request::List if path == lagging => Fault::Before,
        _ => Fault::None,
    });
    list.refresh(&bucket, Discovery::Listing).await.unwrap();
    assert_eq!(list.blocks().keys().copied().collect::<Vec<_>>(), [ulid(1), ulid(2)]);
    // One that is really gone is not kept.
    bucket.delete(&format!("acme/{}/meta.json", ulid(1))).await.unwrap();
    list.refresh(&bucket, Discovery::Listing).await.unwrap();
    assert_eq!(list.blocks().keys().copied().collect::<Vec<_>>(), [ulid(2)]);
    assert!(list.partial().is_empty());
}

#[actix_rt::test]
async fn a_block_whose_sources_another_one_has_is_listed_but_not_queried() {
    let bucket = memory_bucket();
    let (a, b, c) = (head(1), head(2), head(3));
    let ab = Meta::of_whole(ulid(12), &[&a, &b]);
    for meta in [&a, &b, &c, &ab] {
        put_meta(&bucket, meta).await;
    }
    let list = load(&bucket).await;
    assert_eq!(list.blocks().len(), 4);
    assert_eq!(queried(&list), [ulid(3), ulid(12)]);
    assert_eq!(list.blocks()[&ulid(1)].superseded_by, Some(ulid(12)));
    assert_eq!(list.holder_of(ulid(1)).map(|block| block.meta.ulid), Some(ulid(1)));

    // A block that was compacted from them all; the first two are removed meanwhile.
    let abc = Meta::of_whole(ulid(123), &[&ab, &c]);
    put_meta(&bucket, &abc).await;
    for gone in [&a, &b] {
        bucket.delete(&format!("acme/{}/meta.json", gone.ulid)).await.unwrap();
    }
    let list = load(&bucket).await;
    assert_eq!(queried(&list), [ulid(123)]);
    assert!(list.holder_of(ulid(1)).is_some_and(|holder| holder.meta.compaction.sources.contains(&ulid(1))));
    assert!(list.holder_of(ulid(4)).is_none());
}

#[actix_rt::test]
async fn a_block_supersedes_only_what_it_wholly_has() {
    let (a, b, c) = (head(1), head(2), head(3));
    let ab = Meta::of_whole(ulid(12), &[&a, &b]);
    let bc = Meta::of_whole(ulid(23), &[&b, &c]);
    // Halves of one whole, as Cortex's partitioning compactor makes them, name the same sources.
    let partition = |number: u128| {
        let mut meta = Meta::of_whole(ulid(number), &[&a, &b]);
        let info = serde_json::json!({"partition_info": {"partition_count": 2, "partition_id": number % 2}});
        let other = [("extensions".to_owned(), info)].into_iter().collect();
        meta.thanos = Some(Thanos { version: 1, other, ..Thanos::default() });
        meta
    };
    let mut twin = ab.clone();
    twin.ulid = ulid(13);
    // A part of a block is its own source.
    let part = Meta::of_part(ulid(14), 0, HOUR_MS, &[&a]);
    let mut coarse = ab.clone();
    let downsample = gyre_tsdb::block::Downsample { resolution: 300_000 };
    coarse.thanos = Some(Thanos { version: 1, downsample, ..Thanos::default() });
    for (metas, shown) in [
        (vec![&ab, &bc], vec![ulid(12), ulid(23)]),
        (vec![&a, &part], vec![ulid(1), ulid(14)]),
        (vec![&ab, &twin], vec![ulid(12), ulid(13)]),
        (vec![&a, &coarse], vec![ulid(1), ulid(12)]),
        (vec![&a, &b, &partition(30), &partition(31)], vec![ulid(1), ulid(2), ulid(30), ulid(31)]),
    ] {
        let bucket = memory_bucket();
        for meta in metas {
            put_meta(&bucket, meta).await;
        }
        assert_eq!(queried(&load(&bucket).await), shown);
    }
}

#[actix_rt::test]
async fn marks_are_found_and_a_block_that_is_marked_for_removal_supersedes_nothing() {
    let (_keep, on_disk) = folder_bucket();
    for bucket in [memory_bucket(), on_disk] {
        let (a, b) = (head(1), head(2));
        let ab = Meta::of_whole(ulid(12), &[&a, &b]);
        for meta in [&a, &b, &ab] {
            put_meta(&bucket, meta).await;
        }
        let mut list = load(&bucket).await;
        let mark = DeletionMark::new(ulid(12), "bad".to_owned(), 1000);
        mark_deletion(&bucket, &tenant(), &mark).await.unwrap();
        let no_compact = NoCompactMark::new(ulid(1), "manual".to_owned(), String::new(), 7);
        mark_no_compact(&bucket, &tenant(), &no_compact).await.unwrap();
        list.refresh(&bucket, Discovery::Listing).await.unwrap();
        assert_eq!(list.blocks()[&ulid(12)].deletion.as_deref(), Some(&mark));
        assert_eq!(list.blocks()[&ulid(1)].no_compact.as_deref(), Some(&no_compact));
        assert_eq!(queried(&list), [ulid(1), ulid(2), ulid(12)]);
        let long_marked = list.to_query(1001).map(|block| block.meta.ulid).collect::<Vec<_>>();
        assert_eq!(long_marked, [ulid(1), ulid(2)]);

        // The first mark counts.
        let later = DeletionMark::new(ulid(12), "worse".to_owned(), 2000);
        mark_deletion(&bucket, &tenant(), &later).await.unwrap();
        assert_eq!(load(&bucket).await.blocks()[&ulid(12)].deletion.as_deref(), Some(&mark));
        for path in [
            format!("acme/markers/{}-deletion-mark.json", ulid(12)),
            format!("acme/{}/deletion-mark.json", ulid(12)),
        ] {
            let json = bucket.get(&path, 1 << 20).await.unwrap().unwrap();
            assert_eq!(DeletionMark::parse(&json).unwrap(), mark, "{path}");
        }

        // When it goes, its description is the first that does.
        bucket.delete(&format!("acme/{}/meta.json", ulid(12))).await.unwrap();
        list.refresh(&bucket, Discovery::Listing).await.unwrap();
        assert_eq!(queried(&list), [ulid(1), ulid(2)]);
    }
}

#[actix_rt::test]
async fn a_mark_that_cannot_be_read_is_reported_and_marks_nothing() {
    let bucket = memory_bucket();
    put_meta(&bucket, &head(1)).await;
    let path = format!("acme/markers/{}-deletion-mark.json", ulid(1));
    bucket.put(&path, "?".into()).await.unwrap();
    bucket.put("acme/markers/tenant-deletion-mark.json", "{}".into()).await.unwrap();
    let list = load(&bucket).await;
    assert_eq!(list.blocks()[&ulid(1)].deletion, None);
    assert_eq!(list.marks().damaged.keys().collect::<Vec<_>>(), [&path]);
}

#[actix_rt::test]
async fn a_bucket_index_has_the_fields_of_cortex() {
    let blocks = tempfile::tempdir().unwrap();
    let (folder, meta) = small_block(blocks.path(), 1);
    let bucket = memory_bucket();
    must_upload(&bucket, &folder, &meta).await;
    mark_deletion(&bucket, &tenant(), &DeletionMark::new(meta.ulid, String::new(), 42)).await.unwrap();
    let list = load(&bucket).await;
    BucketIndex::of(list.blocks().values(), 123_456_789).store(&bucket, &tenant()).await.unwrap();
    let packed = bucket.get("acme/bucket-index.json.gz", 1 << 20).await.unwrap().unwrap();
    let mut json = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut json).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let stats = meta.thanos.as_ref().unwrap().index_stats.unwrap_or_default();
    let mut block = serde_json::json!({
        "block_id": meta.ulid.to_string(),
        "min_time": meta.min_ms,
        "max_time": meta.end_ms,
        "segments_format": "1b6d",
        "segments_num": 1,
        "uploaded_at": list.blocks()[&meta.ulid].uploaded_ms / 1000,
    });
    for (name, size) in [("series_max_size", stats.series_max_size), ("chunk_max_size", stats.chunk_max_size)]
    {
        if size > 0 {
            block[name] = size.into();
        }
    }
    let expected = serde_json::json!({
        "version": 1,
        "blocks": [block],
        "block_deletion_marks": [{"block_id": meta.ulid.to_string(), "deletion_time": 42}],
        "updated_at": 123_456,
    });
    assert_eq!(json, expected);
}

#[actix_rt::test]
async fn a_fresh_bucket_index_spares_the_listing_and_an_old_absent_or_damaged_one_does_not() {
    let store = Faulty::new(|_, _| Fault::None);
    let bucket = store.bucket(Duration::from_millis(20));
    put_meta(&bucket, &head(1)).await;
    put_meta(&bucket, &head(2)).await;
    let index = BucketIndex::of(load(&bucket).await.blocks().values(), 1_000_000);
    put_meta(&bucket, &head(3)).await;
    let find = async |from_ms| {
        let mut list = TenantBlocks::new(tenant());
        list.refresh(&bucket, Discovery::IndexFrom(from_ms)).await.unwrap();
        list.blocks().len()
    };
    assert_eq!(find(0).await, 3, "there is none");
    index.store(&bucket, &tenant()).await.unwrap();
    assert_eq!(find(1_000_001).await, 3, "it is old");
    // Whoever lists the tenant's folder now, fails.
    store.set_plan(|request, path| match request {
        Request::List if path == "acme" => Fault::Denied,
        _ => Fault::None,
    });
    assert_eq!(find(1_000_000).await, 2, "it is fresh");
    store.set_plan(|_, _| Fault::None);
    for damage in [&b"no gzip"[..], &index.to_bytes()[..30]] {
        bucket.put("acme/bucket-index.json.gz", damage.to_vec().into()).await.unwrap();
        assert_eq!(find(0).await, 3, "it is damaged");
    }
}

#[actix_rt::test]
async fn an_index_of_cortex_is_read_with_its_nulls_and_unknown_fields() {
    let json = format!(
        r#"{{"version":1,"blocks":[{{"block_id":"{}","min_time":1,"max_time":2,"uploaded_at":3,"parquet":{{"version":1}}}}],
            "block_deletion_marks":null,"updated_at":9}}"#,
        ulid(1)
    );
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, json.as_bytes()).unwrap();
    let index = BucketIndex::parse(&gzip.finish().unwrap()).unwrap();
    assert_eq!((index.blocks[0].ulid, index.updated_s, index.block_deletion_marks.len()), (ulid(1), 9, 0));
    assert_eq!(BucketIndex::parse(&index.to_bytes()).unwrap(), index);
    assert_eq!(index.blocks[0].other["parquet"]["version"], 1);
}

#[actix_rt::test]
async fn a_tenant_whose_name_has_odd_characters_has_its_own_folder_under_that_very_name() {
    let odd = gyre_ring::TenantId::new("a*'()!.b").unwrap();
    let blocks = tempfile::tempdir().unwrap();
    let (folder, meta) = small_block(blocks.path(), 1);
    let meta = describe(&folder, meta, &odd).unwrap();
    let (keep, bucket) = folder_bucket();
    gyre::archive::upload(&bucket, &odd, &folder, &meta, &|_| ()).await.unwrap();
    let path = keep.path().join("bucket").join("a*'()!.b").join(meta.ulid.to_string()).join("meta.json");
    assert!(path.exists());
    assert_eq!(TenantBlocks::load(&bucket, &odd).await.unwrap().blocks().len(), 1);
    assert!(load(&bucket).await.blocks().is_empty());
}
