//! Encoding 4 of floats, XOR2: read, never written. Prometheus writes it if told to (`storage.tsdb.chunk_encoding.floats`).
//!
//! `count u16 | start times u8 | varint t0 | v0 | ...`. The second sample is `uvarint t1-t0 | value`. Each further one
//! begins with a code for time and value together, where dod is how much the step has changed:
//!
//! | code | dod | value |
//! |---|---|---|
//! | `0` | 0 | the same |
//! | `10` | 0 | changed: `0` in the last window, `1` in a new one |
//! | `110` | 13 bits | value |
//! | `1110` | 20 bits | value |
//! | `11110` | 64 bits | value |
//! | `11111` | 0 | a stale marker |
//!
//! and a value is `0` the same, `10` in the last window, `110` in a new window, `111` a stale marker. Trap: values are
//! XORed with the last one that was no stale marker, and "the same" means that one, too. Facts: Prometheus's
//! `tsdb/chunkenc/xor2.go`.

use super::start_times::{StartTimes, take_uvarint};
use super::{BitReader, ChunkError};
use crate::histogram::STALE_NAN;
use crate::varint;

/// The number of the encoding in Prometheus's files.
pub const ENCODING: u8 = 4;

const HEADER_BYTES: usize = 3;

/// The bits of a value that are not the same as before lie between these many zeros.
#[derive(Default)]
struct Values {
    leading: u32,
    trailing: u32,
    /// The last value that is no stale marker.
    last: u64,
}

/// Calls `sample` with the time (ms) and the bits of each sample.
pub fn decode(chunk: &[u8], mut sample: impl FnMut(i64, u64)) -> Result<(), ChunkError> {
    let (header, rest) = chunk.split_first_chunk::<HEADER_BYTES>().ok_or(ChunkError::Truncated)?;
    let count = u16::from_be_bytes([header[0], header[1]]);
    let starts = StartTimes::parse(header[2]);
    let mut bits = BitReader::new(rest);
    let (mut t_ms, mut delta) = (0i64, 0i64);
    let mut values = Values::default();
    for number in 0..count {
        let value = match number {
            0 => {
                t_ms = varint::unzigzag(take_uvarint(&mut bits)?);
                let value = bits.take(64)?;
                if value != STALE_NAN {
                    values.last = value;
                }
                value
            }
            1 => {
                delta = take_uvarint(&mut bits)? as i64;
                values.take(&mut bits)?
            }
            _ => {
                let ones = bits.take_ones(5)?;
                let width = [0, 0, 13, 20, 64, 0][ones as usize];
                if width > 0 {
                    delta = delta.wrapping_add(take_signed(&mut bits, width)?);
                }
                match ones {
                    0 => values.last,
                    1 if bits.take(1)? == 0 => values.take_in_window(&mut bits)?,
                    1 => values.take_in_new_window(&mut bits)?,
                    5 => STALE_NAN,
                    _ => values.take(&mut bits)?,
                }
            }
        };
        t_ms = t_ms.wrapping_add(delta);
        starts.skip(&mut bits, number)?;
        sample(t_ms, value);
    }
    Ok(())
}

fn take_signed(bits: &mut BitReader<'_>, width: u32) -> Result<i64, ChunkError> {
    let unused = 64 - width;
    Ok((bits.take(width)? << unused) as i64 >> unused)
}

impl Values {
    fn take(&mut self, bits: &mut BitReader<'_>) -> Result<u64, ChunkError> {
        match bits.take_ones(3)? {
            0 => Ok(self.last),
            1 => self.take_in_window(bits),
            2 => self.take_in_new_window(bits),
            _ => Ok(STALE_NAN),
        }
    }

    fn take_in_window(&mut self, bits: &mut BitReader<'_>) -> Result<u64, ChunkError> {
        let changed = bits.take(64 - self.leading - self.trailing)?;
        self.last ^= changed << self.trailing;
        Ok(self.last)
    }

    fn take_in_new_window(&mut self, bits: &mut BitReader<'_>) -> Result<u64, ChunkError> {
        self.leading = bits.take(5)? as u32;
        let significant = match bits.take(6)? as u32 {
            0 => 64,
            bits => bits,
        };
        self.trailing = (64 - self.leading).checked_sub(significant).ok_or(ChunkError::Malformed)?;
        self.take_in_window(bits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bits as a text of zeros and ones, blanks apart.
    fn chunk(header: [u8; 3], bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
        let byte = |bits: &[u8]| (0..8).fold(0, |byte, i| byte << 1 | bits.get(i).copied().unwrap_or(0));
        header.into_iter().chain(bits.chunks(8).map(byte)).collect()
    }

    fn decoded(chunk: &[u8]) -> Result<Vec<(i64, u64)>, ChunkError> {
        let mut samples = Vec::new();
        decode(chunk, |t_ms, bits| samples.push((t_ms, bits)))?;
        Ok(samples)
    }

    fn bits_of(value: f64) -> String {
        format!("{:064b}", value.to_bits())
    }

    // By hand from the table above. 1.0 ^ 2.0 is 0x7ff0...: one zero in front, eleven bits.
    #[test]
    fn every_code_is_read_as_the_format_says() {
        let window = "00001 001011 11111111111";
        let text = [
            "00000010",                                              // t0 = 1
            &bits_of(1.0),                                           // v0
            "00001010 0",                                            // t1 - t0 = 10, the same value
            "0",                                                     // +10, the same
            &format!("10 1 {window}"),                               // +10, 2.0 in a new window
            "10 0 11111111111",                                      // +10, 1.0 in that window
            "110 0000000000101 0",                                   // +15, the same
            "110 1111111111011 10 11111111111",                      // +10, 2.0
            "11111",                                                 // +10, stale
            "0",                                                     // +10, 2.0 again
            "1110 00000001000000000000 111",                         // +4106, stale
            &format!("11110 {:064b} 110 {window}", -4096i64 as u64), // +10, 1.0
        ]
        .concat();
        let (one, two) = (1f64.to_bits(), 2f64.to_bits());
        let expected = [
            (1, one),
            (11, one),
            (21, one),
            (31, two),
            (41, one),
            (56, one),
            (66, two),
            (76, STALE_NAN),
            (86, two),
            (4192, STALE_NAN),
            (4202, one),
        ];
        assert_eq!(decoded(&chunk([0, 11, 0], &text)).unwrap(), expected);
    }

    #[test]
    fn start_times_are_read_over() {
        // Of the first sample, 64 before it; from the third on: 3 bits, then none, then 6 bits.
        let text =
            ["00000010", &bits_of(1.0), "10000000 00000001", "00001010 0", "0 10 011", "0 0", "0 110 100001"]
                .concat();
        let one = 1f64.to_bits();
        let expected = [(1, one), (11, one), (21, one), (31, one), (41, one)];
        assert_eq!(decoded(&chunk([0, 5, 0x82], &text)).unwrap(), expected);
    }

    #[test]
    fn a_cut_chunk_is_an_error() {
        let whole =
            chunk([0, 3, 0], &["00000010", &bits_of(1.0), "00001010 0", "110 0000000000101 0"].concat());
        assert!(decoded(&whole).is_ok());
        for cut in 0..whole.len() {
            assert_eq!(decoded(&whole[..cut]), Err(ChunkError::Truncated), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_or_samples_but_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decoded(&bytes);
        }
    }
}
