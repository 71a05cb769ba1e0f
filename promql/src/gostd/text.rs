//! A Go string: any bytes, usually UTF-8.
//!
//! PromQL's string literals can hold arbitrary bytes (`"\xff"`), and Prometheus reports such values as invalid only
//! where it uses them (a label name, a label value). Keeping the bytes lets those errors arise in the same place.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Bytes that are usually, but not always, UTF-8. Short ones are kept in place: most label names and values of a
/// query are short, and a query has many.
#[derive(Clone)]
pub struct GoString(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static [u8]),
    Short { length: u8, bytes: [u8; SHORT_BYTES] },
    Long(Box<[u8]>),
}

/// What fits beside a length and a tag in the 24 bytes of an ordinary string.
const SHORT_BYTES: usize = 22;

impl GoString {
    /// A constant, which needs no memory of its own.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Repr::Static(text.as_bytes()))
    }

    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Static(bytes) => bytes,
            Repr::Short { length, bytes } => &bytes[..usize::from(*length)],
            Repr::Long(bytes) => bytes,
        }
    }

    /// The text, or `None` if the bytes are not UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_bytes()).ok()
    }

    /// The text, each invalid sequence replaced by U+FFFD. Borrowed (no copy) for valid UTF-8.
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// Whether there are no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }
}

impl GoString {
    /// The part of `text` from byte `start` up to `end`; nothing if `text` does not have it.
    #[inline]
    pub(crate) fn part_of(text: &[u8], start: usize, end: usize) -> Self {
        let length = end.saturating_sub(start);
        // A copy of fixed length is several times faster; what is behind the part is never looked at.
        match text.get(start..start + SHORT_BYTES).and_then(|window| window.try_into().ok()) {
            Some(bytes) if length <= SHORT_BYTES => Self(Repr::Short { length: length as u8, bytes }),
            _ => text.get(start..end).unwrap_or_default().into(),
        }
    }
}

impl Default for GoString {
    fn default() -> Self {
        Self::from_static("")
    }
}

impl From<&[u8]> for GoString {
    #[inline]
    fn from(text: &[u8]) -> Self {
        if text.len() > SHORT_BYTES {
            return Self(Repr::Long(text.into()));
        }
        let mut bytes = [0; SHORT_BYTES];
        bytes[..text.len()].copy_from_slice(text);
        Self(Repr::Short { length: text.len() as u8, bytes })
    }
}

impl From<&str> for GoString {
    #[inline]
    fn from(text: &str) -> Self {
        text.as_bytes().into()
    }
}

impl From<String> for GoString {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<Vec<u8>> for GoString {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Repr::Long(bytes.into()))
    }
}

impl PartialEq for GoString {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for GoString {}

impl PartialOrd for GoString {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for GoString {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for GoString {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialEq<str> for GoString {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for GoString {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl fmt::Debug for GoString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}
