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

    /// The batches of this set that are not in `other`.
    pub fn difference(&self, other: &BatchSet) -> BatchSet {
        let mut left = BatchSet::default();
        for (boot, intervals) in &self.runs {
            let empty = Vec::new();
            let mut taken = other.runs.get(boot).unwrap_or(&empty).iter().peekable();
            for &(mut first, last) in intervals {
                let mut covered = false;
                while let Some(&&(begin, end)) = taken.peek() {
                    if begin > last {
                        break;
                    }
                    if end >= first {
                        if begin > first {
                            left.insert_interval(*boot, BatchNumber(first), BatchNumber(begin - 1));
                        }
                        covered = end >= last;
                        if covered {
                            break;
                        }
                        first = end + 1;
                    }
                    taken.next();
                }
                if !covered {
                    left.insert_interval(*boot, BatchNumber(first), BatchNumber(last));
                }
            }
        }
        left
    }

    /// What both sets hold.
    pub fn intersection(&self, other: &BatchSet) -> BatchSet {
        self.difference(&self.difference(other))
    }

    /// Adds all batches of another set.
    pub fn extend(&mut self, other: &BatchSet) {
        for (boot, first, last) in other.intervals() {
            self.insert_interval(boot, first, last);
        }
    }

    /// Only the highest number of each run: what a vector of plain counters would tell. It is no stand-in for the set,
    /// which a simulation shows.
    pub fn highest_only(&self) -> BatchSet {
        let mut highest = BatchSet::default();
        for (boot, intervals) in &self.runs {
            if let Some((_, last)) = intervals.last() {
                highest.insert_interval(*boot, BatchNumber(*last), BatchNumber(*last));
            }
        }
        highest
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
        fn a_difference_is_what_only_the_first_set_holds(
            a in proptest::collection::vec((0u128..2, 0u64..24, 0u64..5), 0..20),
            b in proptest::collection::vec((0u128..2, 0u64..24, 0u64..5), 0..20),
        ) {
            let build = |intervals: &[(u128, u64, u64)]| {
                let mut set = BatchSet::default();
                for (boot, first, more) in intervals {
                    set.insert_interval(BootId(*boot), BatchNumber(*first), BatchNumber(first + more));
                }
                set
            };
            let (sa, sb) = (build(&a), build(&b));
            let left = sa.difference(&sb);
            for boot in 0..2 {
                for n in 0..32 {
                    let expected = sa.contains(id(boot, n)) && !sb.contains(id(boot, n));
                    prop_assert_eq!(left.contains(id(boot, n)), expected);
                }
            }
            let mut all = left.clone();
            all.extend(&sb);
            prop_assert!(all.contains_all(&sa) && all.contains_all(&sb));
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
