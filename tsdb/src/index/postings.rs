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

impl List {
    fn of(series: u32) -> Self {
        List { count: 1, first: series, last: series, distances: Vec::new() }
    }

    fn push(&mut self, series: u32) {
        debug_assert!(self.last < series, "series are added once, in order");
        varint::put_u64(&mut self.distances, u64::from(series - self.last));
        self.last = series;
        self.count += 1;
    }
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
        match self.find(name, value) {
            Some(pair) => self.entries[pair.0 as usize].list.push(series.0),
            None => self.insert(name, value, List::of(series.0)),
        }
    }

    /// The lists of the series that stay, with symbols numbered anew. Lists of none are left out.
    pub(crate) fn of_those<E>(
        &self,
        stays: impl Fn(SeriesRef) -> bool,
        mut renumber: impl FnMut(Symbol) -> Result<Symbol, E>,
    ) -> Result<Self, E> {
        let mut kept = Postings::default();
        for pair in (0..self.entries.len() as u32).map(Pair) {
            let mut series = self.series(pair).filter(|series| stays(SeriesRef(*series)));
            let Some(first) = series.next() else { continue };
            let mut list = List::of(first);
            series.for_each(|series| list.push(series));
            list.distances.shrink_to_fit();
            let Entry { name, value, .. } = self.entries[pair.0 as usize];
            kept.insert(renumber(name)?, renumber(value)?, list);
        }
        Ok(kept)
    }

    fn insert(&mut self, name: Symbol, value: Symbol, list: List) {
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
