//! promtool reads what is written here, and what promtool writes is read here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;

use gyre_tsdb::block::{Block, Meta, Ulid, compact, verify};
use gyre_tsdb::disk::OsDisk;

use super::peers::{dumped, is_absent, promtool, shown};
use super::scene::{LabelSet, Model, OwnChunk, float_chunks, model_of, read, write};

const END_MS: i64 = 7_200_000;

/// Series whose labels and values are hard.
fn hard_series() -> BTreeMap<LabelSet, Vec<OwnChunk>> {
    let long = "long ".repeat(2000);
    let values =
        ["a", "A", "aa", "é", "日本", "\u{10ffff}", "a\"b\\c", "line\nline", " ", "\u{0}", "🙂🙃", &long];
    let mut series = BTreeMap::new();
    for (i, value) in values.iter().enumerate() {
        for other in values.iter().skip(i % 3).step_by(2) {
            let mut labels = LabelSet::new();
            labels.push(("__name__".to_owned(), format!("metric_{}", i % 4)));
            labels.push(("other".to_owned(), (*other).to_owned()));
            labels.push(("value".to_owned(), (*value).to_owned()));
            for many in 0..i * 3 {
                labels.push((format!("many_{many:02}"), format!("{many}")));
            }
            labels.sort();
            series.insert(labels, Vec::new());
        }
    }
    for unique in 0..300 {
        let labels = [("__name__", "unique".to_owned()), ("id", unique.to_string())];
        series.insert(labels.map(|(name, value)| (name.to_owned(), value)).to_vec(), Vec::new());
    }
    let hard =
        [0.0, -0.0, 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE / 8.0, f64::MAX, 0.1];
    for (i, chunks) in series.values_mut().enumerate() {
        let sample = |n: usize| {
            let bits = match n % 13 {
                12 => 0x7ff0_0000_0000_0002,
                n => hard[(n * (i + 1)) % hard.len()].to_bits(),
            };
            (n as i64 * (i as i64 % 7 + 1) * 1000 + i as i64, bits)
        };
        *chunks = float_chunks(&(0..100 + i * 5 % 700).map(sample).collect::<Vec<_>>(), 120);
    }
    series
}

#[test]
fn promtool_dumps_exactly_what_was_written() {
    if is_absent("promtool") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let series = hard_series();
    let meta = Meta::of_head(Ulid::new(1_700_000_000_000, 7), 0, END_MS);
    // Several files of chunks.
    let meta = write(Arc::new(OsDisk), folder.path(), meta, &series, 100_000).unwrap().unwrap();
    let block = Block::open(&OsDisk, &folder.path().join(meta.ulid.to_string())).unwrap();
    assert!(block.segments.len() > 2);
    let model = model_of(&series);
    assert_eq!(read(&block).unwrap(), model);
    let dump = promtool(&["dump"], folder.path());
    assert_eq!(dumped(&dump), shown(model));

    let list = promtool(&["list"], folder.path());
    let line = list.lines().find(|line| line.contains(&meta.ulid.to_string())).expect("the block is listed");
    let fields: Vec<&str> = line.split_whitespace().collect();
    for number in
        [0, END_MS, meta.stats.num_samples as i64, meta.stats.num_chunks as i64, series.len() as i64]
    {
        assert!(fields.contains(&number.to_string().as_str()), "{number} in {line}");
    }
    let analysis = promtool(&["analyze"], folder.path());
    assert!(analysis.contains(&format!("Series: {}", series.len())), "{analysis}");
}

#[test]
fn promtool_reads_what_was_compacted_and_cut() {
    if is_absent("promtool") {
        return;
    }
    let parts = tempfile::tempdir().unwrap();
    let disk = Arc::new(OsDisk);
    let series = hard_series();
    // Every chunk is in one of two blocks, each third one in both.
    let pick = |part: usize| {
        let own = |chunks: &Vec<OwnChunk>| {
            let own = chunks.iter().enumerate().filter(|(i, _)| i % 3 == 2 || i % 2 == part);
            own.map(|(_, chunk)| chunk.clone()).collect::<Vec<_>>()
        };
        series.iter().map(|(labels, chunks)| (labels.clone(), own(chunks))).collect::<BTreeMap<_, _>>()
    };
    let mut blocks = Vec::new();
    for part in 0..2 {
        let meta = Meta::of_head(Ulid::new(1, part as u128), 0, END_MS);
        let meta = write(disk.clone(), parts.path(), meta, &pick(part), 1 << 20).unwrap().unwrap();
        blocks.push(Block::open(disk.as_ref(), &parts.path().join(meta.ulid.to_string())).unwrap());
    }
    let metas: Vec<&Meta> = blocks.iter().map(|block| &block.meta).collect();
    let whole = tempfile::tempdir().unwrap();
    compact(disk.clone(), whole.path(), &blocks, None, Meta::of_whole(Ulid::new(2, 0), &metas))
        .unwrap()
        .unwrap();
    assert_eq!(dumped(&promtool(&["dump"], whole.path())), shown(model_of(&series)));

    let part = tempfile::tempdir().unwrap();
    let (min_ms, end_ms) = (50_123, 333_456);
    let meta = Meta::of_part(Ulid::new(3, 0), min_ms, end_ms, &metas);
    compact(disk, part.path(), &blocks, None, meta).unwrap().unwrap();
    let mut expected = shown(model_of(&series));
    expected.values_mut().for_each(|samples| samples.retain(|t_ms, _| (min_ms..end_ms).contains(t_ms)));
    assert_eq!(dumped(&promtool(&["dump"], part.path())), expected);
}

#[test]
fn a_block_that_promtool_made_is_read_as_promtool_reads_it() {
    if is_absent("promtool") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut text = "# HELP m text\n# TYPE m gauge\n".to_owned();
    for series in 0..500 {
        for step in 0..200 {
            let value = f64::from(series * step) / 7.0;
            writeln!(
                text,
                "m{{series=\"{series}\",kind=\"é\\\"\\n{}\"}} {value} {}",
                series % 5,
                1_700_000_000 + step * 15
            )
            .unwrap();
        }
    }
    text.push_str("# EOF\n");
    let input = folder.path().join("input.om");
    std::fs::write(&input, text).unwrap();
    let blocks = folder.path().join("blocks");
    let output = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&input, &blocks])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut model = Model::new();
    for entry in std::fs::read_dir(&blocks).unwrap() {
        let path = entry.unwrap().path();
        if path.join("meta.json").exists() {
            let block = Block::open(&OsDisk, &path).unwrap();
            let findings: Vec<String> = verify(&block).iter().map(ToString::to_string).collect();
            assert!(findings.is_empty(), "{findings:?}");
            for (labels, samples) in read(&block).unwrap() {
                model.entry(labels).or_default().extend(samples);
            }
        }
    }
    assert_eq!(model.values().map(BTreeMap::len).sum::<usize>(), 100_000);
    assert_eq!(model, dumped(&promtool(&["dump"], &blocks)));
}
