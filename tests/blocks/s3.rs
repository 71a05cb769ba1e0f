//! A node whose bucket is on an S3 server.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::node::{everything, flush, now_ms, samples, total, write, written};
use crate::s3_server::{S3, URL};
use crate::server::{Server, gyre};

/// The program with its bucket there.
fn on(server: &S3, arguments: &[&str]) -> Command {
    let mut command = gyre(arguments);
    command.arg(format!("--storage.url={URL}/prefix")).envs(server.variables());
    command
}

fn start(server: &S3, data: &Path) -> Server {
    Server::start_command(on(server, &[]), data, Stdio::null())
}

#[test]
fn a_node_ships_to_s3_and_answers_from_there_after_a_restart_and_without_its_disk_cache() {
    let Some(server) = S3::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let until_ms = now_ms();
    let all = samples(until_ms);
    let node = start(&server, &data);
    write(&node, &all);
    let before = everything(&node, until_ms);
    flush(&node);
    assert_eq!(everything(&node, until_ms), before);
    assert!(node.terminate().success());
    let listed = on(&server, &["blocks", "list", "--json"]).output().unwrap();
    let listed = crate::node::listed(&listed);
    assert_eq!(total(&listed), written(&all), "each sample is in one block");

    let node = start(&server, &data);
    assert_eq!(everything(&node, until_ms), before);
    assert!(node.terminate().success());
    let cache = data.join("block-cache");
    assert!(std::fs::metadata(&cache).unwrap().len() > 0, "what was read is kept on disk");
    std::fs::remove_file(&cache).unwrap();
    assert_eq!(everything(&start(&server, &data), until_ms), before);
}
