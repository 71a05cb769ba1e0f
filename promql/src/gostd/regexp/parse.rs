//! RE2 syntax as Go's `regexp/syntax` reads it with the flags `Perl|DotNL`, with its error texts.

use regex_syntax::hir::{ClassUnicode, Look};

use super::class;
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

    // Groups.

    fn group(&mut self, nodes: &mut Vec<Node>) -> Result<()> {
        let outer_flags = self.flags;
        let capture = if self.rest().starts_with("(?") {
            match self.named_group()? {
                Some(name) => Some(Some(name)),
                None if self.group_flags()? => None,
                None => return Ok(()),
            }
        } else {
            self.at += 1;
            Some(None)
        };
        let capture = capture.map(|name| {
            self.captures += 1;
            (self.captures, name)
        });
        self.depth += 1;
        if self.depth > NESTING_DEPTH_MAX {
            return error(RegexErrorKind::NestingDepth, self.pattern);
        }
        let node = self.alternation()?;
        if self.peek() != Some(b')') {
            return error(RegexErrorKind::MissingParen, self.pattern);
        }
        self.at += 1;
        self.depth -= 1;
        self.flags = outer_flags;
        nodes.push(match capture {
            Some((index, name)) => Node::Capture { index, name, node: Box::new(node) },
            None => node,
        });
        Ok(())
    }

    /// The head of `(?P<name>...)` or `(?<name>...)`, if this is one.
    fn named_group(&mut self) -> Result<Option<Box<str>>> {
        let rest = self.rest();
        let head = if rest.len() > 4 && rest.starts_with("(?P<") {
            4
        } else if rest.len() > 3 && rest.starts_with("(?<") {
            3
        } else {
            return Ok(None);
        };
        let Some(end) = rest.find('>') else {
            return error(RegexErrorKind::InvalidNamedCapture, rest);
        };
        let name = rest.get(head..end).unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) {
            return error(RegexErrorKind::InvalidNamedCapture, &rest[..=end]);
        }
        self.at += end + 1;
        Ok(Some(name.into()))
    }

    /// `(?flags)` or the head of `(?flags:...)`; tells whether a group was opened.
    fn group_flags(&mut self) -> Result<bool> {
        let start = self.at;
        self.at += 2;
        let mut flags = self.flags;
        let (mut value, mut flag_seen) = (true, false);
        while let Some(rune) = self.next_char() {
            match rune {
                'i' => flags.fold_case = value,
                'm' => flags.multi_line = value,
                's' => flags.dot_newline = value,
                'U' => flags.swap_greed = value,
                '-' if value => {
                    value = false;
                    flag_seen = false;
                    continue;
                }
                ':' | ')' if value || flag_seen => {
                    self.flags = flags;
                    return Ok(rune == ':');
                }
                _ => return error(RegexErrorKind::InvalidPerlOp, &self.pattern[start..self.at]),
            }
            flag_seen = true;
        }
        error(RegexErrorKind::InvalidPerlOp, &self.pattern[start..])
    }

    // Escapes.

    fn escape(&mut self, nodes: &mut Vec<Node>) -> Result<()> {
        let rest = self.rest();
        let look = match rest.as_bytes().get(1) {
            Some(b'A') => Some(Look::Start),
            Some(b'z') => Some(Look::End),
            Some(b'b') => Some(Look::WordAscii),
            Some(b'B') => Some(Look::WordAsciiNegate),
            Some(b'C') => return error(RegexErrorKind::InvalidEscape, &rest[..2]),
            Some(b'Q') => {
                let text = &rest[2..];
                let (quoted, length) = match text.find("\\E") {
                    Some(end) => (&text[..end], end + 2),
                    None => (text, text.len()),
                };
                nodes.extend(quoted.chars().map(|rune| self.literal(rune.into())));
                self.at += 2 + length;
                return Ok(());
            }
            _ => None,
        };
        if let Some(look) = look {
            self.at += 2;
            nodes.push(Node::Look(look));
            return Ok(());
        }
        let node = match self.escaped_class()? {
            Some(class) => Node::Class(class),
            None => {
                let code_point = self.escaped_char()?;
                self.literal(code_point)
            }
        };
        nodes.push(node);
        Ok(())
    }

    /// `\d` and the like, or `\p{...}`; consumes nothing otherwise.
    fn escaped_class(&mut self) -> Result<Option<ClassUnicode>> {
        let Some([b'\\', letter]) = self.rest().as_bytes().get(..2) else { return Ok(None) };
        if matches!(letter, b'p' | b'P') {
            return self.unicode_class(*letter == b'P').map(Some);
        }
        let Some((class, negated)) = class::perl(*letter) else { return Ok(None) };
        self.at += 2;
        Ok(Some(self.signed(class, negated)))
    }

    fn unicode_class(&mut self, mut negated: bool) -> Result<ClassUnicode> {
        let start = self.at;
        self.at += 2;
        let mut name = match self.next_char() {
            None => "",
            Some('{') => {
                let Some(length) = self.rest().find('}') else {
                    return error(RegexErrorKind::InvalidCharRange, &self.pattern[start..]);
                };
                let name = &self.rest()[..length];
                self.at += length + 1;
                name
            }
            Some(_) => &self.pattern[start + 2..self.at],
        };
        if let Some(inverse) = name.strip_prefix('^') {
            negated = !negated;
            name = inverse;
        }
        match class::unicode(name) {
            Some(class) => Ok(self.signed(class, negated)),
            None => error(RegexErrorKind::InvalidCharRange, &self.pattern[start..self.at]),
        }
    }

    /// An escape that stands for one character.
    fn escaped_char(&mut self) -> Result<u32> {
        let start = self.at;
        self.at += 1;
        let Some(rune) = self.next_char() else {
            return error(RegexErrorKind::TrailingBackslash, "");
        };
        let octal = |parser: &Self| parser.peek().filter(|byte| matches!(byte, b'0'..=b'7'));
        let value = match rune {
            // A lone digit from 1 on would be a back reference, which RE2 does not have.
            '0'..='7' if rune == '0' || octal(self).is_some() => {
                let mut value = u32::from(rune) - u32::from('0');
                for _ in 0..2 {
                    let Some(digit) = octal(self) else { break };
                    value = value * 8 + u32::from(digit - b'0');
                    self.at += 1;
                }
                Some(value)
            }
            'x' if self.at < self.pattern.len() => self.hex_escape(),
            'a' => Some(0x07),
            'f' => Some(0x0c),
            'n' => Some(u32::from(b'\n')),
            'r' => Some(u32::from(b'\r')),
            't' => Some(u32::from(b'\t')),
            'v' => Some(0x0b),
            _ if rune.is_ascii() && !rune.is_ascii_alphanumeric() => Some(rune.into()),
            _ => None,
        };
        match value {
            Some(value) => Ok(value),
            None => error(RegexErrorKind::InvalidEscape, &self.pattern[start..self.at]),
        }
    }

    /// What follows `\x`: two digits, or any number of them in braces. `None` if it is something else.
    fn hex_escape(&mut self) -> Option<u32> {
        let first = self.next_char().unwrap_or_default();
        if first != '{' {
            let second = self.next_char().and_then(|rune| rune.to_digit(16));
            return first.to_digit(16).zip(second).map(|(high, low)| high * 16 + low);
        }
        let mut value = None;
        loop {
            match self.next_char()? {
                '}' => return value,
                rune => {
                    let next = value.unwrap_or(0) * 16 + rune.to_digit(16)?;
                    if next > u32::from(char::MAX) {
                        return None;
                    }
                    value = Some(next);
                }
            }
        }
    }

    // Bracket classes.

    fn bracket_class(&mut self) -> Result<Node> {
        let whole = self.rest();
        self.at += 1;
        let negated = self.peek() == Some(b'^');
        self.at += usize::from(negated);
        let mut class = ClassUnicode::empty();
        let mut first = true;
        while first || self.peek() != Some(b']') {
            first = false;
            if let Some(named) = self.posix_class()? {
                class.union(&named);
                continue;
            }
            if let Some(escaped) = self.escaped_class()? {
                class.union(&escaped);
                continue;
            }
            let start = self.at;
            let low = self.class_char(whole)?;
            let mut high = low;
            if let [b'-', next, ..] = self.rest().as_bytes()
                && *next != b']'
            {
                self.at += 1;
                high = self.class_char(whole)?;
                if high < low {
                    return error(RegexErrorKind::InvalidCharRange, &self.pattern[start..self.at]);
                }
            }
            class.union(&self.folded(class_of(low, high)));
        }
        self.at += 1;
        if negated {
            class.negate();
        }
        Ok(match class.literal() {
            Some(bytes) => Node::Literal(first_char(&bytes)),
            None => Node::Class(class),
        })
    }

    /// `[:name:]` or `[:^name:]`; consumes nothing if this is not the start of one.
    fn posix_class(&mut self) -> Result<Option<ClassUnicode>> {
        let rest = self.rest();
        let Some(end) = rest.strip_prefix("[:").and_then(|body| body.find(":]")) else { return Ok(None) };
        let (name, whole) = (&rest[2..2 + end], &rest[..end + 4]);
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        match class::posix(name) {
            Some(class) => {
                self.at += whole.len();
                Ok(Some(self.signed(class, negated)))
            }
            None => error(RegexErrorKind::InvalidCharRange, whole),
        }
    }

    fn class_char(&mut self, whole: &str) -> Result<u32> {
        match self.peek() {
            None => error(RegexErrorKind::MissingBracket, whole),
            Some(b'\\') => self.escaped_char(),
            Some(_) => Ok(self.next_char().unwrap_or_default().into()),
        }
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
