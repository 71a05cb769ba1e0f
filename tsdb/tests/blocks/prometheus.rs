//! A real Prometheus: blocks it made are read here, native histograms included, and it serves blocks made here.

use std::collections::BTreeMap;
use std::sync::Arc;

use gyre_tsdb::block::{Block, Meta, Ulid, compact, verify};
use gyre_tsdb::disk::OsDisk;
use gyre_tsdb::histogram::{Histogram, Kind, Side, Span};
use gyre_tsdb::labels;
use gyre_tsdb::winner::Value;

use super::peers::{Prometheus, is_absent};
use super::scene::{LabelSet, Model, Sample, float_chunks, histogram_chunks, model_of, read, write};

/// Protocol Buffers, as much as remote write takes.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, mut value: u64) {
        self.varint(field << 3);
        loop {
            let low = value as u8 & 0x7f;
            value >>= 7;
            self.0.push(if value > 0 { low | 0x80 } else { low });
            if value == 0 {
                break;
            }
        }
    }

    fn varint(&mut self, value: u64) {
        let mut value = value;
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn signed(&mut self, field: u64, value: i64) {
        self.number(field, (value << 1 ^ value >> 63) as u64);
    }

    fn double(&mut self, field: u64, bits: u64) {
        self.varint(field << 3 | 1);
        self.0.extend(bits.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }
}

fn histogram_message(t_ms: i64, histogram: &Histogram) -> Message {
    let mut message = Message::default();
    match histogram.kind {
        Kind::Integer => message.number(1, histogram.count),
        Kind::Float => message.double(2, histogram.count),
    }
    message.double(3, histogram.sum);
    message.signed(4, i64::from(histogram.schema));
    message.double(5, histogram.zero_threshold.to_bits());
    match histogram.kind {
        Kind::Integer => message.number(6, histogram.zero_count),
        Kind::Float => message.double(7, histogram.zero_count),
    }
    for (field, side) in [(8, &histogram.negative), (11, &histogram.positive)] {
        for span in &side.spans {
            let mut inner = Message::default();
            inner.signed(1, i64::from(span.offset));
            inner.number(2, u64::from(span.length));
            message.bytes(field, &inner.0);
        }
        let mut packed = Message::default();
        let mut last = 0;
        for count in &side.counts {
            match histogram.kind {
                Kind::Integer => {
                    let delta = count.wrapping_sub(last) as i64;
                    packed.varint((delta << 1 ^ delta >> 63) as u64);
                }
                Kind::Float => packed.0.extend(count.to_le_bytes()),
            }
            last = *count;
        }
        message.bytes(field + if histogram.kind == Kind::Integer { 1 } else { 2 }, &packed.0);
    }
    message.number(15, t_ms as u64);
    message
}

/// Grows, gets more buckets, and is reset now and then.
fn grown(step: u64, kind: Kind) -> Histogram {
    // Prometheus 2.42 takes a float histogram without observations for one of integers.
    let since = step % 90 + 1;
    let word = |count: u64| if kind == Kind::Integer { count } else { (count as f64 / 2.0).to_bits() };
    let buckets = 2 + since / 10;
    let counts: Vec<u64> = (0..buckets).map(|bucket| since * (bucket + 1)).collect();
    let count = counts.iter().sum::<u64>() + 2 * since;
    let positive = Side {
        spans: vec![Span { offset: -2, length: buckets as u32 }],
        counts: counts.iter().map(|count| word(*count)).collect(),
    };
    let negative = Side { spans: vec![Span { offset: 1, length: 1 }], counts: vec![word(since)] };
    Histogram {
        kind,
        schema: 2,
        zero_threshold: 0.001,
        zero_count: word(since),
        count: word(count),
        sum: (step as f64 * 1.5).to_bits(),
        positive,
        negative,
        ..Histogram::default()
    }
}

const STEP_MS: i64 = 15_000;
/// Less than an hour: Prometheus takes nothing that is older than its newest sample by more.
const STEPS: i64 = 220;

fn labels_of(name: &str) -> LabelSet {
    vec![("__name__".to_owned(), name.to_owned()), ("job".to_owned(), "test é".to_owned())]
}

fn histograms(begin_ms: i64, kind: Kind) -> Vec<(i64, Histogram)> {
    (0..STEPS).map(|step| (begin_ms + step * STEP_MS, grown(step as u64, kind))).collect()
}

fn floats(begin_ms: i64) -> Vec<(i64, u64)> {
    (0..STEPS).map(|step| (begin_ms + step * STEP_MS, (step as f64 / 3.0).to_bits())).collect()
}

/// Near now: Prometheus takes nothing old.
fn begin_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis() as i64 / STEP_MS * STEP_MS - STEPS * STEP_MS
}

#[test]
fn a_snapshot_of_prometheus_holds_here_what_was_sent_to_it_and_survives_compaction() {
    if is_absent("prometheus") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let prometheus = Prometheus::start(&data);
    let begin_ms = begin_ms();
    let mut expected = Model::new();
    let send = |name: &str, samples: Vec<(i64, Message, u64)>| {
        let labels = labels_of(name);
        let mut series =
            Message(labels::encode(labels.iter().map(|(name, value)| (name.as_str(), value.as_str()))));
        for (_, sample, field) in &samples {
            series.bytes(*field, &sample.0);
        }
        let mut request = Message::default();
        request.bytes(1, &series.0);
        let body = snap::raw::Encoder::new().compress_vec(&request.0).unwrap();
        prometheus.request("POST", "/api/v1/write", &body);
    };
    let samples = floats(begin_ms);
    let message = |(t_ms, bits): &(i64, u64)| {
        let mut sample = Message::default();
        sample.double(1, *bits);
        sample.number(2, *t_ms as u64);
        (*t_ms, sample, 2)
    };
    send("floats", samples.iter().map(message).collect());
    let own = samples.into_iter().map(|(t_ms, bits)| (t_ms, Sample::Float(bits)));
    expected.insert(labels_of("floats"), own.collect());
    // No gauges: 2.42 fails to make a block of them ("unexpected counter reset").
    for (name, kind) in [("integers", Kind::Integer), ("float_histograms", Kind::Float)] {
        let samples = histograms(begin_ms, kind);
        send(name, samples.iter().map(|(t, h)| (*t, histogram_message(*t, h), 4)).collect());
        let own = samples.iter().map(|(t_ms, h)| (*t_ms, Sample::of(Value::Histogram(h))));
        expected.insert(labels_of(name), own.collect());
    }
    let answer = prometheus.request("POST", "/api/v1/admin/tsdb/snapshot", &[]);
    let snapshot = data.join("snapshots").join(answer["data"]["name"].as_str().unwrap());
    let mut blocks = Vec::new();
    for entry in std::fs::read_dir(snapshot).unwrap() {
        let path = entry.unwrap().path();
        if path.join("meta.json").exists() {
            blocks.push(Block::open(&OsDisk, &path).unwrap());
        }
    }
    let mut got = Model::new();
    for block in &blocks {
        let findings: Vec<String> = verify(block).iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{findings:?}");
        for (labels, samples) in read(block).unwrap() {
            got.entry(labels).or_default().extend(samples);
        }
    }
    assert_eq!(got.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(got == expected, "other samples than those sent");

    let metas: Vec<&Meta> = blocks.iter().map(|block| &block.meta).collect();
    let out = folder.path().join("compacted");
    let meta = Meta::of_whole(Ulid::new(9, 9), &metas);
    let meta = compact(Arc::new(OsDisk), &out, &blocks, None, meta).unwrap().unwrap();
    let block = Block::open(&OsDisk, &out.join(meta.ulid.to_string())).unwrap();
    assert!(read(&block).unwrap() == expected, "other samples after compaction");
}

#[test]
fn prometheus_serves_native_histograms_of_blocks_made_here() {
    if is_absent("prometheus") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let begin_ms = begin_ms();
    let kinds = [("integers", Kind::Integer), ("float_histograms", Kind::Float)];
    let mut series = BTreeMap::from([(labels_of("floats"), float_chunks(&floats(begin_ms), 120))]);
    for (name, kind) in kinds {
        series.insert(labels_of(name), histogram_chunks(&histograms(begin_ms, kind)));
    }
    let end_ms = begin_ms + STEPS * STEP_MS;
    let meta = Meta::of_head(Ulid::new(begin_ms as u64, 1), begin_ms, end_ms);
    write(Arc::new(OsDisk), &data, meta, &series, 1 << 20).unwrap();
    assert_eq!(model_of(&series).len(), 3);
    let prometheus = Prometheus::start(&data);
    let query = |expression: &str| {
        let path = format!("/api/v1/query?time={}&query={expression}", end_ms / 1000);
        let answer = prometheus.request("GET", &path, &[]);
        answer["data"]["result"][0].clone()
    };
    let floats_served = query("floats[10h]");
    assert_eq!(floats_served["values"].as_array().map(Vec::len), Some(STEPS as usize));
    for (name, kind) in kinds {
        let served = query(&format!("{name}[10h]"));
        let served =
            served["histograms"].as_array().unwrap_or_else(|| panic!("no histograms: {served}")).clone();
        let own = histograms(begin_ms, kind);
        assert_eq!(served.len(), own.len());
        for (served, (t_ms, histogram)) in served.iter().zip(&own) {
            let number = |field: &str| served[1][field].as_str().unwrap().parse::<f64>().unwrap();
            assert_eq!((served[0].as_f64().unwrap() * 1000.0).round() as i64, *t_ms);
            assert_eq!(number("count"), kind.value(histogram.count));
            assert_eq!(number("sum"), f64::from_bits(histogram.sum));
            let buckets = served[1]["buckets"].as_array().map_or(0.0, |buckets| {
                buckets.iter().map(|bucket| bucket[3].as_str().unwrap().parse::<f64>().unwrap()).sum()
            });
            assert_eq!(buckets, kind.value(histogram.count), "buckets add up to the count");
        }
    }
}
