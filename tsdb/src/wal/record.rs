//! A batch's record, taken apart; see `docs/format/wal.md`.

use super::batch::BatchName;
use super::format::RecordType;
use crate::varint;

/// What a batch's record holds, as far as it can be told apart without bases.
pub(super) struct BatchRecord<'a> {
    /// The stream's id in the file.
    pub(super) stream: u64,
    pub(super) name: BatchName,
    pub(super) frame: u32,
    /// The number of the first new series; the others follow.
    first_new: u32,
    /// Each with its length in front.
    new_series: &'a [u8],
    /// For [`take_histograms`](super::histograms::take_histograms).
    pub(super) histograms: &'a [u8],
    /// For [`take_samples`](super::batch::take_samples).
    pub(super) samples: &'a [u8],
}

impl<'a> BatchRecord<'a> {
    /// Takes a record's payload apart; `None` if it is no batch, or makes no sense.
    pub(super) fn parse(kind: RecordType, mut payload: &'a [u8]) -> Option<Self> {
        if !matches!(kind, RecordType::Batch | RecordType::BatchWithHistograms) {
            return None;
        }
        let stream = varint::take_u64(&mut payload)?;
        let (boot, rest) = payload.split_first_chunk()?;
        payload = rest;
        let name = BatchName { boot: u128::from_le_bytes(*boot), number: varint::take_u64(&mut payload)? };
        let frame = u32::try_from(varint::take_u64(&mut payload)?).ok()?;
        let new_count = varint::take_u64(&mut payload)?;
        let first_new = if new_count > 0 { varint::take_u64(&mut payload)? } else { 0 };
        u32::try_from(first_new.checked_add(new_count)?).ok()?;
        let begin = payload;
        for _ in 0..new_count {
            take_bytes(&mut payload)?;
        }
        let new_series = &begin[..begin.len() - payload.len()];
        let histograms =
            if kind == RecordType::BatchWithHistograms { take_bytes(&mut payload)? } else { &[] };
        let first_new = first_new as u32;
        Some(BatchRecord { stream, name, frame, first_new, new_series, histograms, samples: payload })
    }

    /// The new series' numbers and canonical labels.
    pub(super) fn new_series(&self) -> impl Iterator<Item = (u32, &'a [u8])> {
        let mut rest = self.new_series;
        (u64::from(self.first_new)..).map_while(move |number| Some((number as u32, take_bytes(&mut rest)?)))
    }
}

/// Takes bytes with their length in front.
fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(varint::take_u64(from)?).ok()?;
    let (bytes, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(bytes)
}
