//! A node looks after the blocks in its bucket, dies at any step of that, and nobody who asks can tell.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::node::{
    age, blocks, everything, flush, now_ms, samples, start_to_die, total, wait_for, write, written,
};
use crate::server::{Server, gyre};

const DAY_MS: i64 = 86_400_000;

/// The steps of a compaction at which a process may die.
const COMPACTION: [&str; 9] = [
    "compact-after-download",
    "compact-before-upload",
    "upload-begin",
    "upload-after-chunks",
    "upload-after-index",
    "upload-after-meta",
    "compact-after-upload",
    "mark-between",
    "compact-after-mark",
];

/// Those of a removal.
const REMOVAL: [&str; 2] = ["remove-after-meta", "remove-after-objects"];

/// So many are gone through at the same time: they wait more than they work.
const AT_ONCE: usize = 4;

#[test]
fn blocks_of_a_day_become_one_for_each_shard_and_nobody_who_asks_can_tell() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let until_ms = long_ago_ms();
    let all = samples(until_ms);
    let node = Server::start_at(&data, &[], Stdio::null());
    write(&node, &all);
    let before = everything(&node, until_ms);
    flush(&node);
    let shipped = blocks(&data);
    assert!(shipped.len() >= 4, "two windows of two shards at least: {shipped:?}");
    assert!(node.terminate().success());
    age(&data, "fake");
    let node = Server::start_at(&data, &[], Stdio::null());
    let compacted = wait_for("compaction", || Some(blocks(&data)).filter(|blocks| blocks.len() == 2));
    assert_eq!(total(&compacted), written(&all));
    assert!(compacted.iter().all(|(name, _)| !shipped.iter().any(|(old, _)| old == name)));
    assert_eq!(everything(&node, until_ms), before);
    let index = data.join("bucket/fake/bucket-index.json.gz");
    wait_for("Cortex's listing", || index.exists().then_some(()));
    // What was dropped from the head was dropped for blocks that are replaced.
    drop(node);
    let node = Server::start_at(&data, &[], Stdio::null());
    assert_eq!(everything(&node, until_ms), before);
    flush(&node);
    assert_eq!(blocks(&data).len(), 2, "the new blocks cover what the old ones did");
}

#[test]
fn blocks_that_are_older_than_the_tenants_retention_are_marked_for_removal() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let until_ms = long_ago_ms();
    let node = Server::start_at(&data, &[], Stdio::null());
    write(&node, &samples(until_ms));
    flush(&node);
    assert!(!blocks(&data).is_empty());
    assert!(node.terminate().success());
    let config = folder.path().join("gyre.yaml");
    std::fs::write(&config, "limits:\n  compactor_blocks_retention_period: 1d\n").unwrap();
    let config = format!("--config.file={}", config.display());
    let _node = Server::start_at(&data, &[&config], Stdio::null());
    wait_for("the blocks to be marked", || blocks(&data).is_empty().then_some(()));
}

/// The end of a day three days ago, so that all ranges are over.
fn long_ago_ms() -> i64 {
    now_ms() / DAY_MS * DAY_MS - 2 * DAY_MS
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// Starts a node that dies at a place of the program by itself, and waits until it has.
fn die(data: &Path, point: &str) {
    let node = start_to_die(data, point);
    let address = node.url().trim_start_matches("http://").to_owned();
    wait_for(point, || TcpStream::connect(&address).is_err().then_some(()));
}

/// Whether all blocks in a node's bucket are whole.
fn verify(data: &Path) {
    let url = format!("--storage.url=file://{}/bucket", data.display());
    let checked = gyre(&["blocks", "verify", &url]).output().unwrap();
    let said = [checked.stdout, checked.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(checked.status.success(), "{said:?}");
}

/// Blocks in the bucket of which there is anything. That folders stay is this kind of bucket's nature.
fn folders(data: &Path) -> usize {
    fn has_files(path: &Path) -> bool {
        path.is_file()
            || path.read_dir().is_ok_and(|mut all| all.any(|entry| has_files(&entry.unwrap().path())))
    }
    let tenant = std::fs::read_dir(data.join("bucket/fake")).unwrap().map(Result::unwrap);
    tenant.filter(|entry| entry.file_name().len() == 26 && has_files(&entry.path())).count()
}

/// Marks in the bucket's own folder of them.
fn marks(data: &Path) -> usize {
    std::fs::read_dir(data.join("bucket/fake/markers")).map_or(0, Iterator::count)
}

/// Makes all marks for removal look as if they had been made two days before.
fn age_marks(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age_marks(&path);
        } else if path.to_str().is_some_and(|path| path.ends_with("deletion-mark.json")) {
            let mut mark: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let time_s = mark["deletion_time"].as_i64().unwrap();
            mark["deletion_time"] = (time_s - 2 * DAY_MS / 1000).into();
            std::fs::write(&path, mark.to_string()).unwrap();
        }
    }
}

/// A data directory whose node has shipped everything, and what it says.
struct Shipped {
    folder: tempfile::TempDir,
    until_ms: i64,
    samples: u64,
    before: Vec<Value>,
}

impl Shipped {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (data, until_ms) = (folder.path().join("data"), long_ago_ms());
        let all = samples(until_ms);
        let node = Server::start_at(&data, &[], Stdio::null());
        write(&node, &all);
        let before = everything(&node, until_ms);
        flush(&node);
        assert!(node.terminate().success());
        Shipped { folder, until_ms, samples: written(&all), before }
    }

    /// A copy for one node, in which all blocks are old enough to be compacted.
    fn copy(&self, name: &str) -> PathBuf {
        let data = self.folder.path().join(name);
        copy(&self.folder.path().join("data"), &data);
        age(&data, "fake");
        data
    }

    /// Starts a node and asks it for everything again and again until it has done its work, and then once more.
    fn stays_the_same_until(&self, data: &Path, what: &str, is_done: impl Fn() -> bool) {
        let node = Server::start_at(data, &[], Stdio::null());
        let same = || assert_eq!(everything(&node, self.until_ms), self.before, "{what}");
        wait_for(what, || {
            same();
            is_done().then_some(())
        });
        same();
        verify(data);
        let total = total(&blocks(data));
        assert_eq!(total, self.samples, "{what}: each sample is in one block");
    }
}

/// Calls `each` with all of these, some at a time.
fn at_once(points: &[&'static str], each: impl Fn(&'static str) + Sync) {
    for some in points.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            for point in some {
                scope.spawn(|| each(point));
            }
        });
    }
}

#[test]
fn a_node_that_dies_at_any_step_of_a_compaction_neither_loses_nor_doubles_anything() {
    let shipped = Shipped::new();
    at_once(&COMPACTION, |point| {
        let data = shipped.copy(point);
        die(&data, point);
        shipped.stays_the_same_until(&data, point, || blocks(&data).len() == 2);
    });
}

#[test]
fn a_node_that_dies_while_it_removes_what_was_replaced_removes_it_in_the_end_and_nothing_else() {
    let shipped = Shipped::new();
    let compacted = shipped.copy("compacted");
    let is_done = || blocks(&compacted).len() == 2 && marks(&compacted) == folders(&compacted) - 2;
    shipped.stays_the_same_until(&compacted, "compaction", is_done);
    assert!(folders(&compacted) > 2, "what was replaced is there still");
    at_once(&REMOVAL, |point| {
        let data = shipped.folder.path().join(point);
        copy(&compacted, &data);
        age_marks(&data.join("bucket/fake"));
        die(&data, point);
        assert!(folders(&data) > 2, "{point}: all is gone already");
        shipped.stays_the_same_until(&data, point, || folders(&data) == 2 && marks(&data) == 0);
    });
}

#[test]
fn a_node_that_dies_while_it_marks_what_is_too_old_marks_the_rest_later_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (old_ms, until_ms) = (long_ago_ms(), now_ms());
    let node = Server::start_at(&data, &[], Stdio::null());
    let recent = samples(until_ms);
    write(&node, &samples(old_ms));
    write(&node, &recent);
    let before = everything(&node, until_ms);
    flush(&node);
    let all = blocks(&data).len();
    assert!(node.terminate().success());
    let config = folder.path().join("gyre.yaml");
    std::fs::write(&config, "limits:\n  compactor_blocks_retention_period: 1d\n").unwrap();
    let config = format!("--config.file={}", config.display());
    let mut command = gyre(&[&config]);
    command.env("GYRE_CRASH_POINT", "mark-between");
    let node = Server::start_command(command, &data, Stdio::null());
    let address = node.url().trim_start_matches("http://").to_owned();
    wait_for("the crash", || TcpStream::connect(&address).is_err().then_some(()));
    drop(node);
    assert_eq!(blocks(&data).len(), all - 1, "the first one is marked");
    let node = Server::start_at(&data, &[&config], Stdio::null());
    wait_for("the others to be marked", || {
        assert_eq!(everything(&node, until_ms), before);
        (total(&blocks(&data)) == written(&recent)).then_some(())
    });
    assert_eq!(everything(&node, until_ms), before);
    verify(&data);
}

#[test]
fn blocks_of_a_tenant_that_nobody_writes_for_are_looked_after_too() {
    let shipped = Shipped::new();
    let folder = tempfile::tempdir().unwrap();
    let exported = folder.path().join("exported");
    let run = |arguments: &[&str]| {
        let done = gyre(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let from = format!("--storage.url=file://{}/data/bucket", shipped.folder.path().display());
    run(&["blocks", "export", "--tenant=fake", &from, exported.to_str().unwrap()]);
    // A node that has another seed, so that each block has series of several of its shards.
    let data = folder.path().join("data");
    assert!(Server::start_at(&data, &[], Stdio::null()).terminate().success());
    let to = format!("--storage.url=file://{}/bucket", data.display());
    run(&["blocks", "import", "--tenant=fake", &to, exported.to_str().unwrap()]);
    let imported = blocks(&data);
    assert_eq!(total(&imported), shipped.samples);
    age(&data, "fake");
    let is_split = || {
        let now = blocks(&data);
        !imported.iter().any(|block| now.contains(block))
    };
    shipped.stays_the_same_until(&data, "the split of what was imported", is_split);

    let config = folder.path().join("gyre.yaml");
    std::fs::write(&config, "limits:\n  compactor_blocks_retention_period: 1d\n").unwrap();
    let config = format!("--config.file={}", config.display());
    let _node = Server::start_at(&data, &[&config], Stdio::null());
    wait_for("the blocks to be marked", || blocks(&data).is_empty().then_some(()));
}
