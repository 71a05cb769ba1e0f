//! From label bytes to a series key, and from the key to a shard.
//!
//! The key is XXH3-128 over the series' canonical label bytes, seeded per cluster so that nobody outside can
//! search for colliding label sets. Placement uses its top bits: doubling the number of shards splits each
//! shard in two and moves nothing else.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// The cluster's secret for series keys; drawn once, kept with the data, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashSeed(pub u64);

/// The 128-bit hash of a series' canonical label bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey(pub u128);

/// A power of two from 1 to [`ShardCount::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ShardCount(u32);

impl TryFrom<u32> for ShardCount {
    type Error = String;

    fn try_from(count: u32) -> Result<Self, String> {
        let max = Self::MAX;
        Self::new(count).ok_or_else(|| format!("{count} is no power of two up to {max}"))
    }
}

impl From<ShardCount> for u32 {
    fn from(count: ShardCount) -> u32 {
        count.0
    }
}

impl HashSeed {
    /// The key of a series with these canonical label bytes.
    #[inline]
    pub fn key(self, canonical_labels: &[u8]) -> SeriesKey {
        SeriesKey(xxh3_128_with_seed(canonical_labels, self.0))
    }
}

impl ShardCount {
    /// One shard for the whole tenant.
    pub const ONE: ShardCount = ShardCount(1);
    /// The most shards a tenant can have.
    pub const MAX: u32 = 1 << 16;

    /// Takes a power of two up to [`ShardCount::MAX`]; `None` otherwise.
    pub fn new(count: u32) -> Option<Self> {
        (count.is_power_of_two() && count <= Self::MAX).then_some(ShardCount(count))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The index of the shard that holds a key, in `0..self.get()`.
    #[inline]
    pub fn index_of(self, key: SeriesKey) -> u32 {
        // A shift by 128 would overflow: one shard has no top bits to look at.
        if self.0 == 1 { 0 } else { (key.0 >> (128 - self.0.trailing_zeros())) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hash_is_the_published_xxh3_128() {
        // Vectors from the reference implementation: the empty input with seed 0.
        assert_eq!(HashSeed(0).key(b"").0, 0x99aa06d3014798d86001c324468d497f);
    }

    #[test]
    fn only_powers_of_two_are_counts() {
        assert_eq!(ShardCount::new(0), None);
        assert_eq!(ShardCount::new(3), None);
        assert_eq!(ShardCount::new(1 << 17), None);
        assert_eq!(ShardCount::new(1), Some(ShardCount::ONE));
    }

    proptest! {
        #[test]
        fn doubling_the_count_splits_each_shard_in_two(key: u128, bits in 0u32..16) {
            let before = ShardCount::new(1 << bits).unwrap().index_of(SeriesKey(key));
            let after = ShardCount::new(2 << bits).unwrap().index_of(SeriesKey(key));
            prop_assert_eq!(after / 2, before);
            prop_assert!(before < 1 << bits);
        }
    }
}
