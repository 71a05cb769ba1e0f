//! Files put together by hand from `docs/format/`, byte by byte, are read as the documents say; and files that were
//! changed at random are read without panic and without making anything up.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Content, LANE, SNAPSHOTS, STREAM, Shard, remember};
use gyre_tsdb::disk::{Disk, SimDisk};
use gyre_tsdb::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, Kind, Side, Span};
use gyre_tsdb::wal::StreamId;
use gyre_tsdb::{Appended, Decoded, Matcher, SeriesBatch, SeriesRef};
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
fn an_empty_batch_and_a_seal_written_by_hand_are_read_as_documented() {
    let mut empty = vec![3]; // stream 3
    empty.extend(BOOT);
    empty.extend([9, 1, 0]); // batch 9, frame 1, no new series, no runs
    let header = b"GYREWAL\0\x01\0\0\0".to_vec();
    let stream = [&[3][..], b"tenant/0-of-1@1"].concat();
    let start = |records: &[Vec<u8>]| {
        let disk = SimDisk::default();
        put_file(&disk, "wal/0/0000000001.wal", &[header.clone(), records.concat()].concat());
        Shard::start(&disk, 1 << 20)
    };
    let shard = start(&[record(1, &[]), record(2, &stream), record(3, &empty), record(5, &[3])]);
    assert_eq!((&shard.report.damage[..], &shard.report.torn), (&[][..], &None));
    assert_eq!((shard.batches, shard.sealed), ([9].into(), true));
    assert_eq!(shard.report.batches, 1, "a seal is no batch");
    // A seal of a stream that the file has not named seals nothing.
    let shard = start(&[record(1, &[]), record(2, &stream), record(5, &[4]), record(1, &[])]);
    assert_eq!((shard.report.damage.len(), shard.sealed), (1, false));
}

#[test]
fn histograms_in_a_log_written_by_hand_are_read_as_documented() {
    let name = |name: &[u8]| {
        [&[0x0a, 12 + name.len() as u8, 0x0a, 8][..], b"__name__", &[0x12, name.len() as u8], name].concat()
    };
    let mut payload = vec![0]; // stream 0
    payload.extend(BOOT);
    payload.extend([1, 1, 2, 0]); // batch 1, frame 1, two new series from number 0
    for labels in [name(b"f"), name(b"m")] {
        payload.push(labels.len() as u8);
        payload.extend(labels);
    }
    let mut histograms = vec![
        0,
        0xd0,
        0x0f,   // series 0 at 1000 ms
        2 | 16, // an integer histogram after a reset, with negative buckets
        6,      // schema 3
    ];
    histograms.extend(0.25f64.to_le_bytes()); // zero threshold
    histograms.extend(7.5f64.to_le_bytes()); // sum
    histograms.extend([9, 1]); // count, zero count
    histograms.extend([1, 3, 2]); // one span: offset -2, length 2
    histograms.extend([8, 5]); // 4, then 3 less: 1
    histograms.extend([2, 0, 1, 2, 1]); // two spans: 0 and 1 bucket; 1 and 1 bucket
    histograms.extend([2, 2]); // 1, then 1 more: 2
    histograms.extend([0, 0xb0, 0xea, 0x01]); // the same series, 15000 ms later
    histograms.push(8); // a stale marker
    histograms.extend([0, 0xb0, 0xea, 0x01, 1 | 6 | 32, 0x69]); // later still: a float gauge of schema -53
    histograms.extend(0f64.to_le_bytes());
    for float in [1.5f64, 2.25, 0.0] {
        histograms.extend(float.to_le_bytes()); // sum, count, zero count
    }
    histograms.extend([1, 0, 1]);
    histograms.extend(2.25f64.to_le_bytes());
    histograms.push(2);
    histograms.extend([0.5f64, 1.0].iter().flat_map(|bound| bound.to_le_bytes())); // two bounds
    payload.push(histograms.len() as u8);
    payload.extend(&histograms);
    payload.extend([1 << 1 | 1, 0xd0, 0x0f, 2, 1, 14, 0x3f, 0xf0, 0]); // and one float: 1.0 at 1000 ms in series 1

    let file = [
        b"GYREWAL\0\x01\0\0\0".to_vec(),
        record(1, &[]),
        record(2, b"\0tenant/0-of-1@1"),
        record(4, &payload),
    ];
    let disk = SimDisk::default();
    put_file(&disk, "wal/0/0000000001.wal", &file.concat());
    let shard = Shard::start(&disk, 1 << 20);
    assert_eq!((&shard.report.damage[..], &shard.report.torn, shard.lost), (&[][..], &None, 0));

    let span = |offset, length| Span { offset, length };
    let integer = Histogram {
        counter_reset: CounterReset::Unknown,
        schema: 3,
        zero_threshold: 0.25,
        zero_count: 1,
        count: 9,
        sum: 7.5f64.to_bits(),
        positive: Side { spans: vec![span(-2, 2)], counts: vec![4, 1] },
        negative: Side { spans: vec![span(0, 1), span(1, 1)], counts: vec![1, 2] },
        ..Histogram::default()
    };
    let float = Histogram {
        kind: Kind::Float,
        counter_reset: CounterReset::Gauge,
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 2.25f64.to_bits(),
        sum: 1.5f64.to_bits(),
        positive: Side { spans: vec![span(0, 1)], counts: vec![2.25f64.to_bits()] },
        bounds: [0.5, 1.0].into(),
        ..Histogram::default()
    };
    let all = vec![(1000, integer), (16_000, Histogram::stale(Kind::Integer)), (31_000, float)];
    assert_eq!(all_of(&shard, "f"), (vec![], all));
    assert_eq!(all_of(&shard, "m"), (vec![(1000, 1.0)], vec![]));
}

type Samples<T> = Vec<(i64, T)>;

/// Floats and histograms of a series.
fn all_of(shard: &Shard, name: &str) -> (Samples<f64>, Samples<Histogram>) {
    let mut batch = SeriesBatch::default();
    for series in shard.head.select(&[Matcher::equal("__name__", name)]) {
        shard.head.read(series, i64::MIN, i64::MAX, &mut batch);
    }
    let (mut times, mut values, mut histograms) = (Vec::new(), Vec::new(), Vec::new());
    for series in batch.series() {
        let mut histogram = |t_ms, sample: &Histogram| histograms.push((t_ms, sample.clone()));
        let mut to = Decoded { times: &mut times, values: &mut values, histogram: &mut histogram };
        batch.decode(series, (i64::MIN, i64::MAX), &mut to, &mut Vec::new()).unwrap();
    }
    (times.into_iter().zip(values).collect(), histograms)
}

/// A block of `docs/format/snapshot.md`.
fn block(kind: u8, raw: &[u8]) -> Vec<u8> {
    let compressed = snap::raw::Encoder::new().compress_vec(raw).unwrap();
    let mut out = vec![kind];
    out.extend((raw.len() as u32).to_le_bytes());
    out.extend((compressed.len() as u32).to_le_bytes());
    let crc = crc32c::crc32c(&[&out[..], &compressed].concat());
    out.extend(crc.to_le_bytes());
    out.extend(compressed);
    out
}

/// What a series begins with: key and labels.
fn series_named(name: u8) -> Vec<u8> {
    let labels = [&[0x0a, 13, 0x0a, 8][..], b"__name__", &[0x12, 1, name]].concat();
    let mut out = common::key(&labels).to_le_bytes().to_vec();
    out.push(labels.len() as u8);
    out.extend(labels);
    out
}

/// A float series as in version 1: one sample in the open chunk, 1.0 at 1000 ms, and 2.0 at 500 ms that came late.
fn float_series() -> Vec<u8> {
    let mut out = series_named(b'a');
    out.extend([1, 0xd0, 0x0f]); // has samples, the newest at 1000 ms
    out.extend(1f64.to_le_bytes());
    out.extend([1, 0, 0xff, 0]); // one sample in the open chunk; no delta, no window yet
    let chunk = [&[0, 1, 0xd0, 0x0f][..], &1f64.to_be_bytes()].concat();
    out.extend([chunk.len() as u8 * 8, chunk.len() as u8]);
    out.extend(chunk);
    out.extend([0, 0, 1, 0xe8, 0x07]); // nothing sealed, one late sample
    out.extend(2f64.to_le_bytes());
    out
}

/// A snapshot of series whose numbers are those below `end`.
fn snapshot_of(version: u8, series: &[Vec<u8>], end: u8) -> Shard {
    let file = [
        [b"GYRESNAP".as_slice(), &[version, 0, 0, 0]].concat(),
        block(1, &[1, 12]), // the log from file 1, byte 12 on
        block(2, &series.concat()),
        block(3, &[end, 1, 12]), // nothing was sealed
    ];
    let disk = SimDisk::default();
    put_file(&disk, &format!("{SNAPSHOTS}/0000000001.snapshot"), &file.concat());
    Shard::start(&disk, 1 << 20)
}

#[test]
fn snapshots_of_earlier_versions_written_by_hand_are_read_as_documented() {
    let floats = (vec![(500, 2.0), (1000, 1.0)], vec![]);
    assert_eq!(all_of(&snapshot_of(1, &[float_series()], 1), "a"), floats);

    // One integer histogram of schema 0 in the open chunk, at 1000 ms, and a stale marker at 500 ms that came late.
    let mut series = series_named(b'h');
    let flags = series.len();
    series.extend([1 | 2 | 4, 0xd0, 0x0f]);
    series.extend([0; 8]); // no float
    series.extend([0, 0, 0, 0]); // no open chunk of floats, nothing sealed, no late floats
    let chunk = bytes_of_bits(&[
        "0000000000000001 00000000",         // one sample, nothing known of a reset
        "00000000 0",                        // zero threshold 0, schema 0
        "10001 10001 0",                     // one positive span: length 1, offset 0
        "0",                                 // no negative spans
        "11110001111101000 10011 0",         // at 1000 ms, count 3, none in the zero bucket
        &format!("{:064b}", 4f64.to_bits()), // sum 4.0
        "10011",                             // 3 in the bucket
    ]);
    series.extend([2, 0xd0, 0x0f, 0x80, 0xf4, 0xee, 0x06, 0]); // integers, from 1000 ms to 7200000 ms
    series.push(chunk.len() as u8);
    series.extend(chunk);
    series.extend([1, 0xe8, 0x07, 8]);
    let shard = snapshot_of(2, &[float_series(), series.clone()], 2);
    assert_eq!(all_of(&shard, "a"), floats);
    let positive = Side { spans: vec![Span { offset: 0, length: 1 }], counts: vec![3] };
    let open = Histogram { count: 3, sum: 4f64.to_bits(), positive, ..Histogram::default() };
    let late = (500, Histogram::stale(Kind::Integer));
    assert_eq!(all_of(&shard, "h"), (vec![], vec![late.clone(), (1000, open.clone())]));

    // The same after its chunk was released: there to be compared with, not to be read.
    series[flags] |= 8;
    let mut shard = snapshot_of(2, &[series.clone()], 1);
    assert_eq!(all_of(&shard, "h"), (vec![], vec![late.clone()]));
    assert_eq!(shard.head.append_histogram(SeriesRef(0), 1000, &open), Appended::Again);
    assert_eq!(shard.head.append_histogram(SeriesRef(0), 1000, &Histogram::default()), Appended::Conflict);
    // And after it has stopped, too.
    series[flags] &= !2;
    let late_at = series.len() - 4;
    series.drain(flags + 1 + 2 + 8 + 4..late_at);
    let mut shard = snapshot_of(2, &[series], 1);
    assert_eq!(all_of(&shard, "h"), (vec![], vec![late]));
    assert!(!shard.head.is_late(SeriesRef(0), 1000) && shard.head.is_late(SeriesRef(0), 999));
    assert_eq!(shard.head.append_histogram(SeriesRef(0), 1001, &open), Appended::InOrder);
}

#[test]
fn a_snapshot_written_by_hand_that_leaves_out_series_is_read_as_documented() {
    // Numbers 0, 1 and 3 to 5 are of series that are gone; after 2 there is 6, and at the end 7 and 8 are gone.
    let other = [series_named(b'b').as_slice(), &float_series()[series_named(b'a').len()..]].concat();
    let series = [[&[2][..], &float_series()].concat(), [&[3][..], &other].concat()];
    let shard = snapshot_of(3, &series, 9);
    let floats = (vec![(500, 2.0), (1000, 1.0)], vec![]);
    assert_eq!(all_of(&shard, "a"), floats);
    assert_eq!(all_of(&shard, "b"), floats);
    assert_eq!(shard.head.series_from(SeriesRef(0)).collect::<Vec<_>>(), [SeriesRef(2), SeriesRef(6)]);
    let gone: Vec<u32> = (0..10).filter(|number| shard.head.is_gone(SeriesRef(*number))).collect();
    assert_eq!(gone, [0, 1, 3, 4, 5, 7, 8]);
    assert_eq!(shard.head.series_end(), SeriesRef(9));
}

/// Bits written as text, filled up with zeros to whole bytes.
fn bytes_of_bits(parts: &[&str]) -> Vec<u8> {
    let bits: Vec<u8> = parts.concat().bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
    let byte = |bits: &[u8]| bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | bit << (7 - at));
    bits.chunks(8).map(byte).collect()
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

#[test]
fn records_that_are_as_they_were_written_are_never_cut_off_as_torn() {
    let header = b"GYREWAL\0\x01\0\0\0".to_vec();
    let stream = [&[0][..], b"tenant/0-of-1@1"].concat();
    let batch = [&[0][..], &BOOT, &[1, 1, 0]].concat();
    let mut lost_name = record(2, &stream);
    lost_name[14] ^= 1;
    for (records, damaged_bytes) in [
        // The last record is of a type of the future.
        (vec![record(1, &[]), record(2, &stream), record(99, b"news")], vec![17]),
        // The last record is of a stream whose name was lost.
        (
            vec![record(1, &[]), lost_name.clone(), record(1, &[]), record(3, &batch)],
            vec![lost_name.len() as u64, batch.len() as u64 + 13],
        ),
    ] {
        let file = [header.clone(), records.concat()].concat();
        let disk = SimDisk::default();
        put_file(&disk, "wal/0/0000000001.wal", &file);
        let shard = Shard::start(&disk, 1 << 20);
        assert_eq!(shard.report.torn, None);
        assert_eq!(shard.report.damage.iter().map(|d| d.bytes).collect::<Vec<_>>(), damaged_bytes);
        assert_eq!(disk.read(Path::new("wal/0/0000000001.wal")).unwrap(), file);
    }
}

/// A log and a snapshot with all that can be in them; whether the log ends with a seal.
fn filled(sealed: bool) -> (SimDisk, Content) {
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
    shard.append(&[]);
    if sealed {
        shard.encoder.seal(StreamId(0), STREAM);
    }
    shard.commit().unwrap();
    (disk, sent)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn files_changed_at_random_never_panic_and_never_make_up_a_sample(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..4, any::<u8>()), 1..6),
        sealed in any::<bool>(),
    ) {
        let (disk, sent) = filled(sealed);
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
        let shard = Shard::start(&disk, 2000);
        prop_assert!(sealed || !shard.sealed, "a seal is made up");
        prop_assert_eq!(shard.batches.range(62..).next(), None, "61 batches were written");
        let content = shard.content();
        for (name, samples) in &content {
            for (t, v) in samples {
                prop_assert_eq!(sent.get(name).and_then(|s| s.get(t)), Some(v), "phantom in {} at {}", name, t);
            }
        }
        // And what could be read once can be read again.
        prop_assert_eq!(Shard::start(&disk, 2000).content(), content);
    }
}
