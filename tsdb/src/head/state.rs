//! A series' whole state as bytes, for snapshots (`docs/format/snapshot.md`).
//!
//! Series are written one after the other while appends go on, so a snapshot is not one moment: a series
//! written late holds samples that the WAL will repeat. Restoring relies on appends being idempotent.

use super::histograms::OpenHistograms;
use super::ooo::{Late, LateChunk};
use super::sealed_refs::SealedRef;
use super::series::{Newest, Series};
use super::{Head, LOST_KEY};
use crate::chunk::xor::{self, Encoder};
use crate::histogram::Histogram;
use crate::index::SeriesRef;
use crate::labels::Labels;
use crate::mem::EXTENT_PAYLOAD_BITS;
use crate::sealed::Location;
use crate::varint;

/// The series has samples.
const HAS_SAMPLES: u8 = 1;
/// Its newest sample is a histogram, whose open chunk follows.
const HAS_OPEN_HISTOGRAMS: u8 = 2;
/// Late histograms follow that are not sealed yet.
const HAS_LATE_HISTOGRAMS: u8 = 4;
/// Its newest sample is a histogram whose chunk was released. An open chunk that follows is this sample alone.
const IS_RELEASED: u8 = 8;

/// Bytes that describe no series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("series state is malformed")]
pub struct BadState;

impl Head {
    /// Appends the state of a series, which must be there, to `out`.
    pub(crate) fn put_state(&self, series: SeriesRef, out: &mut Vec<u8>) {
        let place = self.place(series);
        let state = &self.series[place];
        out.extend_from_slice(&self.keys[place].to_le_bytes());
        let mut labels = Vec::new();
        self.index.put_labels(series, &mut labels);
        put_bytes(out, &labels);

        let encoder = &state.encoder;
        let none = Late::default();
        let late = self.overlay.get(series).unwrap_or(&none);
        let is_released = state.newest == Newest::Released;
        let open_histograms =
            if is_released { self.histograms.released(series.0) } else { self.histograms.open(series.0) };
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        out.push(
            flag(state.has_samples(), HAS_SAMPLES)
                | flag(open_histograms.is_some(), HAS_OPEN_HISTOGRAMS)
                | flag(!late.histograms.is_empty(), HAS_LATE_HISTOGRAMS)
                | flag(is_released, IS_RELEASED),
        );
        varint::put_i64(out, encoder.t_ms);
        out.extend_from_slice(&encoder.value.to_le_bytes());
        varint::put_u64(out, u64::from(encoder.count));
        if encoder.count > 0 {
            varint::put_u64(out, encoder.delta);
            out.extend([encoder.leading, encoder.trailing]);
            varint::put_u64(out, u64::from(state.bits));
            let mut chunk = Vec::new();
            state.copy_open_chunk(&self.extents, &mut chunk);
            put_bytes(out, &chunk);
        }

        let mut sealed: Vec<_> = self.sealed_refs.newest_first(state.sealed).collect();
        sealed.reverse();
        varint::put_u64(out, sealed.len() as u64);
        for sealed in sealed {
            varint::put_i64(out, sealed.min_ms);
            put_location(out, sealed.at);
        }

        varint::put_u64(out, late.chunks.len() as u64);
        for chunk in &late.chunks {
            varint::put_i64(out, chunk.min_ms);
            varint::put_i64(out, chunk.max_ms);
            put_location(out, chunk.at);
        }
        varint::put_u64(out, late.buffer.len() as u64);
        for (t_ms, value) in &late.buffer {
            varint::put_i64(out, *t_ms);
            out.extend_from_slice(&value.to_le_bytes());
        }
        if let Some(open) = open_histograms {
            open.put(out);
        }
        if !late.histograms.is_empty() {
            varint::put_u64(out, late.histograms.len() as u64);
            for (t_ms, histogram) in &late.histograms {
                varint::put_i64(out, *t_ms);
                histogram.put(out);
            }
        }
    }

    /// Adds the next series from the front of `from`.
    pub(crate) fn restore_state(&mut self, from: &mut &[u8]) -> Result<(), BadState> {
        let key = u128::from_le_bytes(take_array(from)?);
        let labels = Labels::parse(take_bytes(from)?).map_err(|_| BadState)?;
        let [flags] = take_array(from)?;
        let newest = match flags {
            _ if flags & IS_RELEASED != 0 => Newest::Released,
            _ if flags & HAS_OPEN_HISTOGRAMS != 0 => Newest::Histogram,
            _ if flags & HAS_SAMPLES != 0 => Newest::Float,
            _ => Newest::None,
        };
        let mut state = Series { newest, ..Series::default() };
        state.encoder = Encoder {
            t_ms: varint::take_i64(from).ok_or(BadState)?,
            value: u64::from_le_bytes(take_array(from)?),
            count: take_u16(from)?,
            ..Encoder::EMPTY
        };
        if state.encoder.count > 0 {
            state.encoder.delta = varint::take_u64(from).ok_or(BadState)?;
            [state.encoder.leading, state.encoder.trailing] = take_array(from)?;
            state.bits = take_u16(from)?;
            let chunk = take_bytes(from)?;
            if chunk.len() != usize::from(state.bits).div_ceil(8) || xor::first_time(chunk).is_none() {
                return Err(BadState);
            }
            (state.first, state.last) = self.restore_extents(chunk);
        }
        for _ in 0..take_count(from)? {
            let min_ms = varint::take_i64(from).ok_or(BadState)?;
            let at = take_location(from)?;
            self.sealed.refer(at);
            state.sealed = self.sealed_refs.push(state.sealed, SealedRef { min_ms, at });
        }
        let mut late = Late::default();
        for _ in 0..take_count(from)? {
            let min_ms = varint::take_i64(from).ok_or(BadState)?;
            let max_ms = varint::take_i64(from).ok_or(BadState)?;
            let at = take_location(from)?;
            self.sealed.refer(at);
            late.chunks.push(LateChunk { min_ms, max_ms, at });
        }
        for _ in 0..take_count(from)? {
            let t_ms = varint::take_i64(from).ok_or(BadState)?;
            late.buffer.push((t_ms, u64::from_le_bytes(take_array(from)?)));
        }
        let open_histograms =
            if flags & HAS_OPEN_HISTOGRAMS != 0 { Some(OpenHistograms::take(from)?) } else { None };
        if flags & HAS_LATE_HISTOGRAMS != 0 {
            for _ in 0..take_count(from)? {
                let t_ms = varint::take_i64(from).ok_or(BadState)?;
                late.histograms.push((t_ms, Box::new(Histogram::take(from).ok_or(BadState)?)));
            }
        }

        let series = self.add_series(key, labels).map_err(|_| BadState)?;
        if state.has_samples() {
            self.newest_ms = self.newest_ms.max(Some(state.encoder.t_ms));
        }
        *self.state_mut(series) = state;
        match open_histograms {
            Some(last) if newest == Newest::Released => self.histograms.insert_released(series.0, last),
            Some(open) => self.histograms.insert(series.0, open),
            None => {}
        }
        if !late.is_empty() {
            *self.overlay.entry(series) = late;
        }
        Ok(())
    }

    /// Makes a series again that the WAL says was made with this number. One that is there already, from a
    /// snapshot, stays, and one that is gone stays so; numbers left out are those of series whose records were lost. If
    /// another series has the labels, it had been [forgotten](super::forget) by then, and what is here of it is in blocks:
    /// it goes. False if the labels make no sense or are not those of the series that has the number.
    pub fn replay_series(&mut self, number: u32, key: u128, canonical_labels: &[u8]) -> bool {
        let Ok(labels) = Labels::parse(canonical_labels) else { return false };
        let series = SeriesRef(number);
        if series < self.series_end() {
            return self.index.place(series).is_none() || self.index.has_labels(series, labels);
        }
        while self.series_end() < series {
            if self.add_lost_series().is_err() {
                return false;
            }
        }
        if let Some(forgotten) = self.find(key) {
            self.vacate(forgotten);
        }
        self.add_series(key, labels).is_ok()
    }

    /// So many numbers of series follow that are gone.
    pub(crate) fn add_gone_series(&mut self, count: u32) {
        self.index.add_gone(count);
    }

    /// Takes a series' number for one whose labels were lost to damage, so that later numbers stay right. It
    /// can't be found and never has samples.
    fn add_lost_series(&mut self) -> Result<(), BadState> {
        self.index.add(Labels::trusted(&[])).map_err(|_| BadState)?;
        self.keys.push(LOST_KEY);
        self.series.push(Series::default());
        Ok(())
    }

    fn restore_extents(&mut self, chunk: &[u8]) -> (u32, u32) {
        let first = self.extents.allocate();
        let (mut last, mut at) = (first, 0);
        for byte in chunk {
            if at == EXTENT_PAYLOAD_BITS {
                last = self.extents.extend(last);
                at = 0;
            }
            self.extents.put_bits(last, at, u64::from(*byte), 8);
            at += 8;
        }
        (first, last)
    }
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_location(out: &mut Vec<u8>, at: Location) {
    varint::put_u64(out, u64::from(at.file));
    varint::put_u64(out, u64::from(at.offset));
}

pub(super) fn take_array<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], BadState> {
    let (array, rest) = from.split_first_chunk().ok_or(BadState)?;
    *from = rest;
    Ok(*array)
}

pub(super) fn take_bytes<'a>(from: &mut &'a [u8]) -> Result<&'a [u8], BadState> {
    let len = usize::try_from(varint::take_u64(from).ok_or(BadState)?).map_err(|_| BadState)?;
    let (bytes, rest) = from.split_at_checked(len).ok_or(BadState)?;
    *from = rest;
    Ok(bytes)
}

fn take_u16(from: &mut &[u8]) -> Result<u16, BadState> {
    u16::try_from(varint::take_u64(from).ok_or(BadState)?).map_err(|_| BadState)
}

/// A count of items, each of at least one byte, that must follow.
fn take_count(from: &mut &[u8]) -> Result<u64, BadState> {
    let count = varint::take_u64(from).ok_or(BadState)?;
    if count > from.len() as u64 { Err(BadState) } else { Ok(count) }
}

fn take_location(from: &mut &[u8]) -> Result<Location, BadState> {
    let mut number = || varint::take_u64(from).and_then(|n| u32::try_from(n).ok()).ok_or(BadState);
    Ok(Location { file: number()?, offset: number()? })
}
