//! An index of version 1, as Prometheus before 2.3 wrote it: references are offsets, and the table of postings is in no
//! order. No tool that is installed writes one, so it is put together by hand from the format's description.

use std::path::Path;
use std::sync::Arc;

use gyre_tsdb::block::{Block, IndexVersion, Meta, Stats, Tombstones, Ulid, compact, verify};
use gyre_tsdb::disk::SimDisk;

use super::scene::{Model, Sample, float_chunks, path_of, read};

fn put_checked(out: &mut Vec<u8>, len: &[u8], payload: &[u8]) {
    out.extend(len);
    out.extend(payload);
    out.extend(crc32c::crc32c(payload).to_be_bytes());
}

fn section(out: &mut Vec<u8>, payload: &[u8]) {
    put_checked(out, &(payload.len() as u32).to_be_bytes(), payload);
}

/// Series {a="b"} and {a="c"}, one sample each.
fn block() -> (Block, Model) {
    let mut segment = vec![0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0];
    let mut places = Vec::new();
    let mut model = Model::new();
    for (value, t_ms, bits) in [("b", 20i64, 7u64), ("c", 30, 9)] {
        places.push(segment.len() as u8);
        let chunk = float_chunks(&[(t_ms, bits)], 1).remove(0).data;
        let payload = [&[1], &chunk[..]].concat();
        put_checked(&mut segment, &[chunk.len() as u8], &payload);
        let labels = vec![("a".to_owned(), value.to_owned())];
        model.insert(labels, [(t_ms, Sample::Float(bits))].into());
    }
    let mut index = vec![0xba, 0xaa, 0xd7, 0x00, 1];
    // The symbols are at 13, 15 and 17.
    section(&mut index, &[0, 0, 0, 3, 1, b'a', 1, b'b', 1, b'c']);
    assert_eq!(index.len(), 23);
    // One label, one chunk; times in zig-zag.
    put_checked(&mut index, &[7], &[1, 13, 15, 1, 40, 0, places[0]]);
    put_checked(&mut index, &[7], &[1, 13, 17, 1, 60, 0, places[1]]);
    assert_eq!(index.len(), 47);
    index.push(0);
    section(&mut index, &[0, 0, 0, 2, 0, 0, 0, 23, 0, 0, 0, 35]);
    section(&mut index, &[0, 0, 0, 1, 0, 0, 0, 35]);
    section(&mut index, &[0, 0, 0, 1, 0, 0, 0, 23]);
    assert_eq!(index.len(), 100);
    section(&mut index, &[0, 0, 0, 3, 2, 1, b'a', 1, b'c', 68, 2, 0, 0, 48, 2, 1, b'a', 1, b'b', 84]);
    let toc: Vec<u8> = [5u64, 23, 0, 0, 48, 100].iter().flat_map(|at| at.to_be_bytes()).collect();
    index.extend(&toc);
    index.extend(crc32c::crc32c(&toc).to_be_bytes());
    let mut meta = Meta::of_head(Ulid::new(1, 1), 0, 100);
    meta.stats = Stats { num_samples: 2, num_series: 2, num_chunks: 2, ..Stats::default() };
    let segments: Vec<Arc<dyn gyre_tsdb::disk::ReadAt>> = vec![Arc::new(segment)];
    (Block { meta, index: Arc::new(index), segments, tombstones: Tombstones::default() }, model)
}

#[test]
fn an_index_of_version_1_is_read_and_looked_up() {
    let (block, model) = block();
    assert_eq!(read(&block).unwrap(), model);
    let findings: Vec<String> = verify(&block).iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{findings:?}");
    let header = block.header().unwrap();
    assert_eq!(header.version(), IndexVersion::V1);
    let ranges = header.postings().lists("a").map(|list| list.unwrap());
    let ranges: Vec<_> = ranges.map(|list| (list.value.to_owned(), list.range)).collect();
    assert_eq!(ranges, [("b".to_owned(), 84..100), ("c".to_owned(), 68..84)]);
    assert_eq!(header.postings().all().unwrap(), 48..68);
}

#[test]
fn compaction_makes_version_2_of_version_1() {
    let (block, model) = block();
    let disk = Arc::new(SimDisk::default());
    let whole = Meta::of_whole(Ulid::new(2, 2), &[&block.meta]);
    let meta = compact(disk.clone(), Path::new("blocks"), std::slice::from_ref(&block), None, whole)
        .unwrap()
        .unwrap();
    let compacted = Block::open(disk.as_ref(), &path_of(meta.ulid)).unwrap();
    assert_eq!(compacted.toc().unwrap().0, IndexVersion::V2);
    assert_eq!(read(&compacted).unwrap(), model);

    let only_c = |labels: gyre_tsdb::labels::Labels<'_>| labels.get("a") == Some("c");
    let part = Meta::of_part(Ulid::new(3, 3), 0, 100, &[&block.meta]);
    let meta = compact(disk.clone(), Path::new("blocks"), &[block], Some(&only_c), part).unwrap().unwrap();
    let part = Block::open(disk.as_ref(), &path_of(meta.ulid)).unwrap();
    assert_eq!(part.header().unwrap().symbols().iter().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(read(&part).unwrap().len(), 1);
}
