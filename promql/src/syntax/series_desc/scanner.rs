//! Reading a line of test data piece by piece: the metric, numbers, counts.

use super::super::error::ParseError;
use super::super::matcher::METRIC_NAME_LABEL;
use super::super::span::Span;
use super::super::token::{TokenKind, classify_word};
use crate::gostd::{parse_number, quote, unquote};

/// The largest count after `x`.
const COUNT_MAX: u64 = 10_000_000;

/// Walks over a line.
pub(super) struct Scanner<'a> {
    pub(super) input: &'a str,
    pub(super) at: usize,
}

pub(super) type Result<T, E = ParseError> = std::result::Result<T, E>;

impl<'a> Scanner<'a> {
    pub fn new(input: &'a str) -> Self {
        Self { input, at: 0 }
    }

    pub fn rest(&self) -> &'a str {
        &self.input[self.at..]
    }

    pub fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        // Test data is far below 4 GiB; a wrong position would be the only harm.
        Err(ParseError::new(self.input, Span::new(self.at as u32, self.input.len() as u32), message))
    }

    pub fn unexpected<T>(&self, context: &str) -> Result<T> {
        match self.rest().chars().next() {
            None => self.fail(format!("unexpected end of input in {context}")),
            Some(_) => {
                let word = self.rest().split_whitespace().next().unwrap_or_default();
                self.fail(format!("unexpected {} in {context}", quote(word.as_bytes())))
            }
        }
    }

    pub fn accept(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    pub fn expect(&mut self, text: &str, context: &str) -> Result<()> {
        if self.accept(text) { Ok(()) } else { self.unexpected(context) }
    }

    /// Consumes the longest start of the rest made of such bytes.
    pub fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let length = self.rest().bytes().take_while(|&byte| belongs(byte)).count();
        let taken = &self.rest()[..length];
        self.at += length;
        taken
    }

    /// Skips spaces; whether there were any.
    pub fn spaces(&mut self) -> bool {
        !self.take_while(|byte| byte.is_ascii_whitespace()).is_empty()
    }

    pub fn word(&mut self) -> &'a str {
        self.take_while(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
    }

    // The metric.

    pub fn metric(&mut self) -> Result<Vec<(String, String)>> {
        let starts_name = |byte: u8| byte == b'_' || byte == b':' || byte.is_ascii_alphabetic();
        let mut name = None;
        if self.rest().bytes().next().is_some_and(starts_name) {
            name = Some(self.take_while(|byte| starts_name(byte) || byte.is_ascii_digit()).to_owned());
        }
        let before_braces = self.at;
        self.spaces();
        let mut labels = Vec::new();
        if self.rest().starts_with('{') && !self.rest().starts_with("{{") {
            self.at += 1;
            self.label_set(&mut labels)?;
        } else {
            self.at = before_braces;
        }
        if let Some(name) = name {
            labels.retain(|(label, _)| label != METRIC_NAME_LABEL);
            labels.push((METRIC_NAME_LABEL.to_owned(), name));
        }
        labels.sort();
        Ok(labels)
    }

    /// Labels after the opening brace, up to the closing one.
    fn label_set(&mut self, labels: &mut Vec<(String, String)>) -> Result<()> {
        const CONTEXT: &str = "label set";
        loop {
            self.spaces();
            if self.accept("}") {
                return Ok(());
            }
            let quoted = self.string()?;
            let name = match &quoted {
                Some(text) => text.clone(),
                None => self.word().to_owned(),
            };
            if name.is_empty() {
                return self.unexpected(CONTEXT);
            }
            self.spaces();
            if self.accept("=") {
                self.spaces();
                match self.string()? {
                    Some(value) => labels.push((name, value)),
                    None => return self.unexpected(CONTEXT),
                }
            } else if quoted.is_some() {
                labels.push((METRIC_NAME_LABEL.to_owned(), name));
            } else {
                return self.unexpected(CONTEXT);
            }
            self.spaces();
            if !self.accept(",") && !self.rest().starts_with('}') {
                return self.unexpected(CONTEXT);
            }
        }
    }

    /// A quoted string, if one comes next.
    fn string(&mut self) -> Result<Option<String>> {
        let rest = self.rest();
        let Some(quote) = rest.chars().next().filter(|rune| matches!(rune, '"' | '\'' | '`')) else {
            return Ok(None);
        };
        let mut escaped = false;
        let end = rest.char_indices().skip(1).find(|&(_, rune)| {
            let closes = rune == quote && !escaped;
            escaped = rune == '\\' && !escaped && quote != '`';
            closes
        });
        let literal = end.map(|(end, _)| &rest[..=end]);
        match literal.and_then(unquote).map(|value| value.as_str().map(str::to_owned)) {
            Some(Some(value)) => {
                self.at += literal.unwrap_or_default().len();
                Ok(Some(value))
            }
            Some(None) => self.fail("label is not valid UTF-8"),
            None => self.fail("unterminated or invalid quoted string"),
        }
    }

    // Numbers.

    /// A number with or without sign, if one comes next.
    pub fn number(&mut self) -> Result<Option<f64>> {
        let start = self.at;
        let negative = self.accept("-");
        if !negative {
            self.accept("+");
        }
        let digits = self.rest();
        let mut length = 0;
        for (at, byte) in digits.bytes().enumerate() {
            let after_exponent = at > 0 && matches!(digits.as_bytes()[at - 1], b'e' | b'E');
            let belongs = match byte {
                b'0'..=b'9' | b'.' => true,
                b'_' | b'e' | b'E' => at > 0,
                b'+' | b'-' => after_exponent,
                _ => false,
            };
            if !belongs {
                break;
            }
            length = at + 1;
        }
        let mut text = &digits[..length];
        if text.is_empty() {
            let word = &digits[..digits.bytes().take_while(u8::is_ascii_alphabetic).count()];
            if classify_word(word.as_bytes()) == Some(TokenKind::Number) {
                text = word;
            }
        }
        if text.is_empty() {
            self.at = start;
            return Ok(None);
        }
        match parse_number(text) {
            Ok(value) => {
                self.at += text.len();
                Ok(Some(if negative { -value } else { value }))
            }
            Err(error) => self.fail(format!("error parsing number: {error}")),
        }
    }

    /// `x` and a count, if that comes next.
    pub fn times(&mut self) -> Result<Option<u64>> {
        if !self.accept("x") {
            return Ok(None);
        }
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        match digits.parse() {
            Ok(count) if count <= COUNT_MAX => Ok(Some(count)),
            _ => self.fail(format!("invalid repetition in series values: {}", quote(digits.as_bytes()))),
        }
    }
}
