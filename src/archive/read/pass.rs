//! The series that a selection finds in many blocks, each once, with the places of their chunks: as many as memory is
//! allowed for, in order of their keys.
//!
//! Blocks have their series in order of labels, a query's sources are merged in order of keys, so all series of all blocks
//! have to be looked at before the first can be given. What is kept of them is bounded: if it gets too much, the upper half
//! of the keys is put off to another pass, which looks at the blocks again. A series that is in twelve blocks has its labels
//! here once, and twelve parts.

use gyre_ring::SeriesKey;
use gyre_tsdb::block::ChunkMeta;
use hashbrown::HashTable;

/// A series of a pass.
#[derive(Clone, Copy, Debug)]
struct Found {
    key: SeriesKey,
    labels: (u32, u32),
    /// The last of its parts.
    part: u32,
    /// Another one with the same key.
    same_key: u32,
}

/// What a block has of a series.
#[derive(Clone, Copy, Debug)]
struct Part {
    block: u32,
    /// The series' number in the block.
    series: u32,
    chunks: (u32, u32),
    /// The part before.
    before: u32,
}

/// Bits of a key that a table goes by. Series of a shard have the first ones alike.
fn hash(key: SeriesKey) -> u64 {
    key.0 as u64
}

/// Where a list ends.
const NONE: u32 = u32::MAX;

/// Series in order of their keys.
#[derive(Default)]
pub(super) struct Pass {
    labels: Vec<u8>,
    series: Vec<Found>,
    parts: Vec<Part>,
    chunks: Vec<ChunkMeta>,
    /// The first series of each key. Keys are hashes already.
    by_key: HashTable<u32>,
    /// Numbers of series that were not taken yet, the next one last.
    order: Vec<u32>,
}

/// The keys that a pass is about, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) first: u128,
    pub(super) last: u128,
}

impl Keys {
    pub(super) fn contains(self, key: SeriesKey) -> bool {
        (self.first..=self.last).contains(&key.0)
    }
}

impl Pass {
    /// Adds what a block has of a series. A hash alone is not trusted: labels are compared.
    pub(super) fn add(
        &mut self,
        key: SeriesKey,
        labels: &[u8],
        block: u32,
        series: u32,
        chunks: &[ChunkMeta],
    ) {
        let known = self.by_key.find(hash(key), |at| self.series[*at as usize].key == key).copied();
        let mut at = known.unwrap_or(NONE);
        if known.is_none() {
            let all = &self.series;
            let hash_of = |at: &u32| all.get(*at as usize).map_or(hash(key), |series| hash(series.key));
            self.by_key.insert_unique(hash(key), all.len() as u32, hash_of);
        }
        while at != NONE && self.labels_of(at) != labels {
            match self.series[at as usize].same_key {
                NONE => {
                    self.series[at as usize].same_key = self.series.len() as u32;
                    at = NONE;
                }
                next => at = next,
            }
        }
        if at == NONE {
            at = self.series.len() as u32;
            let begin = self.labels.len() as u32;
            self.labels.extend_from_slice(labels);
            let labels = (begin, self.labels.len() as u32);
            self.series.push(Found { key, labels, part: NONE, same_key: NONE });
        }
        let begin = self.chunks.len() as u32;
        self.chunks.extend_from_slice(chunks);
        let found = &mut self.series[at as usize];
        let chunks = (begin, self.chunks.len() as u32);
        let part = Part { block, series, chunks, before: found.part };
        found.part = self.parts.len() as u32;
        self.parts.push(part);
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.labels.capacity()
            + self.series.capacity() * (size_of::<Found>() + size_of::<u32>())
            + self.parts.capacity() * size_of::<Part>()
            + self.chunks.capacity() * size_of::<ChunkMeta>()
            + self.by_key.capacity() * (size_of::<u32>() + 1)
    }

    /// Forgets the greater half of the keys; gives the greatest that is left. `None` if there are too few to halve.
    pub(super) fn halve(&mut self) -> Option<u128> {
        let mut keys: Vec<u128> = self.by_key.iter().map(|at| self.series[*at as usize].key.0).collect();
        if keys.len() < 2 {
            return None;
        }
        let middle = keys.len() / 2;
        let (_, first_gone, _) = keys.select_nth_unstable(middle);
        let last = *first_gone - 1;
        let old = std::mem::take(self);
        for series in old.series.iter().filter(|series| series.key.0 <= last) {
            let labels = &old.labels[series.labels.0 as usize..series.labels.1 as usize];
            for part in old.parts_of(series) {
                let chunks = &old.chunks[part.chunks.0 as usize..part.chunks.1 as usize];
                self.add(series.key, labels, part.block, part.series, chunks);
            }
        }
        Some(last)
    }

    /// Puts the series in order: nothing is added any more.
    pub(super) fn sort(&mut self) {
        self.by_key = HashTable::new();
        self.order = (0..self.series.len() as u32).collect();
        let series = &self.series;
        self.order.sort_unstable_by_key(|at| std::cmp::Reverse((series[*at as usize].key, *at)));
    }

    /// The next series, by the number under which it can be asked for.
    pub(super) fn take(&mut self) -> Option<u32> {
        self.order.pop()
    }

    /// Whether all were taken.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// A series' canonical labels.
    pub(super) fn labels_of(&self, series: u32) -> &[u8] {
        let (begin, end) = self.series[series as usize].labels;
        &self.labels[begin as usize..end as usize]
    }

    fn parts_of(&self, series: &Found) -> impl Iterator<Item = Part> {
        let mut next = series.part;
        std::iter::from_fn(move || {
            let part = *self.parts.get(next as usize)?;
            next = part.before;
            Some(part)
        })
    }

    /// What blocks have of a series: block, number in it, chunks.
    pub(super) fn blocks_of(&self, series: u32) -> impl Iterator<Item = (u32, u32, &[ChunkMeta])> {
        self.parts_of(&self.series[series as usize]).map(|part| {
            let chunks = &self.chunks[part.chunks.0 as usize..part.chunks.1 as usize];
            (part.block, part.series, chunks)
        })
    }
}

#[cfg(test)]
mod tests {
    use gyre_tsdb::block::ChunkRef;

    use super::*;

    fn chunk(at: u64) -> ChunkMeta {
        ChunkMeta { at: ChunkRef(at), min_ms: 0, max_ms: 1 }
    }

    /// Labels, and of each block its number, the series' number in it, and the first chunk's place.
    type Taken = (Vec<u8>, Vec<(u32, u32, u64)>);

    fn taken(pass: &mut Pass) -> Vec<Taken> {
        pass.sort();
        let mut all = Vec::new();
        while let Some(series) = pass.take() {
            let mut blocks: Vec<_> = pass
                .blocks_of(series)
                .map(|(block, number, chunks)| (block, number, chunks[0].at.0))
                .collect();
            blocks.sort_unstable();
            all.push((pass.labels_of(series).to_vec(), blocks));
        }
        all
    }

    #[test]
    fn series_come_in_order_of_keys_with_what_all_blocks_have_of_them() {
        let mut pass = Pass::default();
        pass.add(SeriesKey(7), b"b", 0, 1, &[chunk(10)]);
        pass.add(SeriesKey(3), b"a", 0, 2, &[chunk(20)]);
        pass.add(SeriesKey(7), b"b", 1, 5, &[chunk(30)]);
        assert_eq!(
            taken(&mut pass),
            [(b"a".to_vec(), vec![(0, 2, 20)]), (b"b".to_vec(), vec![(0, 1, 10), (1, 5, 30)])]
        );
    }

    #[test]
    fn different_labels_of_one_key_stay_apart() {
        let mut pass = Pass::default();
        for (block, labels) in [(0, b"x"), (0, b"y"), (1, b"y"), (1, b"z"), (2, b"x")] {
            pass.add(SeriesKey(1), labels, block, 9, &[chunk(1)]);
        }
        let blocks = |of: &[u32]| of.iter().map(|block| (*block, 9, 1)).collect::<Vec<_>>();
        let expected = [
            (b"x".to_vec(), blocks(&[0, 2])),
            (b"y".to_vec(), blocks(&[0, 1])),
            (b"z".to_vec(), blocks(&[1])),
        ];
        assert_eq!(taken(&mut pass), expected);
    }

    #[test]
    fn halving_keeps_the_lower_half_whole() {
        let mut pass = Pass::default();
        for key in 0..10u128 {
            for block in 0..3 {
                pass.add(SeriesKey(key * 100), &[key as u8], block, 0, &[chunk(key as u64)]);
            }
        }
        let last = pass.halve().unwrap();
        assert!((400..500).contains(&last), "{last}");
        let left = taken(&mut pass);
        assert_eq!(left.iter().map(|(labels, _)| labels[0]).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(left.iter().all(|(_, blocks)| blocks.len() == 3));
        assert_eq!(Pass::default().halve(), None);
    }
}
