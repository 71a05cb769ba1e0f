//! Label matchers as written in a selector.

use crate::gostd::GoString;
use crate::gostd::regexp::{RegexError, RegexErrorKind, check_pattern};

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

impl Matcher {
    /// Whether the pattern of a regular expression is valid; anything else is.
    pub(super) fn check_pattern(&self) -> Result<(), RegexError> {
        self.pattern_matches_empty().map(drop)
    }

    /// Whether a series without the label satisfies the matcher.
    pub fn matches_empty(&self) -> bool {
        match self.op {
            MatchOp::Equal => self.value.is_empty(),
            MatchOp::NotEqual => !self.value.is_empty(),
            // A matcher of a parsed selector has a valid pattern.
            MatchOp::Regexp => self.pattern_matches_empty().is_ok_and(|matches| matches == Some(true)),
            MatchOp::NotRegexp => self.pattern_matches_empty().is_ok_and(|matches| matches == Some(false)),
        }
    }

    /// Of a regular expression only.
    fn pattern_matches_empty(&self) -> Result<Option<bool>, RegexError> {
        if matches!(self.op, MatchOp::Equal | MatchOp::NotEqual) {
            return Ok(None);
        }
        match self.value.as_str() {
            Some(pattern) => check_pattern(pattern).map(Some),
            // Alternatives without any operator are compared as bytes and need not be UTF-8.
            None if !self.value.as_bytes().iter().any(|byte| b"\\.+*?()[]{}^$".contains(byte)) => {
                Ok(Some(self.value.as_bytes().split(|&byte| byte == b'|').any(<[u8]>::is_empty)))
            }
            None => {
                let blamed = self.value.to_str_lossy().into_owned();
                Err(RegexError::Syntax { kind: RegexErrorKind::InvalidUtf8, blamed })
            }
        }
    }
}
