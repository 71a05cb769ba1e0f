//! A batch's bytes: new series, then runs of samples.
//!
//! A run is a stretch of samples with one timestamp, consecutive series numbers and the same kind of values
//! (in full, or as differences from the base). A scraped target is a few runs, so that time and series cost
//! next to nothing and a sample costs a bit if its value did not change, else half a byte and the bytes of the
//! XOR that are not zero at its ends.

use crate::varint;

/// Names a batch: a coordinator's run and its count (see the segment protocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchName {
    /// Random number of the coordinator's run.
    pub boot: u128,
    /// The run's count of batches for this segment.
    pub number: u64,
}

/// A sample on its way into the log.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) series: u32,
    pub(super) t_ms: i64,
    /// The value XOR its base; in full, the value.
    pub(super) xor: u64,
    pub(super) full: bool,
}

/// A sample of a batch that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodedSample {
    /// The series' number in its shard.
    pub series: u32,
    /// Milliseconds since 1970.
    pub t_ms: i64,
    /// The value's bits; `None` if the record with its base was lost.
    pub value: Option<u64>,
}

/// Bases of a stream's series, while a file is read.
#[derive(Default)]
pub struct Bases {
    by_series: Vec<(u32, u64)>,
}

impl Bases {
    fn get(&self, series: u32, frame: u32) -> Option<u64> {
        self.by_series.get(series as usize).filter(|base| base.0 == frame).map(|base| base.1)
    }

    fn set(&mut self, series: u32, frame: u32, value: u64) {
        let at = series as usize;
        if self.by_series.len() <= at {
            self.by_series.resize(at + 1, (0, 0));
        }
        self.by_series[at] = (frame, value);
    }
}

/// Which bytes of a changed value are written: first byte from the top, and how many. Chosen after what floats
/// do: counters change in the upper middle, gauges of few digits at the top, measured times everywhere. The
/// last one fits all.
const WINDOWS: [(u8, u8); 16] = [
    (1, 1),
    (2, 1),
    (3, 1),
    (4, 1),
    (1, 2),
    (2, 2),
    (3, 2),
    (1, 3),
    (2, 3),
    (3, 3),
    (1, 4),
    (2, 4),
    (2, 6),
    (1, 7),
    (0, 3),
    (0, 8),
];

/// For each (first, last) byte that is not zero: the shortest window that covers both.
const BEST_WINDOW: [[u8; 8]; 8] = {
    let mut best = [[15; 8]; 8];
    let mut first = 0;
    while first < 8 {
        let mut last = first;
        while last < 8 {
            let mut i = 0;
            while i < WINDOWS.len() {
                let (begin, len) = (WINDOWS[i].0 as usize, WINDOWS[i].1 as usize);
                let shorter = WINDOWS[i].1 < WINDOWS[best[first][last] as usize].1;
                if begin <= first && last < begin + len && shorter {
                    best[first][last] = i as u8;
                }
                i += 1;
            }
            last += 1;
        }
        first += 1;
    }
    best
};

/// Appends the samples of a batch, as runs.
pub(super) fn put_samples(out: &mut Vec<u8>, samples: &[Sample]) {
    let mut rest = samples;
    let (mut t_ms, mut next) = (0i64, 0u32);
    while let Some(first) = rest.first() {
        let follows = |(i, s): (usize, &Sample)| {
            s.t_ms == first.t_ms && s.full == first.full && s.series == first.series.wrapping_add(i as u32)
        };
        let len = rest.iter().enumerate().take_while(|(i, s)| follows((*i, s))).count();
        let (run, after) = rest.split_at(len);
        varint::put_u64(out, (len as u64) << 1 | u64::from(first.full));
        varint::put_i64(out, first.t_ms.wrapping_sub(t_ms));
        varint::put_i64(out, i64::from(first.series) - i64::from(next));
        put_values(out, run);
        (t_ms, next) = (first.t_ms, first.series.wrapping_add(len as u32));
        rest = after;
    }
}

/// One bit a sample (changed or not), then a half byte and the window's bytes for each changed one.
fn put_values(out: &mut Vec<u8>, run: &[Sample]) {
    for eight in run.chunks(8) {
        let bits = eight.iter().enumerate().fold(0u8, |bits, (i, s)| bits | u8::from(s.xor != 0) << i);
        out.push(bits);
    }
    let halves_at = out.len();
    let changed = run.iter().filter(|s| s.xor != 0).count();
    out.resize(halves_at + changed.div_ceil(2), 0);
    for (i, sample) in run.iter().filter(|s| s.xor != 0).enumerate() {
        let (first, last) = (sample.xor.leading_zeros() / 8, 7 - sample.xor.trailing_zeros() / 8);
        let window = BEST_WINDOW[first as usize][last as usize];
        out[halves_at + i / 2] |= window << (4 * (i % 2));
        let (begin, len) = WINDOWS[usize::from(window)];
        let bytes = sample.xor.to_be_bytes();
        out.extend_from_slice(&bytes[usize::from(begin)..usize::from(begin + len)]);
    }
}

/// Reads the samples of a batch; `None` at the first byte that makes no sense.
pub(super) fn take_samples(
    mut from: &[u8],
    frame: u32,
    bases: &mut Bases,
    mut sample: impl FnMut(DecodedSample),
) -> Option<()> {
    let (mut t_ms, mut next) = (0i64, 0u32);
    while !from.is_empty() {
        let head = varint::take_u64(&mut from)?;
        let (len, full) = (usize::try_from(head >> 1).ok()?, head & 1 == 1);
        t_ms = t_ms.wrapping_add(varint::take_i64(&mut from)?);
        let first = u32::try_from(i64::from(next).checked_add(varint::take_i64(&mut from)?)?).ok()?;
        next = first.checked_add(u32::try_from(len).ok()?)?;
        let (bitmap, rest) = from.split_at_checked(len.div_ceil(8))?;
        let changed = bitmap.iter().map(|b| b.count_ones() as usize).sum::<usize>();
        let (halves, mut windows) = rest.split_at_checked(changed.div_ceil(2))?;
        let mut nth = 0;
        for i in 0..len {
            let mut xor = 0;
            if bitmap[i / 8] >> (i % 8) & 1 == 1 {
                let window = halves[nth / 2] >> (4 * (nth % 2)) & 15;
                nth += 1;
                let (begin, len) = WINDOWS[usize::from(window)];
                let (bytes, after) = windows.split_at_checked(usize::from(len))?;
                windows = after;
                let mut word = [0; 8];
                word[usize::from(begin)..usize::from(begin + len)].copy_from_slice(bytes);
                xor = u64::from_be_bytes(word);
            }
            let series = first + i as u32;
            let value = if full {
                bases.set(series, frame, xor);
                Some(xor)
            } else {
                bases.get(series, frame).map(|base| base ^ xor)
            };
            sample(DecodedSample { series, t_ms, value });
        }
        from = windows;
    }
    Some(())
}
