//! Entries of indexes as passes need them: key, labels, places of chunks. Kept from query to query.
//!
//! To decode an entry - its checksum, twenty symbols, the key of its labels - costs as much as to decode hours of its
//! samples, and the next query wants the same series. So what was decoded is kept, in as much memory as there is for it.
//! It is kept in *groups*, series that lie close together in an index: of a group there is what was asked for. So a query
//! for one pod decodes one pod's entries, and many series cost few lookups.

use std::ops::Range;
use std::sync::Arc;

use gyre_ring::SeriesKey;
use gyre_tsdb::block::ChunkMeta;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::object::BlockKey;

/// References of series with these bits alike are a group: in an index 8 KiB, some hundred series.
const GROUP_BITS: u32 = 9;

/// What a group takes beside its parts.
const GROUP_BYTES: usize = 256;

/// Memory of an ordinary group.
const GROUP_BYTES_GUESS: u64 = 32 << 10;

/// A group's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    block: BlockKey,
    number: u32,
}

impl GroupKey {
    /// The group of a series of a block.
    pub(super) fn of(block: BlockKey, series: u32) -> Self {
        GroupKey { block, number: series >> GROUP_BITS }
    }

    /// Whether two series of a block are in one group.
    pub(super) fn is_same(a: &u32, b: &u32) -> bool {
        a >> GROUP_BITS == b >> GROUP_BITS
    }
}

/// Decoded entries, in order of their references.
#[derive(Debug, Default)]
pub(super) struct Group {
    entries: Vec<Entry>,
    labels: Vec<u8>,
    chunks: Vec<ChunkMeta>,
}

#[derive(Clone, Debug)]
struct Entry {
    key: SeriesKey,
    series: u32,
    labels: Range<u32>,
    chunks: Range<u32>,
}

/// An entry of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoded<'a> {
    /// The series' key.
    pub(super) key: SeriesKey,
    /// Its reference.
    pub(super) series: u32,
    /// Its canonical labels.
    pub(super) labels: &'a [u8],
    /// Its chunks, in order of time.
    pub(super) chunks: &'a [ChunkMeta],
}

impl Group {
    /// Appends an entry, of a greater reference than those before.
    pub(super) fn push(&mut self, series: u32, key: SeriesKey, labels: &[u8], chunks: &[ChunkMeta]) {
        let (first_label, first_chunk) = (self.labels.len() as u32, self.chunks.len() as u32);
        self.labels.extend_from_slice(labels);
        self.chunks.extend_from_slice(chunks);
        let labels = first_label..self.labels.len() as u32;
        let chunks = first_chunk..self.chunks.len() as u32;
        self.entries.push(Entry { key, series, labels, chunks });
    }

    fn decoded(&self, entry: &Entry) -> Decoded<'_> {
        let Entry { key, series, labels, chunks } = entry;
        let labels = &self.labels[labels.start as usize..labels.end as usize];
        let chunks = &self.chunks[chunks.start as usize..chunks.end as usize];
        Decoded { key: *key, series: *series, labels, chunks }
    }

    /// The entries of some series, given in order of references; `None` for one that is not here.
    pub(super) fn find(&self, series: &[u32]) -> impl Iterator<Item = (u32, Option<Decoded<'_>>)> {
        let mut rest = self.entries.iter().peekable();
        series.iter().map(move |series| {
            while rest.next_if(|entry| entry.series < *series).is_some() {}
            let found = rest.peek().filter(|entry| entry.series == *series);
            (*series, found.map(|entry| self.decoded(entry)))
        })
    }

    /// A group that has the entries of two, each in one of them.
    pub(super) fn merged(&self, other: &Group) -> Group {
        let mut merged = Group {
            entries: Vec::with_capacity(self.entries.len() + other.entries.len()),
            labels: Vec::with_capacity(self.labels.len() + other.labels.len()),
            chunks: Vec::with_capacity(self.chunks.len() + other.chunks.len()),
        };
        let mut own = self.entries.iter().peekable();
        let mut push = |entry: Decoded<'_>| merged.push(entry.series, entry.key, entry.labels, entry.chunks);
        for entry in &other.entries {
            while let Some(before) = own.next_if(|own| own.series < entry.series) {
                push(self.decoded(before));
            }
            own.next_if(|own| own.series == entry.series);
            push(other.decoded(entry));
        }
        own.for_each(|entry| push(self.decoded(entry)));
        merged
    }

    fn bytes(&self) -> usize {
        GROUP_BYTES
            + self.entries.capacity() * size_of::<Entry>()
            + self.labels.capacity()
            + self.chunks.capacity() * size_of::<ChunkMeta>()
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<GroupKey, Arc<Group>> for ByBytes {
    fn weight(&self, _: &GroupKey, group: &Arc<Group>) -> u64 {
        group.bytes() as u64
    }
}

/// The entries that were decoded.
pub(super) struct Entries {
    cache: Cache<GroupKey, Arc<Group>, ByBytes>,
}

impl Entries {
    /// Keeps so many bytes of them.
    pub(super) fn new(bytes_max: u64) -> Self {
        let groups = (bytes_max / GROUP_BYTES_GUESS).max(16) as usize;
        Entries { cache: Cache::with_weighter(groups, bytes_max, ByBytes) }
    }

    /// What is known of a group.
    pub(super) fn get(&self, key: &GroupKey) -> Option<Arc<Group>> {
        self.cache.get(key)
    }

    /// Adds entries to a group; gives the group with them.
    pub(super) fn add(&self, key: GroupKey, known: Option<&Group>, new: Group) -> Arc<Group> {
        let group = Arc::new(match known {
            Some(known) => known.merged(&new),
            None => new,
        });
        self.cache.insert(key, group.clone());
        group
    }
}

#[cfg(test)]
mod tests {
    use gyre_ring::TenantId;
    use gyre_tsdb::block::{ChunkRef, Ulid};

    use super::super::object::Tenants;
    use super::*;

    fn group(of: &[u32]) -> Group {
        let mut group = Group::default();
        for series in of {
            let chunks =
                (0..*series % 3).map(|at| ChunkMeta { at: ChunkRef(u64::from(at)), min_ms: 0, max_ms: 1 });
            let chunks: Vec<ChunkMeta> = chunks.collect();
            let labels = vec![b'x'; *series as usize];
            group.push(*series, SeriesKey(u128::from(*series) * 7), &labels, &chunks);
        }
        group
    }

    /// Which of some series a group has; each must be as it was added.
    fn found(group: &Group, series: &[u32]) -> Vec<u32> {
        let mut found = Vec::new();
        for (series, entry) in group.find(series) {
            let Some(entry) = entry else { continue };
            assert_eq!((entry.series, entry.key), (series, SeriesKey(u128::from(series) * 7)));
            assert_eq!((entry.labels.len(), entry.chunks.len()), (series as usize, series as usize % 3));
            found.push(series);
        }
        found
    }

    #[test]
    fn a_group_has_what_was_added_and_nothing_else() {
        let group = group(&[1, 5, 6, 20]);
        assert_eq!(found(&group, &[0, 1, 2, 6, 20, 21]), [1, 6, 20]);
        assert!(found(&group, &[]).is_empty());
        assert!(found(&Group::default(), &[1]).is_empty());
    }

    #[test]
    fn groups_of_different_entries_become_one_in_order() {
        for (a, b) in [(&[1, 5, 20][..], &[0, 6, 21][..]), (&[], &[3]), (&[3], &[]), (&[2, 3], &[2, 9])] {
            let mut all: Vec<u32> = [a, b].concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(found(&group(a).merged(&group(b)), &all), all);
        }
    }

    #[test]
    fn what_is_added_is_found_again_and_memory_is_bounded() {
        const BYTES: u64 = 1 << 20;
        let tenant = Tenants::default().number(&TenantId::new("acme").unwrap());
        let block = BlockKey { tenant, ulid: Ulid(1) };
        let entries = Entries::new(BYTES);
        let key = |number: u32| GroupKey::of(block, number << GROUP_BITS);
        let first = entries.add(key(0), None, group(&[1, 2]));
        entries.add(key(0), Some(&first), group(&[4]));
        let known = entries.get(&key(0)).unwrap();
        assert_eq!(found(&known, &[1, 2, 3, 4]), [1, 2, 4]);
        for number in 1..1000 {
            entries.add(key(number), None, group(&[1000, 2000, 3000]));
        }
        assert!(entries.cache.weight() <= BYTES, "{} bytes", entries.cache.weight());
        assert!(entries.cache.len() > 20, "{} groups", entries.cache.len());
    }
}
