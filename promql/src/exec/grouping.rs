//! Telling apart series by some of their labels.

use std::hash::Hasher;

use hashbrown::HashTable;
use xxhash_rust::xxh3::Xxh3;

use crate::labels::{Labels, METRIC_NAME_LABEL};

/// Which labels make up a group's identity.
#[derive(Clone, Copy, Debug)]
pub(super) enum Key<'k> {
    /// These and no others (sorted).
    By(&'k [String]),
    /// All but these (sorted) and the metric name.
    Without(&'k [String]),
    /// All.
    All,
}

impl Key<'_> {
    #[inline]
    fn selects(&self, name: &str) -> bool {
        match self {
            Self::By(names) => names.iter().any(|candidate| candidate == name),
            Self::Without(names) => {
                name != METRIC_NAME_LABEL && names.iter().all(|candidate| candidate != name)
            }
            Self::All => true,
        }
    }

    /// The labels of the group that `labels` belongs to.
    pub fn labels(&self, labels: &Labels) -> Labels {
        labels.filter(|name| self.selects(name))
    }

    fn hash(&self, labels: &Labels) -> u64 {
        if matches!(self, Self::All) {
            return labels.hash64();
        }
        let mut hasher = Xxh3::new();
        for (name, value) in labels.iter().filter(|(name, _)| self.selects(name)) {
            hasher.write(name.as_bytes());
            hasher.write_u8(0xff);
            hasher.write(value.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish()
    }
}

/// Numbers groups of series in the order they are met. One table is used with one key only; labels of a group belong
/// to that group again.
#[derive(Debug, Default)]
pub(super) struct Groups {
    table: HashTable<(u64, usize)>,
    labels: Vec<Labels>,
}

impl Groups {
    /// The number of the group that `labels` belongs to, and whether it is new.
    pub fn find_or_add(&mut self, key: &Key<'_>, labels: &Labels) -> (usize, bool) {
        if let Key::By([]) = key {
            // One group; no need to look at labels.
            let is_new = self.labels.is_empty();
            if is_new {
                self.labels.push(Labels::empty());
            }
            return (0, is_new);
        }
        let hash = key.hash(labels);
        let groups = &self.labels;
        let found = self.table.find(hash, |&(other, group)| {
            other == hash && groups[group].iter().eq(labels.iter().filter(|(name, _)| key.selects(name)))
        });
        if let Some(&(_, group)) = found {
            return (group, false);
        }
        let group = self.labels.len();
        self.labels.push(key.labels(labels));
        self.table.insert_unique(hash, (hash, group), |&(hash, _)| hash);
        (group, true)
    }

    /// The labels of all groups, in the order of their numbers.
    pub fn labels(&self) -> &[Labels] {
        &self.labels
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.labels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn series_fall_into_groups_by_the_selected_labels() {
        let names = ["job".to_owned()];
        let a = labels(&[("__name__", "x"), ("instance", "1"), ("job", "api")]);
        let b = labels(&[("__name__", "y"), ("instance", "2"), ("job", "api")]);
        let c = labels(&[("__name__", "x"), ("instance", "1")]);
        let number = |key: &Key<'_>, series: &[&Labels]| {
            let mut groups = Groups::default();
            series.iter().map(|labels| groups.find_or_add(key, labels).0).collect::<Vec<_>>()
        };
        assert_eq!(number(&Key::By(&names), &[&a, &b, &c]), [0, 0, 1]);
        assert_eq!(number(&Key::Without(&names), &[&a, &b, &c]), [0, 1, 0]);
        assert_eq!(number(&Key::By(&[]), &[&a, &b, &c]), [0, 0, 0]);
    }
}
