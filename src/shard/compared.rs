//! What comparisons have told of a segment that has ended: which of its replicas has everything.
//!
//! One that has is to make the blocks: then they cover what the others hold, and nothing need be sent to these. What may go
//! wrong: nobody has everything. Then nobody is behind another one, and replicas get from each other what they lack.

use std::collections::BTreeSet;

use gyre_ring::{BatchSet, Replica};

/// What is known of the other replicas.
#[derive(Default)]
pub struct Others {
    /// Batches that were missing here, and may have come since.
    pub missed: BatchSet,
    /// What one of the others holds that lacks nothing, as far as was known then.
    pub best: BatchSet,
    /// Those that lack what is held here.
    pub behind: BTreeSet<Replica>,
}

impl Others {
    /// Notes what another one holds, of which `missing` is not here; `held` was held here before it was asked.
    pub fn note(&mut self, other: &Replica, missing: &BatchSet, held: &BatchSet, theirs: &BatchSet) {
        let is_behind = !theirs.contains_all(held);
        match is_behind {
            true => self.behind.insert(other.clone()),
            false => self.behind.remove(other),
        };
        if missing.is_empty() {
            return;
        }
        self.missed.extend(missing);
        if !is_behind && theirs.contains_all(&self.missed) {
            self.best = theirs.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use gyre_ring::{BatchId, BatchNumber, BootId, Incarnation, NodeId};

    use super::*;
    use crate::shard::segment_state::{SegmentState, Vector};
    use crate::shard::windows::Windows;

    fn set(numbers: &[u64]) -> BatchSet {
        let mut set = BatchSet::default();
        for number in numbers {
            set.insert(BatchId { boot: BootId(1), number: BatchNumber(*number) });
        }
        set
    }

    fn replica(name: &str) -> Replica {
        Replica { node: NodeId::new(name).unwrap(), incarnation: Incarnation(1) }
    }

    fn holding(numbers: &[u64]) -> SegmentState {
        let state = SegmentState::new(BootId(9));
        state.recovered(Vector { held: set(numbers), is_sealed: true }, Windows::default());
        state
    }

    #[test]
    fn a_replica_is_behind_one_that_has_everything_and_behind_nobody_if_none_has() {
        let (b, c) = (replica("b"), replica("c"));
        let state = holding(&[1, 2]);
        let compare = |other: &Replica, theirs: &[u64]| {
            let theirs = set(theirs);
            state.note_compared(other, &state.missing(&theirs), &state.vector().held, &theirs);
        };
        compare(&b, &[1, 2]);
        assert!(!state.is_behind_another() && !state.is_behind(&b));
        compare(&b, &[1, 2, 3]);
        assert!(state.is_behind_another() && !state.is_behind(&b));
        compare(&c, &[1, 3]);
        assert!(state.is_behind_another(), "b still has everything");
        assert!(state.is_behind(&c));
        compare(&c, &[1, 2, 4]);
        assert!(!state.is_behind_another(), "b lacks 4, c lacks 3");
        compare(&b, &[1, 2, 3, 4]);
        assert!(state.is_behind_another(), "b has got it");
    }
}
