//! Names of labels in `by`, `without`, `on`, `ignoring` and `group_` clauses.

use std::fmt;
use std::ops::Deref;

use crate::gostd::GoString;

/// A label's name: any UTF-8 text. Reads as a `str`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelName(GoString);

impl LabelName {
    /// The name `text`, which is UTF-8.
    pub(super) fn of(text: GoString) -> Self {
        Self(text)
    }
}

impl From<&str> for LabelName {
    #[inline]
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl Deref for LabelName {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_str().expect("it was made from a str")
    }
}

impl PartialEq<str> for LabelName {
    fn eq(&self, other: &str) -> bool {
        self.0 == *other
    }
}

impl fmt::Debug for LabelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
