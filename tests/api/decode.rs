//! Decoding of single requests: what is read, and what an error says.

use gyre::api::push::decode::{DecodeError, WriteBatch};
use gyre::api::push::histogram::decode;
use gyre::api::push::pool::BatchPool;
use prost::Message;

use crate::remote_write as proto;

fn pool() -> BatchPool {
    BatchPool::new(4, 1 << 20)
}

fn compress(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).expect("the message is small")
}

fn error_text(message: &[u8]) -> String {
    WriteBatch::decode(&pool(), &compress(message), 1 << 20)
        .expect_err("the message is malformed")
        .to_string()
}

fn label(name: &str, value: &str) -> proto::Label {
    proto::Label { name: name.into(), value: value.into() }
}

#[test]
fn samples_keep_their_bits_and_extreme_times() {
    let stale_nan = f64::from_bits(0x7ff0_0000_0000_0002);
    let payload_nan = f64::from_bits(0xfff8_dead_beef_0001);
    let samples = [
        (i64::MIN, stale_nan),
        (-1, payload_nan),
        (0, -0.0),
        (1, f64::NEG_INFINITY),
        (i64::MAX, f64::from_bits(1)),
    ];
    // By hand, since prost takes -0.0 for the default value and leaves it out.
    let mut series = Vec::new();
    for (timestamp, value) in samples {
        let mut sample = vec![0x09];
        sample.extend(value.to_le_bytes());
        sample.extend(proto::Sample { value: 0.0, timestamp }.encode_to_vec());
        series.extend([0x12, sample.len() as u8]);
        series.extend(sample);
    }
    let mut request = vec![0x0a, series.len() as u8];
    request.extend(series);
    let batch = WriteBatch::decode(&pool(), &compress(&request), 1 << 20).unwrap();
    let read: Vec<_> = batch.samples.iter().map(|sample| (sample.t_ms, sample.v_bits)).collect();
    assert_eq!(read, samples.map(|(timestamp, value)| (timestamp, value.to_bits())));
}

#[test]
fn label_fields_that_lie_apart_are_gathered_behind_the_body() {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let label = |name: &str, value: &str| field(1, &label(name, value).encode_to_vec());
    let sample = |timestamp| field(2, &proto::Sample { value: 1.0, timestamp }.encode_to_vec());
    let scattered = [label("__name__", "up"), sample(1), label("job", "node"), sample(2), label("x", "y")];
    let together = [label("__name__", "up"), label("job", "node"), label("x", "y")];
    let request = [field(1, &scattered.concat()), field(1, &together.concat())].concat();

    let batch = WriteBatch::decode_plain(&pool(), &request).unwrap();
    assert_eq!(batch.series.len(), 2);
    assert_eq!(batch.label_fields(&batch.series[0]), together.concat());
    assert_eq!(batch.label_fields(&batch.series[1]), together.concat());
    let times: Vec<_> = batch.samples_of(&batch.series[0]).iter().map(|sample| sample.t_ms).collect();
    assert_eq!(times, [1, 2]);
    assert!(batch.samples_of(&batch.series[1]).is_empty());
}

#[test]
fn exemplars_are_counted_and_the_samples_and_histograms_beside_them_kept() {
    let histogram = |count| proto::Histogram { count: Some(proto::Count::Int(count)), ..Default::default() };
    let request = proto::WriteRequest {
        timeseries: vec![proto::TimeSeries {
            labels: vec![label("__name__", "up")],
            samples: vec![proto::Sample { value: 1.0, timestamp: 5 }],
            exemplars: vec![proto::Exemplar::default(); 2],
            histograms: vec![histogram(7), histogram(8)],
        }],
        metadata: vec![],
    };
    let batch = WriteBatch::decode_plain(&pool(), &request.encode_to_vec()).unwrap();
    assert_eq!((batch.dropped_exemplars, batch.samples.len()), (2, 1));
    let counts = batch.histograms_of(0).iter().map(|h| decode(batch.histogram_message(h)).unwrap().1.count);
    assert_eq!(counts.collect::<Vec<_>>(), [7, 8]);
    assert_eq!(batch.histograms_of(1), []);
}

#[test]
fn a_shell_of_many_empty_histograms_is_refused_before_it_fills_the_memory() {
    // Two bytes a histogram on the wire.
    let histograms = [0x22, 0x00].repeat(1_000_001);
    let mut request = vec![0x0a, 0x82, 0x89, 0x7a];
    request.extend(histograms);
    let error = WriteBatch::decode_plain(&pool(), &request).unwrap_err();
    assert_eq!(error, DecodeError::TooMany { what: "histograms", max: 1_000_000 });
}

#[test]
fn a_batch_taken_from_the_pool_holds_nothing_of_the_one_before() {
    let pool = pool();
    let request = proto::WriteRequest {
        timeseries: vec![proto::TimeSeries {
            labels: vec![label("__name__", "up")],
            samples: vec![proto::Sample { value: 1.0, timestamp: 5 }; 3],
            ..Default::default()
        }],
        metadata: vec![proto::MetricMetadata { help: "helps".to_owned(), ..Default::default() }],
    };
    drop(WriteBatch::decode_plain(&pool, &request.encode_to_vec()).unwrap());
    assert!(pool.idle_bytes() > 0, "the buffers came back");
    let empty = WriteBatch::decode_plain(&pool, &[]).unwrap();
    assert!(empty.body.is_empty() && empty.series.is_empty());
    assert!(empty.samples.is_empty() && empty.metadata.is_empty());
}

#[test]
fn an_error_names_the_series_the_field_and_the_byte() {
    // Series 0 is fine. Series 1 holds a sample whose value comes as a varint.
    let request = [0x0a, 0x00, 0x0a, 0x04, 0x12, 0x02, 0x08, 0x07];
    assert_eq!(
        error_text(&request),
        "invalid write request: timeseries[1].samples.value: wire type 0 where 1 belongs, at byte 7"
    );
    // A metadata entry whose help is not UTF-8.
    assert_eq!(
        error_text(&[0x1a, 0x05, 0x22, 0x03, b'a', 0xff, b'c']),
        "invalid write request: metadata[0].help: invalid UTF-8, at byte 5"
    );
    // A series longer than the request.
    assert_eq!(
        error_text(&[0x0a, 0x7f, 0x00]),
        "invalid write request: request.timeseries: length 127 reaches past the 1 bytes that are left, at byte 1"
    );
    // The whole request as a varint.
    assert_eq!(
        error_text(&[0x08, 0x01]),
        "invalid write request: request.timeseries: wire type 0 where 2 belongs, at byte 1"
    );
}

#[test]
fn a_shell_of_many_empty_samples_is_refused_before_it_fills_the_memory() {
    // Two bytes a sample on the wire, sixteen in memory.
    let samples = [0x12, 0x00].repeat(6_000_001);
    let mut request = vec![0x0a];
    let mut length = samples.len();
    while length >= 0x80 {
        request.push(length as u8 | 0x80);
        length >>= 7;
    }
    request.push(length as u8);
    request.extend(samples);
    let error = WriteBatch::decode_plain(&pool(), &request).unwrap_err();
    assert_eq!(error, DecodeError::TooMany { what: "samples", max: 6_000_000 });
}
