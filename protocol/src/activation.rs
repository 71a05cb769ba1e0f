//! Opening a segment: all earlier segments of its keys must be sealed first (rule 9).
//!
//! A replica that is asked to append to a segment it has not opened asks the replicas of every earlier one to seal, and
//! opens when a seal quorum of each has said that it is. So no coordinator that still believes in an old segment can
//! gather two acks there once the new one has one. What was seen sealed stays sealed: evidence never expires.

use std::collections::{BTreeMap, BTreeSet};

use gyre_ring::{Quorum, Replica, Segment, Span};

use crate::rules::Rules;

/// Evidence that the segments before one are sealed.
#[derive(Clone, Debug)]
pub struct Activation {
    /// By segment: who holds it, who has sealed it, and how many must have.
    before: BTreeMap<Segment, Predecessor>,
}

#[derive(Clone, Debug)]
struct Predecessor {
    replicas: Vec<Replica>,
    sealed: BTreeSet<Replica>,
    need: usize,
}

impl Activation {
    /// What opening the segment of `span` takes, given all segments of its tenant that are not closed. Those that have
    /// ended with or before its beginning and share keys with it must be sealed.
    pub fn new(span: &Span, segments: &[Span], rules: &Rules) -> Self {
        let shard = &span.segment.shard;
        let mut earlier: Vec<&Span> = segments
            .iter()
            .filter(|other| other.segment.epoch < span.segment.epoch)
            .filter(|other| other.overlaps(shard.count, shard.index))
            .filter(|other| rules.split_ends_segment || other.segment.shard.count == shard.count)
            .collect();
        if !rules.activation_covers_all {
            let newest = earlier.iter().map(|span| span.segment.epoch).max();
            earlier.retain(|span| Some(span.segment.epoch) == newest);
        }
        let predecessor = |span: &Span| Predecessor {
            replicas: span.replicas.clone(),
            sealed: BTreeSet::new(),
            need: if rules.activation_by_quorum { Quorum::of(span.replicas.len()).seal } else { 1 },
        };
        let before = earlier.iter().map(|span| (span.segment.clone(), predecessor(span))).collect();
        Activation { before }
    }

    /// A replica of an earlier segment has said that it is sealed, durably.
    pub fn sealed(&mut self, segment: &Segment, replica: &Replica) {
        if let Some(predecessor) = self.before.get_mut(segment)
            && predecessor.replicas.contains(replica)
        {
            predecessor.sealed.insert(replica.clone());
        }
    }

    /// Whether the segment may be opened.
    pub fn is_complete(&self) -> bool {
        self.before.values().all(|predecessor| predecessor.sealed.len() >= predecessor.need)
    }

    /// Whom to ask to seal what.
    pub fn asks(&self) -> impl Iterator<Item = (&Segment, &Replica)> {
        let open = self.before.iter().filter(|(_, predecessor)| predecessor.sealed.len() < predecessor.need);
        open.flat_map(|(segment, predecessor)| {
            let left = predecessor.replicas.iter().filter(|replica| !predecessor.sealed.contains(replica));
            left.map(move |replica| (segment, replica))
        })
    }
}
