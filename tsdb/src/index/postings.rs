//! Which series carry which label: a compressed list per (name, value).
//!
//! A list holds the distances of ascending series numbers as varints, mostly one byte each. A list of one
//! series, as a label that is unique to it makes, holds no bytes at all.

use hashbrown::HashTable;

use super::SeriesRef;
use super::symbols::Symbol;
use crate::mem::Paged;
use crate::varint;

/// Numbers a (name, value) pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pair(u32);

struct Entry {
    name: Symbol,
    value: Symbol,
    list: List,
}

/// Ascending series numbers.
struct List {
    count: u32,
    first: u32,
    last: u32,
    /// Distances from the first on.
    distances: Vec<u8>,
}

/// All posting lists of a shard.
#[derive(Default)]
pub(crate) struct Postings {
    entries: Paged<Entry>,
    by_pair: HashTable<u32>,
    /// For each name: its pairs in order of first appearance.
    by_name: Vec<(Symbol, Vec<Pair>)>,
}

/// Spreads a pair over 64 bits; symbol numbers are ours, nobody can choose them to collide.
fn hash(name: Symbol, value: Symbol) -> u64 {
    (u64::from(name.0) << 32 | u64::from(value.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
}

impl Postings {
    /// Adds a series to a list. Series come in ascending order.
    pub(crate) fn add(&mut self, name: Symbol, value: Symbol, series: SeriesRef) {
        if let Some(pair) = self.find(name, value) {
            let list = &mut self.entries[pair.0 as usize].list;
            debug_assert!(list.last < series.0, "series are added once, in order");
            varint::put_u64(&mut list.distances, u64::from(series.0 - list.last));
            list.last = series.0;
            list.count += 1;
            return;
        }
        let list = List { count: 1, first: series.0, last: series.0, distances: Vec::new() };
        let pair = self.entries.push(Entry { name, value, list }) as u32;
        let entries = &self.entries;
        let rehash = |pair: &u32| hash(entries[*pair as usize].name, entries[*pair as usize].value);
        self.by_pair.insert_unique(hash(name, value), pair, rehash);
        match self.by_name.iter_mut().find(|(n, _)| *n == name) {
            Some((_, pairs)) => pairs.push(Pair(pair)),
            None => self.by_name.push((name, vec![Pair(pair)])),
        }
    }

    /// The pair of a name and a value, if any series has it.
    pub(crate) fn find(&self, name: Symbol, value: Symbol) -> Option<Pair> {
        let same = |pair: &u32| {
            let entry = &self.entries[*pair as usize];
            entry.name == name && entry.value == value
        };
        self.by_pair.find(hash(name, value), same).map(|pair| Pair(*pair))
    }

    /// All names.
    pub(crate) fn names(&self) -> impl Iterator<Item = Symbol> {
        self.by_name.iter().map(|(name, _)| *name)
    }

    /// All pairs with a name.
    pub(crate) fn pairs_of(&self, name: Symbol) -> &[Pair] {
        self.by_name.iter().find(|(n, _)| *n == name).map_or(&[], |(_, pairs)| pairs)
    }

    /// A pair's value.
    pub(crate) fn value(&self, pair: Pair) -> Symbol {
        self.entries[pair.0 as usize].value
    }

    /// How many series have a pair.
    pub(crate) fn series_count(&self, pair: Pair) -> usize {
        self.entries[pair.0 as usize].list.count as usize
    }

    /// How many series have a name with a value.
    pub(crate) fn count(&self, name: Symbol, value: Symbol) -> usize {
        self.find(name, value).map_or(0, |pair| self.series_count(pair))
    }

    /// The series that have a pair, ascending.
    pub(crate) fn series(&self, pair: Pair) -> impl Iterator<Item = u32> {
        let list = &self.entries[pair.0 as usize].list;
        let mut at = list.first;
        let mut rest = list.distances.as_slice();
        std::iter::once(at).chain(std::iter::from_fn(move || {
            at += varint::take_u64(&mut rest)? as u32;
            Some(at)
        }))
    }
}
