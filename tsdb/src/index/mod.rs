//! From label matchers to series: symbols, postings, selection.
//!
//! Series are numbered in order of creation, so a posting list only ever grows at its end and is in order by
//! itself. Label sets are kept as symbol numbers; the strings are stored once per shard. Nothing of it shrinks: when
//! series are [forgotten](Index::without), the index is made anew of those that stay.

mod numbers;
mod postings;
mod select;
mod symbols;

use crate::labels::{self, Labels, METRIC_NAME};
use crate::mem::{ByteArena, Paged};
use crate::varint;

pub use select::Matcher;
pub(crate) use symbols::{Symbol, Symbols};

use numbers::Numbers;
use postings::{Pair, Postings};

/// Numbers a series within its shard, from 0, in order of creation. No other series ever gets the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u32);

/// A part of the head has reached the size its 32-bit offsets can address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shard's label memory is full (4 GiB)")]
pub struct IndexFull;

/// The label sets of all series of a shard, and which series carry which label.
#[derive(Default)]
pub(crate) struct Index {
    symbols: Symbols,
    /// Per series: varint count, then varint (name, value) symbols.
    sets: ByteArena,
    numbers: Numbers,
    /// Where in `sets`, by place.
    offsets: Paged<u32>,
    postings: Postings,
    scratch: Vec<u8>,
}

impl Index {
    /// Adds a series; it gets the next number.
    pub(crate) fn add(&mut self, labels: Labels<'_>) -> Result<SeriesRef, IndexFull> {
        if self.numbers.end() == u32::MAX {
            return Err(IndexFull);
        }
        let mut set = std::mem::take(&mut self.scratch);
        set.clear();
        for (name, value) in labels.iter() {
            let (name, value) = (self.symbols.intern(name)?, self.symbols.intern(value)?);
            varint::put_u64(&mut set, u64::from(name.0));
            varint::put_u64(&mut set, u64::from(value.0));
        }
        // Nothing fails from here on: a series is in all of the index or in nothing of it.
        let offset = self.sets.push(&set).ok_or(IndexFull)?;
        let series = self.numbers.push();
        self.offsets.push(offset);
        for (name, value) in symbol_pairs(&set) {
            self.postings.add(name, value, series);
        }
        self.scratch = set;
        Ok(series)
    }

    /// So many numbers of series follow that are gone.
    pub(crate) fn add_gone(&mut self, count: u32) {
        self.numbers.push_gone(count);
    }

    /// The same index without some series, given in ascending order. What stays keeps its number. Takes less than a
    /// microsecond for each series, and memory beside this one.
    pub(crate) fn without(&self, gone: &[SeriesRef]) -> Result<Self, IndexFull> {
        let mut kept = Index::default();
        let mut gone = gone.iter().peekable();
        for series in self.from(SeriesRef(0)) {
            if gone.next_if(|next| **next == series).is_some() {
                continue;
            }
            kept.numbers.push_gone(series.0 - kept.numbers.end());
            kept.numbers.push();
        }
        kept.numbers.push_gone(self.numbers.end() - kept.numbers.end());
        let numbers = &kept.numbers;
        // The new number of each symbol that is needed.
        let mut renumbered: Vec<Option<Symbol>> = vec![None; self.symbols.len()];
        let symbols = &mut kept.symbols;
        let renumber = |symbol: Symbol| {
            let number = &mut renumbered[symbol.0 as usize];
            match number {
                Some(number) => Ok(*number),
                None => Ok(*number.insert(symbols.intern(self.symbols.get(symbol))?)),
            }
        };
        kept.postings = self.postings.of_those(|series| numbers.place(series).is_some(), renumber)?;
        let mut set = Vec::new();
        for series in kept.numbers.from(SeriesRef(0)) {
            set.clear();
            for symbol in self.pairs(series).flat_map(|(name, value)| [name, value]) {
                let symbol = renumbered[symbol.0 as usize].expect("the series is in the lists of its labels");
                varint::put_u64(&mut set, u64::from(symbol.0));
            }
            kept.offsets.push(kept.sets.push(&set).ok_or(IndexFull)?);
        }
        Ok(kept)
    }

    /// Whether so many series, with so many bytes of canonical labels in all, can be added for sure.
    pub(crate) fn has_room(&self, series: usize, label_bytes: usize) -> bool {
        // A label takes two symbols, and at least as many bytes in the canonical form as here.
        self.symbols.has_room(label_bytes, label_bytes)
            && self.sets.has_room(series, 2 * varint::LEN_MAX * label_bytes)
            && self.numbers.end() as usize + series < u32::MAX as usize
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The number after that of the last series that was made.
    pub(crate) fn end(&self) -> u32 {
        self.numbers.end()
    }

    /// How many of the series that are there have lower numbers; `None` if this one is not there.
    #[inline]
    pub(crate) fn place(&self, series: SeriesRef) -> Option<usize> {
        self.numbers.place(series)
    }

    /// The series that are there, from a number on, ascending.
    pub(crate) fn from(&self, first: SeriesRef) -> impl Iterator<Item = SeriesRef> {
        self.numbers.from(first)
    }

    /// Whether a series has exactly these labels.
    pub(crate) fn has_labels(&self, series: SeriesRef, labels: Labels<'_>) -> bool {
        let own = self.label_strs(series);
        own.eq(labels.iter())
    }

    /// A series' labels in order of names; none if it is gone.
    pub(crate) fn label_strs(&self, series: SeriesRef) -> impl Iterator<Item = (&str, &str)> {
        self.pairs(series).map(|(name, value)| (self.symbols.get(name), self.symbols.get(value)))
    }

    fn pairs(&self, series: SeriesRef) -> impl Iterator<Item = (Symbol, Symbol)> {
        symbol_pairs(self.place(series).map_or(&[][..], |place| self.sets.get(self.offsets[place])))
    }

    /// Appends a series' canonical label bytes to `out`.
    pub(crate) fn put_labels(&self, series: SeriesRef, out: &mut Vec<u8>) {
        for (name, value) in self.label_strs(series) {
            labels::put_label(out, name, value);
        }
    }

    /// The series that satisfy all matchers, ascending.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<SeriesRef> {
        select::select(self, matchers)
    }

    /// How many series have this metric name.
    pub(crate) fn metric_series(&self, metric: &str) -> usize {
        let pair = self.symbols.find(METRIC_NAME).zip(self.symbols.find(metric));
        pair.map_or(0, |(name, value)| self.postings.count(name, value))
    }

    /// The label names of which one series or more count, in no order.
    pub(crate) fn label_names(&self, counts: impl Fn(SeriesRef) -> bool) -> impl Iterator<Item = &str> {
        let in_use =
            move |name: &Symbol| self.postings.pairs_of(*name).iter().any(|pair| self.any(*pair, &counts));
        self.postings.names().filter(in_use).map(|name| self.symbols.get(name))
    }

    /// The values of a label name of which one series or more count, in no order.
    pub(crate) fn label_values(
        &self,
        name: &str,
        counts: impl Fn(SeriesRef) -> bool,
    ) -> impl Iterator<Item = &str> {
        let name = self.symbols.find(name);
        let pairs = name.into_iter().flat_map(|name| self.postings.pairs_of(name)).copied();
        let pairs = pairs.filter(move |pair| self.any(*pair, &counts));
        pairs.map(|pair| self.symbols.get(self.postings.value(pair)))
    }

    /// Whether a series of a pair counts: usually the first one does.
    fn any(&self, pair: Pair, counts: impl Fn(SeriesRef) -> bool) -> bool {
        self.postings.series(pair).any(|series| counts(SeriesRef(series)))
    }
}

fn symbol_pairs(mut set: &[u8]) -> impl Iterator<Item = (Symbol, Symbol)> {
    std::iter::from_fn(move || {
        let name = varint::take_u64(&mut set)?;
        let value = varint::take_u64(&mut set)?;
        Some((Symbol(name as u32), Symbol(value as u32)))
    })
}
