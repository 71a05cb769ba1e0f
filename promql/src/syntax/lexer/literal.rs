//! Strings, numbers and durations.
//!
//! Only their extent and the syntax of escapes are settled here; values are the parser's part.

use super::{Lexer, PLAIN, is_alphanumeric};
use crate::gostd::{quote, unicode_notation};
use crate::syntax::token::TokenKind;

impl Lexer<'_> {
    /// A quoted string; escapes are checked here and decoded by the parser.
    pub(super) fn string(&mut self, quote: u8) -> TokenKind {
        self.pos += 1;
        let raw = quote == b'`';
        let mut kind = TokenKind::String;
        loop {
            self.skip_all_in(PLAIN);
            match self.peek() {
                None if raw => return self.fail("unterminated raw string".to_owned()),
                Some(b'\n') if !raw => return self.fail("unterminated quoted string".to_owned()),
                None => return self.fail("unterminated quoted string".to_owned()),
                Some(b'\\') if !raw => {
                    kind = TokenKind::EscapedString;
                    self.pos += 1;
                    if let Err(message) = self.escape(quote) {
                        return self.fail(message);
                    }
                }
                Some(byte) if byte == quote => return self.take(1, kind),
                // The replacement character is what an invalid byte decodes to, and Go cannot tell them apart.
                Some(0xEF) if self.peek_char() == Some(char::REPLACEMENT_CHARACTER) => {
                    return self.fail("invalid UTF-8 rune".to_owned());
                }
                Some(_) => self.pos += 1,
            }
        }
    }

    /// Checks one escape sequence, its backslash already read; an error's text if it is none.
    fn escape(&mut self, quote: u8) -> Result<(), String> {
        let Some(kind) = self.peek_char() else {
            return Err("escape sequence not terminated".to_owned());
        };
        let (digits, radix, max) = match kind {
            'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' => {
                self.pos += 1;
                return Ok(());
            }
            _ if kind == char::from(quote) => {
                self.pos += 1;
                return Ok(());
            }
            '0'..='7' => (3, 8, 255),
            'x' => (2, 16, 255),
            'u' => (4, 16, u32::from(char::MAX)),
            'U' => (8, 16, u32::from(char::MAX)),
            _ => return Err(format!("unknown escape sequence {}", unicode_notation(kind))),
        };
        self.pos += usize::from(radix == 16);
        let mut value: u32 = 0;
        for _ in 0..digits {
            let Some(rune) = self.peek_char() else {
                return Err("escape sequence not terminated".to_owned());
            };
            let Some(digit) = rune.to_digit(radix) else {
                let rune = unicode_notation(rune);
                return Err(format!("illegal character {rune} in escape sequence"));
            };
            // Eight hexadecimal digits fit exactly.
            value = value * radix + digit;
            self.pos += 1;
        }
        if value > max || (0xD800..0xE000).contains(&value) {
            return Err("escape sequence is an invalid Unicode code point".to_owned());
        }
        Ok(())
    }

    pub(super) fn number_or_duration(&mut self) -> TokenKind {
        if let Some(kind) = self.scan_plain() {
            return kind;
        }
        if self.scan_number() {
            return TokenKind::Number;
        }
        if self.scan_duration_rest() {
            return TokenKind::Duration;
        }
        self.fail(format!("bad number or duration syntax: {}", quote(self.text().as_bytes())))
    }

    /// Digits alone or with one unit, as nearly all are; reads nothing if there is more to it.
    fn scan_plain(&mut self) -> Option<TokenKind> {
        let rest = &self.input.as_bytes()[self.pos..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let ends = |at: usize| !rest.get(at).is_some_and(|&byte| is_alphanumeric(byte) || byte == b'.');
        let (length, kind) = match rest.get(digits) {
            _ if digits == 0 => return None,
            Some(b's' | b'm' | b'h' | b'd' | b'w' | b'y') if ends(digits + 1) => {
                (digits + 1, TokenKind::Duration)
            }
            _ if ends(digits) => (digits, TokenKind::Number),
            _ => return None,
        };
        self.pos += length;
        Some(kind)
    }

    /// Reads a number as far as it looks like one; false if something else follows, perhaps a unit.
    fn scan_number(&mut self) -> bool {
        let mut hex = false;
        if self.accept(b'0') && (self.accept(b'x') || self.accept(b'X')) {
            self.accept(b'_');
            hex = true;
        }
        let is_digit = |byte: u8| if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
        let is_exponent = |byte: u8| matches!(byte, b'e' | b'E');
        self.accept(b'.');
        if self.peek().is_some_and(is_digit) {
            self.pos += 1;
        }
        let (mut dot_seen, mut exponent_seen) = (false, false);
        while let Some(byte) =
            self.peek().filter(|&byte| is_digit(byte) || is_exponent(byte) || matches!(byte, b'.' | b'_'))
        {
            if (byte == b'.' && dot_seen) || (is_exponent(byte) && exponent_seen) {
                self.pos += 1;
                return false;
            }
            match byte {
                b'.' => {
                    dot_seen = true;
                    self.pos += 1;
                    if self.accept(b'_') || self.accept(b'.') || hex {
                        return false;
                    }
                }
                // In hexadecimal `e` is a digit as well, yet it is taken for an exponent at the start of a run.
                _ if is_exponent(byte) => {
                    exponent_seen = true;
                    self.pos += 1;
                    if !self.accept(b'+') {
                        self.accept(b'-');
                    }
                    if !self.separator_is_followed_well() {
                        return false;
                    }
                }
                b'_' => {
                    self.pos += 1;
                    if !self.separator_is_followed_well() {
                        return false;
                    }
                }
                _ => self.skip_while(is_digit),
            }
        }
        !self.peek().is_some_and(is_alphanumeric)
    }

    /// After an exponent sign or underscore: no further separator, and not the end. Consumes an offender.
    fn separator_is_followed_well(&mut self) -> bool {
        match self.peek() {
            None => false,
            Some(b'.' | b'_' | b'e' | b'E') => {
                self.pos += 1;
                false
            }
            Some(_) => true,
        }
    }

    /// Reads the units of a duration whose first digits were read; bad units are the parser's business.
    fn scan_duration_rest(&mut self) -> bool {
        let is_unit = |byte: u8| matches!(byte, b's' | b'm' | b'h' | b'd' | b'w');
        match self.peek() {
            Some(byte) if is_unit(byte) || byte == b'y' => self.pos += 1,
            _ => return false,
        }
        self.accept(b's');
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.skip_while(|byte| byte.is_ascii_digit());
            if !self.peek().is_some_and(is_unit) {
                return false;
            }
            self.pos += 1;
            self.accept(b's');
        }
        if self.peek().is_some_and(is_alphanumeric) {
            self.pos += 1;
            return false;
        }
        true
    }
}
