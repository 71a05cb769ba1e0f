//! The hand-written decoder against prost on messages that are random, but mostly made of the right fields.

use gyre::api::push::decode::WriteBatch;
use gyre::api::push::histogram::decode as decode_histogram;
use gyre::api::push::pool::BatchPool;
use gyre::tenant::canonical::raw_labels;
use gyre_tsdb::histogram::{CounterReset, Kind, Side, Span};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use prost::Message;

use crate::remote_write as oracle;

/// A message as a list of wire fields, some of which fit the definition and some of which do not.
#[derive(Clone, Debug)]
enum Value {
    Varint(u64),
    /// A varint with padding bytes behind it.
    PaddedVarint(u64, usize),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
    Group(Vec<Field>),
    /// Nothing but the tag, with this wire type.
    TagOnly(u32),
}

#[derive(Clone, Debug)]
struct Field {
    number: u32,
    value: Value,
}

fn put_varint(mut value: u64, padding: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    if padding == 0 {
        return out.push(value as u8);
    }
    out.push(value as u8 | 0x80);
    out.extend(std::iter::repeat_n(0x80, padding - 1));
    out.push(0);
}

fn encode(fields: &[Field], out: &mut Vec<u8>) {
    for Field { number, value } in fields {
        let tag = |wire: u32, out: &mut Vec<u8>| put_varint(u64::from(number << 3 | wire), 0, out);
        match value {
            Value::Varint(v) => {
                tag(0, out);
                put_varint(*v, 0, out);
            }
            Value::PaddedVarint(v, padding) => {
                tag(0, out);
                put_varint(*v, *padding, out);
            }
            Value::Fixed64(v) => {
                tag(1, out);
                out.extend(v.to_le_bytes());
            }
            Value::Fixed32(v) => {
                tag(5, out);
                out.extend(v.to_le_bytes());
            }
            Value::Bytes(bytes) => {
                tag(2, out);
                put_varint(bytes.len() as u64, 0, out);
                out.extend(bytes);
            }
            Value::Message(fields) => {
                tag(2, out);
                let mut inner = Vec::new();
                encode(fields, &mut inner);
                put_varint(inner.len() as u64, 0, out);
                out.extend(inner);
            }
            Value::Group(fields) => {
                tag(3, out);
                encode(fields, out);
                tag(4, out);
            }
            Value::TagOnly(wire) => tag(*wire, out),
        }
    }
}

fn field(number: u32, value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Field> {
    value.prop_map(move |value| Field { number, value }).boxed()
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        20 => "[a-zA-Z_é ]{0,12}".prop_map(|text| Value::Bytes(text.into_bytes())),
        1 => prop::collection::vec(any::<u8>(), 0..6).prop_map(Value::Bytes),
    ]
}

fn varint() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::Varint),
        (0_u64..300).prop_map(Value::Varint),
        (0_u64..300, 1_usize..4).prop_map(|(v, padding)| Value::PaddedVarint(v, padding)),
    ]
}

fn fixed64() -> impl Strategy<Value = Value> {
    any::<u64>().prop_map(Value::Fixed64)
}

/// A field that fits no definition, or only by chance.
fn stray() -> BoxedStrategy<Field> {
    let leaf = prop_oneof![
        varint(),
        fixed64(),
        any::<u32>().prop_map(Value::Fixed32),
        text(),
        (0_u32..8).prop_map(Value::TagOnly),
    ];
    let value = leaf.prop_recursive(3, 8, 3, |inner| {
        prop::collection::vec((1_u32..20, inner), 0..3).prop_map(|fields| {
            Value::Group(fields.into_iter().map(|(number, value)| Field { number, value }).collect())
        })
    });
    (prop_oneof![1_u32..6, 1_u32..20, Just(0), Just(1 << 28)], value)
        .prop_map(|(number, value)| Field { number, value })
        .boxed()
}

/// Mostly the given fields in random order and number, now and then a stray one.
fn message_of(fields: Vec<BoxedStrategy<Field>>, most: usize) -> impl Strategy<Value = Value> {
    let proper = prop::strategy::Union::new(fields);
    prop::collection::vec(prop_oneof![60 => proper, 1 => stray()], 0..most).prop_map(Value::Message)
}

fn label() -> impl Strategy<Value = Value> {
    message_of(vec![field(1, text()), field(2, text())], 3)
}

fn packed_varints() -> impl Strategy<Value = Value> {
    prop::collection::vec(any::<u64>(), 0..4).prop_map(|values| {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| put_varint(*value, 0, &mut bytes));
        Value::Bytes(bytes)
    })
}

fn packed_doubles() -> impl Strategy<Value = Value> {
    prop::collection::vec(any::<u64>(), 0..4)
        .prop_map(|values| Value::Bytes(values.iter().flat_map(|value| value.to_le_bytes()).collect()))
}

fn histogram() -> impl Strategy<Value = Value> {
    let span = || message_of(vec![field(1, varint()), field(2, varint())], 3);
    let mut fields = Vec::new();
    for number in [1, 4, 6, 14, 15, 9, 12] {
        fields.push(field(number, varint()));
    }
    for number in [2, 3, 5, 7, 10, 13, 16] {
        fields.push(field(number, fixed64()));
    }
    fields.extend([field(8, span()), field(11, span())]);
    fields.extend([field(9, packed_varints()), field(12, packed_varints())]);
    fields.extend([10, 13, 16].map(|number| field(number, packed_doubles())));
    message_of(fields, 6)
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let sample = || message_of(vec![field(1, fixed64()), field(2, varint())], 4);
    let exemplar = message_of(vec![field(1, label()), field(2, fixed64()), field(3, varint())], 4);
    // Labels and samples twice, so that most fields are of these kinds.
    let timeseries = message_of(
        vec![
            field(1, label()),
            field(1, label()),
            field(2, sample()),
            field(2, sample()),
            field(3, exemplar),
            field(4, histogram()),
        ],
        9,
    );
    let metadata =
        message_of(vec![field(1, varint()), field(2, text()), field(4, text()), field(5, text())], 5);
    message_of(vec![field(1, timeseries), field(3, metadata)], 5).prop_map(|message| {
        let mut bytes = Vec::new();
        if let Value::Message(fields) = message {
            encode(&fields, &mut bytes);
        }
        bytes
    })
}

type Labels = Vec<(Vec<u8>, Vec<u8>)>;
type Samples = Vec<(i64, u64)>;

/// One histogram, counts as they travel to the stored form: floats as bits, integers added up.
#[derive(Debug, PartialEq)]
struct Sparse {
    t_ms: i64,
    is_float: bool,
    /// Count, zero count, sum, zero threshold.
    words: [u64; 4],
    schema: i32,
    reset_hint: i32,
    /// Negative side first.
    sides: [Side; 2],
    bounds: Vec<u64>,
}

fn sparse_of_prost(h: &oracle::Histogram) -> Sparse {
    let is_float = matches!(h.count, Some(oracle::Count::Float(_)));
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let side = |spans: &[oracle::BucketSpan], deltas: &[i64], counts: &[f64]| {
        let mut sum = 0i64;
        let added = deltas.iter().map(|delta| {
            sum = sum.wrapping_add(*delta);
            sum as u64
        });
        let words = if is_float { bits(counts) } else { added.collect() };
        let span = |span: &oracle::BucketSpan| Span { offset: span.offset, length: span.length };
        Side { spans: spans.iter().map(span).collect(), counts: words }
    };
    let count = match h.count {
        Some(oracle::Count::Int(count)) => count,
        Some(oracle::Count::Float(count)) => count.to_bits(),
        None => 0,
    };
    let zero_count = match h.zero_count {
        Some(oracle::ZeroCount::Int(count)) if !is_float => count,
        Some(oracle::ZeroCount::Float(count)) if is_float => count.to_bits(),
        _ => 0,
    };
    Sparse {
        t_ms: h.timestamp,
        is_float,
        words: [count, zero_count, h.sum.to_bits(), h.zero_threshold.to_bits()],
        schema: h.schema,
        reset_hint: if (1..=3).contains(&h.reset_hint) { h.reset_hint } else { 0 },
        sides: [
            side(&h.negative_spans, &h.negative_deltas, &h.negative_counts),
            side(&h.positive_spans, &h.positive_deltas, &h.positive_counts),
        ],
        bounds: bits(&h.custom_values),
    }
}

fn sparse_of_ours(message: &[u8]) -> Sparse {
    let (t_ms, h) = decode_histogram(message).expect("the request was scanned");
    Sparse {
        t_ms,
        is_float: h.kind == Kind::Float,
        words: [h.count, h.zero_count, h.sum, h.zero_threshold.to_bits()],
        schema: h.schema,
        reset_hint: match h.counter_reset {
            CounterReset::Unknown => 0,
            CounterReset::Reset => 1,
            CounterReset::NotReset => 2,
            CounterReset::Gauge => 3,
        },
        sides: [h.negative, h.positive],
        bounds: h.bounds.iter().map(|bound| bound.to_bits()).collect(),
    }
}

/// The parts of a request that both decoders must agree on.
#[derive(Debug, PartialEq)]
struct Decoded {
    series: Vec<(Labels, Samples, Vec<Sparse>)>,
    metadata: Vec<(i32, String, String, String)>,
    exemplars: u64,
}

fn decode_with_prost(bytes: &[u8]) -> Option<Decoded> {
    let request = oracle::WriteRequest::decode(bytes).ok()?;
    Some(Decoded {
        exemplars: request.timeseries.iter().map(|series| series.exemplars.len() as u64).sum(),
        series: request
            .timeseries
            .into_iter()
            .map(|series| {
                let labels = series.labels.into_iter().map(|label| (label.name, label.value)).collect();
                let samples = series.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
                (labels, samples, series.histograms.iter().map(sparse_of_prost).collect())
            })
            .collect(),
        metadata: request
            .metadata
            .into_iter()
            .map(|entry| (entry.metric_type, entry.metric_family_name, entry.help, entry.unit))
            .collect(),
    })
}

/// Our decoder, and the label parser that runs for new series only, together.
fn decode_with_ours(pool: &BatchPool, bytes: &[u8]) -> Option<Decoded> {
    let batch = WriteBatch::decode_plain(pool, bytes).ok()?;
    let mut series = Vec::new();
    for (number, slice) in batch.series.iter().enumerate() {
        let mut labels = Vec::new();
        for label in raw_labels(batch.label_fields(slice)) {
            let label = label.ok()?;
            labels.push((label.name.to_vec(), label.value.to_vec()));
        }
        let samples = batch.samples_of(slice).iter().map(|sample| (sample.t_ms, sample.v_bits)).collect();
        let histograms = batch.histograms_of(number as u32).iter();
        let histograms = histograms.map(|histogram| sparse_of_ours(batch.histogram_message(histogram)));
        series.push((labels, samples, histograms.collect()));
    }
    let text = |range| batch.metadata_text(range).to_owned();
    Some(Decoded {
        series,
        metadata: batch
            .metadata
            .iter()
            .map(|m| (m.metric_type, text(&m.metric_family), text(&m.help), text(&m.unit)))
            .collect(),
        exemplars: batch.dropped_exemplars,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn both_decoders_accept_the_same_requests_and_read_the_same_from_them(bytes in request()) {
        let pool = BatchPool::new(1, 1 << 20);
        prop_assert_eq!(decode_with_ours(&pool, &bytes), decode_with_prost(&bytes));
    }

    #[test]
    fn both_decoders_agree_on_requests_with_a_flipped_byte(
        bytes in request(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut bytes = bytes;
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        let pool = BatchPool::new(1, 1 << 20);
        prop_assert_eq!(decode_with_ours(&pool, &bytes), decode_with_prost(&bytes));
    }

    #[test]
    fn random_bytes_never_panic_and_both_decoders_agree_on_them(
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let pool = BatchPool::new(1, 1 << 20);
        prop_assert_eq!(decode_with_ours(&pool, &bytes), decode_with_prost(&bytes));
        // The same bytes as a snappy block: most are none, and none may panic.
        drop(WriteBatch::decode(&pool, &bytes, 1 << 20));
    }
}

#[test]
fn most_random_requests_of_these_tests_are_valid() {
    // Otherwise the comparison above would mostly compare refusals.
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let pool = BatchPool::new(1, 1 << 20);
    let valid = (0..500)
        .filter(|_| {
            let bytes = request().new_tree(&mut runner).expect("the strategy does not reject").current();
            !bytes.is_empty() && decode_with_ours(&pool, &bytes).is_some()
        })
        .count();
    assert!(valid > 150, "only {valid} of 500");
}
