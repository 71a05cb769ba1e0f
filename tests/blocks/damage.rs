//! Blocks that are damaged, cut, gone, or in a store that fails: right data or an error that names the block, and its
//! neighbours are served on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bench::rng::Rng;
use gyre::archive::read::failure::Trouble;
use gyre::archive::read::metrics::BlockMetrics;
use gyre::cluster::store::Bucket;
use gyre_tsdb::block::{BlockFile, Meta};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};

use crate::faulty::{Fault, Faulty, Request};
use crate::scene::{ALL, Data, SIZES, archive, data, object, put, query, read, together};

const BLOCKS: usize = 3;
const SERIES: usize = 40;
const CASES: u64 = 150;

async fn blocks(store: &dyn ObjectStore) -> (Vec<Data>, Vec<Meta>) {
    let all: Vec<Data> = (0..BLOCKS).map(|block| data(block, SERIES)).collect();
    let mut metas = Vec::new();
    for (block, data) in all.iter().enumerate() {
        metas.push(put(store, block, data).await);
    }
    (all, metas)
}

fn bucket(store: Arc<dyn ObjectStore>) -> Bucket {
    Bucket::new("test://bucket", store, Duration::from_secs(10))
}

/// Runs what blocks as queries do.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(read).await.unwrap()
}

#[tokio::test]
async fn any_flipped_bit_or_cut_gives_right_data_or_names_the_block_and_its_neighbours_are_served() {
    let seed = std::env::var("SEED").map_or(20_261_124, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut rng = Rng::new(seed);
    let whole = InMemory::new();
    let (all, metas) = blocks(&whole).await;
    let expected = together(&all);
    let folder = tempfile::tempdir().unwrap();
    let mut noticed = 0;
    for case in 0..CASES {
        let store = Arc::new(whole.fork());
        let victim = rng.below(BLOCKS as u64) as usize;
        let file = if rng.below(2) == 0 { BlockFile::Index } else { BlockFile::Segment(0) };
        let path = object(metas[victim].ulid, file);
        let mut bytes = store.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        let at = rng.below(bytes.len() as u64) as usize;
        let is_cut = rng.below(3) == 0;
        if is_cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << rng.below(8);
        }
        store.put(&path, PutPayload::from(bytes)).await.unwrap();
        let what = format!("case {case}: {file} of block {victim}, byte {at}, cut: {is_cut}");

        let archive = archive(bucket(store), SIZES, folder.path(), BlockMetrics::default());
        let strict = query(&archive, &metas);
        let found = blocking(move || read(&strict, &[], ALL)).await;
        match found {
            // Nothing that was needed is damaged.
            Ok(found) => assert!(found == expected, "{what}: wrong data"),
            Err(failure) => {
                noticed += 1;
                assert_eq!(failure.ulid, metas[victim].ulid, "{what}: {failure}");
                assert!(matches!(failure.trouble, Trouble::Damaged(_)), "{what}: {failure}");
                // Once damaged it is not read again, and a query that may do without it says so.
                let partial = query(&archive, &metas).in_part(Vec::new());
                let (found, lost) = blocking(move || (read(&partial, &[], ALL), partial.lost())).await;
                let others = all.iter().enumerate().filter(|(block, _)| *block != victim);
                assert!(
                    found.unwrap() == together(others.map(|(_, data)| data)),
                    "{what}: of its neighbours"
                );
                assert_eq!(lost, [failure], "{what}");
            }
        }
    }
    println!("{noticed} of {CASES} were noticed");
    assert!(noticed > CASES / 2, "only {noticed} of {CASES} were noticed");
}

#[tokio::test]
async fn a_file_that_is_gone_is_told_from_a_damaged_one_and_nothing_is_set_aside() {
    let store = Arc::new(InMemory::new());
    let (all, metas) = blocks(store.as_ref()).await;
    let folder = tempfile::tempdir().unwrap();
    for file in [BlockFile::Segment(0), BlockFile::Index] {
        let path = object(metas[1].ulid, file);
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        store.delete(&path).await.unwrap();
        let archive = archive(bucket(store.clone()), SIZES, folder.path(), BlockMetrics::default());
        let gone = query(&archive, &metas);
        let failure = blocking(move || read(&gone, &[], ALL)).await.unwrap_err();
        assert_eq!((failure.ulid, failure.trouble), (metas[1].ulid, Trouble::Gone(file.to_string())));
        store.put(&path, bytes.into()).await.unwrap();
        let back = query(&archive, &metas);
        assert!(blocking(move || read(&back, &[], ALL)).await.unwrap() == together(&all), "{file}");
    }
}

#[tokio::test]
async fn a_store_that_fails_now_fails_the_read_and_no_block_for_good() {
    let store = Faulty::new(|_, _| Fault::None);
    let (all, metas) = blocks(store.as_ref()).await;
    let folder = tempfile::tempdir().unwrap();
    let archive =
        archive(store.bucket(Duration::from_millis(50)), SIZES, folder.path(), BlockMetrics::default());
    for fault in [Fault::Before, Fault::Hang, Fault::Denied] {
        store.set_plan(move |request, _| if request == Request::Get { fault } else { Fault::None });
        let away = query(&archive, &metas);
        let failure = blocking(move || read(&away, &[], ALL)).await.unwrap_err();
        assert!(matches!(failure.trouble, Trouble::Unavailable(_)), "{fault:?}: {failure}");
        let partial = query(&archive, &metas).in_part(Vec::new());
        let (found, lost) = blocking(move || (read(&partial, &[], ALL), partial.lost())).await;
        assert_eq!((found.unwrap().len(), lost.len()), (0, BLOCKS), "{fault:?}");
    }
    store.set_plan(|_, _| Fault::None);
    let back = query(&archive, &metas);
    assert!(blocking(move || read(&back, &[], ALL)).await.unwrap() == together(&all));
}

#[tokio::test]
async fn now_and_then_a_request_fails_and_the_data_is_right_all_the_same() {
    let store = Faulty::new(|_, _| Fault::None);
    let (all, metas) = blocks(store.as_ref()).await;
    let folder = tempfile::tempdir().unwrap();
    let (mut count, has_failed) = (0, Arc::new(AtomicBool::new(false)));
    let failed = has_failed.clone();
    store.set_plan(move |_, _| {
        count += 1;
        if count % 3 == 0 {
            failed.store(true, Ordering::Relaxed);
            return Fault::Before;
        }
        Fault::None
    });
    let archive =
        archive(store.bucket(Duration::from_millis(500)), SIZES, folder.path(), BlockMetrics::default());
    let shaky = query(&archive, &metas);
    assert!(blocking(move || read(&shaky, &[], ALL)).await.unwrap() == together(&all));
    assert!(has_failed.load(Ordering::Relaxed));
}
