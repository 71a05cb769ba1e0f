//! What is kept of blocks: bounded, checked, there again after a restart; and what one read shares with another.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bench::rng::Rng;
use gyre::archive::read::CacheSizes;
use gyre::archive::read::metrics::BlockMetrics;
use gyre::shard::read::TimeRange;
use gyre_tsdb::Matcher;
use gyre_tsdb::block::{BlockFile, File, Meta, Thanos};
use object_store::ObjectStoreExt;

use crate::faulty::{Fault, Faulty, Request};
use crate::scene::{ALL, Data, SEED, archive, begin_ms, data, object, put, query, read, together};

const BLOCKS: usize = 4;
const SERIES: usize = 300;
const LONG: Duration = Duration::from_secs(60);

/// A store of blocks that counts requests for parts of them.
async fn store() -> (Arc<Faulty>, Arc<AtomicUsize>, Vec<Data>, Vec<Meta>) {
    let (store, count) = (Faulty::new(|_, _| Fault::None), Arc::new(AtomicUsize::new(0)));
    let all: Vec<Data> = (0..BLOCKS).map(|block| data(block, SERIES)).collect();
    let mut metas = Vec::new();
    for (block, data) in all.iter().enumerate() {
        metas.push(put(store.as_ref(), block, data).await);
    }
    let counted = count.clone();
    store.set_plan(move |request, _| {
        counted.fetch_add(usize::from(request == Request::Get), Ordering::Relaxed);
        Fault::None
    });
    (store, count, all, metas)
}

/// Descriptions that say how long indexes are, as those of uploaded blocks do: nobody needs to ask.
async fn with_sizes(store: &Faulty, metas: Vec<Meta>) -> Vec<Meta> {
    let mut sized = Vec::new();
    for meta in metas {
        let facts = store.head(&object(meta.ulid, BlockFile::Index)).await.unwrap();
        let index = File { rel_path: "index".to_owned(), size_bytes: facts.size, ..File::default() };
        sized.push(Meta { thanos: Some(Thanos { files: vec![index], ..Thanos::default() }), ..meta });
    }
    sized
}

async fn read_all(store: &Arc<Faulty>, sizes: CacheSizes, folder: &Path, metas: &[Meta]) -> Data {
    let archive = archive(store.bucket(LONG), sizes, folder, BlockMetrics::default());
    let query = query(&archive, metas);
    tokio::task::spawn_blocking(move || read(&query, &[], ALL).unwrap()).await.unwrap()
}

#[tokio::test]
async fn what_is_in_memory_is_not_asked_for_again_and_what_does_not_fit_is() {
    let (store, count, all, metas) = store().await;
    let folder = tempfile::tempdir().unwrap();
    for (memory_bytes, is_kept) in [(64 << 20, true), (64 << 10, false)] {
        let sizes = CacheSizes { memory_bytes, disk_bytes: 0 };
        let archive = archive(store.bucket(LONG), sizes, folder.path(), BlockMetrics::default());
        for round in 0..2 {
            count.store(0, Ordering::Relaxed);
            let query = query(&archive, &metas);
            let found = tokio::task::spawn_blocking(move || read(&query, &[], ALL).unwrap()).await.unwrap();
            assert!(found == together(&all));
            // Without a section of Thanos nobody knows how long an index is.
            let requests = count.load(Ordering::Relaxed);
            assert_eq!(requests == 0, is_kept && round == 1, "{requests} requests in round {round}");
        }
    }
}

#[tokio::test]
async fn readers_of_the_same_pages_share_requests() {
    let (store, count, all, metas) = store().await;
    let folder = tempfile::tempdir().unwrap();
    let sizes = CacheSizes { memory_bytes: 64 << 20, disk_bytes: 0 };
    read_all(&store, sizes, folder.path(), &metas).await;
    let alone = count.swap(0, Ordering::Relaxed);
    let archive = archive(store.bucket(LONG), sizes, folder.path(), BlockMetrics::default());
    let reads: Vec<_> = (0..8)
        .map(|_| {
            let query = query(&archive, &metas);
            tokio::task::spawn_blocking(move || read(&query, &[], ALL).unwrap())
        })
        .collect();
    for found in reads {
        assert!(found.await.unwrap() == together(&all));
    }
    let shared = count.load(Ordering::Relaxed);
    // Readers that need other pages first split requests otherwise: a few more, not eight times as many.
    assert!(shared < 2 * alone, "{shared} requests of eight readers, {alone} of one");
}

#[tokio::test]
async fn the_cache_on_disk_is_there_after_a_restart_and_flipped_bits_in_it_are_never_an_answer() {
    let (store, _, all, metas) = store().await;
    let folder = tempfile::tempdir().unwrap();
    let sizes = CacheSizes { memory_bytes: 128 << 10, disk_bytes: 64 << 20 };
    let file = folder.path().join("block-cache");
    let seed = std::env::var("SEED").map_or(7, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut rng = Rng::new(seed);
    let metas = with_sizes(&store, metas).await;
    let give_up = Instant::now() + LONG;
    // Pages are written in the background, and found in the background after a start: so it takes some starts.
    'starts: loop {
        store.set_plan(|_, _| Fault::None);
        assert!(read_all(&store, sizes, folder.path(), &metas).await == together(&all));
        // Whoever answers now has it from disk.
        store.set_plan(|_, _| Fault::Denied);
        let restarted = archive(store.bucket(LONG), sizes, folder.path(), BlockMetrics::default());
        for _ in 0..100 {
            let query = query(&restarted, &metas);
            match tokio::task::spawn_blocking(move || read(&query, &[], ALL)).await.unwrap() {
                Ok(found) => {
                    assert!(found == together(&all));
                    break 'starts;
                }
                Err(failure) => assert!(Instant::now() < give_up, "{failure}"),
            }
        }
    }
    store.set_plan(|_, _| Fault::None);
    let mut bytes = std::fs::read(&file).unwrap();
    assert!(bytes.len() as u64 <= sizes.disk_bytes);
    for _ in 0..10 {
        for _ in 0..200 {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << rng.below(8);
        }
        std::fs::write(&file, &bytes).unwrap();
        assert!(read_all(&store, sizes, folder.path(), &metas).await == together(&all));
    }
}

#[tokio::test]
async fn a_disk_cache_that_is_too_small_stays_within_its_bytes() {
    let (store, _, all, metas) = store().await;
    let folder = tempfile::tempdir().unwrap();
    let sizes = CacheSizes { memory_bytes: 128 << 10, disk_bytes: 200 << 10 };
    for _ in 0..5 {
        assert!(read_all(&store, sizes, folder.path(), &metas).await == together(&all));
        let bytes = std::fs::metadata(folder.path().join("block-cache")).unwrap().len();
        assert!(bytes <= sizes.disk_bytes, "{bytes}");
    }
}

#[tokio::test]
async fn selections_by_matchers_and_time_are_those_of_the_data() {
    let (store, _, all, metas) = store().await;
    let folder = tempfile::tempdir().unwrap();
    let sizes = CacheSizes { memory_bytes: 64 << 20, disk_bytes: 0 };
    let archive = archive(store.bucket(LONG), sizes, folder.path(), BlockMetrics::default());
    let zone =
        Matcher { name: "zone".to_owned(), accepts: Arc::new(|value| value != "z1"), candidates: None };
    let metric = Matcher {
        name: "__name__".to_owned(),
        accepts: Arc::new(|value| value == "m"),
        candidates: Some(vec!["m".to_owned()]),
    };
    // From within the second block to within the third.
    let range = TimeRange { min_ms: begin_ms(1) + 90 * 60_000, max_ms: begin_ms(2) + 10 * 60_000 };
    let mut expected = together(&all);
    expected.retain(|labels, samples| {
        samples.retain(|(t_ms, _)| (range.min_ms..=range.max_ms).contains(t_ms));
        labels[2].1 != "z1"
    });
    let query = query(&archive, &metas);
    let found = tokio::task::spawn_blocking(move || read(&query, &[zone, metric], range).unwrap()).await;
    assert!(found.unwrap() == expected);
    assert_eq!(expected.len(), SERIES * 2 / 3, "with seed {SEED:?}");
}
