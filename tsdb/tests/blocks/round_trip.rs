//! What is written is what is read, and the files are what the format says.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use gyre_tsdb::block::{BlockError, Meta, Thanos, Ulid, remove_unfinished};
use gyre_tsdb::disk::{Disk, SimDisk, SimFaults};
use proptest::prelude::*;

use super::common::histograms::{STEPS, histogram};
use super::scene::{
    FOLDER, float_chunks, float_series, histogram_chunks, model_of, path_of, read, write, written,
};

const END_MS: i64 = 100_000;

fn meta() -> Meta {
    Meta::of_head(Ulid::new(1, 2), 0, END_MS)
}

fn labels(name: &str) -> Vec<(String, String)> {
    vec![("__name__".to_owned(), name.to_owned())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn any_series_come_back(series in float_series(END_MS, 40), segment_bytes_max in 300u64..3000) {
        let (_, block) = written(meta(), &series, segment_bytes_max);
        let model = model_of(&series);
        prop_assert_eq!(read(&block).unwrap(), model.clone());
        let samples = model.values().map(|samples| samples.len() as u64).sum::<u64>();
        let chunks = series.values().map(|chunks| chunks.len() as u64).sum::<u64>();
        let stats = &block.meta.stats;
        prop_assert_eq!((stats.num_samples, stats.num_series), (samples, series.len() as u64));
        prop_assert_eq!((stats.num_chunks, stats.num_histogram_samples), (chunks, 0));
        let longest = block.segments.iter().map(|segment| segment.len()).max().unwrap();
        // One chunk goes into a file of its own, however long it is.
        prop_assert!(longest <= segment_bytes_max.max(700), "a segment of {longest} bytes");
    }

    #[test]
    fn histograms_come_back(seeds in proptest::collection::vec(prop_oneof![0..STEPS, STEPS..u64::MAX], 1..60)) {
        let samples: Vec<_> =
            seeds.into_iter().enumerate().map(|(i, seed)| (i as i64 * 100, histogram(seed))).collect();
        let series = BTreeMap::from([(labels("h"), histogram_chunks(&samples))]);
        let (_, block) = written(meta(), &series, 1 << 20);
        prop_assert_eq!(read(&block).unwrap(), model_of(&series));
        prop_assert_eq!(block.meta.stats.num_histogram_samples, samples.len() as u64);
    }
}

#[test]
fn a_small_block_is_bit_for_bit_what_the_format_says() {
    let chunk = float_chunks(&[(1000, 1f64.to_bits())], 1);
    let data = chunk[0].data.clone();
    let series = BTreeMap::from([(vec![("a".to_owned(), "b".to_owned())], chunk)]);
    let (disk, block) = written(meta(), &series, 1 << 20);
    let folder = path_of(block.meta.ulid);
    let crc = |bytes: &[u8]| crc32c::crc32c(bytes).to_be_bytes();

    let encoded = [&[1], &data[..]].concat();
    let segment =
        [&[0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0, data.len() as u8], &encoded[..], &crc(&encoded)].concat();
    assert_eq!(disk.read(&folder.join("chunks/000001")).unwrap(), segment);

    // Worked out by hand from Prometheus's description of the format.
    let symbols = [0, 0, 0, 2, 1, b'a', 1, b'b'];
    let mut index = vec![0xba, 0xaa, 0xd7, 0x00, 2, 0, 0, 0, 8];
    index.extend(symbols);
    index.extend(crc(&symbols));
    let series_at = index.len();
    assert_eq!(series_at, 21);
    index.resize(32, 0);
    // One label, symbols 0 and 1; one chunk from 1000 (zig-zag 2000), no longer than that, in file 0 at 8.
    let entry = [1, 0, 1, 1, 0xd0, 0x0f, 0, 8];
    index.push(entry.len() as u8);
    index.extend(entry);
    index.extend(crc(&entry));
    let series_end = index.len();
    index.resize(48, 0);
    // Series 2 is at 32, in units of 16.
    let list = [0, 0, 0, 1, 0, 0, 0, 2];
    for _ in 0..2 {
        index.extend([0, 0, 0, 8]);
        index.extend(list);
        index.extend(crc(&list));
    }
    let table_at = index.len();
    assert_eq!(table_at, 48 + 32);
    let table = [0, 0, 0, 2, 2, 0, 0, 48, 2, 1, b'a', 1, b'b', 64];
    index.extend([0, 0, 0, table.len() as u8]);
    index.extend(table);
    index.extend(crc(&table));
    let toc: Vec<u8> =
        [5, series_at, series_end, table_at, 48, table_at].iter().flat_map(|at| at.to_be_bytes()).collect();
    index.extend(&toc);
    index.extend(crc(&toc));
    assert_eq!(disk.read(&folder.join("index")).unwrap(), index);
    assert_eq!(disk.read(&folder.join("tombstones")).unwrap(), [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0]);

    let meta: serde_json::Value =
        serde_json::from_slice(&disk.read(&folder.join("meta.json")).unwrap()).unwrap();
    let expected = serde_json::json!({
        "ulid": "0000000001000000000000000" .to_owned() + "2", "minTime": 0, "maxTime": END_MS, "version": 1,
        "stats": {"numSamples": 1, "numFloatSamples": 1, "numSeries": 1, "numChunks": 1},
        "compaction": {"level": 1, "sources": ["00000000010000000000000002"]},
    });
    assert_eq!(meta, expected);
}

#[test]
fn nothing_of_a_description_is_lost_when_it_is_written_again() {
    let json = serde_json::json!({
        "ulid": "01ARYZ6S410000000000000000", "minTime": -5, "maxTime": 7, "version": 1, "more": {"x": [1, null]},
        "stats": {"numSamples": 3, "numFuture": 4},
        "compaction": {"level": 2, "sources": ["01ARYZ6S410000000000000001"], "hints": ["from-out-of-order"],
            "parents": [{"ulid": "01ARYZ6S410000000000000002", "minTime": -5, "maxTime": 0}], "future": true},
        "thanos": {"version": 1, "labels": {"__org_id__": "t"}, "downsample": {"resolution": 0}, "source": "receive",
            "segment_files": ["000001"], "files": [{"rel_path": "index", "size_bytes": 5, "hash": {"func": "SHA256"}}],
            "index_stats": {"series_max_size": 9}, "extensions": {"partition_info": {"x": 1}}, "upload_time": "now"},
    });
    let meta = Meta::parse(json.to_string().as_bytes()).unwrap();
    let again: serde_json::Value = serde_json::from_slice(&meta.to_json()).unwrap();
    assert_eq!(again, json);
    assert_eq!((meta.min_ms, meta.compaction.level), (-5, 2));
    assert_eq!(meta.thanos.unwrap().labels.to_map()["__org_id__"], "t");
    for (wrong, why) in [("{\"version\":1", "EOF"), ("{}", "missing field")] {
        let error = Meta::parse(wrong.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("meta.json") && error.contains(why), "{error}");
    }
    let mut later = json;
    later["version"] = 2.into();
    let error = Meta::parse(later.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, BlockError::Unsupported { number: 2, .. }), "{error}");
}

#[test]
fn thanos_s_section_gets_files_and_sizes() {
    let series = BTreeMap::from([(labels("m"), float_chunks(&[(1, 0), (2, 0)], 1))]);
    let thanos = Some(Thanos { version: 1, source: "receive".to_owned(), ..Thanos::default() });
    let (_, block) = written(Meta { thanos, ..meta() }, &series, 1);
    let thanos = block.meta.thanos.unwrap();
    assert_eq!(thanos.segment_files, ["000001", "000002"]);
    let files: Vec<_> = thanos.files.iter().map(|file| (file.rel_path.as_str(), file.size_bytes)).collect();
    let segment = block.segments[0].len();
    let expected = [
        ("chunks/000001", segment),
        ("chunks/000002", segment),
        ("index", block.index.len()),
        ("meta.json", 0),
    ];
    assert_eq!(files, expected);
    let stats = thanos.index_stats.unwrap();
    // A chunk is all of its file but the header; the series has 4 bytes of labels and 10 of chunks, length and checksum.
    assert_eq!(stats.chunk_max_size, segment - 8);
    assert!((15..30).contains(&stats.series_max_size), "{stats:?}");
}

#[test]
fn what_breaks_the_format_s_rules_is_refused() {
    let chunk = |t: i64| float_chunks(&[(t, 0)], 1);
    let refused = |series: &[(&str, i64)], why: &str| {
        let disk = Arc::new(SimDisk::default());
        let mut writer = gyre_tsdb::block::BlockWriter::begin(disk, Path::new(FOLDER), meta()).unwrap();
        for symbol in ["__name__", "a", "b"] {
            writer.symbol(symbol.as_bytes()).unwrap();
        }
        let mut result = Ok(());
        for (name, t) in series {
            let value = if *name == "a" { 1 } else { 2 };
            let chunks = [chunk(*t), chunk(5)].concat();
            let chunks: Vec<_> = chunks.iter().map(|chunk| chunk.as_new()).collect();
            result = result.and_then(|()| writer.series(&[(0, value)], &chunks));
        }
        let error = result.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(&[("a", 6)], "chunks overlap");
    refused(&[("a", 5)], "chunks overlap");
    refused(&[("a", -1)], "out of the block's time");
    refused(&[("b", 1), ("a", 1)], "series are not in order");
    refused(&[("b", 1), ("b", 1)], "series are not in order");
}

#[test]
fn a_block_without_series_is_not_kept_and_unfinished_ones_are_removed() {
    let disk = SimDisk::default();
    let folder = Path::new(FOLDER);
    let none = write(Arc::new(disk.clone()), folder, meta(), &BTreeMap::new(), 1 << 20).unwrap();
    assert_eq!(none, None);
    assert_eq!(disk.list(folder).unwrap(), Vec::<std::path::PathBuf>::new());

    let series = BTreeMap::from([(labels("m"), float_chunks(&[(1, 0)], 1))]);
    disk.set_faults(SimFaults { sync_fails: true, ..SimFaults::default() });
    let failed = write(Arc::new(disk.clone()), folder, meta(), &series, 1 << 20);
    assert!(matches!(failed, Err(BlockError::Write { .. })));
    assert_eq!(disk.list(folder).unwrap(), [folder.join("00000000010000000000000002.tmp")]);
    remove_unfinished(&disk, folder).unwrap();
    assert_eq!(disk.list(folder).unwrap(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn after_a_crash_a_block_is_whole_or_not_there() {
    let series = BTreeMap::from([(labels("m"), float_chunks(&[(1, 0), (2, 7)], 1))]);
    let (disk, block) = written(meta(), &series, 1 << 20);
    disk.crash(|_, _| 0);
    let again = gyre_tsdb::block::Block::open(&disk, &path_of(block.meta.ulid)).unwrap();
    assert_eq!(read(&again).unwrap(), model_of(&series));

    // Room for some of it only, then the power goes.
    for room in (0..600).step_by(30) {
        let disk = SimDisk::default();
        disk.set_faults(SimFaults { room_bytes: Some(room), ..SimFaults::default() });
        let result = write(Arc::new(disk.clone()), Path::new(FOLDER), meta(), &series, 1 << 20);
        disk.crash(|_, unsynced| unsynced / 2);
        let opened = gyre_tsdb::block::Block::open(&disk, &path_of(meta().ulid));
        assert_eq!(result.is_ok(), opened.is_ok(), "room for {room} bytes");
    }
}
