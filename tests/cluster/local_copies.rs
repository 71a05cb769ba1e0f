//! The copies in the data directory, on a disk that forgets what was not fsynced.

use std::path::Path;
use std::sync::Arc;

use gyre::cluster::identity::ClusterFacts;
use gyre::cluster::local::LocalCopies;
use gyre_ring::{ClusterId, EpochDocument, HashSeed};
use gyre_tsdb::disk::{Disk, SimDisk};

use crate::scene::{first, member, proposer};

const DATA: &str = "/data";

fn disk() -> SimDisk {
    let disk = SimDisk::default();
    disk.create_dir_all(Path::new(DATA)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn open(disk: &SimDisk) -> LocalCopies {
    LocalCopies::open(Arc::new(disk.clone()), Path::new(DATA)).unwrap()
}

fn chain() -> [EpochDocument; 2] {
    let one = first(1, vec![member("a", 1)]);
    let two = one.next(proposer(2), vec![member("a", 1), member("b", 2)]).unwrap();
    [one, two]
}

#[test]
fn what_was_kept_survives_a_crash_at_once() {
    let disk = disk();
    let facts = ClusterFacts { cluster: ClusterId(3), seed: HashSeed(4) };
    let copies = open(&disk);
    assert_eq!((copies.cluster().unwrap(), copies.documents().unwrap()), (None, vec![]));
    copies.keep_cluster(&facts).unwrap();
    disk.crash(|_, _| 0);
    assert_eq!(open(&disk).cluster().unwrap(), Some(facts));
    for (number, document) in chain().iter().enumerate() {
        open(&disk).keep(document).unwrap();
        disk.crash(|_, _| 0);
        assert_eq!(open(&disk).documents().unwrap(), chain()[..=number]);
    }
}

#[test]
fn a_generation_is_never_given_twice() {
    let disk = disk();
    let mut last = 0;
    for _ in 0..5 {
        let next = open(&disk).next_generation().unwrap();
        assert!(next > last);
        last = next;
        disk.crash(|_, _| 0);
    }
}

#[test]
fn a_number_that_was_acted_upon_keeps_its_document() {
    let disk = disk();
    let copies = open(&disk);
    let [one, _] = chain();
    copies.keep(&one).unwrap();
    copies.keep(&one).unwrap();
    let error = copies.keep(&first(9, vec![member("z", 9)])).unwrap_err().to_string();
    assert!(error.contains("00000000000000000001.json: another document"), "{error}");
    assert_eq!(copies.documents().unwrap(), [one]);
}

#[test]
fn damaged_or_missing_copies_are_named() {
    let disk = disk();
    let copies = open(&disk);
    let [one, two] = chain();
    let three = two.next(proposer(3), vec![member("a", 1)]).unwrap();
    copies.keep(&one).unwrap();
    copies.keep(&three).unwrap();
    let error = copies.documents().unwrap_err().to_string();
    assert!(error.contains("00000000000000000003.json: the document before it is missing"), "{error}");
    copies.keep(&two).unwrap();
    assert_eq!(copies.documents().unwrap().len(), 3);
    let path = Path::new(DATA).join("cluster/epochs/00000000000000000002.json");
    disk.damage(&path, |bytes| bytes.truncate(10)).unwrap();
    let error = copies.documents().unwrap_err().to_string();
    assert!(error.contains("00000000000000000002.json"), "{error}");
}
