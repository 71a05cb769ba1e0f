//! The compact form of samples: bytes as documented, what is sent comes back, any bytes are survived.

use std::collections::HashMap;

use gyre::rpc::samples::{BatchWriter, Decoder, EncodeError, Encoder, SampleBatch, SampleSource};
use gyre_ring::SeriesKey;
use proptest::prelude::*;

/// A series, its labels, its samples.
#[derive(Clone, Debug)]
pub struct Given {
    pub key: u128,
    pub labels: Vec<u8>,
    pub samples: Vec<(i64, u64)>,
    pub histograms: Vec<(i64, Vec<u8>)>,
}

#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub segment: String,
    pub series: Vec<Given>,
    pub repeats_labels: bool,
}

impl SampleSource for Batch {
    fn segment(&self) -> &str {
        &self.segment
    }

    fn shard(&self) -> &str {
        self.segment.split('@').next().unwrap_or_default()
    }

    fn series_len(&self) -> usize {
        self.series.len()
    }

    fn write_to(&self, out: &mut BatchWriter<'_>) {
        for series in &self.series {
            out.series(SeriesKey(series.key), || &series.labels);
            for &(t_ms, v_bits) in &series.samples {
                out.sample(t_ms, v_bits);
            }
            for (t_ms, message) in &series.histograms {
                out.histogram(*t_ms, message);
            }
        }
    }

    fn repeats_labels(&self) -> bool {
        self.repeats_labels
    }

    fn memory_bytes(&self) -> usize {
        self.series.iter().map(|series| series.labels.len() + 16 * series.samples.len()).sum()
    }
}

/// A series with floats only.
pub fn floats(key: u128, labels: &str, samples: &[(i64, f64)]) -> Given {
    let samples = samples.iter().map(|&(t_ms, value)| (t_ms, value.to_bits())).collect();
    Given { key, labels: labels.into(), samples, histograms: vec![] }
}

/// What a decoded batch says of each series, by position. Labels stand in `known` once they came.
pub fn read_back(batch: &SampleBatch, known: &mut HashMap<u128, Vec<u8>>) -> Vec<Given> {
    let given = |series: &gyre::rpc::samples::Series| {
        if let Some(labels) = batch.labels(series) {
            known.insert(series.key.0, labels.to_vec());
        }
        let labels = known.get(&series.key.0).expect("labels travel first").clone();
        Given { key: series.key.0, labels, samples: vec![], histograms: vec![] }
    };
    let mut all: Vec<Given> = batch.series.iter().map(given).collect();
    for sample in &batch.samples {
        all[sample.series as usize].samples.push((sample.t_ms, sample.v_bits));
    }
    for sample in &batch.histograms {
        let message = batch.histogram(sample).to_vec();
        all[sample.series as usize].histograms.push((sample.t_ms, message));
    }
    all
}

fn assert_same(sent: &Batch, got: &SampleBatch, known: &mut HashMap<u128, Vec<u8>>) {
    assert_eq!(got.segment, sent.segment);
    let got = read_back(got, known);
    assert_eq!(got.len(), sent.series.len());
    for (got, sent) in got.iter().zip(&sent.series) {
        assert_eq!((got.key, &got.labels), (sent.key, &sent.labels));
        assert_eq!((&got.samples, &got.histograms), (&sent.samples, &sent.histograms));
    }
}

fn encode(encoder: &mut Encoder, batch: &Batch) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.encode(batch, &mut out).unwrap();
    out
}

/// Two segments, twenty series whose labels follow from their keys, in any order, some of them twice.
fn batches() -> impl Strategy<Value = Vec<Batch>> {
    let value = prop_oneof![
        Just(0),
        Just(1.5f64.to_bits()),
        any::<u64>(),
        (0..99u8).prop_map(|n| f64::from(n).to_bits())
    ];
    let t_ms = prop_oneof![Just(1_700_000_000_000), 1_700_000_000_000..1_700_000_060_000i64, any::<i64>()];
    let samples = prop::collection::vec((t_ms.clone(), value), 0..4);
    let histograms = prop::collection::vec((t_ms, prop::collection::vec(any::<u8>(), 0..20)), 0..2);
    let series = (0..20u128, samples, histograms).prop_map(|(key, samples, histograms)| {
        let labels = vec![key as u8; key as usize];
        Given { key: (key << 64) | (key / 2), labels, samples, histograms }
    });
    let batch = (0..2, prop::collection::vec(series, 0..30), prop::bool::weighted(0.1));
    let batch = batch.prop_map(|(segment, series, repeats_labels)| Batch {
        segment: format!("acme/{segment}-of-2@7"),
        series,
        repeats_labels,
    });
    prop::collection::vec(batch, 1..12)
}

proptest! {
    /// The bound on ids is met again and again: what is forgotten is sent anew.
    #[test]
    fn what_is_sent_comes_back(batches in batches(), ids_max in 30..200u32) {
        let (mut encoder, mut decoder) = (Encoder::new(ids_max), Decoder::new(ids_max));
        let (mut got, mut known) = (SampleBatch::default(), HashMap::new());
        for batch in &batches {
            decoder.decode(&encode(&mut encoder, batch), &mut got).unwrap();
            assert_same(batch, &got, &mut known);
            prop_assert_eq!(decoder.series_ids(), encoder.series_ids());
            prop_assert!(decoder.series_ids() <= ids_max as usize);
        }
    }

    #[test]
    fn any_bytes_are_a_batch_or_an_error(chunks: Vec<Vec<u8>>) {
        let (mut decoder, mut batch) = (Decoder::new(1000), SampleBatch::default());
        for bytes in chunks {
            let _ = decoder.decode(&bytes, &mut batch);
        }
    }

    /// Bytes near those of real batches get further than random ones.
    #[test]
    fn changed_bytes_are_a_batch_or_an_error(batches in batches(), at: prop::sample::Index, byte: u8, cut: bool) {
        let (mut encoder, mut decoder) = (Encoder::new(1000), Decoder::new(1000));
        let mut batch = SampleBatch::default();
        for sent in &batches {
            let mut bytes = encode(&mut encoder, sent);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if cut {
                bytes.truncate(at);
            }
            if decoder.decode(&bytes, &mut batch).is_err() {
                break;
            }
            for series in &batch.series {
                let _ = batch.labels(series);
            }
        }
    }
}

#[test]
fn bytes_are_as_documented() {
    let mut encoder = Encoder::new(100);
    let first = Batch {
        segment: "a/0-of-1@1".into(),
        series: vec![floats(0x0102, "x", &[(1000, 1.0)]), floats(0x0304, "", &[(1000, 0.0)])],
        repeats_labels: false,
    };
    let key = |low: [u8; 2]| [&low[..], &[0; 14]].concat();
    let expected = [
        &[0][..], // forget nothing
        &[0, 10], // segment 0 is new
        b"a/0-of-1@1",
        &[2],          // two series
        &[2 << 1 | 1], // both in one group, new
        &key([2, 1]),
        &[1, b'x'],
        &key([4, 3]),
        &[0],
        &[2],          // two samples
        &[2],          // in one run
        &[0xd0, 0x0f], // 1000 zig-zagged is 2000
        &[0],          // from position 0
        &[0b01],       // the second one has the value that a new series has, zero
        &[7],          // 1.0 is 3f f0 00 ...: window 7 is its first two bytes
        &[0x3f, 0xf0],
        &[0], // no histograms
    ]
    .concat();
    assert_eq!(encode(&mut encoder, &first), expected);

    let mut second = first.clone();
    second.series.reverse();
    second.series[0].samples = vec![(2000, 3.0f64.to_bits())];
    second.series[0].histograms = vec![(2000, vec![0xaa, 0xbb])];
    second.series[1].samples = vec![(2000, 1.5f64.to_bits())];
    let expected = [
        &[0][..],            // forget nothing
        &[0],                // segment 0
        &[2],                // two series
        &[1 << 1, 2],        // one of them with id 1: plus 1 zig-zagged
        &[1 << 1, 3],        // one with id 0: 2 less than the 2 that would follow
        &[2],                // two samples
        &[2, 0xa0, 0x1f, 0], // in one run, at 2000, from position 0
        &[0b11],             // both changed
        &[0x07],             // 3.0 is 40 08 ..., all of it changed; 1.5 is 3f f8: the second byte, window 0
        &[0x40, 0x08],
        &[0x08],
        &[1],          // one histogram
        &[0],          // at position 0
        &[0xa0, 0x1f], // at 2000
        &[2, 0xaa, 0xbb],
    ]
    .concat();
    assert_eq!(encode(&mut encoder, &second), expected);
}

#[test]
fn labels_travel_once_or_when_asked_for() {
    let (mut encoder, mut decoder) = (Encoder::new(100), Decoder::new(100));
    let mut batch = Batch {
        segment: "s".into(),
        series: vec![floats(1, "name=one", &[(1, 1.0)])],
        repeats_labels: false,
    };
    let mut labels = Vec::new();
    for repeats_labels in [false, false, true, false] {
        batch.repeats_labels = repeats_labels;
        let mut got = SampleBatch::default();
        decoder.decode(&encode(&mut encoder, &batch), &mut got).unwrap();
        labels.push(got.labels(&got.series[0]).map(|labels| String::from_utf8(labels.to_vec()).unwrap()));
    }
    let sent = || Some("name=one".to_owned());
    assert_eq!(labels, [sent(), None, sent(), None]);
}

#[test]
fn what_is_not_used_any_more_after_segments_have_ended_is_forgotten() {
    let (mut encoder, mut decoder) = (Encoder::new(100_000), Decoder::new(100_000));
    let mut known = HashMap::new();
    let mut send = |shard: usize, epoch: usize| {
        let series = (0..10).map(|key| floats(key, "x", &[(epoch as i64, 1.0)])).collect();
        let batch = Batch { segment: format!("{shard}@{epoch}"), series, repeats_labels: false };
        let mut got = SampleBatch::default();
        decoder.decode(&encode(&mut encoder, &batch), &mut got).unwrap();
        assert_same(&batch, &got, &mut known);
        assert_eq!(encoder.series_ids(), decoder.series_ids());
        encoder.series_ids()
    };
    // Of 20 shards 10 go elsewhere, and 5 of the others have new segments.
    let mut ids = Vec::new();
    for _ in 0..20 {
        (0..20).for_each(|shard| ids.push(send(shard, 1)));
    }
    assert_eq!(ids.pop(), Some(200));
    for _ in 0..20 {
        (0..10).for_each(|shard| ids.push(send(shard, 1 + usize::from(shard < 5))));
    }
    assert_eq!(ids.last(), Some(&100), "what is used");
    assert_eq!(ids.iter().max(), Some(&250));
    // One of ten has a new segment: little is not used any more, and labels do not travel again.
    for _ in 0..20 {
        (0..10)
            .for_each(|shard| ids.push(send(shard, if shard < 5 { 2 } else { 1 + usize::from(shard == 9) })));
    }
    assert_eq!(ids.last(), Some(&110));
    // What is late for an ended segment is sent all the same.
    assert_eq!(send(1, 1), 120);
}

#[test]
fn a_batch_that_was_encoded_and_not_written_is_forgotten_by_the_next() {
    let (mut encoder, mut decoder) = (Encoder::new(100), Decoder::new(100));
    let batch =
        Batch { segment: "s".into(), series: vec![floats(1, "x", &[(1, 1.0)])], repeats_labels: false };
    encode(&mut encoder, &batch);
    encoder.forget();
    let mut got = SampleBatch::default();
    decoder.decode(&encode(&mut encoder, &batch), &mut got).unwrap();
    assert_same(&batch, &got, &mut HashMap::new());
}

#[test]
fn more_than_a_connection_holds_is_refused_by_name_and_the_next_batch_is_whole() {
    let (mut encoder, mut decoder) = (Encoder::new(5), Decoder::new(5));
    let series = |keys: std::ops::Range<u128>| keys.map(|key| floats(key, "x", &[(1, 1.0)])).collect();
    let batch = |series| Batch { segment: "s".into(), series, repeats_labels: false };
    let mut got = SampleBatch::default();
    decoder.decode(&encode(&mut encoder, &batch(series(0..4))), &mut got).unwrap();
    let mut out = vec![9];
    let error = encoder.encode(&batch(series(0..6)), &mut out).unwrap_err();
    assert_eq!(error, EncodeError::TooMany { what: "series", got: 6, max: 5 });
    assert_eq!(error.to_string(), "the batch has 6 series, at most 5 can be sent");
    assert_eq!(out, [9], "nothing was appended");
    let long_name = Batch { segment: "s".repeat(256), ..batch(vec![]) };
    assert!(encoder.encode(&long_name, &mut out).unwrap_err().to_string().contains("segment's name"));
    let next = batch(series(2..5));
    decoder.decode(&encode(&mut encoder, &next), &mut got).unwrap();
    assert_same(&next, &got, &mut HashMap::new());
}

#[test]
fn a_decoder_holds_no_more_than_it_said() {
    let series = |keys: std::ops::Range<u128>| keys.map(|key| floats(key, "x", &[(1, 1.0)])).collect();
    let mut encoder = Encoder::new(1000);
    let bytes =
        encode(&mut encoder, &Batch { segment: "s".into(), series: series(0..11), repeats_labels: false });
    let error = Decoder::new(10).decode(&bytes, &mut SampleBatch::default()).unwrap_err();
    assert_eq!(error.section, "list of series");
}

#[test]
fn a_decoder_claims_no_memory_for_what_is_only_announced() {
    // A few bytes that announce a million of each.
    let million = [0x80, 0x80, 0x40];
    let head = [0, 0, 1, b's'];
    for section in [&[][..], &[0], &[0, 0]] {
        let mut got = SampleBatch::default();
        let bytes = [&head[..], section, &million].concat();
        assert!(Decoder::new(10).decode(&bytes, &mut got).is_err());
        assert!(got.memory_bytes() < 1000, "{} bytes", got.memory_bytes());
    }
}
