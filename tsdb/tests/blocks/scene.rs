//! Blocks from a model and back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gyre_tsdb::block::{Block, BlockError, BlockWriter, Meta, NewChunk, Ulid};
use gyre_tsdb::chunk::{histogram, xor};
use gyre_tsdb::disk::{Disk, SimDisk};
use gyre_tsdb::histogram::{CounterReset, Histogram};
use gyre_tsdb::labels::Labels;
use gyre_tsdb::winner::Value;
use proptest::prelude::*;

pub const FOLDER: &str = "blocks";

/// Names and values in order of names.
pub type LabelSet = Vec<(String, String)>;

#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    Float(u64),
    /// What is said of its predecessor does not count.
    Histogram(Box<Histogram>),
}

/// All samples, by series and time.
pub type Model = BTreeMap<LabelSet, BTreeMap<i64, Sample>>;

impl Sample {
    pub fn of(value: Value<'_>) -> Self {
        match value {
            Value::Float(bits) => Sample::Float(bits),
            Value::Histogram(histogram) => {
                let counter_reset = match histogram.counter_reset {
                    CounterReset::Gauge => CounterReset::Gauge,
                    _ => CounterReset::Unknown,
                };
                // Buckets without observations may come and go.
                let mut plain = Histogram { counter_reset, ..histogram.clone() };
                (plain.positive, plain.negative) = (Default::default(), Default::default());
                let bytes = histogram.canonical_bytes();
                // Everything else is in the canonical bytes: keep them as counts.
                plain.positive.counts = bytes.into_iter().map(u64::from).collect();
                Sample::Histogram(Box::new(plain))
            }
        }
    }
}

/// A chunk with its times.
#[derive(Clone, Debug)]
pub struct OwnChunk {
    pub encoding: u8,
    pub data: Vec<u8>,
    pub min_ms: i64,
    pub max_ms: i64,
}

impl OwnChunk {
    pub fn as_new(&self) -> NewChunk<'_> {
        NewChunk { encoding: self.encoding, data: &self.data, min_ms: self.min_ms, max_ms: self.max_ms }
    }
}

/// Chunks of floats of so many samples.
pub fn float_chunks(samples: &[(i64, u64)], per_chunk: usize) -> Vec<OwnChunk> {
    let chunk = |samples: &[(i64, u64)]| OwnChunk {
        encoding: xor::ENCODING,
        data: xor::encode(samples),
        min_ms: samples[0].0,
        max_ms: samples[samples.len() - 1].0,
    };
    samples.chunks(per_chunk).map(chunk).collect()
}

/// As few chunks of histograms as there can be.
pub fn histogram_chunks(samples: &[(i64, Histogram)]) -> Vec<OwnChunk> {
    let own = |encoder: &histogram::Encoder, min_ms| OwnChunk {
        encoding: encoder.encoding(),
        data: encoder.bytes().to_vec(),
        min_ms,
        max_ms: encoder.t_ms(),
    };
    let mut chunks = Vec::new();
    let mut open: Option<(histogram::Encoder, i64)> = None;
    for (t_ms, sample) in samples {
        let header = match &mut open {
            None => sample.counter_reset,
            Some((encoder, _)) => match encoder.append(*t_ms, sample) {
                Ok(()) => continue,
                Err(header) => header,
            },
        };
        chunks.extend(open.take().map(|(encoder, begin)| own(&encoder, begin)));
        open = Some((histogram::Encoder::begin(header, *t_ms, sample), *t_ms));
    }
    chunks.extend(open.map(|(encoder, begin)| own(&encoder, begin)));
    chunks
}

/// Writes a block in the folder of blocks.
pub fn write(
    disk: Arc<dyn Disk>,
    folder: &Path,
    meta: Meta,
    series: &BTreeMap<LabelSet, Vec<OwnChunk>>,
    segment_bytes_max: u64,
) -> Result<Option<Meta>, BlockError> {
    let mut writer = BlockWriter::with_segment_bytes(disk, folder, meta, segment_bytes_max)?;
    let texts = series.keys().flatten().flat_map(|(name, value)| [name, value]);
    let symbols: BTreeSet<&[u8]> = texts.map(|text| text.as_bytes()).collect();
    let mut references = BTreeMap::new();
    for symbol in symbols {
        references.insert(symbol, writer.symbol(symbol)?);
    }
    for (labels, chunks) in series {
        let reference = |text: &String| references[text.as_bytes()];
        let labels: Vec<_> = labels.iter().map(|(name, value)| (reference(name), reference(value))).collect();
        let chunks: Vec<_> = chunks.iter().map(OwnChunk::as_new).collect();
        writer.series(&labels, &chunks)?;
    }
    writer.finish()
}

/// What is written, in the memory of a simulated disk, opened.
pub fn written(
    meta: Meta,
    series: &BTreeMap<LabelSet, Vec<OwnChunk>>,
    segment_bytes_max: u64,
) -> (SimDisk, Block) {
    let disk = SimDisk::default();
    let meta =
        write(Arc::new(disk.clone()), Path::new(FOLDER), meta, series, segment_bytes_max).unwrap().unwrap();
    let block = Block::open(&disk, &path_of(meta.ulid)).unwrap();
    assert_eq!(block.meta, meta);
    (disk, block)
}

pub fn path_of(ulid: Ulid) -> PathBuf {
    Path::new(FOLDER).join(ulid.to_string())
}

/// Everything in a block, tombstones left alone.
pub fn read(block: &Block) -> Result<Model, BlockError> {
    let header = block.header()?;
    let mut chunks = block.chunks();
    let mut stream = block.series()?;
    let mut model = Model::new();
    while let Some((_, series)) = stream.advance()? {
        let mut bytes = Vec::new();
        header.put_labels(series, &mut bytes)?;
        let labels = label_set(Labels::parse(&bytes).expect("labels in order"));
        let samples = model.entry(labels).or_default();
        for place in &series.chunks {
            let mut times = Vec::new();
            chunks.read(place.at)?.decode(place.at, |t_ms, value| {
                times.push(t_ms);
                assert!(samples.insert(t_ms, Sample::of(value)).is_none(), "a time is there once");
            })?;
            assert_eq!((times.first(), times.last()), (Some(&place.min_ms), Some(&place.max_ms)));
        }
    }
    Ok(model)
}

pub fn label_set(labels: Labels<'_>) -> LabelSet {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The model of chunks.
pub fn model_of(series: &BTreeMap<LabelSet, Vec<OwnChunk>>) -> Model {
    let mut model = Model::new();
    for (labels, chunks) in series {
        let samples = model.entry(labels.clone()).or_default();
        for chunk in chunks {
            let mut sample = |t_ms, value: Value<'_>| drop(samples.insert(t_ms, Sample::of(value)));
            match histogram::kind_of(chunk.encoding) {
                Some(kind) => {
                    histogram::decode(&chunk.data, kind, |t_ms, h| sample(t_ms, Value::Histogram(h)))
                        .unwrap();
                }
                None => xor::decode(&chunk.data, |t_ms, bits| sample(t_ms, Value::Float(bits))).unwrap(),
            }
        }
    }
    model
}

/// Label sets that are hard: many, long, of any letters.
pub fn label_sets() -> impl Strategy<Value = LabelSet> {
    let value =
        prop_oneof![3 => "[a-c]{1,2}", 1 => "\\PC{1,5}", 1 => "[ \"\\\\\n\u{0}é]{1,3}", 1 => "x{100,300}"];
    let name = prop_oneof![4 => "[a-d]", 1 => "[a-z_]{1,12}"];
    let labels = proptest::collection::btree_map(name, value, 0..6);
    (labels, "[m-o]").prop_map(|(labels, metric)| {
        let metric = ("__name__".to_owned(), metric);
        let mut labels: LabelSet = labels.into_iter().chain([metric]).collect();
        labels.sort();
        labels
    })
}

/// Series of floats within `0..end_ms`, in chunks of few samples.
pub fn float_series(
    end_ms: i64,
    series_max: usize,
) -> impl Strategy<Value = BTreeMap<LabelSet, Vec<OwnChunk>>> {
    let samples = proptest::collection::btree_map(0..end_ms, 0u64..5, 1..60);
    let chunks = (samples, 1usize..30).prop_map(|(samples, per_chunk)| {
        let samples: Vec<_> = samples.into_iter().map(|(t, v)| (t, (v as f64 / 3.0).to_bits())).collect();
        float_chunks(&samples, per_chunk)
    });
    proptest::collection::btree_map(label_sets(), chunks, 1..series_max)
}
