//! A coordinator's side of a write: when is a batch durable (rule 8).
//!
//! Acks count if they come from distinct replicas of one segment. A coordinator that must go to a newer segment makes a
//! new one of these, and a new batch name, and starts at nothing.

use std::collections::BTreeSet;

use gyre_ring::{Quorum, Replica};

use crate::rules::Rules;

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteState {
    /// More answers are needed, and may come.
    Pending,
    /// Durable on a quorum: the client may be told so.
    Durable,
    /// So many replicas have failed or refused that a quorum is out of reach for now.
    Failed,
}

/// A batch on its way to the replicas of a segment.
#[derive(Clone, Debug)]
pub struct QuorumWrite {
    replicas: Vec<Replica>,
    need: usize,
    acked: BTreeSet<Replica>,
    failed: BTreeSet<Replica>,
    /// Acks of earlier segments or repeated ones, which must not count.
    stray: usize,
    rules: Rules,
}

impl QuorumWrite {
    /// A batch that is sent to these replicas, all that the segment has.
    pub fn new(replicas: Vec<Replica>, rules: Rules) -> Self {
        let need = Quorum::of(replicas.len()).write;
        let (acked, failed) = (BTreeSet::new(), BTreeSet::new());
        QuorumWrite { replicas, need, acked, failed, stray: 0, rules }
    }

    /// The same write, begun anew in another segment.
    pub fn again(&self, replicas: Vec<Replica>) -> Self {
        let mut again = QuorumWrite::new(replicas, self.rules);
        if !self.rules.acks_are_of_one_segment {
            again.stray = self.acked.len() + self.stray;
        }
        again
    }

    /// A replica has the batch on disk.
    pub fn acked(&mut self, replica: &Replica) -> WriteState {
        if self.replicas.contains(replica)
            && !self.acked.insert(replica.clone())
            && !self.rules.acks_are_distinct
        {
            self.stray += 1;
        }
        self.failed.remove(replica);
        self.state()
    }

    /// A replica has refused it, or could not be reached. It may ack yet, if it is asked again.
    pub fn failed(&mut self, replica: &Replica) -> WriteState {
        if self.replicas.contains(replica) && !self.acked.contains(replica) {
            self.failed.insert(replica.clone());
        }
        self.state()
    }

    /// Where it stands.
    pub fn state(&self) -> WriteState {
        if self.acked.len() + self.stray >= self.need {
            WriteState::Durable
        } else if self.replicas.len() - self.failed.len() < self.need {
            WriteState::Failed
        } else {
            WriteState::Pending
        }
    }

    /// Those that have not acked: whom to send it to again.
    pub fn outstanding(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| !self.acked.contains(replica))
    }
}
