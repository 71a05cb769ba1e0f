//! Which batches have samples in which window of time.
//!
//! A window becomes a block, and the block says which batches it covers there; a replica drops a window only if a block
//! covers every batch that it has for it (protocol rules 14 and 15, batch by batch and window by window). So the batches
//! of each window are noted while they come. A window's entry goes when its data does.
//!
//! What may go wrong: a restart sees only what the log has, and a sample that was there already is in the log once. So a
//! batch may be noted for fewer windows than before, never for one whose samples are not here.

use std::collections::BTreeSet;

use gyre_ring::{BatchId, BatchNumber, BatchSet, BootId};
use gyre_tsdb::{WINDOW_MS, window_of};

/// A run's number, and the first and last batch of an interval.
const INTERVAL_BYTES: usize = 32;

/// The windows of one batch, gathered sample by sample.
#[derive(Clone, Debug, Default)]
pub struct BatchWindows {
    /// The times of the window that was seen last: nearly all samples of a batch lie in one.
    last: std::ops::Range<i64>,
    all: BTreeSet<i64>,
}

impl BatchWindows {
    /// The batch has a sample of this time.
    #[inline]
    pub fn add(&mut self, t_ms: i64) {
        if !self.last.contains(&t_ms) {
            self.add_window(window_of(t_ms));
        }
    }

    #[cold]
    fn add_window(&mut self, window: i64) {
        let begin = window.saturating_mul(WINDOW_MS);
        self.last = begin..begin.saturating_add(WINDOW_MS);
        self.all.insert(window);
    }

    /// The windows.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.all.iter().copied()
    }
}

/// By window, the batches that have samples in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows(
    /// Oldest first; nearly always one or two.
    Vec<(i64, BatchSet)>,
);

impl Windows {
    /// Notes a batch.
    pub fn insert(&mut self, window: i64, id: BatchId) {
        self.entry(window).insert(id);
    }

    /// Notes batches.
    pub fn insert_all(&mut self, window: i64, batches: &BatchSet) {
        self.entry(window).extend(batches);
    }

    fn find(&self, window: i64) -> Result<usize, usize> {
        self.0.binary_search_by_key(&window, |(window, _)| *window)
    }

    fn entry(&mut self, window: i64) -> &mut BatchSet {
        let at = self.find(window).unwrap_or_else(|at| {
            self.0.reserve_exact(1);
            self.0.insert(at, (window, BatchSet::default()));
            at
        });
        &mut self.0[at].1
    }

    /// The batches of a window; `None`: nothing of it is here.
    pub fn get(&self, window: i64) -> Option<&BatchSet> {
        self.find(window).ok().map(|at| &self.0[at].1)
    }

    /// Forgets a window.
    pub fn remove(&mut self, window: i64) {
        if let Ok(at) = self.find(window) {
            self.0.remove(at);
        }
    }

    /// Whether nothing is here.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All windows, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &BatchSet)> {
        self.0.iter().map(|(window, batches)| (*window, batches))
    }

    /// Appends the windows to a snapshot's note.
    pub fn put(&self, note: &mut Vec<u8>) {
        note.extend_from_slice(&(self.0.len() as u32).to_le_bytes());
        for (window, batches) in &self.0 {
            note.extend_from_slice(&window.to_le_bytes());
            put_batches(batches, note);
        }
    }

    /// Takes what [`Windows::put`] wrote.
    pub fn take(note: &mut &[u8]) -> Option<Self> {
        let mut windows = Windows::default();
        for _ in 0..u32::from_le_bytes(take(note)?) {
            let window = i64::from_le_bytes(take(note)?);
            *windows.entry(window) = take_batches(note)?;
        }
        Some(windows)
    }
}

/// Appends a set of batches with the number of its intervals.
pub fn put_batches(batches: &BatchSet, note: &mut Vec<u8>) {
    note.extend_from_slice(&(batches.intervals().count() as u32).to_le_bytes());
    put_intervals(batches, note);
}

/// Appends a set of batches.
fn put_intervals(batches: &BatchSet, note: &mut Vec<u8>) {
    for (boot, first, last) in batches.intervals() {
        note.extend_from_slice(&boot.0.to_le_bytes());
        note.extend_from_slice(&first.0.to_le_bytes());
        note.extend_from_slice(&last.0.to_le_bytes());
    }
}

/// Takes what [`put_batches`] wrote.
pub fn take_batches(note: &mut &[u8]) -> Option<BatchSet> {
    let count = u32::from_le_bytes(take(note)?) as usize;
    let (intervals, rest) = note.split_at_checked(count.checked_mul(INTERVAL_BYTES)?)?;
    *note = rest;
    intervals_of(intervals)
}

/// The set of a whole number of intervals; `None` if these are none.
pub fn intervals_of(bytes: &[u8]) -> Option<BatchSet> {
    let mut batches = BatchSet::default();
    let (intervals, rest) = bytes.as_chunks::<INTERVAL_BYTES>();
    for mut interval in intervals.iter().map(<[u8; INTERVAL_BYTES]>::as_slice) {
        let boot = BootId(u128::from_le_bytes(take(&mut interval)?));
        let first = u64::from_le_bytes(take(&mut interval)?);
        let last = u64::from_le_bytes(take(&mut interval)?);
        if first > last {
            return None;
        }
        batches.insert_interval(boot, BatchNumber(first), BatchNumber(last));
    }
    rest.is_empty().then_some(batches)
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_the_windows_of_its_samples() {
        let mut windows = BatchWindows::default();
        for t_ms in [5, WINDOW_MS - 1, WINDOW_MS, 3, -1, i64::MAX, i64::MIN] {
            windows.add(t_ms);
        }
        let extremes = [window_of(i64::MIN), window_of(i64::MAX)];
        assert_eq!(windows.iter().collect::<Vec<_>>(), [extremes[0], -1, 0, 1, extremes[1]]);
    }

    #[test]
    fn windows_come_back_from_a_note_and_from_no_part_of_it() {
        let mut windows = Windows::default();
        for number in [1, 2, 5] {
            let id = BatchId { boot: BootId(7), number: BatchNumber(number) };
            windows.insert(number as i64 / 3 - 1, id);
        }
        let mut note = Vec::new();
        windows.put(&mut note);
        let mut rest = note.as_slice();
        assert_eq!(Windows::take(&mut rest), Some(windows));
        assert!(rest.is_empty());
        for len in 0..note.len() {
            assert_eq!(Windows::take(&mut &note[..len]), None);
        }
    }
}
