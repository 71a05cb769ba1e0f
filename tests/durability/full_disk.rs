//! A disk that fills up: writes are refused, reads go on, and all is well again once there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::node::{Node, SERIES};

/// A small file system of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, bytes: u64) -> Option<SmallDisk> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(at);
        mount.output().is_ok_and(|output| output.status.success()).then(|| SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_writes_keeps_reading_and_recovers_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk"), 1 << 20) else {
        assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none(), "this test needs the right to mount");
        println!("skipped: mounting a small file system needs privileges");
        return;
    };
    // What fills the disk, and is removed later.
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, vec![1; 960 << 10]).unwrap();
    let mut node = Node::start_in(disk.0.join("data"), folder.path().join("log"));
    let mut acknowledged = Vec::new();
    let mut step = 0;
    let refused = loop {
        match node.push(step) {
            200 => acknowledged.push(step),
            status => break status,
        }
        step += 1;
        assert!(step < 50_000, "the disk must be full some time");
    };
    assert_eq!(refused, 503);
    assert!(acknowledged.len() > 3, "some requests fit");
    assert_eq!(node.push(step), 503, "and it stays so");

    let stored = node.stored();
    assert!(acknowledged.iter().all(|step| stored.len_at(*step) == SERIES), "reads go on");
    let ready = node.status("/ready");
    assert_eq!(ready, 503, "whoever asks is told");

    fs::remove_file(&ballast).unwrap();
    // It tries again by itself, a few times a second.
    let begin = std::time::Instant::now();
    while node.push(step) != 200 {
        assert!(begin.elapsed().as_secs() < 30, "there is room again: {:?}", node.log_lines());
    }
    acknowledged.push(step);
    assert_eq!(node.status("/ready"), 200);
    node.kill();
    node.relaunch();
    let stored = node.stored();
    assert_eq!(node.wrong(&stored), Vec::<String>::new());
    for step in acknowledged {
        assert_eq!(stored.len_at(step), SERIES, "step {step} was acknowledged");
    }
}
