//! Forgetting series of which nothing is here any more.
//!
//! A tenant's series come and go: each new pod makes new ones. When [blocks have](super::release) all samples of a series and
//! it has stopped, its labels and its place among the others are all that is left, and they go as well. If it comes back it
//! is a new series, with a new number.
//!
//! What may go wrong:
//!
//! - A reader has chosen a series, reads it later, and finds nothing. That is right if nothing was there when it began. So
//!   there are two steps: what was found [idle](IdleSeries) is forgotten only after readers that had begun before are done,
//!   and if it was idle all the time.
//! - The log names the series still, before and after snapshots that do not have it. Such samples are in blocks;
//!   [`Head::is_gone`] tells them from damage.
//! - A snapshot from before has the series, and the log goes on to make it again: then it had been forgotten, see
//!   [`Head::replay_series`].
//! - A sample that is sent again, hours late, is not known any more for one that was there. It is stored once more, and
//!   readers merge it with the block's.

use hashbrown::HashTable;

use super::sealed_refs::{NO_BLOCK, SealedRefs};
use super::series::Series;
use super::{Head, LOST_KEY, VACANT_KEY};
use crate::index::{IndexFull, SeriesRef};
use crate::labels::METRIC_NAME;
use crate::mem::{Extents, Paged};

/// Series that had no data when they were looked at, in one pass of [`Head::release`], and have stopped.
#[derive(Debug)]
pub struct IdleSeries {
    stopped_before_ms: i64,
    /// Ascending.
    series: Vec<SeriesRef>,
    /// The slice that was released last, counted by the head; and whether others came between those of this pass.
    last: u64,
    mixed: bool,
}

impl IdleSeries {
    /// None so far. Series have stopped that have no sample of this time, milliseconds, or later.
    pub fn stopped_before(ms: i64) -> Self {
        IdleSeries { stopped_before_ms: ms, series: Vec::new(), last: 0, mixed: false }
    }

    pub(super) fn stopped_before_ms(&self) -> i64 {
        self.stopped_before_ms
    }

    pub(super) fn saw(&mut self, release: u64, series: impl Iterator<Item = SeriesRef>) {
        self.mixed |= self.last > 0 && self.last + 1 != release;
        self.last = release;
        self.series.extend(series);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

impl Head {
    /// Whether nothing of a series is here but its labels, and it has stopped.
    pub(super) fn is_idle(&self, series: SeriesRef, stopped_before_ms: i64) -> bool {
        let Some(place) = self.index.place(series) else { return false };
        if self.keys[place] == LOST_KEY {
            // By its number it is known which samples of the log were lost with it.
            return false;
        }
        let state = &self.series[place];
        let has_stopped = !state.has_samples() || state.encoder.t_ms < stopped_before_ms;
        has_stopped && !self.has_data(series, state)
    }

    fn has_data(&self, series: SeriesRef, state: &Series) -> bool {
        state.encoder.count > 0
            || state.sealed != NO_BLOCK
            || self.histograms.open(series.0).is_some()
            || self.overlay.get(series).is_some()
    }

    /// Forgets those of some series that have been idle since they were found so, and calls `each` with the metric name of
    /// each. Readers that had begun by then must be done. Forgets nothing if a window was dropped meanwhile, by anybody else:
    /// then a series may have had data in between. Takes about a microsecond for each series that stays.
    pub fn forget(&mut self, idle: &IdleSeries, mut each: impl FnMut(&str)) -> Result<(), IndexFull> {
        if idle.mixed || idle.last != self.releases {
            return Ok(());
        }
        let mut gone = idle.series.clone();
        gone.retain(|series| self.is_idle(*series, idle.stopped_before_ms));
        if gone.is_empty() {
            return Ok(());
        }
        let index = self.index.without(&gone)?;
        for series in &gone {
            each(
                self.labels(*series).find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, metric)| metric),
            );
            self.histograms.forget(series.0);
        }
        let (mut keys, mut states) = (Paged::default(), Paged::default());
        let mut by_key = HashTable::with_capacity(index.len());
        for series in index.from(SeriesRef(0)) {
            let place = self.place(series);
            let key: u128 = self.keys[place];
            states.push(self.series[place]);
            keys.push(key);
            if key > VACANT_KEY {
                // It has room for all.
                by_key.insert_unique(key as u64, series.0, |_| 0);
            }
        }
        (self.index, self.keys, self.series, self.by_key) = (index, keys, states, by_key);
        if self.series_count() == 0 {
            // Nobody has a chunk.
            (self.extents, self.sealed_refs) = (Extents::default(), SealedRefs::default());
        }
        Ok(())
    }

    /// Drops all that is here of a series. It can't be found any more, and the next pass forgets it.
    pub(super) fn vacate(&mut self, series: SeriesRef) {
        let place = self.place(series);
        let Head { sealed, sealed_refs, keys, by_key, .. } = self;
        let key = keys[place];
        if let Ok(entry) = by_key.find_entry(key as u64, |number| *number == series.0) {
            entry.remove();
        }
        keys[place] = VACANT_KEY;
        let state = &mut self.series[place];
        sealed_refs.drop_some(state.sealed, |chunk| {
            sealed.forget(chunk.at);
            true
        });
        if state.encoder.count > 0 {
            state.close_chunk(&mut self.extents);
        }
        *state = Series::default();
        self.histograms.close(series.0);
        self.overlay.change(series, |late| {
            late.chunks.drain(..).for_each(|chunk| sealed.forget(chunk.at));
            late.buffer.clear();
            late.histograms.clear();
        });
    }
}
