//! What a backslash introduces.

use regex_syntax::hir::{ClassUnicode, Look};

use super::{Parser, Result, error};
use crate::gostd::regexp::node::Node;
use crate::gostd::regexp::{RegexErrorKind, class};

impl Parser<'_> {
    /// An escape outside of brackets.
    pub(super) fn escape(&mut self, nodes: &mut Vec<Node>) -> Result<()> {
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
    pub(super) fn escaped_class(&mut self) -> Result<Option<ClassUnicode>> {
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
    pub(super) fn escaped_char(&mut self) -> Result<u32> {
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
}
