//! The set of batches a replica holds of one segment (protocol rule 7).
//!
//! A highest number would not do: a replica that missed batch 1 and took batch 2 does not hold 1
//! (counterexample 5 of the protocol). So it is a set, kept as sorted intervals per coordinator run: a run
//! whose batches all arrived costs one interval.

use crate::ids::{BatchId, BatchNumber, BootId};

/// A grow-only set of batches, as intervals with holes.
///
/// A node has several for each segment, most of them with one interval for each of a few runs: so they lie in one piece of
/// memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchSet {
    /// In order of runs, then numbers; those of one run neither overlap nor touch.
    intervals: Vec<Interval>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    boot: BootId,
    first: u64,
    last: u64,
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
        let intervals = &mut self.intervals;
        // The intervals that touch or overlap the new one: they become one with it.
        let begin = intervals.partition_point(|old| (old.boot, old.last.saturating_add(1)) < (boot, first));
        let end = intervals.partition_point(|old| (old.boot, old.first) <= (boot, last.saturating_add(1)));
        if let [old] = intervals[begin..end]
            && old.first <= first
            && last <= old.last
        {
            return false;
        }
        if begin < end {
            first = first.min(intervals[begin].first);
            last = last.max(intervals[end - 1].last);
        }
        intervals.splice(begin..end, [Interval { boot, first, last }]);
        true
    }

    /// The intervals of a run that end at a number or later.
    fn from(&self, boot: BootId, number: u64) -> impl Iterator<Item = &Interval> {
        let at = self.intervals.partition_point(|interval| (interval.boot, interval.last) < (boot, number));
        self.intervals[at..].iter().take_while(move |interval| interval.boot == boot)
    }

    /// Whether a batch is in the set.
    pub fn contains(&self, id: BatchId) -> bool {
        self.from(id.boot, id.number.0).next().is_some_and(|interval| interval.first <= id.number.0)
    }

    /// Whether every batch of `other` is in this set.
    pub fn contains_all(&self, other: &BatchSet) -> bool {
        other.intervals.iter().all(|wanted| {
            let interval = self.from(wanted.boot, wanted.first).next();
            interval.is_some_and(|interval| interval.first <= wanted.first && wanted.last <= interval.last)
        })
    }

    /// The batches of this set that are not in `other`.
    pub fn difference(&self, other: &BatchSet) -> BatchSet {
        let mut left = BatchSet::default();
        for &Interval { boot, mut first, last } in &self.intervals {
            let mut covered = false;
            for taken in other.from(boot, first).take_while(|taken| taken.first <= last) {
                if taken.first > first {
                    left.intervals.push(Interval { boot, first, last: taken.first - 1 });
                }
                covered = taken.last >= last;
                if covered {
                    break;
                }
                first = taken.last + 1;
            }
            if !covered {
                left.intervals.push(Interval { boot, first, last });
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
        let of_run = self.intervals.chunk_by(|a, b| a.boot == b.boot);
        let highest = of_run.filter_map(|of_run| of_run.last());
        BatchSet { intervals: highest.map(|highest| Interval { first: highest.last, ..*highest }).collect() }
    }

    /// All intervals, by run and then ascending.
    pub fn intervals(&self) -> impl Iterator<Item = (BootId, BatchNumber, BatchNumber)> + '_ {
        let parts =
            |interval: &Interval| (interval.boot, BatchNumber(interval.first), BatchNumber(interval.last));
        self.intervals.iter().map(parts)
    }

    /// How many batches the set holds.
    pub fn len(&self) -> u64 {
        self.intervals().map(|(_, first, last)| last.0 - first.0 + 1).sum()
    }

    /// Whether the set holds nothing.
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
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
