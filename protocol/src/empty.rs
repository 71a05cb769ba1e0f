//! Segments that have ended and hold nothing: they need not be read.
//!
//! If as many replicas as a seal takes say that a segment is sealed, and that they hold nothing of it, it never holds
//! anything that was acknowledged: what was acknowledged is held by one of them at least, and a sealed replica
//! acknowledges nothing more. This is rule 16, closing, with an empty cover.
//!
//! What may go wrong: a replica that holds nothing *yet* is counted. It is not sealed, and may still acknowledge what a
//! coordinator with old documents sends.

use std::collections::BTreeSet;

use gyre_ring::{Quorum, Replica, Span};

use crate::read::VectorReply;
use crate::rules::Rules;

/// What replicas have said of one ended segment.
#[derive(Clone, Debug)]
pub struct EmptyCheck {
    replicas: Vec<Replica>,
    need: usize,
    empty: BTreeSet<Replica>,
    rules: Rules,
}

impl EmptyCheck {
    /// A segment nobody has been asked about.
    pub fn new(span: &Span, rules: Rules) -> Self {
        let need = if rules.empty_by_quorum { Quorum::of(span.replicas.len()).seal } else { 1 };
        EmptyCheck { replicas: span.replicas.clone(), need, empty: BTreeSet::new(), rules }
    }

    /// A replica has said what it holds.
    pub fn on_vector(&mut self, from: &Replica, reply: &VectorReply) {
        let is_final = reply.sealed || !self.rules.empty_when_sealed;
        if is_final && reply.held.is_empty() && self.replicas.contains(from) {
            self.empty.insert(from.clone());
        }
    }

    /// Whether the segment can be left out of reads, for ever.
    pub fn is_empty(&self) -> bool {
        self.empty.len() >= self.need
    }
}
