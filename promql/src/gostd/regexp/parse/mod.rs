//! RE2 syntax as Go's `regexp/syntax` reads it with the flags `Perl|DotNL`, with its error texts.

mod class;
mod escape;
mod group;

use regex_syntax::hir::{ClassUnicode, Look};

use super::node::{Node, class_of};
use super::{RegexError, RegexErrorKind};

/// How deep groups may nest. Go allows about twice as much; compiling recurses, so this bounds its stack.
const NESTING_DEPTH_MAX: u32 = 250;

/// The largest number in `{n,m}`, and the largest product of nested ones.
const REPEAT_MAX: u32 = 1000;

#[derive(Clone, Copy)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_newline: bool,
    swap_greed: bool,
}

type Result<T> = std::result::Result<T, RegexError>;

fn error<T>(kind: RegexErrorKind, blamed: &str) -> Result<T> {
    Err(RegexError::Syntax { kind, blamed: blamed.to_owned() })
}

/// Parses a whole pattern.
pub(super) fn parse(pattern: &str) -> Result<Node> {
    let flags = Flags { fold_case: false, multi_line: false, dot_newline: true, swap_greed: false };
    let mut parser = Parser { pattern, at: 0, flags, captures: 0, depth: 0 };
    let node = parser.alternation()?;
    // An alternation ends at the end of the pattern or before a parenthesis that nothing opened.
    if parser.at < pattern.len() { error(RegexErrorKind::UnexpectedParen, pattern) } else { Ok(node) }
}

struct Parser<'a> {
    pattern: &'a str,
    at: usize,
    flags: Flags,
    captures: u32,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.pattern[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.pattern.as_bytes().get(self.at).copied()
    }

    fn next_char(&mut self) -> Option<char> {
        let rune = self.rest().chars().next()?;
        self.at += rune.len_utf8();
        Some(rune)
    }

    /// Alternatives up to a closing parenthesis or the end.
    fn alternation(&mut self) -> Result<Node> {
        let mut alternatives = Vec::new();
        loop {
            let sequence = self.sequence()?;
            if self.peek() != Some(b'|') {
                if alternatives.is_empty() {
                    return Ok(sequence);
                }
                alternatives.push(sequence);
                return Ok(Node::Alternate(alternatives));
            }
            self.at += 1;
            alternatives.push(sequence);
        }
    }

    fn sequence(&mut self) -> Result<Node> {
        let mut nodes: Vec<Node> = Vec::new();
        // Where the repetition operator directly before the current place starts.
        let mut last_repeat = None;
        while let Some(byte) = self.peek() {
            let start = self.at;
            let mut repeat = None;
            match byte {
                b'|' | b')' => break,
                b'(' => self.group(&mut nodes)?,
                b'^' => {
                    self.at += 1;
                    nodes.push(Node::Look(if self.flags.multi_line { Look::StartLF } else { Look::Start }));
                }
                b'$' => {
                    self.at += 1;
                    nodes.push(Node::Look(if self.flags.multi_line { Look::EndLF } else { Look::End }));
                }
                b'.' => {
                    self.at += 1;
                    nodes.push(Node::Dot { newline: self.flags.dot_newline });
                }
                b'[' => nodes.push(self.bracket_class()?),
                b'*' | b'+' | b'?' => {
                    self.at += 1;
                    let (min, max) = match byte {
                        b'*' => (0, None),
                        b'+' => (1, None),
                        _ => (0, Some(1)),
                    };
                    self.repeat(&mut nodes, min, max, start, last_repeat)?;
                    repeat = Some(start);
                }
                b'{' => match self.repeat_counts() {
                    Some((min, max)) => {
                        let too_large = |count: u32| count > REPEAT_MAX;
                        if too_large(min) || max.is_some_and(|max| too_large(max) || min > max) {
                            return error(RegexErrorKind::InvalidRepeatSize, &self.pattern[start..self.at]);
                        }
                        self.repeat(&mut nodes, min, max, start, last_repeat)?;
                        if !repeats_within(nodes.last(), REPEAT_MAX) {
                            return error(RegexErrorKind::InvalidRepeatSize, &self.pattern[start..self.at]);
                        }
                        repeat = Some(start);
                    }
                    None => {
                        self.at += 1;
                        nodes.push(Node::Literal('{'));
                    }
                },
                b'\\' => self.escape(&mut nodes)?,
                _ => {
                    let rune = self.next_char().unwrap_or_default();
                    nodes.push(self.literal(rune.into()));
                }
            }
            last_repeat = repeat;
        }
        Ok(match nodes.len() {
            0 => Node::Empty,
            1 => nodes.remove(0),
            _ => Node::Concat(nodes),
        })
    }

    /// Wraps the last node. `start` is where the operator starts, the parser stands behind it.
    fn repeat(
        &mut self,
        nodes: &mut Vec<Node>,
        min: u32,
        max: Option<u32>,
        start: usize,
        last_repeat: Option<usize>,
    ) -> Result<()> {
        let lazy = self.peek() == Some(b'?');
        self.at += usize::from(lazy);
        if let Some(last) = last_repeat {
            return error(RegexErrorKind::InvalidRepeatOp, &self.pattern[last..self.at]);
        }
        let Some(node) = nodes.pop() else {
            return error(RegexErrorKind::MissingRepeatArgument, &self.pattern[start..self.at]);
        };
        let greedy = lazy == self.flags.swap_greed;
        nodes.push(Node::Repeat { min, max, greedy, node: Box::new(node) });
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}`; anything else is no repetition and consumes nothing. Numbers saturate.
    fn repeat_counts(&mut self) -> Option<(u32, Option<u32>)> {
        let body = self.rest().strip_prefix('{')?;
        let (body, _) = body.split_once('}')?;
        let counts = match body.split_once(',') {
            None => {
                let count = repeat_count(body)?;
                (count, Some(count))
            }
            Some((min, "")) => (repeat_count(min)?, None),
            Some((min, max)) => (repeat_count(min)?, Some(repeat_count(max)?)),
        };
        self.at += body.len() + 2;
        Some(counts)
    }

    fn literal(&self, code_point: u32) -> Node {
        match char::from_u32(code_point) {
            Some(rune) if !self.flags.fold_case => Node::Literal(rune),
            _ => {
                let folded = self.folded(class_of(code_point, code_point));
                match folded.literal() {
                    Some(bytes) => Node::Literal(first_char(&bytes)),
                    None => Node::Class(folded),
                }
            }
        }
    }

    /// With all characters that differ only in case, if case does not matter here.
    fn folded(&self, mut class: ClassUnicode) -> ClassUnicode {
        if self.flags.fold_case {
            class.case_fold_simple();
        }
        class
    }

    /// A set, folded before it is negated.
    fn signed(&self, class: ClassUnicode, negated: bool) -> ClassUnicode {
        let mut class = self.folded(class);
        if negated {
            class.negate();
        }
        class
    }
}

/// A count without leading zeros; too large ones saturate.
fn repeat_count(digits: &str) -> Option<u32> {
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    if digits.is_empty() || leading_zero || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX))
}

/// Whether nested counted repetitions make at most `budget` copies of the innermost expression.
fn repeats_within(node: Option<&Node>, budget: u32) -> bool {
    match node {
        Some(Node::Repeat { min, max, node, .. }) => {
            // `*`, `+` and `?` do not count.
            let counted = !matches!((min, max), (0 | 1, None) | (0, Some(1)));
            let copies = if counted { max.unwrap_or(*min) } else { 1 };
            counted && *max == Some(0)
                || copies <= budget && repeats_within(Some(node), budget / copies.max(1))
        }
        Some(Node::Capture { node, .. }) => repeats_within(Some(node), budget),
        Some(Node::Concat(nodes) | Node::Alternate(nodes)) => {
            nodes.iter().all(|node| repeats_within(Some(node), budget))
        }
        _ => true,
    }
}

fn first_char(bytes: &[u8]) -> char {
    std::str::from_utf8(bytes).ok().and_then(|text| text.chars().next()).unwrap_or_default()
}
