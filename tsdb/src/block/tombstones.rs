//! `tombstones`: samples that were deleted and are still in the chunks.
//!
//! `01 30 BA 30 | version 1 | (uvarint series, varint min, varint max)* | crc32c`. The checksum covers the entries only,
//! not what stands before them.

use std::collections::BTreeMap;

use super::error::{BlockError, BlockFile, damaged};
use crate::varint;

const HEADER: [u8; 5] = [0x01, 0x30, 0xba, 0x30, 1];
const CRC_BYTES: usize = 4;

/// Deleted ranges of time by series reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    ranges: BTreeMap<u64, Vec<DeletedRange>>,
    count: u64,
}

/// A deleted range of time, both ends included, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletedRange {
    /// The first millisecond.
    pub min_ms: i64,
    /// The last millisecond.
    pub max_ms: i64,
}

impl DeletedRange {
    /// Whether a time is in it.
    pub fn contains(self, t_ms: i64) -> bool {
        (self.min_ms..=self.max_ms).contains(&t_ms)
    }
}

impl Tombstones {
    /// Reads the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, BlockError> {
        let file = BlockFile::Tombstones;
        let wrong = |offset: usize, what| Err(damaged(file, offset as u64, what));
        let Some(rest) = bytes.strip_prefix(&HEADER) else {
            return wrong(0, "not a tombstones file of version 1");
        };
        let Some((mut entries, crc)) = rest.split_last_chunk::<CRC_BYTES>() else {
            return wrong(HEADER.len(), "the file is too short");
        };
        if crc32c::crc32c(entries) != u32::from_be_bytes(*crc) {
            return wrong(HEADER.len(), "checksum mismatch");
        }
        let mut stones = Tombstones::default();
        while !entries.is_empty() {
            let offset = bytes.len() - CRC_BYTES - entries.len();
            let mut entry = || {
                let series = varint::take_u64(&mut entries)?;
                let min_ms = varint::take_i64(&mut entries)?;
                Some((series, DeletedRange { min_ms, max_ms: varint::take_i64(&mut entries)? }))
            };
            let Some((series, range)) = entry() else { return wrong(offset, "an entry is cut off") };
            stones.ranges.entry(series).or_default().push(range);
            stones.count += 1;
        }
        Ok(stones)
    }

    /// The file of a block with nothing deleted.
    pub fn empty_file() -> Vec<u8> {
        let mut file = HEADER.to_vec();
        file.extend(crc32c::crc32c(&[]).to_be_bytes());
        file
    }

    /// What is deleted of a series.
    pub fn of(&self, series: u64) -> &[DeletedRange] {
        self.ranges.get(&series).map_or(&[], Vec::as_slice)
    }

    /// The series of which something is deleted.
    pub fn series(&self) -> impl Iterator<Item = u64> {
        self.ranges.keys().copied()
    }

    /// How many entries there are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_file_is_prometheus_s() {
        assert_eq!(Tombstones::empty_file(), [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0]);
        assert_eq!(Tombstones::parse(&Tombstones::empty_file()).unwrap().count(), 0);
    }

    #[test]
    fn entries_are_read_and_any_cut_or_flip_behind_the_header_is_noticed() {
        // Series 16, from -1 to 300.
        let entries = [16, 1, 0xd8, 0x04];
        let file = [&HEADER[..], &entries, &crc32c::crc32c(&entries).to_be_bytes()].concat();
        let stones = Tombstones::parse(&file).unwrap();
        assert_eq!(stones.of(16), [DeletedRange { min_ms: -1, max_ms: 300 }]);
        assert_eq!((stones.count(), stones.of(1)), (1, &[][..]));
        for bit in 0..file.len() * 8 {
            let mut flipped = file.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Tombstones::parse(&flipped).is_err(), "bit {bit}");
        }
        for cut in 0..file.len() {
            assert!(Tombstones::parse(&file[..cut]).is_err(), "cut at {cut}");
        }
    }
}
