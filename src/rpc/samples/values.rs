//! The values of a run: one bit a sample says whether it differs from its series' last value, then half a byte
//! for each that does, then the bytes in which it differs.
//!
//! Half a byte names one of sixteen *windows*: a stretch of the eight bytes of the XOR outside which all is zero.
//! The choice follows what floats do between two scrapes: counters change in the upper mantissa, gauges of few
//! digits at the top, measured times everywhere.

use super::wire::Cursor;

/// A stretch of an XOR's bytes, counted from the most significant one.
#[derive(Clone, Copy)]
struct Window {
    first: u8,
    count: u8,
}

const fn window(first: u8, count: u8) -> Window {
    Window { first, count }
}

/// Part of the format: numbers and order never change within a protocol version. The last one holds anything.
const WINDOWS: [Window; 16] = [
    window(1, 1),
    window(2, 1),
    window(3, 1),
    window(4, 1),
    window(1, 2),
    window(2, 2),
    window(3, 2),
    window(0, 2),
    window(1, 3),
    window(2, 3),
    window(0, 3),
    window(1, 4),
    window(2, 4),
    window(2, 6),
    window(1, 7),
    window(0, 8),
];

/// The shortest window for each pair of first and last byte that is not zero, at `8 * first + last`.
const SHORTEST: [u8; 64] = {
    let mut shortest = [WINDOWS.len() as u8 - 1; 64];
    let mut pair = 0;
    while pair < 64 {
        let (first, last) = (pair / 8, pair % 8);
        let mut candidate = WINDOWS.len();
        while candidate > 0 {
            candidate -= 1;
            let Window { first: begin, count } = WINDOWS[candidate];
            let holds = begin as usize <= first && last < (begin + count) as usize;
            if holds && count <= WINDOWS[shortest[pair] as usize].count {
                shortest[pair] = candidate as u8;
            }
        }
        pair += 1;
    }
    shortest
};

/// Appends a run's XORs.
pub(super) fn put_run(out: &mut Vec<u8>, xors: &[u64]) {
    let bits_at = out.len();
    let halves_at = bits_at + xors.len().div_ceil(8);
    let mut changed = 0;
    for eight in xors.chunks(8) {
        let mut bits = 0;
        for (place, &xor) in eight.iter().enumerate() {
            bits |= u8::from(xor != 0) << place;
        }
        changed += bits.count_ones() as usize;
        out.push(bits);
    }
    let mut at = halves_at + changed.div_ceil(2);
    // Room for the longest windows, so that each is one store of eight bytes; the rest is cut off below.
    out.resize(at + 8 * changed, 0);
    let mut nth = 0;
    for &xor in xors {
        if xor == 0 {
            continue;
        }
        let (first, last) = (xor.leading_zeros() / 8, 7 - xor.trailing_zeros() / 8);
        let number = SHORTEST[(8 * first + last) as usize];
        let Window { first, count } = WINDOWS[usize::from(number)];
        out[halves_at + nth / 2] |= number << (4 * (nth % 2));
        out[at..at + 8].copy_from_slice(&(xor << (8 * first)).to_be_bytes());
        at += usize::from(count);
        nth += 1;
    }
    out.truncate(at);
}

/// Takes a run of `len` XORs; `None` if its bytes are not all there.
#[inline]
pub(super) fn take_run(cursor: &mut Cursor<'_>, len: usize, mut each: impl FnMut(usize, u64)) -> Option<()> {
    let bitmap = cursor.bytes(len.div_ceil(8))?;
    let changed: usize = bitmap.iter().map(|bits| bits.count_ones() as usize).sum();
    let halves = cursor.bytes(changed.div_ceil(2))?;
    let windows = cursor.rest();
    let (mut at, mut nth) = (0, 0);
    for place in 0..len {
        if bitmap[place / 8] >> (place % 8) & 1 == 0 {
            each(place, 0);
            continue;
        }
        let Window { first, count } = WINDOWS[usize::from(halves[nth / 2] >> (4 * (nth % 2)) & 15)];
        nth += 1;
        let end = at + usize::from(count);
        let word = match windows.get(at..at + 8) {
            Some(eight) => u64::from_be_bytes(eight.try_into().ok()?),
            None => {
                let mut word = [0; 8];
                let left = windows.get(at..end)?;
                word[..left.len()].copy_from_slice(left);
                u64::from_be_bytes(word)
            }
        };
        let unused = 64 - 8 * u32::from(count);
        each(place, word >> unused << unused >> (8 * u32::from(first)));
        at = end;
    }
    cursor.bytes(at).map(|_| ())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// XORs as they occur: none, few bytes somewhere, anything.
    fn xors() -> impl Strategy<Value = Vec<u64>> {
        let some_bytes = (any::<u64>(), 0..8u32, 0..8u32).prop_map(|(word, left, right)| {
            let kept = (u64::MAX >> (8 * left)) & (u64::MAX << (8 * right));
            word & kept
        });
        prop::collection::vec(prop_oneof![Just(0), some_bytes, any::<u64>()], 0..100)
    }

    proptest! {
        #[test]
        fn a_run_comes_back_and_takes_exactly_its_bytes(xors in xors(), behind: [u8; 3]) {
            let mut out = Vec::new();
            put_run(&mut out, &xors);
            out.extend(behind);
            let mut cursor = Cursor::new(&out);
            let mut read = Vec::new();
            take_run(&mut cursor, xors.len(), |place, xor| {
                assert_eq!(place, read.len());
                read.push(xor);
            }).unwrap();
            prop_assert_eq!(read, xors);
            prop_assert_eq!(cursor.rest(), behind);
        }

        #[test]
        fn a_run_that_is_cut_off_is_refused(xors in xors()) {
            let mut out = Vec::new();
            put_run(&mut out, &xors);
            for len in 0..out.len() {
                prop_assert!(take_run(&mut Cursor::new(&out[..len]), xors.len(), |_, _| ()).is_none());
            }
        }
    }
}
