//! Which bytes to ask a store for: ranges that lie close together are cheaper to get as one.

use std::ops::Range;

/// Joins ranges, given in any order, between which there are at most `gap` bytes, as long as the result has at most
/// `max` bytes; a longer single range stays whole. Ascending; empty ranges are left out.
pub fn coalesce(mut ranges: Vec<Range<u64>>, gap: u64, max: u64) -> Vec<Range<u64>> {
    ranges.retain(|range| range.start < range.end);
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            // What overlaps is never read twice, however long it gets.
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            Some(last) if range.start - last.end <= gap && range.end - last.start <= max => {
                last.end = range.end
            }
            _ => joined.push(range),
        }
    }
    joined
}

/// The bytes of a range within what was got for the coalesced ranges: pairs of an offset and the bytes from there on,
/// ascending.
pub fn find<'a>(got: &'a [(u64, Vec<u8>)], range: &Range<u64>) -> Option<&'a [u8]> {
    let at = got.partition_point(|(offset, _)| *offset <= range.start).checked_sub(1)?;
    let (offset, bytes) = &got[at];
    let begin = usize::try_from(range.start - offset).ok()?;
    bytes.get(begin..begin.checked_add(usize::try_from(range.end.checked_sub(range.start)?).ok()?)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn close_ranges_are_joined_up_to_a_length() {
        let joined = coalesce(vec![30..40, 0..10, 12..20, 5..5, 100..300], 2, 20);
        assert_eq!(joined, [0..20, 30..40, 100..300]);
    }

    proptest! {
        #[test]
        fn every_range_is_found_in_what_was_got(
            ranges in proptest::collection::vec((0u64..5000, 1u64..300), 0..50), gap in 0u64..200, max in 1u64..2000,
        ) {
            let ranges: Vec<Range<u64>> = ranges.into_iter().map(|(begin, len)| begin..begin + len).collect();
            let joined = coalesce(ranges.clone(), gap, max);
            prop_assert!(joined.windows(2).all(|pair| pair[0].end <= pair[1].start));
            let byte = |at: u64| (at * 7 % 251) as u8;
            let got: Vec<(u64, Vec<u8>)> =
                joined.iter().map(|range| (range.start, range.clone().map(byte).collect())).collect();
            for range in ranges {
                prop_assert_eq!(find(&got, &range), Some(&range.map(byte).collect::<Vec<_>>()[..]));
            }
        }
    }
}
