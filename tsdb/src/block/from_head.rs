//! A window of time of a head becomes a block, while appends go on.
//!
//! The thread that owns the head only hands out slices; all work is done where the block is written:
//!
//! 1. The owner calls [`Head::window_slice`] until it has gone through all series; each slice goes to
//!    [`WindowSeries::add`]. That tells which series, and which symbols, the block will have.
//! 2. [`WindowSeries::begin`] puts them in order and begins the block.
//! 3. [`HeadBlock::next_series`] tells which series to read next; the owner reads them ([`Head::read`], the same range of
//!    time) into a [`SeriesBatch`], which goes to [`HeadBlock::push`]; until there are none.
//! 4. [`HeadBlock::finish`].
//!
//! The block holds each series as it was when it was read: samples that come for the window later are not in it. Memory at
//! the writer: the window's distinct strings, and some 40 bytes a series.

use std::path::Path;
use std::sync::Arc;

use super::error::BlockError;
use super::merge::SeriesMerge;
use super::meta::Meta;
use super::writer::{BlockWriter, NewChunk};
use crate::disk::Disk;
use crate::head::{Head, ReadError, SeriesBatch};
use crate::index::{IndexFull, SeriesRef, Symbol, Symbols};
use crate::labels::Labels;
use crate::mem::ByteArena;
use crate::varint;

/// Some series of a head with their labels.
#[derive(Debug, Default)]
pub struct WindowSlice {
    series: Vec<SeriesRef>,
    /// Where in `labels` the labels of each end.
    ends: Vec<usize>,
    labels: Vec<u8>,
}

impl Head {
    /// Of so many series from `from` on, those that may have samples from `min_ms` to before `end_ms`; and the series to go
    /// on with, if there is one. Takes about a microsecond a series.
    pub fn window_slice(
        &self,
        from: SeriesRef,
        count: usize,
        (min_ms, end_ms): (i64, i64),
    ) -> (WindowSlice, Option<SeriesRef>) {
        let mut slice = WindowSlice::default();
        let mut all = self.series_from(from);
        for series in all.by_ref().take(count) {
            if self.is_known(series) && self.overlaps(series, min_ms, end_ms.saturating_sub(1)) {
                slice.series.push(series);
                self.put_labels(series, &mut slice.labels);
                slice.ends.push(slice.labels.len());
            }
        }
        let next = all.next();
        (slice, next)
    }
}

/// Why a block was not made of a head.
#[derive(Debug, thiserror::Error)]
pub enum HeadBlockError {
    /// It could not be written.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A chunk of the head is damaged.
    #[error("cannot read a series of the head: {0}")]
    Head(#[from] ReadError),
    /// More labels than fit.
    #[error(transparent)]
    Full(#[from] IndexFull),
}

/// The series of a window, gathered slice by slice.
#[derive(Default)]
pub struct WindowSeries {
    symbols: Symbols,
    sets: ByteArena,
    /// Each series, and where its labels are.
    series: Vec<(SeriesRef, u32)>,
    scratch: Vec<u8>,
}

impl WindowSeries {
    /// Adds a slice.
    pub fn add(&mut self, slice: &WindowSlice) -> Result<(), HeadBlockError> {
        let mut begin = 0;
        for (series, end) in slice.series.iter().zip(&slice.ends) {
            self.scratch.clear();
            for (name, value) in Labels::trusted(&slice.labels[begin..*end]).iter() {
                varint::put_u64(&mut self.scratch, u64::from(self.symbols.intern(name)?.0));
                varint::put_u64(&mut self.scratch, u64::from(self.symbols.intern(value)?.0));
            }
            self.series.push((*series, self.sets.push(&self.scratch).ok_or(IndexFull)?));
            begin = *end;
        }
        Ok(())
    }

    /// Begins a block in `folder` with the samples from `meta.min_ms` to before `meta.end_ms`.
    pub fn begin(self, disk: Arc<dyn Disk>, folder: &Path, meta: Meta) -> Result<HeadBlock, HeadBlockError> {
        let WindowSeries { symbols, sets, mut series, .. } = self;
        let mut by_text: Vec<u32> = (0..symbols.len() as u32).collect();
        by_text.sort_unstable_by_key(|symbol| symbols.get(Symbol(*symbol)));
        let range = (meta.min_ms, meta.end_ms);
        let mut writer = BlockWriter::begin(disk, folder, meta)?;
        let mut references = vec![0; by_text.len()];
        for symbol in by_text {
            references[symbol as usize] = writer.symbol(symbols.get(Symbol(symbol)).as_bytes())?;
        }
        // References are in order of texts, so sequences of them are in order of label sets.
        let labels = |set: u32| {
            let mut rest = sets.get(set);
            std::iter::from_fn(move || varint::take_u64(&mut rest)).map(|symbol| references[symbol as usize])
        };
        series.sort_by(|a, b| labels(a.1).cmp(labels(b.1)));
        let series = series.into_iter().map(|(series, _)| series).collect();
        let merge = SeriesMerge::default();
        Ok(HeadBlock { symbols, references, series, next: 0, range, writer, merge })
    }
}

/// A block that is being made of a head.
pub struct HeadBlock {
    symbols: Symbols,
    /// Of each symbol: the block's reference to it.
    references: Vec<u32>,
    series: Vec<SeriesRef>,
    next: usize,
    range: (i64, i64),
    writer: BlockWriter,
    merge: SeriesMerge,
}

impl HeadBlock {
    /// The series to be read next, at most `count`; empty at the end.
    pub fn next_series(&mut self, count: usize) -> Vec<SeriesRef> {
        let end = self.next.saturating_add(count).min(self.series.len());
        let series = self.series[self.next..end].to_vec();
        self.next = end;
        series
    }

    /// Writes the series of a batch, in the order in which [`HeadBlock::next_series`] named them. Reads files of the head.
    pub fn push(&mut self, batch: &SeriesBatch) -> Result<(), HeadBlockError> {
        let (min_ms, end_ms) = self.range;
        for series in batch.series() {
            self.merge.clear();
            batch.each_chunk(series, |encoding, data, min_ms, max_ms| {
                self.merge.add(0, NewChunk { encoding, data, min_ms, max_ms });
            })?;
            self.merge.run(min_ms, end_ms.saturating_sub(1)).map_err(|error| error.in_head())?;
            let mut labels = Vec::new();
            for (name, value) in batch.labels(series).iter() {
                let reference =
                    |text| self.symbols.find(text).map(|symbol| self.references[symbol.0 as usize]);
                let label = reference(name).zip(reference(value));
                labels.push(label.ok_or(BlockError::Refused("a series that was not named"))?);
            }
            let chunks: Vec<NewChunk<'_>> = self.merge.chunks().collect();
            self.writer.series(&labels, &chunks)?;
        }
        Ok(())
    }

    /// Makes the block durable and gives its description; `None` if it would hold nothing.
    pub fn finish(self) -> Result<Option<Meta>, HeadBlockError> {
        Ok(self.writer.finish()?)
    }
}
