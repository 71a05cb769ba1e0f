//! `gyre blocks`, beside promtool and a real Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use gyre_tsdb::block::{Meta, Ulid};
use gyre_tsdb::disk::OsDisk;
use serde_json::Value;
use tempfile::TempDir;

use crate::crashes::gyre;
use crate::peers::{Prometheus, dumped, is_absent, promtool, shown};
use crate::rig::{HOUR_MS, block_of, series, small_block};
use crate::scene::{Model, model_of, write};

/// A bucket in a folder, and what the command line does with it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn bucket(&self) -> PathBuf {
        self.folder.path().join("bucket")
    }

    /// What a command prints, and its exit status.
    fn run(&self, arguments: &[&str]) -> (String, i32) {
        let url = format!("--storage.url=file://{}", self.bucket().display());
        let output = gyre(&["blocks"]).args(arguments).arg(url).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        (text, output.status.code().unwrap())
    }

    /// What a command that must succeed prints.
    fn must(&self, arguments: &[&str]) -> String {
        let (text, code) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {text}");
        text
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.must(&[arguments, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn import(&self, folder: &Path) -> String {
        self.must(&["import", "--tenant=acme", folder.to_str().unwrap()])
    }
}

/// Two adjoining blocks, the later one partly beside the earlier one: what a Prometheus's folder may have.
fn two_blocks(folder: &Path) -> Model {
    let mut model = Model::new();
    for (number, begin_ms, end_ms) in [(1, 0, 2 * HOUR_MS), (2, 2 * HOUR_MS, 4 * HOUR_MS)] {
        let series = series(20, begin_ms, end_ms);
        let meta = Meta::of_head(Ulid::new(end_ms as u64, number), begin_ms, end_ms);
        write(Arc::new(OsDisk), folder, meta, &series, 1 << 20).unwrap().unwrap();
        for (labels, samples) in model_of(&series) {
            model.entry(labels).or_default().extend(samples);
        }
    }
    model
}

#[test]
fn what_promtool_made_comes_back_from_the_bucket_sample_by_sample() {
    if is_absent("promtool") {
        return;
    }
    let place = Place::new();
    let mut text = "# TYPE m gauge\n".to_owned();
    for series in 0..50 {
        for step in 0..1500 {
            let value = f64::from(series * step) / 7.0;
            writeln!(text, "m{{series=\"{series}\",kind=\"é\"}} {value} {}", 1_700_000_000 + step * 15)
                .unwrap();
        }
    }
    text.push_str("# EOF\n");
    let (input, made) = (place.folder.path().join("input.om"), place.folder.path().join("made"));
    std::fs::write(&input, text).unwrap();
    let create = ["tsdb", "create-blocks-from", "openmetrics"];
    let output = Command::new("promtool").args(create).args([&input, &made]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let before = dumped(&promtool(&["dump"], &made));
    assert_eq!(before.values().map(BTreeMap::len).sum::<usize>(), 75_000);

    let told = place.import(&made);
    assert!(told.contains("4 of 4 blocks imported for tenant acme"), "{told}");
    assert!(place.must(&["verify"]).contains("4 blocks verified, 0 damaged"));
    let out = place.folder.path().join("out");
    place.must(&["export", "--tenant=acme", out.to_str().unwrap()]);
    assert_eq!(dumped(&promtool(&["dump"], &out)), before);
    // Promtool lists as many samples as we do.
    let rows = place.json(&["list"]);
    let listed = promtool(&["list"], &out);
    for row in rows.as_array().unwrap() {
        let line = listed.lines().find(|line| line.contains(row["block"].as_str().unwrap())).unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        for name in ["min_time_ms", "max_time_ms", "samples", "chunks", "series"] {
            assert!(fields.contains(&row[name].to_string().as_str()), "{name}: {row} is not {line}");
        }
    }
    assert!(promtool(&["analyze"], &out).contains("Series: 50"));
}

#[test]
fn an_export_of_a_time_has_the_samples_of_that_time_and_doing_it_again_changes_nothing() {
    if is_absent("promtool") {
        return;
    }
    let place = Place::new();
    let data = place.folder.path().join("data");
    let mut model = two_blocks(&data);
    place.import(&data);
    let out = place.folder.path().join("out");
    let export = ["export", "--tenant=acme", "--from=3600.001", "--to=9000", out.to_str().unwrap()];
    place.must(&export);
    model.values_mut().for_each(|samples| samples.retain(|t_ms, _| (3_600_001..9_000_000).contains(t_ms)));
    assert_eq!(dumped(&promtool(&["dump"], &out)), shown(model.clone()));
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let blocks = before.iter().filter(|name| name.to_str().unwrap().parse::<Ulid>().is_ok()).count();
    assert_eq!(blocks, 2, "{before:?}");
    place.must(&export);
    assert_eq!(names(), before);
    assert_eq!(dumped(&promtool(&["dump"], &out)), shown(model));
}

#[test]
fn a_prometheus_that_is_started_on_an_export_answers() {
    if is_absent("prometheus") {
        return;
    }
    let place = Place::new();
    let data = place.folder.path().join("data");
    let begin_ms = 1_700_006_400_000;
    let (_, meta) = block_of(&data, Meta::of_head(Ulid::new(9, 9), begin_ms, begin_ms + 2 * HOUR_MS), 7);
    place.import(&data);
    let out = place.folder.path().join("out");
    place.must(&["export", "--tenant=acme", out.to_str().unwrap()]);
    let prometheus = Prometheus::start(&out);
    let path = format!(
        "/api/v1/query?time={}&query=sum(count_over_time(metric%5B3h%5D))",
        (begin_ms + 2 * HOUR_MS) / 1000
    );
    let answer = prometheus.request("GET", &path, &[]);
    let counted = answer["data"]["result"][0]["value"][1].as_str().unwrap().to_owned();
    assert_eq!(counted, meta.stats.num_samples.to_string());
}

#[test]
fn an_import_that_is_repeated_finds_its_blocks_and_goes_on_after_bad_ones() {
    let place = Place::new();
    let data = place.folder.path().join("data");
    two_blocks(&data);
    place.import(&data);
    let told = place.import(&data);
    assert!(told.contains("0 of 2 blocks imported for tenant acme, 2 were there already"), "{told}");
    // The tenant's name counts.
    let told = place.must(&["import", "--tenant=other", data.to_str().unwrap()]);
    assert!(told.contains("2 of 2 blocks imported for tenant other"), "{told}");

    let (bad, _) = small_block(&data, 1);
    let chunks = bad.join("chunks/000001");
    let mut bytes = std::fs::read(&chunks).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&chunks, bytes).unwrap();
    small_block(&data, 2);
    let (told, code) = place.run(&["import", "--tenant=acme", data.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(told.contains(&format!("{}: damaged", bad.display())), "{told}");
    assert!(told.contains("chunks/000001 is damaged at byte"), "{told}");
    assert!(told.contains("1 of 4 blocks imported for tenant acme, 2 were there already"), "{told}");
    let rows = place.json(&["list", "--tenant=acme"]);
    assert_eq!(rows.as_array().unwrap().len(), 3);
}

#[test]
fn what_a_block_says_of_shards_and_batches_elsewhere_does_not_count_here_but_its_labels_are_kept() {
    let place = Place::new();
    let data = place.folder.path().join("data");
    let (folder, _) = small_block(&data, 1);
    let mut json: Value = serde_json::from_slice(&std::fs::read(folder.join("meta.json")).unwrap()).unwrap();
    json["thanos"]["labels"] = serde_json::json!({
        "__org_id__": "somebody", "__compactor_shard_id__": "1_of_4", "cluster": "eu"
    });
    json["thanos"]["extensions"] = serde_json::json!({"gyre": {"covers": []}, "theirs": 1});
    std::fs::write(folder.join("meta.json"), json.to_string()).unwrap();
    let told = place.import(&data);
    assert!(told.contains("external labels (cluster=\"eu\")"), "{told}");
    let rows = place.json(&["list"]);
    let block = rows[0]["block"].as_str().unwrap();
    let inspected = place.json(&["inspect", "--tenant=acme", block]);
    let thanos = &inspected["meta"]["thanos"];
    assert_eq!(thanos["labels"], serde_json::json!({"__org_id__": "acme", "cluster": "eu"}));
    assert_eq!(thanos["extensions"], serde_json::json!({"theirs": 1}));
    assert_eq!(inspected["labels"][0], serde_json::json!({"name": "number", "values": 5}));
}

#[test]
fn what_was_deleted_from_a_block_is_not_imported() {
    if is_absent("promtool") {
        return;
    }
    let place = Place::new();
    let data = place.folder.path().join("data");
    let mut model = two_blocks(&data);
    // One stone for the first series of each block, over an hour and a half from each block's begin.
    for entry in std::fs::read_dir(&data).unwrap() {
        let folder = entry.unwrap().path();
        let meta = Meta::parse(&std::fs::read(folder.join("meta.json")).unwrap()).unwrap();
        let block = gyre_tsdb::block::Block::open(&OsDisk, &folder).unwrap();
        let (reference, _) = block.series().unwrap().advance().unwrap().unwrap();
        let (from_ms, to_ms) = (meta.min_ms, meta.min_ms + 90 * 60_000);
        std::fs::write(folder.join("tombstones"), tombstones(reference, from_ms, to_ms)).unwrap();
        let deleted = model.values_mut().next().unwrap();
        deleted.retain(|t_ms, _| !(from_ms..=to_ms).contains(t_ms));
    }
    let told = place.import(&data);
    assert!(told.contains("2 of 2 blocks imported"), "{told}");
    // Under other names, that are found again.
    let told = place.import(&data);
    assert!(told.contains("2 were there already"), "{told}");
    let out = place.folder.path().join("out");
    place.must(&["export", "--tenant=acme", out.to_str().unwrap()]);
    assert_eq!(dumped(&promtool(&["dump"], &out)), shown(model));
}

/// The file, as Prometheus's format has it.
fn tombstones(reference: u32, from_ms: i64, to_ms: i64) -> Vec<u8> {
    let mut stones = Vec::new();
    let varint = |out: &mut Vec<u8>, mut value: u64| {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    };
    let zigzag = |value: i64| (value << 1 ^ value >> 63) as u64;
    varint(&mut stones, u64::from(reference));
    varint(&mut stones, zigzag(from_ms));
    varint(&mut stones, zigzag(to_ms));
    let crc = crc32c::crc32c(&stones);
    [&[0x01, 0x30, 0xba, 0x30, 0x01][..], &stones, &crc.to_be_bytes()].concat()
}

#[test]
fn verify_names_planted_damage_and_partial_blocks_are_no_damage() {
    let place = Place::new();
    let data = place.folder.path().join("data");
    let blocks: Vec<_> = (1..=5).map(|number| small_block(&data, number)).collect();
    place.import(&data);
    let object =
        |at: usize, name: &str| place.bucket().join("acme").join(blocks[at].1.ulid.to_string()).join(name);
    let flip = |path: PathBuf| {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    flip(object(0, "chunks/000001"));
    let index = std::fs::read(object(1, "index")).unwrap();
    std::fs::write(object(1, "index"), &index[..index.len() - 1]).unwrap();
    std::fs::remove_file(object(2, "chunks/000001")).unwrap();
    std::fs::write(object(3, "meta.json"), "{").unwrap();
    let (told, code) = place.run(&["verify", "--tenant=acme"]);
    assert_eq!(code, 1, "{told}");
    for (at, says) in [
        (0, "chunks/000001 is damaged at byte"),
        (1, "index: has"),
        (2, "chunks/000001: is not there"),
        (3, "meta.json is not what it must be"),
    ] {
        let name = blocks[at].1.ulid.to_string();
        let line = told.lines().find(|line| line.starts_with(&format!("acme/{name}: "))).unwrap();
        assert!(line.contains(says), "{line}");
    }
    assert!(!told.contains(&blocks[4].1.ulid.to_string()), "{told}");
    assert!(told.contains("5 blocks verified, 4 damaged"), "{told}");

    std::fs::remove_file(object(4, "meta.json")).unwrap();
    let whole = Place::new();
    whole.import(&small_block(&data, 6).0);
    std::fs::create_dir_all(whole.bucket().join("acme").join(Ulid(3).to_string())).unwrap();
    std::fs::write(whole.bucket().join("acme").join(Ulid(3).to_string()).join("index"), "x").unwrap();
    let told = whole.must(&["verify"]);
    assert!(told.contains("1 blocks verified, 0 damaged") && told.contains("has no meta.json"), "{told}");
}

#[test]
fn a_bucket_that_is_not_there_is_no_empty_one() {
    let place = Place::new();
    for command in [&["list"][..], &["verify"], &["export", "--tenant=acme", "out"]] {
        let (told, code) = place.run(command);
        assert_eq!(code, 1);
        assert!(told.contains("is no folder; say where the blocks are"), "{told}");
    }
    let empty = place.folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let (told, code) = place.run(&["import", "--tenant=acme", empty.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(told.contains("empty: holds no blocks"), "{told}");
}
