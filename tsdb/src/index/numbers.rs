//! Which series there still are, and where each lies among them.
//!
//! A series is numbered when it is made. The log, snapshots, posting lists and readers know it by its number, so no other
//! series ever gets it. But what is kept for each series lies close together: when series are forgotten, those that stay
//! move up. A series' *place* is how many with lower numbers are still there.
//!
//! A shard whose series come and go makes numbers without end, so a stretch of them of which nothing is left must cost next
//! to nothing: 24 bytes for 1024 numbers.

use super::SeriesRef;

/// Numbers of a page.
const PAGE_NUMBERS: u32 = 1024;
const WORD_NUMBERS: u32 = 64;
const WORDS: usize = (PAGE_NUMBERS / WORD_NUMBERS) as usize;

/// Numbers that were given, from 0, and those of them whose series are still there.
#[derive(Default)]
pub(crate) struct Numbers {
    pages: Vec<Page>,
    end: u32,
    gone: u32,
}

struct Page {
    /// Series that are there, with lower numbers than the page's.
    before: u32,
    there: There,
}

enum There {
    /// All of the page that were given.
    All,
    None,
    Some(Box<Bits>),
}

#[derive(Default)]
struct Bits {
    words: [u64; WORDS],
    /// Bits that are set in the words before each.
    before: [u16; WORDS],
}

/// The page of a number, and the word and the bit in it.
#[inline]
fn locate(number: u32) -> (usize, usize, u32) {
    let in_page = number % PAGE_NUMBERS;
    ((number / PAGE_NUMBERS) as usize, (in_page / WORD_NUMBERS) as usize, in_page % WORD_NUMBERS)
}

impl Bits {
    fn set(&mut self, word: usize, bit: u32) {
        self.words[word] |= 1 << bit;
        self.before[word + 1..].iter_mut().for_each(|before| *before += 1);
    }
}

impl Numbers {
    /// The number after the last one that was given.
    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    /// How many series are there.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.gone) as usize
    }

    /// Gives a number to a series whose place is behind all others.
    pub(crate) fn push(&mut self) -> SeriesRef {
        let number = self.end;
        let (page, word, bit) = locate(number);
        if page == self.pages.len() {
            self.pages.push(Page { before: self.len() as u32, there: There::All });
        }
        let there = &mut self.pages[page].there;
        if matches!(there, There::None) {
            *there = There::Some(Box::default());
        }
        if let There::Some(bits) = there {
            bits.set(word, bit);
        }
        self.end += 1;
        SeriesRef(number)
    }

    /// Gives so many numbers whose series are gone already.
    pub(crate) fn push_gone(&mut self, count: u32) {
        let mut rest = count.min(u32::MAX - self.end);
        while rest > 0 {
            let (page, ..) = locate(self.end);
            let in_page = self.end % PAGE_NUMBERS;
            if page == self.pages.len() {
                self.pages.push(Page { before: self.len() as u32, there: There::None });
            }
            let there = &mut self.pages[page].there;
            if matches!(there, There::All) {
                let mut bits = Box::<Bits>::default();
                for number in 0..in_page {
                    let (_, word, bit) = locate(number);
                    bits.set(word, bit);
                }
                *there = There::Some(bits);
            }
            let here = rest.min(PAGE_NUMBERS - in_page);
            self.end += here;
            self.gone += here;
            rest -= here;
        }
    }

    /// A series' place; `None` if it is gone, or not made yet.
    #[inline]
    pub(crate) fn place(&self, series: SeriesRef) -> Option<usize> {
        if series.0 >= self.end {
            return None;
        }
        if self.gone == 0 {
            return Some(series.0 as usize);
        }
        let (page, word, bit) = locate(series.0);
        let Page { before, there } = &self.pages[page];
        let in_page = match there {
            There::All => series.0 % PAGE_NUMBERS,
            There::None => return None,
            There::Some(bits) => {
                let lower = bits.words[word] & ((1 << bit) - 1);
                if bits.words[word] >> bit & 1 == 0 {
                    return None;
                }
                u32::from(bits.before[word]) + lower.count_ones()
            }
        };
        Some((before + in_page) as usize)
    }

    /// The series that are there, from a number on, ascending.
    pub(crate) fn from(&self, first: SeriesRef) -> impl Iterator<Item = SeriesRef> {
        let mut next = first.0;
        std::iter::from_fn(move || {
            while next < self.end {
                let (page, word, bit) = locate(next);
                match &self.pages[page].there {
                    There::All => {}
                    There::None => {
                        next = (page as u32 + 1).saturating_mul(PAGE_NUMBERS);
                        continue;
                    }
                    There::Some(bits) => {
                        let rest = bits.words[word] >> bit;
                        if rest == 0 {
                            next = (next - bit).saturating_add(WORD_NUMBERS);
                            continue;
                        }
                        next += rest.trailing_zeros();
                    }
                }
                next += 1;
                return Some(SeriesRef(next - 1));
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Numbers of which those are gone that `is_gone` says.
    fn numbers(count: u32, is_gone: impl Fn(u32) -> bool) -> Numbers {
        let mut numbers = Numbers::default();
        for number in 0..count {
            if is_gone(number) {
                numbers.push_gone(1);
            } else {
                assert_eq!(numbers.push(), SeriesRef(number));
            }
        }
        numbers
    }

    #[test]
    fn a_series_lies_behind_those_before_it_that_are_still_there() {
        type Gone = fn(u32) -> bool;
        let patterns: [Gone; 7] = [
            |_| false,
            |_| true,
            |number| number % 3 == 0,
            |number| number % 64 == 63,
            |number| (1024..4096).contains(&number),
            |number| !(1000..=5000).contains(&number),
            |number| number.wrapping_mul(0x9e37_79b9) >> 31 == 0,
        ];
        for (pattern, is_gone) in patterns.into_iter().enumerate() {
            for count in [0, 1, 63, 64, 1023, 1024, 1025, 5001, 7000] {
                let numbers = numbers(count, is_gone);
                let there: BTreeSet<u32> = (0..count).filter(|number| !is_gone(*number)).collect();
                assert_eq!((numbers.end(), numbers.len()), (count, there.len()), "pattern {pattern}");
                for number in 0..count + 5 {
                    let place = there.contains(&number).then(|| there.range(..number).count());
                    assert_eq!(
                        numbers.place(SeriesRef(number)),
                        place,
                        "pattern {pattern}, {number} of {count}"
                    );
                }
                for first in [0, 1, 64, 1000, 1024, 4097, 6999] {
                    let listed: Vec<u32> = numbers.from(SeriesRef(first)).map(|series| series.0).collect();
                    let expected: Vec<u32> = there.range(first..).copied().collect();
                    assert_eq!(listed, expected, "pattern {pattern}, {count} from {first}");
                }
            }
        }
    }
}
