//! A node that runs alone: what it agrees on with itself, what it refuses, and what `/ring` and `gyre status` show.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::series::series;
use crate::server::{Server, gyre};

/// Two data directories and a bucket for them.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        Scene { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The flag for a bucket that several data directories can use.
    fn bucket(&self) -> String {
        format!("--storage.url=file://{}", self.path("bucket").display())
    }

    fn start(&self, data: &str, flags: &[&str]) -> Server {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        Server::start_at(&self.path(data), flags, Stdio::from(log))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// What a node says that does not start.
    fn refused(&self, data: &str, flags: &[&str]) -> String {
        let mut command = gyre(&["--http.listen=127.0.0.1:0", "--data-dir"]);
        let output = command.arg(self.path(data)).args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stderr).unwrap();
        let said = text.lines().last().unwrap_or_default().to_owned();
        assert!(said.starts_with("gyre: "), "{text}");
        said
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Writes series of one sample and returns when that was, in milliseconds.
fn write(server: &Server, count: usize) -> i64 {
    let t_ms = now_ms();
    let written = (0..count).map(|number| {
        let number = number.to_string();
        series(&[("__name__", "m"), ("number", &number)], &[(t_ms, 1.5)])
    });
    assert_eq!(server.write(written.collect()).status, 200);
    t_ms
}

fn found(server: &Server, t_ms: i64) -> String {
    let result = server.query("count(m)", &format!("{}.{:03}", t_ms / 1000, t_ms % 1000));
    result[0]["value"][1].as_str().unwrap_or("none").to_owned()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_first_start_founds_a_cluster_of_one_and_later_ones_find_it() {
    let scene = Scene::new();
    let server = scene.start("data", &["--node.id=first"]);
    let t_ms = write(&server, 50);
    let ring = server.get("/ring?format=json").json();
    assert_eq!((ring["epoch"].as_u64(), ring["node"].as_str()), (Some(1), Some("first")));
    assert_eq!(server.terminate().code(), Some(0));

    let bucket = scene.path("data/bucket");
    assert_eq!(json(&bucket.join("cluster.json"))["cluster"], ring["cluster"]);
    let document = json(&bucket.join("epochs/00000000000000000001.json"));
    assert_eq!(document["members"][0]["node"], "first");
    assert_eq!(document["members"][0]["incarnation"], json(&scene.path("data/node.json"))["incarnation"]);

    // The name belongs to the data directory: hosts are renamed.
    let server = scene.start("data", &[]);
    assert_eq!(found(&server, t_ms), "50");
    let again = server.get("/ring?format=json").json();
    assert_eq!(again, ring);
    assert!(server.get("/").text().contains("<code>first</code>"));
    assert_eq!(fs::read_dir(bucket.join("epochs")).unwrap().count(), 1);
}

#[test]
fn a_data_directory_from_before_there_were_clusters_keeps_its_data() {
    let scene = Scene::new();
    let server = scene.start("data", &[]);
    let t_ms = write(&server, 50);
    server.terminate();
    // As the version before left it: the seed and the number of shards in node.json, and no cluster anywhere.
    let seed = json(&scene.path("data/bucket/cluster.json"))["hash_seed"].as_str().unwrap().to_owned();
    let seed = u64::from_str_radix(&seed, 16).unwrap();
    let mut node = json(&scene.path("data/node.json"));
    node["hash_seed"] = seed.into();
    node["shards_per_tenant"] = 2.into();
    fs::write(scene.path("data/node.json"), node.to_string()).unwrap();
    fs::remove_dir_all(scene.path("data/bucket")).unwrap();
    fs::remove_dir_all(scene.path("data/cluster")).unwrap();

    let server = scene.start("data", &[]);
    assert_eq!(found(&server, t_ms), "50");
    write(&server, 50);
    assert_eq!(server.metric("cortex_ingester_memory_series"), Some(50.0), "the seed is the old one");
    server.terminate();
    let founded = json(&scene.path("data/bucket/cluster.json"))["hash_seed"].as_str().unwrap().to_owned();
    assert_eq!(u64::from_str_radix(&founded, 16), Ok(seed));

    // In front of a bucket with another seed its series would not be found any more.
    fs::remove_dir_all(scene.path("data/cluster")).unwrap();
    scene.start("other", &[&scene.bucket()]).terminate();
    let said = scene.refused("data", &[&scene.bucket()]);
    assert!(said.contains("holds data that was made before it joined any cluster"), "{said}");
}

#[test]
fn data_whose_seed_nobody_knows_any_more_is_not_buried_under_a_new_one() {
    let scene = Scene::new();
    let server = scene.start("data", &[]);
    let t_ms = write(&server, 10);
    server.terminate();
    fs::rename(scene.path("data/cluster"), scene.path("copies")).unwrap();
    fs::rename(scene.path("data/bucket"), scene.path("bucket")).unwrap();
    let said = scene.refused("data", &[]);
    assert!(said.contains("holds data but has lost its folder \"cluster\""), "{said}");
    // The copies are what belongs into the bucket.
    fs::remove_dir_all(scene.path("data/bucket")).unwrap();
    fs::rename(scene.path("copies"), scene.path("data/bucket")).unwrap();
    assert_eq!(found(&scene.start("data", &[]), t_ms), "10");
}

#[test]
fn a_wiped_node_is_a_new_incarnation_and_says_what_is_gone() {
    let scene = Scene::new();
    let flags = ["--node.id=n", &scene.bucket()];
    let server = scene.start("data", &flags);
    write(&server, 10);
    server.terminate();
    let before = json(&scene.path("data/node.json"))["incarnation"].clone();
    fs::rename(scene.path("data"), scene.path("lost")).unwrap();

    let server = scene.start("data", &flags);
    let t_ms = write(&server, 20);
    assert_eq!(found(&server, t_ms), "20");
    let ring = server.get("/ring?format=json").json();
    assert_eq!(ring["epoch"], 2);
    assert_ne!(ring["members"][0]["incarnation"], before);
    let segments = ring["segments"].as_array().unwrap();
    let (ended, open): (Vec<_>, Vec<_>) = segments.iter().partition(|segment| segment["ended"] == 2);
    assert_eq!((ended.len(), open.len()), (2, 2));
    for segment in ended {
        assert!(segment["segment"].as_str().unwrap().ends_with("@1"));
        assert_eq!(segment["replicas"][0]["incarnation"], before);
        assert_eq!(segment["replicas"][0]["member"], false);
    }
    assert!(open.iter().all(|segment| segment["segment"].as_str().unwrap().ends_with("@2")));
    assert!(server.get("/ring").text().contains("<strong>gone</strong>, ended with epoch 2"));
    assert!(scene.log().contains("node came back with an empty data directory"), "{}", scene.log());
    server.terminate();
    // It has its data from now on.
    assert_eq!(found(&scene.start("data", &flags), t_ms), "20");
    // The old disk, found again, must not answer with what it has.
    let said = scene.refused("lost", &flags);
    assert!(
        said.contains("epoch 2 lists node n with data directory") && said.contains("was replaced"),
        "{said}"
    );
}

#[test]
fn the_wrong_bucket_or_data_directory_is_one_line_that_names_both_sides() {
    let scene = Scene::new();
    let bucket = scene.bucket();
    scene.start("data", &[&bucket, "--node.id=n"]).terminate();
    let cluster = json(&scene.path("bucket/cluster.json"))["cluster"].as_str().unwrap().to_owned();
    scene.start("other", &[]).terminate();
    let other = json(&scene.path("other/bucket/cluster.json"))["cluster"].as_str().unwrap().to_owned();
    let has = |said: String, parts: &[&str]| {
        parts.iter().for_each(|part| assert!(said.contains(part), "{part} in {said}"));
    };

    has(scene.refused("other", &[&bucket]), &[&cluster, &other, "other", "file://"]);
    has(scene.refused("data", &[]), &["belongs to no cluster", &cluster]);
    has(scene.refused("data", &["--storage.url=memory://"]), &["memory:// belongs to no cluster", &cluster]);
    // Somebody else's bucket, with an empty data directory: a new node, or the old one on a new host?
    has(scene.refused("fresh", &[&bucket, "--node.id=m"]), &["of node n, this node is m", "--node.id n"]);
    has(scene.refused("data", &[&bucket, "--node.id=m"]), &["as node n, this node is m"]);
    // A mistyped path is no new bucket.
    let mistyped = format!("--storage.url=file://{}", scene.path("bukcet/x").display());
    has(scene.refused("data", &[&mistyped]), &["bukcet/x"]);
    // After all this it starts as ever.
    assert_eq!(scene.start("data", &[&bucket, "--node.id=n"]).get("/ready").status, 200);
}

#[test]
fn a_node_starts_and_takes_writes_while_its_bucket_is_away() {
    let scene = Scene::new();
    let bucket = scene.bucket();
    let server = scene.start("data", &[&bucket]);
    let t_ms = write(&server, 10);
    server.terminate();
    // A file that cannot be opened, not even by root.
    let file = scene.path("bucket/cluster.json");
    fs::rename(&file, scene.path("kept.json")).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let server = scene.start("data", &[&bucket]);
    assert_eq!(found(&server, t_ms), "10");
    write(&server, 20);
    assert!(scene.log().contains("object store does not answer"), "{}", scene.log());
    assert_eq!(server.get("/ready").status, 200);
}

#[test]
fn the_ring_is_json_for_programs_and_a_page_for_people() {
    let scene = Scene::new();
    let server = scene.start("data", &["--node.id=n"]);
    write(&server, 1);
    let accepted = server.send("GET", "/ring", &[("Accept", "application/json, */*")], &[]);
    let asked = server.get("/ring?format=json");
    assert_eq!((accepted.header("content-type"), accepted.json()), ("application/json", asked.json()));
    let ring = asked.json();
    let member = &ring["members"][0];
    assert_eq!((member["node"].as_str(), member["zone"].as_str()), (Some("n"), Some(":n")));
    assert_eq!(member["share"].as_f64(), Some(1.0));
    assert_eq!(member["roles"], serde_json::json!(["write", "read", "rules"]));
    assert_eq!(ring["tenants"], serde_json::json!([{"tenant": "fake", "shards": 2}]));
    assert_eq!(ring["segments"].as_array().unwrap().len(), 2);

    let page = server.get("/ring");
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    for part in ["Epoch 1 of cluster", "<td>n</td>", "100.0 %", "fake/0-of-2@1", "takes writes"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }

    let url = server.url();
    let status = |arguments: &[&str]| gyre(arguments).output().unwrap();
    let table = String::from_utf8(status(&["status", "--url", &url]).stdout).unwrap();
    for part in ["epoch 1 of cluster", "NODE", "100.0%", "1 tenants, 2 segments not closed: 2 take writes"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    let json = status(&["status", "--json", "--url", &url]).stdout;
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap(), ring);
}

#[test]
fn status_of_what_is_no_node_is_one_line() {
    let server = Server::start();
    for (url, says) in [
        ("nowhere", "must be a URL such as http://127.0.0.1:9009"),
        ("https://127.0.0.1:1", "must be a URL"),
        ("http://127.0.0.1:1", "refused"),
        (&format!("{}/prometheus", server.url()), "answered 404"),
    ] {
        let output = gyre(&["status", "--url", url]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(&format!("gyre: {url}: ")) && said.contains(says), "{said}");
        assert_eq!(said.lines().count(), 1);
    }
}

#[test]
fn a_node_that_is_the_whole_cluster_cannot_leave_it() {
    let node = Server::start();
    let refused = node.send("POST", "/drain", &[], &[]);
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(
        refused.text().contains("this node cannot leave: no other member holds heads"),
        "{}",
        refused.text()
    );
    let status = node.get("/drain");
    assert_eq!((status.status, &status.json()["state"]), (200, &"member".into()));
    assert_eq!(node.get("/ready").status, 200);
    let output = gyre(&["drain", &format!("--url={}", node.url())]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("409"), "{output:?}");
}
