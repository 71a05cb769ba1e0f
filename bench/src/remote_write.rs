//! Remote write 1.0 request bodies, written by hand: protobuf `prometheus.WriteRequest`, block-snappy.
//!
//! The layout follows Prometheus's own sender: one `TimeSeries` per sample, labels sorted by name, and the
//! fields that proto3 leaves out (a value of zero) left out. Source: `prompb/remote.proto`, `prompb/types.proto`.

/// Field 1 of `WriteRequest`, `TimeSeries.labels` and `Label.name`, wire type 2.
const TAG_1_BYTES: u8 = 0x0a;
/// Field 2 of `TimeSeries` (samples) and `Label` (value), wire type 2.
const TAG_2_BYTES: u8 = 0x12;
/// `Sample.value`: field 1, wire type 1 (fixed 64).
const TAG_1_FIXED64: u8 = 0x09;
/// `Sample.timestamp`: field 2, wire type 0 (varint).
const TAG_2_VARINT: u8 = 0x10;

/// Bit pattern of Prometheus's stale marker, a NaN.
pub const STALE_MARKER_BITS: u64 = 0x7ff0_0000_0000_0002;

/// A series' labels as encoded `TimeSeries.labels` fields: done once a series, copied once a sample.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EncodedLabels(Box<[u8]>);

impl EncodedLabels {
    /// Encodes labels sorted by name, as Prometheus sends them. Empty values are dropped.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(labels: &[(N, V)]) -> EncodedLabels {
        let mut order: Vec<(&str, &str)> = labels
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        order.sort_unstable();
        let mut bytes = Vec::with_capacity(32 * order.len());
        for (name, value) in order {
            let label_len =
                2 + varint_len(name.len() as u64) + name.len() + varint_len(value.len() as u64) + value.len();
            bytes.push(TAG_1_BYTES);
            put_varint(&mut bytes, label_len as u64);
            for (tag, text) in [(TAG_1_BYTES, name), (TAG_2_BYTES, value)] {
                bytes.push(tag);
                put_varint(&mut bytes, text.len() as u64);
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        EncodedLabels(bytes.into_boxed_slice())
    }
}

/// One request under construction.
#[derive(Debug, Default)]
pub struct RequestBuilder {
    protobuf: Vec<u8>,
    samples: u32,
}

impl RequestBuilder {
    /// Appends one sample as a `TimeSeries` of its own.
    pub fn push(&mut self, labels: &EncodedLabels, timestamp_ms: i64, value: f64) {
        let mut sample = [0u8; 20];
        let mut sample_len = 0;
        if value.to_bits() != 0 {
            sample[0] = TAG_1_FIXED64;
            sample[1..9].copy_from_slice(&value.to_bits().to_le_bytes());
            sample_len = 9;
        }
        if timestamp_ms != 0 {
            sample[sample_len] = TAG_2_VARINT;
            sample_len += 1;
            let mut rest = timestamp_ms as u64;
            while rest >= 0x80 {
                sample[sample_len] = (rest as u8) | 0x80;
                sample_len += 1;
                rest >>= 7;
            }
            sample[sample_len] = rest as u8;
            sample_len += 1;
        }
        let series_len = labels.0.len() + 2 + sample_len;
        self.protobuf.push(TAG_1_BYTES);
        put_varint(&mut self.protobuf, series_len as u64);
        self.protobuf.extend_from_slice(&labels.0);
        self.protobuf.extend_from_slice(&[TAG_2_BYTES, sample_len as u8]);
        self.protobuf.extend_from_slice(&sample[..sample_len]);
        self.samples += 1;
    }

    /// Samples since the last [`RequestBuilder::finish`].
    pub fn samples(&self) -> u32 {
        self.samples
    }

    /// The compressed body; the builder is empty afterwards.
    pub fn finish(&mut self) -> Vec<u8> {
        let body = snap::raw::Encoder::new()
            .compress_vec(&self.protobuf)
            .expect("a request is far below snappy's 4 GiB limit");
        self.protobuf.clear();
        self.samples = 0;
        body
    }
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_bytes_that_the_protobuf_schema_prescribes() {
        let labels = EncodedLabels::new(&[("job", "x"), ("__name__", "up"), ("empty", "")]);
        let mut request = RequestBuilder::default();
        request.push(&labels, 300, 1.0);
        request.push(&labels, 1, 0.0);
        let body = request.finish();
        let protobuf = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        let labels_bytes = b"\x0a\x0e\x0a\x08__name__\x12\x02up\x0a\x08\x0a\x03job\x12\x01x";
        let mut expected = b"\x0a\x28".to_vec();
        expected.extend_from_slice(labels_bytes);
        expected.extend_from_slice(b"\x12\x0c\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\xac\x02");
        expected.extend_from_slice(b"\x0a\x1e");
        expected.extend_from_slice(labels_bytes);
        expected.extend_from_slice(b"\x12\x02\x10\x01");
        assert_eq!(protobuf, expected);
        assert_eq!(request.samples(), 0);
    }

    #[test]
    fn varint_lengths_change_at_multiples_of_seven_bits() {
        for (value, len) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!((varint_len(value), bytes.len()), (len, len), "{value}");
        }
    }
}
