//! Which steps of a row have a value.

/// A fixed number of bits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

impl Bitmap {
    /// `len` bits, none set.
    pub fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Makes it `len` bits, none set.
    pub fn reset(&mut self, len: usize) {
        self.words.clear();
        self.words.resize(len.div_ceil(64), 0);
        self.len = len;
    }

    /// Sets all bits.
    pub fn fill(&mut self) {
        self.words.fill(!0);
        if let (Some(last), tail @ 1..) = (self.words.last_mut(), self.len % 64) {
            *last = (1 << tail) - 1;
        }
    }

    /// Whether a bit is set.
    #[inline]
    pub fn get(&self, at: usize) -> bool {
        self.words[at / 64] >> (at % 64) & 1 == 1
    }

    /// Sets a bit.
    #[inline]
    pub fn set(&mut self, at: usize) {
        self.words[at / 64] |= 1 << (at % 64);
    }

    /// Clears a bit.
    #[inline]
    pub fn clear(&mut self, at: usize) {
        self.words[at / 64] &= !(1 << (at % 64));
    }

    /// Replaces 64 bits, those from `64 * word` on; none beyond the length may be set.
    #[inline]
    pub fn set_word(&mut self, word: usize, bits: u64) {
        self.words[word] = bits;
    }

    /// All bits, 64 at a time, the first lowest.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// Number of bits set.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether any bit is set.
    pub fn any(&self) -> bool {
        self.words.iter().any(|&word| word != 0)
    }

    /// The highest bit set.
    pub fn last(&self) -> Option<usize> {
        let word = self.words.iter().rposition(|&word| word != 0)?;
        Some(word * 64 + 63 - self.words[word].leading_zeros() as usize)
    }

    /// Sets the bits that are set in `other`.
    pub fn union(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// Keeps the bits that are set in `other`.
    pub fn intersect(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    /// Clears the bits that are set in `other`.
    pub fn subtract(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= !other;
        }
    }

    /// Whether some bit is set in both.
    pub fn intersects(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(a, b)| a & b != 0)
    }

    /// The bits set, ascending.
    pub fn ones(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        self.words.iter().enumerate().flat_map(|(at, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros() as usize;
                    rest &= rest - 1;
                    at * 64 + bit
                })
            })
        })
    }

    /// Calls `run` with the bounds of each run of bits set, ascending. Inner loops over a run need no test per step.
    #[inline]
    pub fn for_each_run(&self, mut run: impl FnMut(usize, usize)) {
        let mut start = None;
        for (at, &word) in self.words.iter().enumerate() {
            let base = at * 64;
            if word == !0 {
                start.get_or_insert(base);
                continue;
            }
            if word == 0 {
                if let Some(start) = start.take() {
                    run(start, base);
                }
                continue;
            }
            for bit in 0..64 {
                if word >> bit & 1 == 1 {
                    start.get_or_insert(base + bit);
                } else if let Some(start) = start.take() {
                    run(start, base + bit);
                }
            }
        }
        if let Some(start) = start {
            run(start, self.len);
        }
    }

    /// Bytes held.
    pub fn size_bytes(&self) -> usize {
        self.words.len() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_exactly_the_bits_set() {
        for len in [0, 1, 63, 64, 65, 130, 200] {
            for modulus in [1, 2, 3, 7, 64, 65] {
                let mut bitmap = Bitmap::new(len);
                let expected: Vec<usize> = (0..len).filter(|at| at % modulus != 1).collect();
                expected.iter().for_each(|&at| bitmap.set(at));
                let mut covered = Vec::new();
                bitmap.for_each_run(|start, end| covered.extend(start..end));
                assert_eq!(covered, expected, "len {len} modulus {modulus}");
                assert_eq!(bitmap.ones().collect::<Vec<_>>(), expected);
                assert_eq!((bitmap.count(), bitmap.last()), (expected.len(), expected.last().copied()));
            }
        }
    }

    #[test]
    fn filling_sets_no_bit_beyond_the_length() {
        let mut bitmap = Bitmap::new(70);
        bitmap.fill();
        assert_eq!((bitmap.count(), bitmap.last()), (70, Some(69)));
    }
}
