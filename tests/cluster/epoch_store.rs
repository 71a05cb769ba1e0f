//! Documents in object stores: who wins, and what a proposer learns when the store fails.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gyre::cluster::epochs::{EpochError, EpochStore, Outcome};
use gyre::cluster::identity::ClusterFacts;
use gyre::cluster::store::{Bucket, StorageUrl, StoreError};
use gyre_ring::{ClusterId, Epoch, EpochDocument, HashSeed};
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, path::Path};
use tokio::runtime::Builder;

use crate::faulty::{Fault, Faulty, Request};
use crate::scene::{first, member, proposer};

const DEADLINE: Duration = Duration::from_secs(60);

/// Long enough for a store in memory, short enough to wait for one that never answers.
const SHORT: Duration = Duration::from_millis(20);

fn run<T>(future: impl Future<Output = T>) -> T {
    Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap().block_on(future)
}

/// Many proposers, all for the same numbers; each goes on behind whatever won.
async fn race(bucket: Bucket) {
    const PROPOSERS: u128 = 16;
    const EPOCHS: u64 = 8;
    let mut tasks = Vec::new();
    for number in 0..PROPOSERS {
        let store = EpochStore::new(bucket.clone());
        tasks.push(tokio::spawn(async move {
            let mut won = Vec::new();
            let mut seen: Vec<EpochDocument> = Vec::new();
            while seen.len() < EPOCHS as usize {
                let document = match seen.last() {
                    None => first(number, vec![member("a", 1)]),
                    Some(newest) => newest.next(proposer(number), vec![member("a", 1)]).unwrap(),
                };
                match store.create(&document).await.unwrap() {
                    Outcome::Won => {
                        won.push(document.epoch);
                        seen.push(document);
                    }
                    Outcome::Lost(stored) => seen.push(*stored),
                }
            }
            (won, seen)
        }));
    }
    let mut winners: HashMap<Epoch, usize> = HashMap::new();
    let mut histories = HashSet::new();
    for task in tasks {
        let (won, seen) = task.await.unwrap();
        won.into_iter().for_each(|epoch| *winners.entry(epoch).or_default() += 1);
        histories.insert(seen.iter().map(|document| document.to_bytes()).collect::<Vec<_>>());
    }
    assert_eq!(winners.len(), EPOCHS as usize, "every number is won");
    assert!(winners.values().all(|count| *count == 1), "once: {winners:?}");
    assert_eq!(histories.len(), 1, "all saw the same");
    let stored = EpochStore::new(bucket).load_chain(Epoch(1)).await.unwrap();
    let stored: Vec<Vec<u8>> = stored.iter().map(EpochDocument::to_bytes).collect();
    assert!(histories.contains(&stored), "and that is what is stored");
}

#[test]
fn of_racing_proposers_one_wins_each_number_and_all_agree() {
    run(race(Bucket::open(&StorageUrl::Memory, "unused".as_ref()).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    run(race(Bucket::open(&StorageUrl::File(folder.path().to_owned()), "unused".as_ref()).unwrap()));
}

#[test]
fn of_racing_founders_one_wins_and_all_agree() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let bucket = Bucket::open(&StorageUrl::DataDir, folder.path()).unwrap();
        assert_eq!(EpochStore::new(bucket.clone()).cluster().await.unwrap(), None);
        let found = (0..16u64).map(|number| {
            let store = EpochStore::new(bucket.clone());
            let facts = ClusterFacts { cluster: ClusterId(number.into()), seed: HashSeed(number) };
            tokio::spawn(async move { store.create_cluster(&facts).await.unwrap() })
        });
        let mut clusters = HashSet::new();
        for task in found.collect::<Vec<_>>() {
            clusters.insert(task.await.unwrap().cluster);
        }
        assert_eq!(clusters.len(), 1);
        let stored = EpochStore::new(bucket).cluster().await.unwrap().unwrap();
        assert!(clusters.contains(&stored.cluster));
    });
}

#[test]
fn a_winner_knows_itself_whatever_the_store_says() {
    run(async {
        for fault in [Fault::None, Fault::After, Fault::Conflict, Fault::Hang] {
            let store =
                Faulty::new(move |request, _| if request == Request::Put { fault } else { Fault::None });
            let epochs = EpochStore::new(store.bucket(SHORT));
            assert_eq!(
                epochs.create(&first(1, vec![member("a", 1)])).await.unwrap(),
                Outcome::Won,
                "{fault:?}"
            );
            let later = first(2, vec![member("b", 2)]);
            match epochs.create(&later).await.unwrap() {
                Outcome::Lost(stored) => assert_eq!(stored.proposer, proposer(1), "{fault:?}"),
                Outcome::Won => panic!("{fault:?}: two winners"),
            }
        }
    });
}

#[test]
fn a_proposal_that_did_not_arrive_has_not_won_and_can_be_made_again() {
    run(async {
        let store =
            Faulty::new(|request, _| if request == Request::Put { Fault::Before } else { Fault::None });
        let epochs = EpochStore::new(store.bucket(DEADLINE));
        let document = first(1, vec![member("a", 1)]);
        let error = epochs.create(&document).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains("test://bucket/epochs/00000000000000000001.json"), "{error}");
        assert!(error.to_string().contains("connection reset"), "{error}");
        assert_eq!(epochs.load(Epoch(1)).await.unwrap(), None);
        store.set_plan(|_, _| Fault::None);
        assert_eq!(epochs.create(&document).await.unwrap(), Outcome::Won);
    });
}

#[test]
fn an_outcome_that_cannot_be_read_is_not_guessed() {
    run(async {
        // It is made, but neither the answer nor the reading back comes through.
        let store = Faulty::new(|_, _| Fault::After);
        let epochs = EpochStore::new(store.bucket(DEADLINE));
        let document = first(1, vec![member("a", 1)]);
        assert!(epochs.create(&document).await.unwrap_err().is_retryable());
        store.set_plan(|_, _| Fault::None);
        assert_eq!(epochs.create(&document).await.unwrap(), Outcome::Won, "the same proposal is its own");
    });
}

#[test]
fn a_store_that_never_answers_is_given_up_at_the_deadline() {
    run(async {
        let store = Faulty::new(|_, _| Fault::Hang);
        let epochs = EpochStore::new(store.bucket(SHORT));
        for error in [
            epochs.cluster().await.unwrap_err(),
            epochs.load(Epoch(7)).await.unwrap_err(),
            epochs.create(&first(1, vec![member("a", 1)])).await.unwrap_err(),
        ] {
            assert!(matches!(error, EpochError::Store(StoreError::Deadline { .. })), "{error}");
            assert!(error.is_retryable());
        }
    });
}

#[test]
fn a_chain_is_loaded_from_any_number_to_its_end() {
    run(async {
        let epochs = EpochStore::new(Bucket::open(&StorageUrl::Memory, "unused".as_ref()).unwrap());
        assert_eq!(epochs.load_chain(Epoch(1)).await.unwrap(), []);
        let one = first(1, vec![member("a", 1)]);
        let two = one.next(proposer(2), vec![member("a", 1), member("b", 2)]).unwrap();
        for document in [&one, &two] {
            assert_eq!(epochs.create(document).await.unwrap(), Outcome::Won);
        }
        assert_eq!(epochs.load_chain(Epoch(1)).await.unwrap(), [one, two.clone()]);
        assert_eq!(epochs.load_chain(Epoch(2)).await.unwrap(), [two]);
        assert_eq!(epochs.load_chain(Epoch(3)).await.unwrap(), []);
    });
}

#[test]
fn what_is_not_understood_names_the_object_and_is_not_asked_for_again() {
    run(async {
        let inner = Arc::new(InMemory::new());
        let epochs = EpochStore::new(Bucket::new("test://b", inner.clone(), DEADLINE));
        let put = async |path: &str, bytes: Vec<u8>| {
            inner.put(&Path::from(path), Bytes::from(bytes).into()).await.unwrap();
        };
        put("cluster.json", b"{}".to_vec()).await;
        put("epochs/00000000000000000001.json", b"[]".to_vec()).await;
        // A document under another number, as a careless copy makes it.
        put("epochs/00000000000000000002.json", first(1, vec![member("a", 1)]).to_bytes()).await;
        put("epochs/00000000000000000003.json", vec![b' '; (16 << 20) + 1]).await;
        for (error, says) in [
            (epochs.cluster().await.unwrap_err(), "test://b/cluster.json: missing field"),
            (epochs.load(Epoch(1)).await.unwrap_err(), "test://b/epochs/00000000000000000001.json: "),
            (epochs.load(Epoch(2)).await.unwrap_err(), "it says that it is epoch 1"),
            (epochs.load(Epoch(3)).await.unwrap_err(), "has 16777217 bytes, more than the 16777216 allowed"),
        ] {
            assert!(error.to_string().contains(says), "{error}");
            assert!(!error.is_retryable());
        }
    });
}

#[test]
fn a_folder_is_made_but_not_those_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::open(&StorageUrl::File(folder.path().join("new")), "unused".as_ref()).unwrap();
    assert!(folder.path().join("new").is_dir());
    assert_eq!(bucket.name(), format!("file://{}/new", folder.path().display()));
    let mistyped = folder.path().join("nwe/bucket");
    let error = Bucket::open(&StorageUrl::File(mistyped.clone()), "unused".as_ref()).unwrap_err();
    assert!(error.to_string().contains(mistyped.to_str().unwrap()), "{error}");
    assert!(!folder.path().join("nwe").exists());
}
