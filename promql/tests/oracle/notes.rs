//! Which kinds of warning and info arise.

use std::cell::RefCell;
use std::collections::BTreeSet;

/// Kinds seen so far, by name.
#[derive(Default)]
pub struct Notes {
    kinds: RefCell<BTreeSet<&'static str>>,
    /// Kinds that may arise or not: Prometheus loses them where evaluation stops early.
    forgiven: RefCell<BTreeSet<&'static str>>,
}

/// A part of the text, and the kind.
const TEXTS: [(&str, &str); 15] = [
    ("a mix of histograms and floats for metric", "mixed range"),
    ("a mix of histograms and floats for aggregation", "mixed aggregation"),
    ("this native histogram metric is not a counter", "not a counter"),
    ("this native histogram metric is not a gauge", "not a gauge"),
    ("exponential and custom buckets schemas", "mixed exponential and custom"),
    ("incompatible bucket layout", "incompatible layout"),
    ("conflicting counter resets", "counter reset collision"),
    ("incompatible sample types", "incompatible types"),
    ("ignored histogram in", "ignored in aggregation"),
    ("ignored histograms in a range", "ignored in range"),
    ("mismatched custom buckets", "mismatched custom buckets"),
    ("quantile value should be", "invalid quantile"),
    ("result is NaN", "quantile NaN"),
    ("result is skewed", "quantile skewed"),
    ("excluded from all fractions", "fraction NaN"),
];

impl Notes {
    pub fn add(&self, kind: &'static str) {
        self.kinds.borrow_mut().insert(kind);
    }

    pub fn forgives(&self, kind: &'static str) {
        self.forgiven.borrow_mut().insert(kind);
    }

    /// How the texts of the engine differ from these kinds.
    pub fn difference(&self, texts: &[String]) -> Option<String> {
        let kind = |text: &String| TEXTS.iter().find(|(part, _)| text.contains(part)).map(|(_, kind)| *kind);
        let found: BTreeSet<&str> = texts.iter().filter_map(kind).collect();
        let kinds = self.kinds.borrow();
        let forgiven = self.forgiven.borrow();
        let differ = found.symmetric_difference(&kinds).any(|kind| !forgiven.contains(kind));
        differ.then(|| format!("annotations {found:?}, not {kinds:?}"))
    }
}
