//! Regular expressions: RE2 as Prometheus uses it, always matching the whole text (`^(?s:re)$`).
//!
//! A pattern is parsed here, since Rust's dialect differs from Go's in what it accepts and in what `\d`, `\b` or
//! `[[a]` mean; matching then needs no automaton for most patterns seen in queries (literals, alternations,
//! prefixes). What is left is compiled by `regex-automata`, within a size limit, and matches in linear time.

mod class;
mod expand;
mod node;
mod parse;
mod shape;

use std::collections::HashSet;

use regex_automata::meta;
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Hir, Look};

pub use expand::CapturingRegex;
use shape::Glob;

/// The largest automaton of one expression. Go's own limit is 128 MiB.
const AUTOMATON_BYTES_MAX: usize = 16 << 20;

/// The largest memory of the lazily built tables that speed up matching, for one expression.
const MATCH_CACHE_BYTES_MAX: usize = 1 << 20;

/// Sets up to this size are searched one by one, which is faster than hashing.
const SMALL_SET: usize = 8;

/// Why a pattern was rejected, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// Not valid syntax.
    #[error("error parsing regexp: {kind}: `{blamed}`")]
    Syntax {
        /// What is wrong.
        kind: RegexErrorKind,
        /// The part of the pattern to blame.
        blamed: String,
    },
    /// Valid, but too large to compile.
    #[error(
        "error parsing regexp: expression too large: `{pattern}` needs more than {AUTOMATON_BYTES_MAX} bytes"
    )]
    TooLarge {
        /// The whole pattern.
        pattern: String,
    },
}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegexErrorKind {
    /// A reversed range, or an unknown name of a class.
    #[error("invalid character class range")]
    InvalidCharRange,
    /// A backslash before something that has no meaning with it.
    #[error("invalid escape sequence")]
    InvalidEscape,
    /// A group name with other characters than letters, digits and underscores.
    #[error("invalid named capture")]
    InvalidNamedCapture,
    /// An extension that RE2 does not have, such as look-ahead.
    #[error("invalid or unsupported Perl syntax")]
    InvalidPerlOp,
    /// `**` and the like.
    #[error("invalid nested repetition operator")]
    InvalidRepeatOp,
    /// A repetition of more than 1000.
    #[error("invalid repeat count")]
    InvalidRepeatSize,
    /// Bytes that are not UTF-8.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    /// A class that does not end.
    #[error("missing closing ]")]
    MissingBracket,
    /// A group that does not end.
    #[error("missing closing )")]
    MissingParen,
    /// A repetition of nothing.
    #[error("missing argument to repetition operator")]
    MissingRepeatArgument,
    /// Groups within groups within groups.
    #[error("expression nests too deeply")]
    NestingDepth,
    /// A backslash at the end.
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    /// A closing parenthesis that nothing opened.
    #[error("unexpected )")]
    UnexpectedParen,
}

/// Checks the syntax of a pattern, without compiling it, and tells whether it matches the empty text.
pub fn check_pattern(pattern: &str) -> Result<bool, RegexError> {
    match plain_pattern_matches_empty(pattern) {
        Some(matches_empty) => Ok(matches_empty),
        None => parse::parse(pattern).map(|node| node.matches_empty()),
    }
}

/// The same for the bulk of real patterns, which consist of ASCII characters, `.`, single repetition operators and `|`
/// and cannot be invalid. `None` for all others.
fn plain_pattern_matches_empty(pattern: &str) -> Option<bool> {
    // Of the current alternative: characters that must be there, and whether the last one may still get an operator.
    let (mut required, mut repeatable, mut matches_empty) = (0_usize, false, false);
    for byte in pattern.bytes() {
        match byte {
            b'|' => {
                matches_empty |= required == 0;
                (required, repeatable) = (0, false);
            }
            b'*' | b'?' if repeatable => (required, repeatable) = (required - 1, false),
            b'+' if repeatable => repeatable = false,
            b'*' | b'?' | b'+' | b'\\' | b'^' | b'$' | b'(' | b')' | b'[' | b'{' | 0x80.. => return None,
            _ => (required, repeatable) = (required + 1, true),
        }
    }
    Some(matches_empty || required == 0)
}

/// A compiled pattern that matches whole texts. [`CapturingRegex`] also remembers its groups.
#[derive(Clone, Debug)]
pub struct Regex {
    pattern: String,
    strategy: Strategy,
    set: Vec<String>,
    prefix: String,
}

#[derive(Clone, Debug)]
enum Strategy {
    /// One of `Regex::set`, which is small.
    SmallSet,
    /// One of many literals.
    LargeSet(HashSet<Box<str>>),
    /// Any of these shapes.
    Globs(Vec<Glob>),
    /// An automaton, asked only if the suffix (and `Regex::prefix`) is there.
    Automaton { suffix: String, automaton: Box<meta::Regex> },
}

impl Regex {
    /// Compiles `pattern`.
    pub fn anchored(pattern: &str) -> Result<Self, RegexError> {
        let node = parse::parse(pattern)?;
        let (mut set, mut prefix) = (Vec::new(), String::new());
        let strategy = if let Some(literals) = shape::literal_set(&node) {
            set = literals;
            if set.len() <= SMALL_SET {
                Strategy::SmallSet
            } else {
                Strategy::LargeSet(set.iter().map(|text| text.as_str().into()).collect())
            }
        } else if let Some(globs) = shape::globs(&node) {
            if let [glob] = globs.as_slice() {
                prefix.clone_from(&glob.prefix);
            }
            Strategy::Globs(globs)
        } else {
            prefix = shape::required_prefix(&node);
            let whole = vec![Hir::look(Look::Start), node.to_hir(), Hir::look(Look::End)];
            let automaton = Box::new(compile(pattern, Hir::concat(whole), WhichCaptures::None)?);
            Strategy::Automaton { suffix: shape::required_suffix(&node), automaton }
        };
        Ok(Self { pattern: pattern.to_owned(), strategy, set, prefix })
    }

    /// The pattern as written.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether the pattern matches all of `text`.
    pub fn is_match(&self, text: &str) -> bool {
        match &self.strategy {
            Strategy::SmallSet => self.set.iter().any(|literal| literal == text),
            Strategy::LargeSet(literals) => literals.contains(text),
            Strategy::Globs(globs) => globs.iter().any(|glob| glob.matches(text)),
            Strategy::Automaton { suffix, automaton } => {
                text.starts_with(&self.prefix)
                    && text.ends_with(suffix.as_str())
                    && automaton.is_match(Input::new(text).anchored(Anchored::Yes))
            }
        }
    }

    /// All texts the pattern matches, if it is a set of literals: an index can look them up one by one.
    pub fn set_matches(&self) -> Option<&[String]> {
        match self.strategy {
            Strategy::SmallSet | Strategy::LargeSet(_) => Some(&self.set),
            Strategy::Globs(_) | Strategy::Automaton { .. } => None,
        }
    }

    /// What every matching text starts with; possibly empty. An index sorted by value can skip to it.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

/// Compiles within the size limit; `pattern` is for the error.
fn compile(pattern: &str, hir: Hir, captures: WhichCaptures) -> Result<meta::Regex, RegexError> {
    let config = meta::Config::new()
        .nfa_size_limit(Some(AUTOMATON_BYTES_MAX))
        .hybrid_cache_capacity(MATCH_CACHE_BYTES_MAX)
        .utf8_empty(true)
        .which_captures(captures);
    meta::Builder::new()
        .configure(config)
        .build_from_hir(&hir)
        .map_err(|_| RegexError::TooLarge { pattern: pattern.to_owned() })
}
