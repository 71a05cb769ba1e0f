//! The set of batches a replica holds of one segment (protocol rule 7).
//!
//! A highest number would not do: a replica that missed batch 1 and took batch 2 does not hold 1
//! (counterexample 5 of the protocol). So it is a set, kept as sorted intervals per coordinator run: a run
//! whose batches all arrived costs one interval.

use std::collections::BTreeMap;

use crate::ids::{BatchId, BatchNumber, BootId};

/// A grow-only set of batches, as intervals with holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchSet {
    /// Per run: disjoint, non-adjacent, ascending `[first, last]`.
    runs: BTreeMap<BootId, Vec<(u64, u64)>>,
}

impl BatchSet {
    /// Adds a batch; false if it was there.
    pub fn insert(&mut self, id: BatchId) -> bool {
        self.insert_interval(id.boot, id.number, id.number)
    }

    /// Adds all numbers from `first` to `last`; false if none was new.
    pub fn insert_interval(&mut self, boot: BootId, first: BatchNumber, last: BatchNumber) -> bool {
        let (mut first, mut last) = (first.0, last.0);
        debug_assert!(first <= last);
        let intervals = self.runs.entry(boot).or_default();
        // The intervals that touch or overlap the new one: they become one with it.
        let begin = intervals.partition_point(|&(_, end)| end.saturating_add(1) < first);
        let end = intervals.partition_point(|&(start, _)| start <= last.saturating_add(1));
        if let [(start, stop)] = intervals[begin..end]
            && start <= first
            && last <= stop
        {
            return false;
        }
        if begin < end {
            first = first.min(intervals[begin].0);
            last = last.max(intervals[end - 1].1);
        }
        intervals.splice(begin..end, [(first, last)]);
        true
    }

    /// Whether a batch is in the set.
    pub fn contains(&self, id: BatchId) -> bool {
        let Some(intervals) = self.runs.get(&id.boot) else { return false };
        let at = intervals.partition_point(|&(_, end)| end < id.number.0);
        intervals.get(at).is_some_and(|&(start, _)| start <= id.number.0)
    }

    /// Whether every batch of `other` is in this set.
    pub fn contains_all(&self, other: &BatchSet) -> bool {
        other.intervals().all(|(boot, first, last)| {
            let Some(intervals) = self.runs.get(&boot) else { return false };
            let at = intervals.partition_point(|&(_, end)| end < first.0);
            intervals.get(at).is_some_and(|&(start, end)| start <= first.0 && last.0 <= end)
        })
    }

    /// All intervals, by run and then ascending.
    pub fn intervals(&self) -> impl Iterator<Item = (BootId, BatchNumber, BatchNumber)> + '_ {
        self.runs.iter().flat_map(|(boot, intervals)| {
            intervals.iter().map(|&(first, last)| (*boot, BatchNumber(first), BatchNumber(last)))
        })
    }

    /// How many batches the set holds.
    pub fn len(&self) -> u64 {
        self.intervals().map(|(_, first, last)| last.0 - first.0 + 1).sum()
    }

    /// Whether the set holds nothing.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn id(boot: u128, number: u64) -> BatchId {
        BatchId { boot: BootId(boot), number: BatchNumber(number) }
    }

    #[test]
    fn a_missed_batch_stays_missing() {
        let mut set = BatchSet::default();
        set.insert(id(1, 2));
        assert!(!set.contains(id(1, 1)));
        assert!(set.contains(id(1, 2)));
        assert!(!set.contains(id(2, 2)));
    }

    proptest! {
        #[test]
        fn it_holds_exactly_what_was_inserted(ops in proptest::collection::vec((0u128..3, 0u64..40, 0u64..4), 0..60)) {
            let mut set = BatchSet::default();
            let mut model = BTreeSet::new();
            for (boot, first, more) in ops {
                let fresh = (first..=first + more).filter(|n| model.insert((boot, *n))).count();
                let grew = set.insert_interval(BootId(boot), BatchNumber(first), BatchNumber(first + more));
                prop_assert_eq!(grew, fresh > 0);
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            for boot in 0..3 {
                for n in 0..50 {
                    prop_assert_eq!(set.contains(id(boot, n)), model.contains(&(boot, n)));
                }
            }
            let intervals: Vec<_> = set.intervals().collect();
            for pair in intervals.windows(2) {
                if pair[0].0 == pair[1].0 {
                    prop_assert!(pair[0].2.0 + 1 < pair[1].1.0, "adjacent intervals are merged");
                }
            }
        }

        #[test]
        fn containing_all_means_containing_each(a in proptest::collection::vec((0u128..2, 0u64..12), 0..20),
                                                b in proptest::collection::vec((0u128..2, 0u64..12), 0..8)) {
            let build = |ids: &[(u128, u64)]| {
                let mut set = BatchSet::default();
                for (boot, n) in ids { set.insert(id(*boot, *n)); }
                set
            };
            let (sa, sb) = (build(&a), build(&b));
            let each = b.iter().all(|x| a.contains(x));
            prop_assert_eq!(sa.contains_all(&sb), each);
        }
    }
}
