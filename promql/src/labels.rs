//! Label sets: the identity of a series.
//!
//! A label set is one reference-counted allocation, sorted by label name, never holding an empty value (Prometheus
//! treats an empty value as no label). It is built once per series and then only cloned (a counter), compared and
//! hashed, so the encoding is a single string: a header of fixed-width 7-bit digits that say where each name and
//! value ends, followed by the texts. Everything stays valid UTF-8, so slicing needs no checks beyond the standard
//! library's.
//!
//! Equal label sets have equal encodings: equality and hashing work on the bytes.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};
use xxhash_rust::xxh64::xxh64;

pub use crate::syntax::METRIC_NAME_LABEL;

/// The label that holds the upper bound of a classic histogram's bucket.
pub const BUCKET_LABEL: &str = "le";
/// The label that holds a metric's type, under Prometheus's `type-and-unit-labels` feature.
pub const METRIC_TYPE_LABEL: &str = "__type__";
/// The label that holds a metric's unit, under Prometheus's `type-and-unit-labels` feature.
pub const METRIC_UNIT_LABEL: &str = "__unit__";

/// Width of one encoded position: four 7-bit digits, so label sets of up to 256 MiB.
const DIGITS: usize = 4;
const ENCODED_BYTES_MAX: usize = 1 << (7 * DIGITS);

/// A sorted set of labels. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels(Arc<str>);

static EMPTY: LazyLock<Labels> = LazyLock::new(|| encode(&[] as &[(&str, &str)]));

/// Whether `name` describes the metric rather than a dimension: such labels are dropped by every operation that
/// changes what the value means (Prometheus's "drop the metric name").
pub fn is_metadata_label(name: &str) -> bool {
    name == METRIC_NAME_LABEL || name == METRIC_TYPE_LABEL || name == METRIC_UNIT_LABEL
}

impl Labels {
    /// The label set without labels.
    pub fn empty() -> Self {
        EMPTY.clone()
    }

    /// A label set from pairs in any order. Of several pairs with one name the last counts; empty values are dropped.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::default();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// A label set from pairs that are already sorted by name, unique, and without empty values.
    ///
    /// The caller vouches for the order; storage keeps its label sets that way.
    pub fn from_sorted<N: AsRef<str>, V: AsRef<str>>(pairs: &[(N, V)]) -> Self {
        debug_assert!(pairs.windows(2).all(|pair| pair[0].0.as_ref() < pair[1].0.as_ref()));
        encode(pairs)
    }

    /// [`Labels::from_sorted`] of pairs that come one by one.
    pub fn from_sorted_iter<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        ENCODER.with_borrow_mut(|encoder| encoder.encode(pairs))
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.digit_group(0)
    }

    /// Whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of label `name`; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|(candidate, _)| *candidate == name).map_or("", |(_, value)| value)
    }

    /// Whether there is a label `name`.
    pub fn has(&self, name: &str) -> bool {
        self.iter().any(|(candidate, _)| candidate == name)
    }

    /// The metric name; empty if there is none.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME_LABEL)
    }

    /// The labels, sorted by name.
    pub fn iter(&self) -> LabelsIter<'_> {
        let count = self.len();
        LabelsIter { labels: self, next: 0, count, at: DIGITS * (1 + 2 * count) }
    }

    /// The labels whose name satisfies `keep`.
    pub fn filter(&self, keep: impl Fn(&str) -> bool) -> Self {
        if self.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        Self::from_sorted_iter(self.iter().filter(|(name, _)| keep(name)))
    }

    /// Whether there is a label, beside the metric name, that [`Labels::without_metadata`] drops.
    pub fn has_type_or_unit(&self) -> bool {
        self.iter()
            .take_while(|(name, _)| *name <= METRIC_UNIT_LABEL)
            .any(|(name, _)| name == METRIC_TYPE_LABEL || name == METRIC_UNIT_LABEL)
    }

    /// Without metric name, type and unit.
    pub fn without_metadata(&self) -> Self {
        self.filter(|name| !is_metadata_label(name))
    }

    /// A 64-bit hash for tables of this process; not Prometheus's, not stable across versions.
    pub fn hash64(&self) -> u64 {
        xxh3_64(self.0.as_bytes())
    }

    /// A 128-bit hash for telling label sets apart without keeping them.
    pub fn hash128(&self) -> u128 {
        xxh3_128(self.0.as_bytes())
    }

    /// Prometheus's own hash of a label set (xxHash64 over its "stringlabels" encoding), which decides what
    /// `limit_ratio` selects. `scratch` is overwritten.
    pub fn prometheus_hash(&self, scratch: &mut Vec<u8>) -> u64 {
        scratch.clear();
        for (name, value) in self.iter() {
            for text in [name, value] {
                let size = text.len();
                if size < 255 {
                    scratch.push(size as u8);
                } else {
                    scratch.push(255);
                    scratch.extend_from_slice(&(size as u32).to_le_bytes()[..3]);
                }
                scratch.extend_from_slice(text.as_bytes());
            }
        }
        xxh64(scratch, 0)
    }

    /// Size of the allocation, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.0.len() + 2 * size_of::<usize>()
    }

    fn digit_group(&self, index: usize) -> usize {
        let at = index * DIGITS;
        self.0.as_bytes()[at..at + DIGITS].iter().fold(0, |value, &digit| value << 7 | digit as usize)
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Ord for Labels {
    /// Prometheus's order of label sets: name by name, value by value, then the shorter first.
    fn cmp(&self, other: &Self) -> Ordering {
        // If names and values are equally long, comparing all the text at once gives the same order.
        let header = DIGITS * (1 + 2 * self.len());
        let (own, others) = (self.0.as_bytes(), other.0.as_bytes());
        if others.len() >= header && own[..header] == others[..header] {
            return own[header..].cmp(&others[header..]);
        }
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `{a="1", b="2"}`, as Prometheus shows label sets in error texts; names that need it are quoted.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(name) {
                f.write_str(name)?;
            } else {
                f.write_str(&crate::gostd::quote(name.as_bytes()))?;
            }
            f.write_str("=")?;
            f.write_str(&crate::gostd::quote(value.as_bytes()))?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Iterator over `(name, value)`.
#[derive(Clone)]
pub struct LabelsIter<'a> {
    labels: &'a Labels,
    next: usize,
    count: usize,
    at: usize,
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.count {
            return None;
        }
        let name_end = self.labels.digit_group(1 + 2 * self.next);
        let value_end = self.labels.digit_group(2 + 2 * self.next);
        let name = &self.labels.0[self.at..name_end];
        let value = &self.labels.0[name_end..value_end];
        self.next += 1;
        self.at = value_end;
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count - self.next, Some(self.count - self.next))
    }
}

thread_local! {
    static ENCODER: RefCell<Encoder> = RefCell::default();
}

/// Working memory for encoding, so that a label set costs one allocation, its own.
#[derive(Default)]
struct Encoder {
    /// Where names and values end within the texts.
    ends: Vec<usize>,
    texts: String,
    header: Vec<u8>,
    whole: String,
}

impl Encoder {
    fn encode<'a>(&mut self, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
        self.ends.clear();
        self.texts.clear();
        for (name, value) in pairs {
            self.texts.push_str(name);
            self.ends.push(self.texts.len());
            self.texts.push_str(value);
            self.ends.push(self.texts.len());
        }
        let header = DIGITS * (1 + self.ends.len());
        assert!(
            header + self.texts.len() < ENCODED_BYTES_MAX,
            "a label set of {} bytes is beyond any request's limit",
            self.texts.len()
        );
        self.header.clear();
        self.header.extend_from_slice(&digits(self.ends.len() / 2));
        for end in &self.ends {
            self.header.extend_from_slice(&digits(header + end));
        }
        self.whole.clear();
        self.whole.push_str(str::from_utf8(&self.header).expect("digits of seven bits are ASCII"));
        self.whole.push_str(&self.texts);
        Labels(Arc::from(self.whole.as_str()))
    }
}

fn encode<N: AsRef<str>, V: AsRef<str>>(pairs: &[(N, V)]) -> Labels {
    Labels::from_sorted_iter(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref())))
}

#[inline]
fn digits(value: usize) -> [u8; DIGITS] {
    [21, 14, 7, 0].map(|shift| (value >> shift & 0x7f) as u8)
}

/// Makes a label set out of another one or out of nothing.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    /// Sorted by name; an empty value marks a deleted label.
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// A builder that starts with the labels of `base`.
    pub fn new(base: &Labels) -> Self {
        Self { pairs: base.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }

    /// Sets a label; an empty value deletes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        match self.pairs.binary_search_by(|(candidate, _)| candidate.as_str().cmp(name)) {
            Ok(at) => value.clone_into(&mut self.pairs[at].1),
            Err(at) => self.pairs.insert(at, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Deletes a label.
    pub fn delete(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(candidate, _)| candidate != name);
        self
    }

    /// Keeps the labels whose name satisfies `keep`.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) -> &mut Self {
        self.pairs.retain(|(name, _)| keep(name));
        self
    }

    /// The current value of a label; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.pairs.iter().find(|(candidate, _)| candidate == name).map_or("", |(_, value)| value)
    }

    /// The label set.
    pub fn build(&self) -> Labels {
        if self.pairs.iter().all(|(_, value)| !value.is_empty()) {
            return encode(&self.pairs);
        }
        let kept: Vec<(&str, &str)> = self
            .pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        encode(&kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn labels_come_back_sorted_and_without_empty_values() {
        let set = labels(&[("job", "api"), ("__name__", "up"), ("gone", ""), ("añb", "ü\n")]);
        let pairs: Vec<_> = set.iter().collect();
        assert_eq!(pairs, [("__name__", "up"), ("añb", "ü\n"), ("job", "api")]);
        assert_eq!((set.get("job"), set.get("gone"), set.metric_name()), ("api", "", "up"));
        assert!(set.has("job") && !set.has("gone"));
    }

    #[test]
    fn long_values_keep_their_bounds() {
        let long = "x".repeat(70_000);
        let set = labels(&[("a", &long), ("b", "1")]);
        assert_eq!((set.get("a").len(), set.get("b")), (70_000, "1"));
    }

    #[test]
    fn label_sets_order_by_name_then_value_then_length() {
        let mut sets = [
            labels(&[("b", "1")]),
            labels(&[("a", "2")]),
            labels(&[("a", "1"), ("b", "1")]),
            labels(&[("a", "1")]),
        ];
        sets.sort();
        let expected = [
            labels(&[("a", "1")]),
            labels(&[("a", "1"), ("b", "1")]),
            labels(&[("a", "2")]),
            labels(&[("b", "1")]),
        ];
        assert_eq!(sets, expected);
    }

    #[test]
    fn dropping_metadata_drops_name_type_and_unit() {
        let set = labels(&[("__name__", "m"), ("__type__", "gauge"), ("__unit__", "s"), ("job", "a")]);
        assert_eq!(set.without_metadata(), labels(&[("job", "a")]));
        assert!(set.has_type_or_unit());
        assert!(labels(&[("A", "1"), ("__name__", "m"), ("__unit__", "s")]).has_type_or_unit());
        assert!(!labels(&[("__name__", "m"), ("job", "a")]).has_type_or_unit());
    }

    #[test]
    fn a_builder_sets_deletes_and_keeps() {
        let mut builder = LabelsBuilder::new(&labels(&[("a", "1"), ("b", "2"), ("c", "3")]));
        builder.set("b", "").set("d", "4").delete("a");
        assert_eq!(builder.build(), labels(&[("c", "3"), ("d", "4")]));
        builder.retain(|name| name == "d");
        assert_eq!(builder.build(), labels(&[("d", "4")]));
    }
}
