//! Names of blocks: 48 bits of milliseconds and 80 random ones, as 26 digits to the base of 32
//! (<https://github.com/ulid/spec>).
//!
//! Time and randomness are the caller's. The text form sorts as the number does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Crockford's digits.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Characters of the text form.
const TEXT_BYTES: usize = 26;

const TIME_BITS: u32 = 48;
const RANDOM_BITS: u32 = 80;

/// A block's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ulid(pub u128);

/// A text that is no ULID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a ULID")]
pub struct NotAUlid;

impl Ulid {
    /// A name made of a time, of which 48 bits count, and of the low 80 bits of a random number.
    pub fn new(time_ms: u64, random: u128) -> Self {
        let time = u128::from(time_ms & ((1 << TIME_BITS) - 1));
        Ulid(time << RANDOM_BITS | random & ((1 << RANDOM_BITS) - 1))
    }

    /// The time in it, milliseconds since 1970.
    pub fn time_ms(self) -> u64 {
        (self.0 >> RANDOM_BITS) as u64
    }
}

impl fmt::Display for Ulid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |at: usize| char::from(DIGITS[(self.0 >> (5 * (TEXT_BYTES - 1 - at)) & 31) as usize]);
        let text: String = (0..TEXT_BYTES).map(digit).collect();
        f.pad(&text)
    }
}

impl FromStr for Ulid {
    type Err = NotAUlid;

    /// Reads the text form, in capital letters only: there is one name for a folder.
    fn from_str(text: &str) -> Result<Self, NotAUlid> {
        // Of the first digit there are only three bits.
        if text.len() != TEXT_BYTES || text.as_bytes()[0] > b'7' {
            return Err(NotAUlid);
        }
        let digit = |byte: u8| DIGITS.iter().position(|digit| *digit == byte);
        let value = text.bytes().try_fold(0u128, |value, byte| Some(value << 5 | digit(byte)? as u128));
        value.map(Ulid).ok_or(NotAUlid)
    }
}

impl Serialize for Ulid {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ulid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_is_that_of_the_specification() {
        // The specification's example of a time, 1469918176385 ms, is 01ARYZ6S41.
        let ulid = Ulid::new(1_469_918_176_385, 0);
        assert_eq!(ulid.to_string(), "01ARYZ6S410000000000000000");
        assert_eq!(Ulid(u128::MAX).to_string(), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
        for wrong in [
            "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
            "01ARYZ6S41",
            "01ARYZ6S41000000000000000U",
            "01aryz6s410000000000000000",
            "",
        ] {
            assert_eq!(wrong.parse::<Ulid>(), Err(NotAUlid), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn names_come_back_and_sort_as_their_texts(a: u128, b: u128) {
            let (a, b) = (Ulid(a), Ulid(b));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }
    }
}
