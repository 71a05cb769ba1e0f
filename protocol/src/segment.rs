//! One replica's side of a segment: may it take this batch, may it ack, has it sealed (rules 6, 7, 10).
//!
//! The driver owns the log. It appends in the order in which this says so, reports what became durable in the order of
//! the log, and writes the seal record behind everything accepted before. After a restart it rebuilds this from the log
//! alone.
//!
//! What may go wrong: an ack for a batch that is not on disk yet; an ack after a seal that others have counted on; a
//! seal that is forgotten. The checks stand in one order, in [`SegmentReplica::append`], and nowhere else.

use std::collections::BTreeSet;

use gyre_ring::{BatchId, BatchSet};

use crate::rules::Rules;

/// What is to be done with a batch that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// It is new: log it, and ack when it is durable.
    Take,
    /// It is in the log already but not durable: ack when it is.
    Wait,
    /// It is durable: ack.
    Held,
    /// It must not be acked here.
    Refuse(Refusal),
}

/// Why a batch is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The segment has ended; the sender's documents are old.
    Sealed,
    /// The segments before are not known to be sealed yet; try again.
    NotActive,
    /// The request means another incarnation, or a segment that this node does not hold.
    NotMember,
}

impl Refusal {
    /// Whether the same batch may be taken by the same replica later.
    pub fn is_retryable(self) -> bool {
        self == Refusal::NotActive
    }
}

/// Where a segment stands at a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Inactive,
    Open,
    /// The seal is in the log, not durable. Nothing is taken any more, nothing is claimed yet.
    Sealing,
    Sealed,
}

/// A replica's state of one segment.
#[derive(Clone, Debug)]
pub struct SegmentReplica {
    phase: Phase,
    /// Durable.
    held: BatchSet,
    /// In the log, not durable.
    in_flight: BTreeSet<BatchId>,
    rules: Rules,
}

impl SegmentReplica {
    /// A segment nothing is known of.
    pub fn new(rules: Rules) -> Self {
        SegmentReplica {
            phase: Phase::Inactive,
            held: BatchSet::default(),
            in_flight: BTreeSet::new(),
            rules,
        }
    }

    /// A segment as the log has it after a restart. One that holds a batch has been opened by somebody, and that never
    /// expires.
    pub fn recovered(held: BatchSet, sealed: bool, rules: Rules) -> Self {
        let phase = match sealed && rules.seal_is_durable {
            true => Phase::Sealed,
            false if held.is_empty() => Phase::Inactive,
            false => Phase::Open,
        };
        SegmentReplica { phase, held, in_flight: BTreeSet::new(), rules }
    }

    /// Takes appends from now on: the segments before are sealed (rule 9).
    pub fn activate(&mut self) {
        if self.phase == Phase::Inactive {
            self.phase = Phase::Open;
        }
    }

    /// Whether it takes appends.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether it takes none because nobody has shown it that it may.
    pub fn is_inactive(&self) -> bool {
        self.phase == Phase::Inactive
    }

    /// Whether its seal is durable.
    pub fn is_sealed(&self) -> bool {
        self.phase == Phase::Sealed
    }

    /// A coordinator's batch. The order of checks is rule 6: a sealed replica acks nothing, not even what it holds,
    /// since whoever counted on the seal has counted the acks that came before it.
    pub fn append(&mut self, batch: BatchId) -> Append {
        match self.phase {
            Phase::Sealing | Phase::Sealed => return Append::Refuse(Refusal::Sealed),
            Phase::Inactive if self.rules.activation => return Append::Refuse(Refusal::NotActive),
            Phase::Inactive | Phase::Open => self.phase = Phase::Open,
        }
        self.take(batch)
    }

    /// A batch that a peer holds. It bypasses all limits (rule 7), comes in after a seal too, and is acked to nobody.
    pub fn pulled(&mut self, batch: BatchId) -> Append {
        self.take(batch)
    }

    fn take(&mut self, batch: BatchId) -> Append {
        if self.held.contains(batch) {
            return Append::Held;
        }
        if !self.in_flight.insert(batch) {
            return if self.rules.repeat_waits_for_fsync { Append::Wait } else { Append::Held };
        }
        Append::Take
    }

    /// A batch of the log is durable now.
    pub fn durable(&mut self, batch: BatchId) {
        if self.in_flight.remove(&batch) {
            self.held.insert(batch);
        }
        if self.in_flight.is_empty() {
            // An emptied tree would keep a node of it, in each of thousands of segments.
            self.in_flight = BTreeSet::new();
        }
    }

    /// The segment has a successor (rule 10). True if the seal record must be written now, behind all that was
    /// accepted; [`SegmentReplica::seal_durable`] follows when it is on disk.
    pub fn begin_seal(&mut self) -> bool {
        let begin = matches!(self.phase, Phase::Inactive | Phase::Open);
        if begin {
            self.phase = Phase::Sealing;
        }
        begin
    }

    /// The seal is on disk, and so is all that was accepted before.
    pub fn seal_durable(&mut self) {
        self.phase = Phase::Sealed;
    }

    /// The batches that are durable here: the replica's vector.
    pub fn held(&self) -> &BatchSet {
        &self.held
    }

    /// Whether a batch is in the log, durable or not.
    pub fn is_logged(&self, batch: BatchId) -> bool {
        self.held.contains(batch) || self.in_flight.contains(&batch)
    }

    /// The batches that are in the log, durable or not.
    pub fn logged(&self) -> BatchSet {
        let mut logged = self.held.clone();
        for batch in &self.in_flight {
            logged.insert(*batch);
        }
        logged
    }

    /// Whether all batches of a set are in the data that this replica would hand out: visible is what is in the log,
    /// durable or not.
    pub fn shows(&self, set: &BatchSet) -> bool {
        let missing = set.difference(&self.held);
        missing.intervals().all(|(boot, first, last)| {
            let mut numbers = first.0..=last.0;
            numbers.all(|number| {
                self.in_flight.contains(&BatchId { boot, number: gyre_ring::BatchNumber(number) })
            })
        })
    }

    /// Batches that a peer's vector has and this replica has not, not even on their way: what it should pull.
    pub fn missing(&self, peer: &BatchSet) -> BatchSet {
        peer.difference(&self.logged())
    }
}
