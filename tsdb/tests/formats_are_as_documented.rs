//! Files put together by hand from `docs/format/`, byte by byte, are read as the documents say; and files that were
//! changed at random are read without panic and without making anything up.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Content, LANE, SNAPSHOTS, Shard, remember};
use gyre_tsdb::disk::{Disk, SimDisk};
use proptest::prelude::*;

/// A record of `docs/format/wal.md`: magic, length, CRC of type and payload, type, payload.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0xd7, 0x47, 0x57, 0x1e];
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(crc32c::crc32c(&[&[kind], payload].concat()).to_le_bytes());
    out.push(kind);
    out.extend(payload);
    out
}

fn put_file(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let path = Path::new(path);
    disk.create_dir_all(path.parent().unwrap()).unwrap();
    disk.create(path).unwrap().write_all_at(bytes, 0).unwrap();
}

/// The boot id that the tests' shard expects.
const BOOT: [u8; 16] = {
    let mut boot = [0; 16];
    boot[0] = 7;
    boot
};

#[test]
fn a_log_written_by_hand_is_read_as_documented() {
    // Labels: 0a <len> { 0a <len> "__name__", 12 <len> "a" }.
    let labels = |name: u8| [&[0x0a, 13, 0x0a, 8][..], b"__name__", &[0x12, 1, name]].concat();
    let mut first = vec![0]; // stream 0
    first.extend(BOOT);
    first.extend([1, 1, 2, 0]); // batch 1, frame 1, two new series from number 0
    for name in [b'a', b'b'] {
        first.push(labels(name).len() as u8);
        first.extend(labels(name));
    }
    // One run: two samples in full, at 1000 ms (zig-zag 2000 = d0 0f), series 0 and 1.
    first.extend([2 << 1 | 1, 0xd0, 0x0f, 0]);
    // Both are not zero. 1.0 is 3f f0 ..: window 14 (3 bytes from the top). 3.0 is 40 08 ..: the same.
    first.extend([0b11, 14 | 14 << 4, 0x3f, 0xf0, 0, 0x40, 0x08, 0]);

    let mut second = vec![0];
    second.extend(BOOT);
    second.extend([2, 1, 0]); // batch 2, frame 1, no new series
    // One run: differences at 16000 ms (zig-zag 32000 = 80 fa 01), series 0 and 1; only series 1 changed: 3.0 to 5.0
    // is 40 08 XOR 40 14 = 00 1c: one byte from the second, window 0.
    second.extend([2 << 1, 0x80, 0xfa, 0x01, 0, 0b10, 0, 0x1c]);

    let file = [
        b"GYREWAL\0\x01\0\0\0".to_vec(),
        record(1, &[]),
        record(2, b"\0tenant/0-of-1@1"),
        record(3, &first),
        record(1, &[]),
        record(3, &second),
    ]
    .concat();
    let disk = SimDisk::default();
    put_file(&disk, "wal/0/0000000001.wal", &file);
    let shard = Shard::start(&disk, 1 << 20);
    assert_eq!((&shard.report.damage[..], &shard.report.torn, shard.lost), (&[][..], &None, 0));
    let samples = |values: [(i64, f64); 2]| values.map(|(t, v)| (t, v.to_bits())).into_iter().collect();
    let expected: BTreeMap<String, BTreeMap<i64, u64>> = [
        ("a".to_owned(), samples([(1000, 1.0), (16_000, 1.0)])),
        ("b".to_owned(), samples([(1000, 3.0), (16_000, 5.0)])),
    ]
    .into();
    assert_eq!(shard.content(), expected);
}

#[test]
fn a_version_of_the_future_is_damage_with_a_place_not_garbage() {
    let disk = SimDisk::default();
    put_file(
        &disk,
        "wal/0/0000000001.wal",
        &[&b"GYREWAL\0\x02\0\0\0"[..], &record(1, &[]), &record(1, &[])].concat(),
    );
    let shard = Shard::start(&disk, 1 << 20);
    assert_eq!(shard.report.damage.len(), 1);
    assert_eq!(shard.report.damage[0].offset, 0);
    assert_eq!(shard.content(), Content::new());
}

/// A log and a snapshot with all that can be in them.
fn filled() -> (SimDisk, Content) {
    let disk = SimDisk::default();
    let mut shard = Shard::start(&disk, 2000);
    let mut sent = Content::new();
    for step in 0..60i64 {
        let value = |s: i64| ((step * 7 + s * 13) as f64).sqrt().to_bits();
        let mut batch: Vec<_> =
            (0..8 + step / 10).map(|s| (format!("m{s}"), step * 15_000, value(s))).collect();
        batch.extend((0..4).map(|s| (format!("h{s}"), step * 15_000, step as u64 * (s + 1))));
        batch.push(("x".to_owned(), step * 15_000, step as u64 / 10 * 10 + u64::from(step % 20 < 10)));
        if step % 7 == 6 {
            batch.push(("h2".to_owned(), step * 15_000 - 10_001, 1 << 50 | step as u64));
            batch.push(("m1".to_owned(), step * 15_000 - 20_001, value(99)));
        }
        shard.append(&batch);
        remember(&mut sent, &batch);
        shard.commit().unwrap();
        if step == 40 {
            shard.snapshot(|_| {});
        }
    }
    (disk, sent)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn files_changed_at_random_never_panic_and_never_make_up_a_sample(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..4, any::<u8>()), 1..6),
    ) {
        let (disk, sent) = filled();
        let mut files = disk.list(Path::new(LANE)).unwrap();
        files.extend(disk.list(Path::new(SNAPSHOTS)).unwrap());
        for (file, at, kind, byte) in changes {
            let file = file.get(&files);
            disk.damage(file, |bytes| {
                if bytes.is_empty() {
                    return;
                }
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.truncate(at),
                    2 => bytes.insert(at, byte),
                    _ => drop(bytes.drain(at..(at + usize::from(byte)).min(bytes.len()))),
                }
            }).unwrap();
        }
        let content = Shard::start(&disk, 2000).content();
        for (name, samples) in &content {
            for (t, v) in samples {
                prop_assert_eq!(sent.get(name).and_then(|s| s.get(t)), Some(v), "phantom in {} at {}", name, t);
            }
        }
        // And what could be read once can be read again.
        prop_assert_eq!(Shard::start(&disk, 2000).content(), content);
    }
}
