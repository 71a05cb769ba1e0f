//! The head of one shard: its series with their open chunks, and the way to what was sealed.
//!
//! One thread owns a head; there are no locks. A sample goes to the open chunk of its series when it is newer
//! than all before, to the [overlay](ooo) when it is not. What the head cannot decide alone stays outside: time
//! windows and limits (the tenant's), durability (the WAL's), placement.
//!
//! The head never forgets that samples come again: after a crash the WAL repeats what a snapshot already
//! holds, and clients repeat what was acknowledged. So appending is idempotent. A different value for a
//! timestamp that exists is reported and not stored by [`Head::append`], which admits what clients send;
//! [`Head::apply`] takes what was admitted, and [decides](winner).

mod append;
mod apply;
mod forget;
mod histograms;
mod ooo;
mod read;
mod release;
mod sealed_refs;
mod series;
mod shipped;
mod state;
pub mod winner;

use std::io;
use std::path::Path;

use hashbrown::HashTable;

pub use append::{Appended, CreateError, TOUCHED_TOGETHER, WINDOW_MS, window_of};
pub use apply::Applied;
pub use forget::IdleSeries;
pub(crate) use histograms::encode_all as encode_histograms;
pub(crate) use read::BatchChunk;
pub use read::{ChunkData, Decoded, ReadError, SeriesBatch, SeriesData};
pub use shipped::NotABatch;
pub use state::BadState;

use crate::disk::Disk;
use crate::index::{Index, IndexFull, Matcher, SeriesRef};
use crate::labels::Labels;
use crate::mem::{Extents, Paged};
use crate::sealed::{FOLDER, Location, SealedStore};

use histograms::HistogramSeries;
use ooo::Overlay;
use sealed_refs::SealedRefs;
use series::Series;

/// The key of series whose labels were lost; no label set has it but with a chance of 2^-128.
const LOST_KEY: u128 = 0;

/// The key of series that [had been forgotten](forget) when the log was written that is read again.
const VACANT_KEY: u128 = 1;

/// All series of a shard.
pub struct Head {
    index: Index,
    /// Hash of the canonical label bytes, by place.
    keys: Paged<u128>,
    /// Series numbers.
    by_key: HashTable<u32>,
    /// By place.
    series: Paged<Series>,
    extents: Extents,
    histograms: HistogramSeries,
    sealed_refs: SealedRefs,
    sealed: SealedStore,
    overlay: Overlay,
    newest_ms: Option<i64>,
    /// Slices [released](Head::release) so far.
    releases: u64,
    scratch: Vec<u8>,
}

/// Sizes of a head, for metrics and limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadSize {
    /// Series, with or without recent samples.
    pub series: usize,
    /// Memory of open chunks.
    pub open_chunk_bytes: usize,
    /// Memory of sealed chunks that are not written out yet.
    pub sealed_memory_bytes: usize,
}

impl Head {
    /// An empty head whose sealed chunks go below `folder`.
    pub fn new(disk: &dyn Disk, folder: &Path) -> io::Result<Self> {
        Self::with_sealed_end(disk, folder, None)
    }

    /// An empty head to which series will be restored whose sealed chunks lie before `end`.
    pub(crate) fn with_sealed_end(disk: &dyn Disk, folder: &Path, end: Option<Location>) -> io::Result<Self> {
        Ok(Head {
            index: Index::default(),
            keys: Paged::default(),
            by_key: HashTable::new(),
            series: Paged::default(),
            extents: Extents::default(),
            histograms: HistogramSeries::default(),
            sealed_refs: SealedRefs::default(),
            sealed: SealedStore::open(disk, &folder.join(FOLDER), end)?,
            overlay: Overlay::default(),
            newest_ms: None,
            releases: 0,
            scratch: Vec::new(),
        })
    }

    /// The series with this key. The key is trusted: labels are compared when a series is made.
    #[inline]
    pub fn find(&self, key: u128) -> Option<SeriesRef> {
        let is = |number: &u32| self.is(SeriesRef(*number), key);
        self.by_key.find(key as u64, is).map(|number| SeriesRef(*number))
    }

    /// Whether this is the series with this key: saves the search where the sender keeps its order.
    #[inline]
    pub fn is(&self, series: SeriesRef, key: u128) -> bool {
        self.index.place(series).is_some_and(|place| self.keys[place] == key)
    }

    /// A series' key. It must be there.
    #[inline]
    pub fn key(&self, series: SeriesRef) -> u128 {
        self.keys[self.place(series)]
    }

    /// Makes a series, or finds it. `key` must be the hash of `labels`.
    pub fn create(&mut self, key: u128, labels: Labels<'_>) -> Result<SeriesRef, CreateError> {
        if let Some(series) = self.find(key) {
            // Two label sets with one 128-bit hash: somebody knows the seed, or a bug.
            let same = self.index.has_labels(series, labels);
            return if same { Ok(series) } else { Err(CreateError::Collision) };
        }
        Ok(self.add_series(key, labels)?)
    }

    /// Whether so many series, with so many bytes of canonical labels in all, can be made for sure.
    pub fn has_room(&self, series: usize, label_bytes: usize) -> bool {
        self.index.has_room(series, label_bytes)
    }

    fn add_series(&mut self, key: u128, labels: Labels<'_>) -> Result<SeriesRef, IndexFull> {
        let series = self.index.add(labels)?;
        self.keys.push(key);
        self.series.push(Series::default());
        if key > VACANT_KEY {
            let (keys, index) = (&self.keys, &self.index);
            let hash = |number: &u32| index.place(SeriesRef(*number)).map_or(0, |place| keys[place] as u64);
            self.by_key.insert_unique(key as u64, series.0, hash);
        }
        Ok(series)
    }

    /// Whether a series is there and has labels. If it should be there and is not known, the record that made it was lost,
    /// or it [is gone](Head::is_gone).
    pub fn is_known(&self, series: SeriesRef) -> bool {
        self.index.place(series).is_some_and(|place| self.keys[place] > VACANT_KEY)
    }

    /// Whether a series has been [forgotten](Head::forget): all that was here of it is in blocks.
    pub fn is_gone(&self, series: SeriesRef) -> bool {
        match self.index.place(series) {
            Some(place) => self.keys[place] == VACANT_KEY,
            None => series.0 < self.index.end(),
        }
    }

    /// How many series there are.
    pub fn series_count(&self) -> usize {
        self.index.len()
    }

    /// The number after that of the newest series.
    pub fn series_end(&self) -> SeriesRef {
        SeriesRef(self.index.end())
    }

    /// The series that there are, from a number on, ascending.
    pub fn series_from(&self, first: SeriesRef) -> impl Iterator<Item = SeriesRef> {
        self.index.from(first)
    }

    /// Where what is kept of a series lies. It must be there: whoever names a series has just found or made it.
    #[inline]
    fn place(&self, series: SeriesRef) -> usize {
        self.index.place(series).expect("nobody names a series that is gone, but to read it")
    }

    #[inline]
    fn state(&self, series: SeriesRef) -> &Series {
        &self.series[self.place(series)]
    }

    #[inline]
    fn state_mut(&mut self, series: SeriesRef) -> &mut Series {
        let place = self.place(series);
        &mut self.series[place]
    }

    /// The newest sample's time, if there is any sample.
    pub fn newest_ms(&self) -> Option<i64> {
        self.newest_ms
    }

    /// How many series have this metric name.
    pub fn metric_series(&self, metric: &str) -> usize {
        self.index.metric_series(metric)
    }

    /// The series that satisfy all matchers, ascending.
    pub fn select(&self, matchers: &[Matcher]) -> Vec<SeriesRef> {
        self.index.select(matchers)
    }

    /// The label names of series that have samples from `min_ms` to `max_ms`, in no order.
    pub fn label_names(&self, min_ms: i64, max_ms: i64) -> impl Iterator<Item = &str> {
        self.index.label_names(move |series| self.overlaps(series, min_ms, max_ms))
    }

    /// The values of a label in series that have samples from `min_ms` to `max_ms`, in no order.
    pub fn label_values(&self, name: &str, min_ms: i64, max_ms: i64) -> impl Iterator<Item = &str> {
        self.index.label_values(name, move |series| self.overlaps(series, min_ms, max_ms))
    }

    /// A series' labels in order of names; none if it is gone.
    pub fn labels(&self, series: SeriesRef) -> impl Iterator<Item = (&str, &str)> {
        self.index.label_strs(series)
    }

    /// Appends a series' canonical label bytes to `out`; nothing if it is gone.
    pub fn put_labels(&self, series: SeriesRef, out: &mut Vec<u8>) {
        self.index.put_labels(series, out);
    }

    /// Sizes, for metrics and limits.
    pub fn size(&self) -> HeadSize {
        HeadSize {
            series: self.series_count(),
            open_chunk_bytes: self.extents.used_bytes() + self.histograms.memory_bytes(),
            sealed_memory_bytes: self.sealed.memory_bytes(),
        }
    }

    /// The store of sealed chunks, to carry its bytes to disk.
    pub fn sealed_mut(&mut self) -> &mut SealedStore {
        &mut self.sealed
    }

    /// Where the WAL keeps its last full value of a series; see [`crate::wal`].
    #[inline]
    pub fn wal_base_mut(&mut self, series: SeriesRef) -> &mut WalBase {
        &mut self.state_mut(series).wal_base
    }
}

/// The value that the WAL's current frame holds in full for a series.
#[derive(Clone, Copy, Debug, Default)]
pub struct WalBase {
    /// The value's bits.
    pub value: u64,
    /// The frame it stands in; frames count from 1.
    pub frame: u32,
}
