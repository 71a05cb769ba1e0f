//! Strings of labels, each stored once and numbered.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::IndexFull;
use crate::mem::{ByteArena, Paged};

/// Numbers a string within its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Symbol(pub(crate) u32);

/// All strings of a shard's labels.
#[derive(Default)]
pub(crate) struct Symbols {
    bytes: ByteArena,
    offsets: Paged<u32>,
    numbers: HashTable<u32>,
}

impl Symbols {
    /// The number of a string, which is stored if it is new.
    pub(crate) fn intern(&mut self, text: &str) -> Result<Symbol, IndexFull> {
        if let Some(symbol) = self.find(text) {
            return Ok(symbol);
        }
        let offset = self.bytes.push(text.as_bytes()).ok_or(IndexFull)?;
        let number = self.offsets.push(offset) as u32;
        let (bytes, offsets) = (&self.bytes, &self.offsets);
        let hash = |number: &u32| xxh3_64(bytes.get(offsets[*number as usize]));
        self.numbers.insert_unique(xxh3_64(text.as_bytes()), number, hash);
        Ok(Symbol(number))
    }

    /// How many strings there are.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether so many new strings, of so many bytes in all, can be stored for sure.
    pub(crate) fn has_room(&self, strings: usize, bytes: usize) -> bool {
        self.bytes.has_room(strings, bytes)
    }

    /// The number of a string, if it is known.
    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        let bytes = text.as_bytes();
        let same = |number: &u32| self.bytes.get(self.offsets[*number as usize]) == bytes;
        self.numbers.find(xxh3_64(bytes), same).map(|number| Symbol(*number))
    }

    /// The string with a number.
    pub(crate) fn get(&self, symbol: Symbol) -> &str {
        let bytes = self.bytes.get(self.offsets[symbol.0 as usize]);
        str::from_utf8(bytes).expect("only strings are interned")
    }
}
