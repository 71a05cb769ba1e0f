//! The receiving side of a connection: from bytes to batches.
//!
//! Whatever the bytes, decoding ends with a batch or an error, within bounded memory. After an error the two
//! sides do not agree any more: the connection is closed.

use gyre_ring::SeriesKey;

use super::batch::{FloatSample, HistogramSample, SampleBatch, Series};
use super::encoder::RESET;
use super::values::take_run;
use super::wire::Cursor;
use super::{LABEL_BYTES_MAX, NAME_BYTES_MAX, SAMPLES_PER_BATCH_MAX, SERIES_PER_BATCH_MAX, STREAMS_MAX};

/// Bytes that no encoder writes, or not at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {section} of a batch of samples makes no sense, {offset} bytes into it")]
pub struct DecodeError {
    /// Which part of the batch.
    pub section: &'static str,
    /// How many bytes were read by then.
    pub offset: usize,
}

/// What is known of a segment's series, by id.
struct Stream {
    name: Box<str>,
    keys: Vec<u128>,
    last: Vec<u64>,
}

/// Decodes the batches of one connection, in order, all of them.
pub struct Decoder {
    streams: Vec<Stream>,
    ids: usize,
    ids_max: usize,
    /// Stream ids by position in the batch.
    positions: Vec<u32>,
}

impl Decoder {
    /// A decoder that holds at most so many series ids.
    pub fn new(ids_max: u32) -> Self {
        Decoder { streams: Vec::new(), ids: 0, ids_max: ids_max as usize, positions: Vec::new() }
    }

    /// Reads a batch. `batch` is emptied first; after an error it is of no use, nor is the decoder.
    pub fn decode(&mut self, bytes: &[u8], batch: &mut SampleBatch) -> Result<(), DecodeError> {
        batch.clear();
        let mut cursor = Cursor::new(bytes);
        let mut section = "head";
        let result = self.sections(&mut cursor, batch, &mut section);
        result.ok_or_else(|| DecodeError { section, offset: bytes.len() - cursor.left() })
    }

    /// Series ids held.
    pub fn series_ids(&self) -> usize {
        self.ids
    }

    fn sections(
        &mut self,
        cursor: &mut Cursor<'_>,
        batch: &mut SampleBatch,
        section: &mut &'static str,
    ) -> Option<()> {
        let stream = self.head(cursor)?;
        batch.segment.push_str(&self.streams[stream].name);
        *section = "list of series";
        self.series(cursor, stream, batch)?;
        *section = "list of samples";
        self.samples(cursor, stream, batch)?;
        *section = "list of histograms";
        self.histograms(cursor, batch)?;
        *section = "end";
        cursor.is_empty().then_some(())
    }

    fn head(&mut self, cursor: &mut Cursor<'_>) -> Option<usize> {
        match cursor.byte()? {
            0 => {}
            RESET => {
                // Not cleared: its memory goes, too.
                self.streams = Vec::new();
                self.ids = 0;
            }
            _ => return None,
        }
        let stream = cursor.count(self.streams.len().min(STREAMS_MAX - 1))?;
        if stream == self.streams.len() {
            let len = cursor.count(NAME_BYTES_MAX)?;
            let name = std::str::from_utf8(cursor.bytes(len)?).ok()?;
            self.streams.push(Stream { name: name.into(), keys: Vec::new(), last: Vec::new() });
        }
        Some(stream)
    }

    fn series(&mut self, cursor: &mut Cursor<'_>, stream: usize, batch: &mut SampleBatch) -> Option<()> {
        let Stream { keys, last, .. } = &mut self.streams[stream];
        let total = cursor.count(SERIES_PER_BATCH_MAX)?;
        self.positions.clear();
        let mut behind = 0u32;
        while self.positions.len() < total {
            let head = cursor.unsigned()?;
            let count = usize::try_from(head >> 1).ok().filter(|&count| count > 0)?;
            if count > total - self.positions.len() {
                return None;
            }
            if head & 1 == 1 {
                self.ids += count;
                if self.ids > self.ids_max {
                    return None;
                }
                let first = keys.len() as u32;
                for _ in 0..count {
                    let key = cursor.u128()?;
                    let len = cursor.count(LABEL_BYTES_MAX)?;
                    let labels = batch.keep(cursor.bytes(len)?);
                    keys.push(key);
                    last.push(0);
                    batch.series.push(Series { key: SeriesKey(key), labels: Some(labels) });
                }
                behind = keys.len() as u32;
                self.positions.extend(first..behind);
            } else {
                let first = i64::from(behind).checked_add(cursor.signed()?)?;
                let first = usize::try_from(first).ok()?;
                let known = keys.get(first..first.checked_add(count)?)?;
                batch.series.extend(known.iter().map(|&key| Series { key: SeriesKey(key), labels: None }));
                behind = (first + count) as u32;
                self.positions.extend(first as u32..behind);
            }
        }
        Some(())
    }

    fn samples(&mut self, cursor: &mut Cursor<'_>, stream: usize, batch: &mut SampleBatch) -> Option<()> {
        let last = &mut self.streams[stream].last;
        let total = cursor.count(SAMPLES_PER_BATCH_MAX)?;
        let (mut t_ms, mut behind) = (0i64, 0i64);
        while batch.samples.len() < total {
            let len = cursor.count(total - batch.samples.len()).filter(|&len| len > 0)?;
            t_ms = t_ms.wrapping_add(cursor.signed()?);
            let first = usize::try_from(behind.checked_add(cursor.signed()?)?).ok()?;
            let ids = self.positions.get(first..first.checked_add(len)?)?;
            behind = (first + len) as i64;
            let samples = &mut batch.samples;
            take_run(cursor, len, |place, xor| {
                let last = &mut last[ids[place] as usize];
                *last ^= xor;
                samples.push(FloatSample { series: (first + place) as u32, t_ms, v_bits: *last });
            })?;
        }
        Some(())
    }

    fn histograms(&mut self, cursor: &mut Cursor<'_>, batch: &mut SampleBatch) -> Option<()> {
        let total = cursor.count(SAMPLES_PER_BATCH_MAX)?;
        let (mut t_ms, mut position) = (0i64, 0i64);
        for _ in 0..total {
            position = position.checked_add(cursor.signed()?)?;
            let series =
                u32::try_from(position).ok().filter(|&series| (series as usize) < batch.series.len())?;
            t_ms = t_ms.wrapping_add(cursor.signed()?);
            let len = cursor.count(cursor.left())?;
            let message = batch.keep(cursor.bytes(len)?);
            batch.histograms.push(HistogramSample { series, t_ms, message });
        }
        Some(())
    }
}
