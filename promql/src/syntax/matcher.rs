//! Label matchers as written in a selector.

use crate::gostd::GoString;

/// The label that holds a series's metric name.
pub const METRIC_NAME_LABEL: &str = "__name__";

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regexp,
    /// `!~`
    NotRegexp,
}

impl MatchOp {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regexp => "=~",
            Self::NotRegexp => "!~",
        }
    }
}

/// One label matcher of a selector. The pattern of a regular expression is known to be valid, but not compiled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Matcher {
    /// How to compare.
    pub op: MatchOp,
    /// Label name; any text when quoted.
    pub name: GoString,
    /// Value or pattern.
    pub value: GoString,
}
