//! Telling apart series by some of their labels.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use crate::labels::{Labels, METRIC_NAME_LABEL, is_metadata_label};

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
    /// Whether the metric name makes a difference; labels of its type and unit aside.
    pub fn sees_metric_name(&self) -> bool {
        match self {
            Self::By(names) => names.iter().any(|name| is_metadata_label(name)),
            Self::Without(_) => false,
            Self::All => true,
        }
    }

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

    /// The labels of the group that `labels` belongs to, as bytes that are the same for the same group only: each text
    /// begins with its length.
    fn write(&self, labels: &Labels, out: &mut Vec<u8>) {
        out.clear();
        for (name, value) in labels.iter().filter(|(name, _)| self.selects(name)) {
            for text in [name, value] {
                out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// Numbers groups of series in the order they are met. One table is used with one key only; labels of a group belong
/// to that group again.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Hash and number.
    table: HashTable<(u64, usize)>,
    labels: Vec<Labels>,
    /// The keys of all groups, one behind the other, and where each ends.
    keys: Vec<u8>,
    key_ends: Vec<usize>,
    scratch: Vec<u8>,
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
        let whole = matches!(key, Key::All);
        let hash = if whole {
            labels.hash64()
        } else {
            key.write(labels, &mut self.scratch);
            xxh3_64(&self.scratch)
        };
        let found = self.table.find(hash, |&(other, group)| {
            other == hash
                && if whole { self.labels[group] == *labels } else { self.key(group) == self.scratch }
        });
        if let Some(&(_, group)) = found {
            return (group, false);
        }
        let group = self.labels.len();
        self.labels.push(key.labels(labels));
        if !whole {
            self.keys.extend_from_slice(&self.scratch);
            self.key_ends.push(self.keys.len());
        }
        self.table.insert_unique(hash, (hash, group), |&(hash, _)| hash);
        (group, true)
    }

    fn key(&self, group: usize) -> &[u8] {
        let begin = group.checked_sub(1).map_or(0, |before| self.key_ends[before]);
        &self.keys[begin..self.key_ends[group]]
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
