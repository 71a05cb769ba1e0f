//! Real files of a real process: logs that were cut, damaged or could not be written.
//!
//! What is checked at the level of the storage engine with a simulated disk is seen here from outside: what the node
//! answers, counts and keeps.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod full_disk;
#[path = "../support/histograms.rs"]
mod histogram_messages;
mod histograms;
mod node;
#[path = "../support/remote_write.rs"]
mod remote_write;

use std::fs;
use std::path::PathBuf;

use node::Node;

/// The log files with something in them, oldest first.
fn wal_files(node: &Node) -> Vec<PathBuf> {
    let lanes = fs::read_dir(node.data_dir().join("wal")).unwrap();
    let files = lanes.flat_map(|lane| fs::read_dir(lane.unwrap().path()).unwrap());
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| fs::metadata(file).unwrap().len() > 1000);
    files.sort();
    files
}

#[test]
fn a_log_that_ends_within_a_record_is_cut_and_everything_before_it_served() {
    let mut node = Node::start();
    for step in 0..50 {
        assert_eq!(node.push(step), 200);
    }
    node.kill();
    for file in wal_files(&node) {
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 5]).unwrap();
    }
    node.relaunch();
    assert!(node.metric("gyre_wal_torn_total") >= 1.0);
    assert_eq!(node.metric("gyre_wal_damaged_total"), 0.0);
    // The torn writes were the last ones.
    let stored = node.stored();
    assert_eq!(node.wrong(&stored), Vec::<String>::new());
    assert!((0..49).all(|step| stored.len_at(step) == node::SERIES), "only the last request lost anything");
    // And the log can be appended to, and read once more.
    assert_eq!(node.push(50), 200);
    node.kill();
    node.relaunch();
    assert_eq!(node.metric("gyre_wal_torn_total"), 0.0);
    assert_eq!(node.stored().len_at(50), node::SERIES);
}

#[test]
fn a_log_that_is_damaged_in_the_middle_is_reported_with_its_place_and_the_rest_is_served() {
    let mut node = Node::start();
    for step in 0..60 {
        assert_eq!(node.push(step), 200);
    }
    node.kill();
    let files = wal_files(&node);
    let file = &files[0];
    let mut bytes = fs::read(file).unwrap();
    // Within a batch: damage to a commit mark would cost nothing. `docs/format/wal.md` has the record's header.
    let is_batch = |at: &usize| bytes[*at..].starts_with(b"\xd7GW\x1e") && bytes[at + 12] == 3;
    let at = (bytes.len() / 2..bytes.len() - 40).find(is_batch).expect("there are many batches");
    bytes[at + 40] ^= 0xff;
    fs::write(file, &bytes).unwrap();
    node.relaunch();
    assert_eq!(node.metric("gyre_wal_damaged_total"), 1.0);
    let name = file.file_name().unwrap().to_str().unwrap();
    let told = node.log_lines().into_iter().find(|line| line.contains("ERROR") && line.contains(name));
    assert!(told.is_some_and(|line| line.contains("offset=")), "the log names file and offset");
    let stored = node.stored();
    assert_eq!(node.wrong(&stored), Vec::<String>::new(), "nothing is made up");
    let lost: usize = (0..60).map(|step| node::SERIES - stored.len_at(step)).sum();
    assert!((1..=node::SERIES).contains(&lost), "one batch of one shard is gone, not {lost} samples");
    let warnings = node.warnings();
    let is_told = |warning: &String| warning.contains("the log of its only replica was damaged");
    assert!(!warnings.is_empty() && warnings.iter().all(is_told), "{warnings:?}");
    node.kill();
    node.relaunch();
    assert_eq!(node.warnings(), warnings, "it is not forgotten");
}

#[test]
fn an_empty_or_foreign_file_among_the_logs_does_not_keep_the_node_from_starting() {
    let mut node = Node::start();
    for step in 0..10 {
        assert_eq!(node.push(step), 200);
    }
    node.kill();
    let lane = wal_files(&node)[0].parent().unwrap().to_owned();
    fs::write(lane.join("0000009999.wal"), b"").unwrap();
    fs::write(lane.join("notes.txt"), b"what is this?").unwrap();
    node.relaunch();
    assert_eq!(node.stored().len_at(9), node::SERIES);
    assert_eq!(node.push(10), 200);
}

#[test]
fn what_is_acknowledged_after_an_idle_run_has_emptied_the_log_survives_a_crash() {
    let mut node = Node::start();
    assert_eq!(node.push(0), 200);
    node.terminate();
    // A run without a write: its snapshot is the second that covers the log, so all of the log may go.
    node.relaunch();
    node.terminate();
    node.relaunch();
    assert_eq!(node.push(1), 200);
    node.kill();
    node.relaunch();
    let stored = node.stored();
    assert_eq!([0, 1].map(|step| stored.len_at(step)), [node::SERIES; 2]);
}

#[test]
fn a_tenants_shards_double_on_a_node_that_is_alone_and_nothing_is_missed() {
    let mut node = Node::start_with("limits:\n  tenant_shard_series: 15\n");
    let push =
        |node: &Node, steps: std::ops::Range<i64>| steps.for_each(|step| assert_eq!(node.push(step), 200));
    push(&node, 0..20);
    // 40 series are too many for two shards, and not for four.
    node.wait_for_ring("four shards", |ring| ring["tenants"][0]["shards"] == 4);
    push(&node, 20..40);
    let is_whole = |node: &Node| {
        let stored = node.stored();
        assert_eq!(node.wrong(&stored), Vec::<String>::new());
        assert!((0..40).all(|step| stored.len_at(step) == node::SERIES));
    };
    is_whole(&node);
    node.wait_for_ring("what ended is in blocks", |ring| {
        ring["closed_through"].as_u64().is_some_and(|closed| closed > 0)
            && ring["segments"].as_array().unwrap().iter().all(|segment| segment["ended"].is_null())
    });
    is_whole(&node);
    node.kill();
    node.relaunch();
    is_whole(&node);
    push(&node, 40..41);
    assert_eq!(node.stored().len_at(40), node::SERIES);
}
