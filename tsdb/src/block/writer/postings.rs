//! Brings (name, value, series) into order of names and values, with little memory: sorted runs go to a file and are merged.
//!
//! Series come in ascending order, so of a pair an earlier run holds the smaller ones, and merging two lists of one pair
//! is putting one behind the other.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::append_file::AppendFile;
use crate::block::error::{BlockError, BlockFile};
use crate::block::window::Window;
use crate::disk::Disk;
use crate::varint;

/// Triples that are sorted at once: 12 MiB of them.
const RUN_TRIPLES: usize = 1 << 20;

/// How much of a run is read at once.
const READ_BYTES: usize = 32 << 10;

/// Reference of a name's symbol, and of a value's.
pub(super) type Pair = (u32, u32);

pub(super) struct PostingsSorter {
    triples: Vec<(u32, u32, u32)>,
    run_triples: usize,
    spill: AppendFile,
    /// Where the runs in the file begin.
    runs: Vec<u64>,
}

impl PostingsSorter {
    pub(super) fn new(spill: AppendFile) -> Self {
        PostingsSorter { triples: Vec::new(), run_triples: RUN_TRIPLES, spill, runs: Vec::new() }
    }

    /// Adds a series to a pair's list. Series come in ascending order.
    pub(super) fn add(&mut self, (name, value): Pair, series: u32) -> Result<(), BlockError> {
        self.triples.push((name, value, series));
        if self.triples.len() >= self.run_triples { self.end_run() } else { Ok(()) }
    }

    fn end_run(&mut self) -> Result<(), BlockError> {
        self.triples.sort_unstable();
        self.runs.push(self.spill.len());
        for list in self.triples.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            self.spill.put(|out| {
                for number in [list[0].0, list[0].1, list.len() as u32] {
                    varint::put_u64(out, u64::from(number));
                }
                let mut last = 0;
                for (_, _, series) in list {
                    varint::put_u64(out, u64::from(series - last));
                    last = *series;
                }
            })?;
        }
        self.triples.clear();
        Ok(())
    }

    /// Everything that was added, in order.
    pub(super) fn finish(mut self, disk: &dyn Disk) -> Result<SortedPostings, BlockError> {
        self.end_run()?;
        self.triples = Vec::new();
        self.spill.flush()?;
        let path = self.spill.path().to_owned();
        let source = disk.open_read(&path).map_err(|source| BlockError::Write { path, source })?;
        let mut sorted = SortedPostings { runs: Vec::new(), next: BinaryHeap::new() };
        for (number, begin) in self.runs.iter().enumerate() {
            let end = self.runs.get(number + 1).copied().unwrap_or(self.spill.len());
            // That the file is named as the index matters only if the disk fails to read it.
            let window = Window::new(Arc::clone(&source), BlockFile::Index, READ_BYTES);
            sorted.runs.push(Run { window, at: *begin, end });
            sorted.advance(number)?;
        }
        Ok(sorted)
    }
}

/// Lists in order of their pairs.
pub(super) struct SortedPostings {
    runs: Vec<Run>,
    /// The next pair of each run, and the run's number.
    next: BinaryHeap<Reverse<(Pair, usize)>>,
}

struct Run {
    window: Window,
    at: u64,
    end: u64,
}

impl SortedPostings {
    /// The next pair; its list goes into `list`.
    pub(super) fn next(&mut self, list: &mut Vec<u32>) -> Result<Option<Pair>, BlockError> {
        list.clear();
        let Some(Reverse((pair, _))) = self.next.peek().copied() else { return Ok(None) };
        while let Some(Reverse((next, number))) = self.next.peek().copied()
            && next == pair
        {
            self.next.pop();
            let run = &mut self.runs[number];
            let mut last = 0;
            for _ in 0..run.take()? {
                last += run.take()?;
                list.push(last);
            }
            self.advance(number)?;
        }
        Ok(Some(pair))
    }

    fn advance(&mut self, number: usize) -> Result<(), BlockError> {
        let run = &mut self.runs[number];
        if run.at < run.end {
            let pair = (run.take()?, run.take()?);
            self.next.push(Reverse((pair, number)));
        }
        Ok(())
    }
}

impl Run {
    fn take(&mut self) -> Result<u32, BlockError> {
        let bytes = self.window.up_to(self.at, varint::LEN_MAX)?;
        let mut rest = bytes;
        let number =
            varint::take_u64(&mut rest).ok_or(BlockError::Refused("the temporary file is damaged"))?;
        self.at += (bytes.len() - rest.len()) as u64;
        u32::try_from(number).map_err(|_| BlockError::Refused("the temporary file is damaged"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::disk::SimDisk;

    proptest! {
        #[test]
        fn lists_come_in_order_whatever_the_length_of_runs(
            adds in proptest::collection::vec((0u32..6, 0u32..9), 0..300), run_triples in 1usize..100,
        ) {
            let disk = SimDisk::default();
            let spill = AppendFile::create(&disk, Path::new("spill")).unwrap();
            let mut sorter = PostingsSorter { run_triples, ..PostingsSorter::new(spill) };
            let mut expected: BTreeMap<Pair, Vec<u32>> = BTreeMap::new();
            for (series, pair) in adds.into_iter().enumerate() {
                sorter.add(pair, series as u32 * 3).unwrap();
                expected.entry(pair).or_default().push(series as u32 * 3);
            }
            let mut sorted = sorter.finish(&disk).unwrap();
            let (mut lists, mut list) = (BTreeMap::new(), Vec::new());
            let mut last = None;
            while let Some(pair) = sorted.next(&mut list).unwrap() {
                prop_assert!(last < Some(pair));
                last = Some(pair);
                lists.insert(pair, list.clone());
            }
            prop_assert_eq!(lists, expected);
        }
    }
}
