//! A folder becomes a block in the bucket, whatever happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gyre::archive::{ArchiveError, TenantBlocks, Uploaded, describe, upload};
use gyre::cluster::store::{PART_BYTES, StoreError};
use gyre_tsdb::block::{Meta, Ulid};

use crate::faulty::{Fault, Faulty, Request};
use crate::rig::{
    HOUR_MS, block_of, files_of, folder_bucket, memory_bucket, must_upload, objects_of, small_block, tenant,
};

const DEADLINE: Duration = Duration::from_millis(200);

#[actix_rt::test]
async fn a_block_is_in_the_bucket_as_it_is_in_its_folder_and_its_description_names_the_tenant() {
    let blocks = tempfile::tempdir().unwrap();
    let (folder, meta) = small_block(blocks.path(), 1);
    let (_keep, on_disk) = folder_bucket();
    for bucket in [on_disk, memory_bucket()] {
        assert_eq!(must_upload(&bucket, &folder, &meta).await, Uploaded::Now);
        let mut objects = objects_of(&bucket, meta.ulid).await;
        let stored = Meta::parse(&objects.remove("meta.json").unwrap()).unwrap();
        assert_eq!(objects, files_of(&folder));
        let thanos = stored.thanos.clone().unwrap();
        assert_eq!(thanos.labels.to_map()["__org_id__"], "acme");
        assert_eq!(thanos.segment_files, ["000001"]);
        let sizes: Vec<(String, u64)> =
            thanos.files.iter().map(|file| (file.rel_path.clone(), file.size_bytes)).collect();
        let size = |name: &str| objects[name].len() as u64;
        let expected = [("chunks/000001", size("chunks/000001")), ("index", size("index")), ("meta.json", 0)];
        assert_eq!(sizes, expected.map(|(name, size)| (name.to_owned(), size)));
        // And once more changes nothing.
        assert_eq!(must_upload(&bucket, &folder, &meta).await, Uploaded::Before);
        let list = TenantBlocks::load(&bucket, &tenant()).await.unwrap();
        assert_eq!(list.blocks().keys().collect::<Vec<_>>(), [&meta.ulid]);
        assert_eq!(*list.blocks()[&meta.ulid].meta, meta);
        assert!(list.partial().is_empty() && list.damaged().is_empty());
    }
}

#[actix_rt::test]
async fn a_large_file_goes_in_parts_and_comes_back_whole_though_parts_fail() {
    let blocks = tempfile::tempdir().unwrap();
    // Some 9 KB a series.
    let meta = Meta::of_head(Ulid::new(1, 1), 0, 4 * HOUR_MS);
    let (folder, meta) = block_of(blocks.path(), meta, 2600);
    let files = files_of(&folder);
    assert!(files["chunks/000001"].len() as u64 > 2 * PART_BYTES);
    let (_keep, on_disk) = folder_bucket();
    must_upload(&on_disk, &folder, &meta).await;
    let mut objects = objects_of(&on_disk, meta.ulid).await;
    objects.remove("meta.json");
    assert!(objects == files, "the objects are not the files");

    for fault in [Fault::Before, Fault::After, Fault::Hang] {
        for at in [Request::BeginParts, Request::PutPart, Request::Complete] {
            let mut left = 2;
            let store = Faulty::new(move |request, _| {
                let strikes = request == at && left > 0;
                left -= u64::from(strikes);
                if strikes { fault } else { Fault::None }
            });
            let bucket = store.bucket(DEADLINE);
            assert_eq!(must_upload(&bucket, &folder, &meta).await, Uploaded::Now, "{fault:?} {at:?}");
            let mut objects = objects_of(&bucket, meta.ulid).await;
            objects.remove("meta.json");
            assert!(objects == files, "the objects are not the files after {fault:?} of {at:?}");
        }
    }
}

#[actix_rt::test]
async fn before_its_description_is_there_a_block_is_partial_and_the_next_attempt_completes_it() {
    let blocks = tempfile::tempdir().unwrap();
    let (folder, meta) = small_block(blocks.path(), 1);
    for name in ["chunks/000001", "index", "meta.json"] {
        let path = format!("acme/{}/{name}", meta.ulid);
        let store = Faulty::new(move |request, at| match request {
            Request::Put if at == path => Fault::Denied,
            _ => Fault::None,
        });
        let bucket = store.bucket(DEADLINE);
        let error = upload(&bucket, &tenant(), &folder, &meta, &|_| ()).await.unwrap_err();
        assert!(error.to_string().contains(name) && !error.is_retryable(), "{error}");
        let list = TenantBlocks::load(&bucket, &tenant()).await.unwrap();
        assert!(list.blocks().is_empty());
        assert_eq!(list.partial().contains(&meta.ulid), name != "chunks/000001");

        let puts = Arc::new(AtomicU64::new(0));
        let counted = puts.clone();
        store.set_plan(move |request, _| {
            counted.fetch_add(u64::from(request == Request::Put), Ordering::SeqCst);
            Fault::None
        });
        assert_eq!(must_upload(&bucket, &folder, &meta).await, Uploaded::Now);
        assert_eq!(TenantBlocks::load(&bucket, &tenant()).await.unwrap().blocks().len(), 1);
        // What was there already was not sent again.
        let already = ["chunks/000001", "index", "meta.json"].iter().position(|n| *n == name).unwrap();
        assert_eq!(puts.load(Ordering::SeqCst), 3 - already as u64, "{name}");
    }
}

#[actix_rt::test]
async fn a_store_that_keeps_something_else_is_found_out_before_the_block_is_listed() {
    let blocks = tempfile::tempdir().unwrap();
    let (folder, meta) = small_block(blocks.path(), 1);
    let files = files_of(&folder);
    for name in ["chunks/000001", "index"] {
        let path = format!("acme/{}/{name}", meta.ulid);
        let mut other = files[name].clone();
        let middle = other.len() / 2;
        other[middle] ^= 1;
        let truncated = files[name][..middle].to_vec();
        for (before, says) in [
            (None, "is not there"),
            (Some(other), "does not have the content"),
            (Some(truncated), "are there"),
        ] {
            let store = Faulty::new(|_, _| Fault::None);
            let bucket = store.bucket(DEADLINE);
            if let Some(before) = before {
                bucket.put(&path, before.into()).await.unwrap();
            }
            let lies = path.clone();
            store.set_plan(move |request, at| match request {
                Request::Put if at == lies => Fault::Lie,
                _ => Fault::None,
            });
            let error = upload(&bucket, &tenant(), &folder, &meta, &|_| ()).await.unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(says), "{error}");
            assert!(TenantBlocks::load(&bucket, &tenant()).await.unwrap().blocks().is_empty());
            // It is put over when the store does what it says.
            store.set_plan(|_, _| Fault::None);
            must_upload(&bucket, &folder, &meta).await;
            assert_eq!(objects_of(&bucket, meta.ulid).await[name], files[name]);
        }
    }
}

#[actix_rt::test]
async fn through_random_faults_a_block_arrives_once_and_whole() {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let blocks = tempfile::tempdir().unwrap();
    let (folder, meta) = small_block(blocks.path(), 1);
    let files = files_of(&folder);
    let mut state = seed;
    let mut failed = 0;
    for _ in 0..30 {
        let mut next = move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed ^ mixed >> 29
        };
        state = next();
        let store = Faulty::new(move |_, _| match next() % 20 {
            0..4 => Fault::Before,
            4..8 => Fault::After,
            8..10 => Fault::Conflict,
            10 => Fault::Denied,
            11 => Fault::Hang,
            _ => Fault::None,
        });
        let bucket = store.bucket(Duration::from_millis(5));
        // A client that gives up and comes back, as a restarted node would.
        for _ in 0..20 {
            match upload(&bucket, &tenant(), &folder, &meta, &|_| ()).await {
                Ok(_) => break,
                Err(_) => failed += 1,
            }
        }
        store.set_plan(|_, _| Fault::None);
        upload(&bucket, &tenant(), &folder, &meta, &|_| ()).await.unwrap();
        let mut objects = objects_of(&bucket, meta.ulid).await;
        assert_eq!(Meta::parse(&objects.remove("meta.json").unwrap()).unwrap(), meta);
        assert_eq!(objects, files);
    }
    assert!(failed > 0, "the faults were too few to test anything");
}

#[actix_rt::test]
async fn another_block_of_the_same_name_is_refused_and_left_alone() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (folder, meta) = small_block(first.path(), 1);
    let other = Meta { end_ms: 3 * HOUR_MS, ..Meta::of_head(meta.ulid, 0, 0) };
    let (other_folder, other) = block_of(second.path(), other, 5);
    let bucket = memory_bucket();
    must_upload(&bucket, &folder, &meta).await;
    let before = objects_of(&bucket, meta.ulid).await;
    let refused = upload(&bucket, &tenant(), &other_folder, &other, &|_| ()).await;
    let Err(error @ ArchiveError::Taken { .. }) = refused else { panic!("{refused:?}") };
    assert!(error.to_string().contains(&format!("acme/{}/meta.json", meta.ulid)), "{error}");
    assert_eq!(objects_of(&bucket, meta.ulid).await, before);
}

#[actix_rt::test]
async fn what_cannot_be_uploaded_is_named() {
    let blocks = tempfile::tempdir().unwrap();
    let (folder, meta) = small_block(blocks.path(), 1);
    std::fs::remove_file(folder.join("index")).unwrap();
    let error = describe(&folder, meta.clone(), &tenant()).unwrap_err().to_string();
    assert!(error.starts_with(folder.join("index").to_str().unwrap()), "{error}");

    let (folder, meta) = small_block(blocks.path(), 2);
    let store = Faulty::new(|_, _| Fault::Denied);
    let refused = upload(&store.bucket(DEADLINE), &tenant(), &folder, &meta, &|_| ()).await;
    assert!(matches!(refused, Err(ArchiveError::Store(StoreError::Refused { .. }))), "{refused:?}");
}
