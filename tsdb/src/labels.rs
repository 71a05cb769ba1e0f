//! Label sets as bytes: the one form in which labels are hashed, compared, logged and handed out.
//!
//! The canonical form of a label set is its Protocol Buffers encoding as remote write sends it: for each label,
//! sorted by name, field 1 of a series (`0x0a len`), holding name (`0x0a len bytes`) and value
//! (`0x12 len bytes`), with minimal varints, no empty value and no name twice. A well-behaved sender's bytes
//! *are* canonical, so finding a known series needs one hash over a slice of the request and no parsing.

use crate::varint;

const LABEL: u8 = 0x0a;
const NAME: u8 = 0x0a;
const VALUE: u8 = 0x12;

/// The name of the label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// A canonical label set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels<'a>(&'a [u8]);

/// Bytes that are no canonical label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes are not a canonical label set")]
pub struct NotCanonical;

impl<'a> Labels<'a> {
    /// Checks that bytes are canonical: structure, UTF-8, order, no empty value.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NotCanonical> {
        let mut rest = bytes;
        let mut previous: Option<&str> = None;
        while !rest.is_empty() {
            let before = rest;
            let (name, value) = take_label(&mut rest).ok_or(NotCanonical)?;
            if value.is_empty() || previous.is_some_and(|p| p >= name) {
                return Err(NotCanonical);
            }
            previous = Some(name);
            // Overlong varints would make two encodings of one set.
            if before.len() - rest.len() != encoded_len(name, value) {
                return Err(NotCanonical);
            }
        }
        Ok(Labels(bytes))
    }

    /// Takes bytes that are known to be canonical. Others are safe, but read as some other set.
    pub fn trusted(bytes: &'a [u8]) -> Self {
        debug_assert!(Labels::parse(bytes).is_ok());
        Labels(bytes)
    }

    /// The canonical bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Names and values in order of names.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.0;
        std::iter::from_fn(move || take_label(&mut rest))
    }

    /// A label's value.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

/// Takes one label; `None` at the end or if the bytes are malformed.
fn take_label<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, &'a str)> {
    let mut label = take_field(rest, LABEL)?;
    let name = take_field(&mut label, NAME)?;
    let value = take_field(&mut label, VALUE)?;
    if !label.is_empty() {
        return None;
    }
    Some((str::from_utf8(name).ok()?, str::from_utf8(value).ok()?))
}

fn take_field<'a>(rest: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&first, mut after) = rest.split_first()?;
    if first != tag {
        return None;
    }
    let len = usize::try_from(varint::take_u64(&mut after)?).ok()?;
    let (field, after) = after.split_at_checked(len)?;
    *rest = after;
    Some(field)
}

/// Appends a label to a canonical encoding. The caller keeps the order of names and leaves out empty values.
pub fn put_label(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(LABEL);
    varint::put_u64(out, (field_len(name) + field_len(value)) as u64);
    for (tag, text) in [(NAME, name), (VALUE, value)] {
        out.push(tag);
        varint::put_u64(out, text.len() as u64);
        out.extend_from_slice(text.as_bytes());
    }
}

/// The canonical encoding of a label set given in any order.
pub fn encode<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut labels: Vec<_> = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    labels.sort_unstable();
    labels.dedup_by_key(|label| label.0);
    let mut out = Vec::new();
    for (name, value) in labels {
        put_label(&mut out, name, value);
    }
    out
}

fn varint_len(value: usize) -> usize {
    (value.max(1).ilog2() / 7 + 1) as usize
}

fn field_len(text: &str) -> usize {
    1 + varint_len(text.len()) + text.len()
}

fn encoded_len(name: &str, value: &str) -> usize {
    let label = field_len(name) + field_len(value);
    1 + varint_len(label) + label
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn label_sets_come_back(labels in proptest::collection::btree_map(".{0,200}", ".{1,200}", 0..20)) {
            let bytes = encode(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            let parsed: BTreeMap<String, String> =
                Labels::parse(&bytes).unwrap().iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(parsed, labels);
        }

        #[test]
        fn what_parses_has_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(labels) = Labels::parse(&bytes) {
                prop_assert_eq!(encode(labels.iter()), bytes.clone());
            }
        }
    }

    #[test]
    fn other_encodings_of_a_set_are_not_canonical() {
        let unsorted = [encode([("b", "1")]), encode([("a", "1")])].concat();
        let twice = [encode([("a", "1")]), encode([("a", "2")])].concat();
        let overlong = [0x0a, 0x86, 0, 0x0a, 1, b'a', 0x12, 1, b'b'];
        let empty_value = [0x0a, 5, 0x0a, 1, b'a', 0x12, 0];
        let not_utf8 = [0x0a, 6, 0x0a, 1, 0xff, 0x12, 1, b'b'];
        for bytes in [&unsorted[..], &twice, &overlong, &empty_value, &not_utf8, &[0x0a]] {
            assert_eq!(Labels::parse(bytes), Err(NotCanonical), "{bytes:?}");
        }
        assert_eq!(Labels::parse(&[]).unwrap().iter().count(), 0);
    }
}
