//! A set of numbers, one bit each, in which members are found by their order and the other way round. It maps the symbols
//! of one block to those of several, in a bit a symbol.

/// Words of 64 bits between two of which the members before are known.
const WORDS_PER_SAMPLE: usize = 8;

/// A set of numbers from 0.
#[derive(Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    /// Members before every eighth word.
    before: Vec<u32>,
}

impl Bits {
    /// Adds a number.
    pub(super) fn insert(&mut self, number: u32) {
        let word = number as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (number % 64);
    }

    /// Whether a number is in the set.
    pub(super) fn has(&self, number: u32) -> bool {
        self.words.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// To be called after the last number was added.
    pub(super) fn finish(&mut self) {
        let mut before = 0;
        self.before.clear();
        for words in self.words.chunks(WORDS_PER_SAMPLE) {
            self.before.push(before);
            before += words.iter().map(|word| word.count_ones()).sum::<u32>();
        }
    }

    /// How many members are less than a number.
    pub(super) fn rank(&self, number: u32) -> u32 {
        let word = (number as usize / 64).min(self.words.len());
        let sample = word / WORDS_PER_SAMPLE;
        let Some(before) = self.before.get(sample) else {
            let last = self.before.len().saturating_sub(1);
            let rest = self.words.get(last * WORDS_PER_SAMPLE..).unwrap_or_default();
            return self.before.last().unwrap_or(&0) + rest.iter().map(|word| word.count_ones()).sum::<u32>();
        };
        let whole =
            self.words[sample * WORDS_PER_SAMPLE..word].iter().map(|word| word.count_ones()).sum::<u32>();
        let part = self.words.get(word).map_or(0, |bits| bits & ((1 << (number % 64)) - 1));
        before + whole + part.count_ones()
    }

    /// The member that so many others are less than.
    pub(super) fn select(&self, rank: u32) -> Option<u32> {
        let sample = self.before.partition_point(|before| *before <= rank).checked_sub(1)?;
        let mut left = rank - self.before[sample];
        let begin = sample * WORDS_PER_SAMPLE;
        for (at, word) in self.words.iter().enumerate().skip(begin).take(WORDS_PER_SAMPLE) {
            let members = word.count_ones();
            if left < members {
                let mut word = *word;
                for _ in 0..left {
                    word &= word - 1;
                }
                return Some(at as u32 * 64 + word.trailing_zeros());
            }
            left -= members;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn members_are_found_by_order_and_order_by_member(
            members in proptest::collection::btree_set(0u32..5000, 0..600), asked in 0u32..6000,
        ) {
            let mut bits = Bits::default();
            members.iter().for_each(|member| bits.insert(*member));
            bits.finish();
            for (rank, member) in members.iter().enumerate() {
                prop_assert_eq!(bits.select(rank as u32), Some(*member));
                prop_assert_eq!(bits.rank(*member), rank as u32);
            }
            prop_assert_eq!(bits.select(members.len() as u32), None);
            prop_assert_eq!(bits.has(asked), members.contains(&asked));
            let less: BTreeSet<_> = members.range(..asked).collect();
            prop_assert_eq!(bits.rank(asked), less.len() as u32);
        }
    }
}
