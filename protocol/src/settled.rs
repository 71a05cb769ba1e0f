//! What nodes say once, for all segments that they hold nothing of (ADR 11).
//!
//! *Up to which epoch do you act, and which of the segments that ended by then do you host?* Any other segment that ended
//! by then is sealed at that node, and was empty when asked: it counts like the answers to "seal" and "what do you hold"
//! for that segment, for ever. So a new tenant's empty past does not depend on nodes that are down when it comes. The
//! node may still pull what a peer has of the segment: if a quorum was empty, nothing of that was ever acknowledged.
//!
//! A node that acts upon a document which closed segments has dropped these, and hosts them no more. Of these it says nothing:
//! who goes by older documents would take them for empty.
//!
//! What may go wrong: the node forgets the document that ended a segment, and acknowledges an append to it. So it says
//! an epoch only when the documents are on its disk, and takes nothing for a segment that has ended by them. Or its answer
//! is believed of another disk: the one that it had before may hold anything.

use std::collections::{BTreeMap, BTreeSet};

use gyre_ring::{Epoch, Replica, Segment, Span};

use crate::rules::Rules;

/// What one node has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// It acts upon this epoch, durably.
    pub epoch: Epoch,
    /// Of the segments that had ended by then, those that it hosts.
    pub hosted: BTreeSet<Segment>,
    /// Of those, all that had ended by this epoch are sealed, and all that the node ever held of them is in listed
    /// blocks ([`crate::closing`]).
    pub clear: Epoch,
    /// Segments that had ended by this epoch it had dropped, or was about to, since they were closed: of these nothing is
    /// said.
    pub closed: Epoch,
}

/// What nodes have said.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    said: BTreeMap<Replica, Said>,
    rules: Rules,
}

impl Settled {
    /// Nothing has been said, or this.
    pub fn new(said: BTreeMap<Replica, Said>, rules: Rules) -> Self {
        Settled { said, rules }
    }

    /// A node, with the disk that was asked, has said something. A late answer takes nothing back.
    pub fn note(&mut self, replica: Replica, said: Said) {
        match self.said.get_mut(&replica) {
            Some(before) if before.epoch > said.epoch => before.clear = before.clear.max(said.clear),
            Some(before) => *before = Said { clear: before.clear.max(said.clear), ..said },
            None => drop(self.said.insert(replica, said)),
        }
    }

    /// All that has been said.
    pub fn said(&self) -> &BTreeMap<Replica, Said> {
        &self.said
    }

    /// Up to which epoch a node's answer reaches.
    pub fn epoch_of(&self, replica: &Replica) -> Option<Epoch> {
        self.said.get(replica).map(|said| said.epoch)
    }

    /// Through which epoch a node is clear.
    pub fn clear_of(&self, replica: &Replica) -> Option<Epoch> {
        self.said.get(replica).map(|said| said.clear)
    }

    /// Whether a segment that has ended is sealed at a replica, and empty.
    pub fn covers(&self, replica: &Replica, span: &Span) -> bool {
        let Some(ended) = span.ended else { return false };
        let covers = |said: &Said| {
            let may_be_dropped = ended <= said.closed && self.rules.settled_tells_closed;
            ended <= said.epoch && !may_be_dropped && !said.hosted.contains(&span.segment)
        };
        if self.rules.settled_by_disk {
            return self.said.get(replica).is_some_and(covers);
        }
        self.said.iter().any(|(other, said)| other.node == replica.node && covers(said))
    }
}
