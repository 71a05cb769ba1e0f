//! Answers without what cannot be read, for tenants that want them (`query_partial_data`).
//!
//! A segment of which too few replicas answer is read from one that does, unchecked: it has nearly everything. One of
//! which none answers is left out. Either way the answer carries a warning that names it, so that nobody takes it for
//! complete. The fence stays: a replica that has sealed the newest segment proves that the documents are old, here too.

use std::collections::BTreeSet;

use gyre_ring::{Quorum, Replica, Segment, Span};

/// Segments that a warning names; the rest is counted.
const SEGMENTS_NAMED_MAX: usize = 5;

/// Replicas among which an unchecked read chooses: of a segment of so many, one is enough.
const CHOICE: usize = 2;

/// The segments that are not read as they should be.
#[derive(Debug, Default)]
pub(super) struct Reduced {
    segments: BTreeSet<Segment>,
    failed: BTreeSet<(Segment, Replica)>,
}

impl Reduced {
    /// A replica of a segment cannot be read.
    pub(super) fn failed(&mut self, segment: &Segment, replica: &Replica) {
        self.failed.insert((segment.clone(), replica.clone()));
    }

    /// A segment cannot be read completely.
    pub(super) fn add(&mut self, segment: Segment) {
        self.segments.insert(segment);
    }

    /// The segments as they can be read, without those that cannot be read at all.
    pub(super) fn readable(&self, spans: &[Span]) -> Vec<Span> {
        let readable = |span: &Span| {
            if !self.segments.contains(&span.segment) {
                return Some(span.clone());
            }
            let mut replicas = self.left(span);
            replicas.truncate(CHOICE);
            debug_assert_eq!(Quorum::of(CHOICE).read, 1, "one answer must do");
            (!replicas.is_empty()).then(|| Span { replicas, ..span.clone() })
        };
        spans.iter().filter_map(readable).collect()
    }

    fn left(&self, span: &Span) -> Vec<Replica> {
        let has_failed = |replica: &&Replica| {
            self.failed.iter().any(|(segment, failed)| *segment == span.segment && failed == *replica)
        };
        span.replicas.iter().filter(|replica| !has_failed(replica)).cloned().collect()
    }

    /// What is to be said of an answer; `reasons` are what replicas said.
    pub(super) fn warnings<'a>(
        &self,
        spans: impl IntoIterator<Item = &'a Span>,
        reasons: &[String],
    ) -> Vec<String> {
        let concerned = spans.into_iter().filter(|span| self.segments.contains(&span.segment));
        let (missing, unchecked): (Vec<&Span>, Vec<&Span>) =
            concerned.partition(|span| self.left(span).is_empty());
        let mut warnings = Vec::new();
        let why = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
        if !missing.is_empty() {
            let named = named(&missing);
            warnings.push(format!("partial answer: {named} left out, none of its replicas can be read{why}"));
        }
        if !unchecked.is_empty() {
            let named = named(&unchecked);
            warnings.push(format!(
                "partial answer: {named} may lack data, too few of its replicas can be read{why}"
            ));
        }
        warnings
    }
}

fn named(spans: &[&Span]) -> String {
    let names = spans.iter().take(SEGMENTS_NAMED_MAX).map(|span| span.segment.to_string());
    let names = names.collect::<Vec<_>>().join(", ");
    match spans.len().saturating_sub(SEGMENTS_NAMED_MAX) {
        0 => format!("segment {names}"),
        more => format!("segment {names} and {more} more"),
    }
}
