//! Replicas that are lost for good, and what may be done without them.
//!
//! A node that came back without its disk is listed under another incarnation, and the one before can never answer
//! again. If so many replicas of a segment are gone that those that are left can neither seal it nor be read as a quorum,
//! waiting for them would be waiting for ever. Then those that are left count as all there are: nobody can gather
//! acknowledgements behind their backs, since the lost ones acknowledge nothing any more. What only the lost ones held
//! is gone, and whoever reads the segment is told so. Losing one of three replicas never comes to this.
//!
//! What may go wrong: a replica counts as lost whose disk is still there. It could go on taking writes, or show what it
//! has to a reader with old documents. So only a document says who is lost, by listing the node with another disk. A
//! node that is away or has left the cluster is not lost; one that was lost and has left afterwards still is.

use std::collections::{BTreeMap, BTreeSet};

use gyre_ring::{EpochDocument, Incarnation, NodeId, Quorum, Replica, Segment, Span};

use crate::rules::Rules;

/// The disk that each node had last, as far as documents tell.
#[derive(Clone, Debug, Default)]
pub struct Disks {
    last: BTreeMap<NodeId, Incarnation>,
    /// Those that the newest document lists.
    members: BTreeSet<NodeId>,
    rules: Rules,
}

/// A segment that has lost so many replicas that data may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The segment.
    pub segment: Segment,
    /// How many of its replicas are lost.
    pub lost: usize,
    /// How many it had.
    pub replicas: usize,
}

impl Disks {
    /// What follows from documents, oldest first.
    pub fn of<'a>(documents: impl IntoIterator<Item = &'a EpochDocument>, rules: Rules) -> Self {
        let mut disks = Disks { rules, ..Disks::default() };
        for document in documents {
            disks.members = document.members.iter().map(|member| member.node.clone()).collect();
            let incarnations =
                { document.members.iter() }.map(|member| (member.node.clone(), member.incarnation));
            disks.last.extend(incarnations);
        }
        disks
    }

    /// Whether a replica has lost its disk.
    pub fn is_lost(&self, replica: &Replica) -> bool {
        let has_another = self.last.get(&replica.node).is_some_and(|last| *last != replica.incarnation);
        has_another || (!self.rules.the_lost_have_new_disks && !self.members.contains(&replica.node))
    }

    fn left(&self, span: &Span) -> Vec<Replica> {
        span.replicas.iter().filter(|replica| !self.is_lost(replica)).cloned().collect()
    }

    /// The replicas of a segment that count as sealed because they are lost, and too few are left to seal it without
    /// them.
    pub fn counted_as_sealed(&self, span: &Span) -> Vec<Replica> {
        let left = self.left(span);
        if left.len() >= Quorum::of(span.replicas.len()).seal {
            return Vec::new();
        }
        let counts = |replica: &&Replica| !left.contains(replica) || !self.rules.those_left_seal;
        span.replicas.iter().filter(counts).cloned().collect()
    }

    /// Segments as they can still be read, and those of them whose data may not be all. A segment none of whose replicas
    /// is left is not read.
    pub fn readable(&self, spans: &[Span]) -> (Vec<Span>, Vec<Loss>) {
        let (mut readable, mut losses) = (Vec::new(), Vec::new());
        for span in spans {
            let (left, replicas) = (self.left(span), span.replicas.len());
            if left.len() >= Quorum::of(replicas).read {
                readable.push(span.clone());
                continue;
            }
            if self.rules.losses_are_told {
                losses.push(Loss { segment: span.segment.clone(), lost: replicas - left.len(), replicas });
            }
            if !left.is_empty() {
                readable.push(Span { replicas: left, ..span.clone() });
            }
        }
        (readable, losses)
    }
}
