//! Whatever happens to a file's bytes: reading gives the right data or an error, and no panic.

use std::collections::BTreeMap;
use std::sync::Arc;

use gyre_tsdb::block::{Block, BlockError, Meta, Ulid, verify};
use gyre_tsdb::disk::ReadAt;

use super::any_parts::{Parts, reading_survives};
use super::common::histograms::histogram;
use super::scene::{LabelSet, Model, OwnChunk, float_chunks, histogram_chunks, model_of, read, written};

fn series() -> BTreeMap<LabelSet, Vec<OwnChunk>> {
    let labels = |name: &str, value: &str| {
        vec![("__name__".to_owned(), name.to_owned()), ("label".to_owned(), value.to_owned())]
    };
    let floats =
        |seed: i64| float_chunks(&(0..7).map(|i| (i * 10 + seed, (i * seed) as u64)).collect::<Vec<_>>(), 3);
    let histograms: Vec<_> = (0..4).map(|i| (i * 10, histogram(i as u64))).collect();
    BTreeMap::from([
        (labels("a", "x"), floats(1)),
        (labels("a", "y"), floats(2)),
        (labels("b", "x"), histogram_chunks(&histograms)),
        (labels("b", "é"), floats(3)),
    ])
}

fn block() -> Block {
    // Chunks in three files.
    let (_, block) = written(Meta::of_head(Ulid::new(1, 1), 0, 1000), &series(), 200);
    assert!(block.segments.len() > 1);
    block
}

fn bytes(source: &dyn ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; source.len() as usize];
    source.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Reads all there is in a damaged block, in all ways.
fn check(block: &Block, right: &Model) -> Result<(), BlockError> {
    let result = read(block);
    if let Ok(model) = &result {
        assert_eq!(model, right, "other data");
    }
    let findings = verify(block);
    // Reading does not touch everything, checking does.
    assert!(result.is_ok() || !findings.is_empty(), "{:?} was not found", result.err());
    result.map(drop)
}

fn with_file(block: &Block, file: usize, bytes: Vec<u8>) -> Block {
    let mut block = block.clone();
    match file {
        0 => block.index = Arc::new(bytes),
        number => block.segments[number - 1] = Arc::new(bytes),
    }
    block
}

fn files(block: &Block) -> Vec<Vec<u8>> {
    std::iter::once(&block.index).chain(&block.segments).map(|file| bytes(file.as_ref())).collect()
}

#[test]
fn a_block_as_it_was_written_has_no_findings() {
    let block = block();
    let findings: Vec<String> = verify(&block).iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn any_flipped_bit_is_an_error_or_harmless() {
    let block = block();
    let right = model_of(&series());
    for (file, bytes) in files(&block).into_iter().enumerate() {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let damaged = with_file(&block, file, flipped);
            let _ = check(&damaged, &right);
            // Of a file of chunks all is covered but the header's three unused bytes.
            if file > 0 && !(5 * 8..8 * 8).contains(&bit) {
                assert!(!verify(&damaged).is_empty(), "file {file}, bit {bit}");
            }
        }
    }
}

#[test]
fn any_cut_is_an_error() {
    let block = block();
    let right = model_of(&series());
    for (file, bytes) in files(&block).into_iter().enumerate() {
        for len in 0..bytes.len() {
            let cut = with_file(&block, file, bytes[..len].to_vec());
            assert!(check(&cut, &right).is_err(), "file {file} of {len} bytes");
        }
    }
}

#[test]
fn any_flipped_byte_of_the_description_is_an_error_or_a_description() {
    let json = block().meta.to_json();
    for at in 0..json.len() {
        for flip in [1, 0x10, 0x80, 0xff] {
            let mut flipped = json.clone();
            flipped[at] ^= flip;
            let _ = Meta::parse(&flipped);
        }
        assert!(Meta::parse(&json[..at]).is_err());
    }
}

#[test]
fn lengths_that_lie_cost_no_memory() {
    let block = block();
    // The symbols' length, the first posting list's, and the first chunk's: as great as can be.
    let (_, toc) = block.toc().unwrap();
    for at in [toc.symbols, toc.postings, toc.postings_table] {
        let mut index = bytes(block.index.as_ref());
        index[at as usize..at as usize + 4].fill(0xff);
        let error = read(&with_file(&block, 0, index)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("index is damaged at byte {at}: ")), "{error}");
    }
    let mut segment = bytes(block.segments[0].as_ref());
    segment[8..12].fill(0xff);
    segment[12] = 0x0f;
    let error = read(&with_file(&block, 1, segment)).unwrap_err().to_string();
    assert_eq!(error, "chunks/000001 is damaged at byte 8: the file ends within a chunk");
}

#[test]
fn what_checksums_do_not_cover_is_found_by_comparing() {
    let finding = |change: &dyn Fn(&mut Block)| {
        let mut block = block();
        change(&mut block);
        verify(&block).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let stats = finding(&|block| block.meta.stats.num_samples += 1);
    assert_eq!(stats, "meta.json is damaged at byte 0: the statistics are not those of the data");
    let range = finding(&|block| block.meta.end_ms = 60);
    assert!(range.contains("a chunk reaches out of the block's time"), "{range}");
    let missing = finding(&|block| drop(block.segments.pop()));
    assert!(missing.contains("the file is missing"), "{missing}");
    let longer = finding(&|block| {
        let mut bytes = bytes(block.segments[0].as_ref());
        bytes.push(0);
        block.segments[0] = Arc::new(bytes);
    });
    assert!(longer.contains("bytes that belong to no chunk"), "{longer}");
}

/// Parts of a right block, so that changes to them are small.
fn right_parts() -> [Vec<u8>; 5] {
    let chunk = float_chunks(&[(20, 7), (30, 9)], 2).remove(0).data;
    let mut chunks = vec![chunk.len() as u8 + 1, 1];
    chunks.extend(chunk);
    let symbols = vec![0, 0, 0, 2, 1, b'a', 1, b'b'];
    // The index's header has 5 bytes, the symbols' section 16: the first series is at 32.
    let entry = [1, 0, 1, 1, 40, 10, 8];
    let series = [&[entry.len() as u8], &entry[..]].concat();
    let postings = vec![0, 0, 0, 1, 0, 0, 0, 2];
    // Entry, length and checksum end at 44.
    let table = vec![0, 0, 0, 1, 2, 0, 0, 44];
    [symbols, series, postings, table, chunks]
}

#[test]
fn any_parts_behind_right_checksums_are_survived() {
    use proptest::prelude::*;
    let [symbols, series, postings, table, chunks] = &right_parts();
    let right = Parts { version: 1, symbols, series, postings, table, chunks };
    assert_eq!(reading_survives(&right), Some(2), "both samples");
    let edits = proptest::collection::vec((0usize..5, any::<u16>(), any::<u8>(), any::<bool>()), 0..6);
    proptest!(ProptestConfig::with_cases(2000), |(version: u8, edits in edits)| {
        let mut parts = right_parts();
        for (part, at, byte, insert) in edits {
            let part = &mut parts[part];
            let at = usize::from(at) % (part.len() + 1);
            match part.get_mut(at) {
                Some(place) if !insert => *place = byte,
                _ => part.insert(at, byte),
            }
        }
        let [symbols, series, postings, table, chunks] = &parts;
        reading_survives(&Parts { version, symbols, series, postings, table, chunks });
    });
}
