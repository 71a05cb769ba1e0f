//! Query text to tokens.
//!
//! What a character means depends on where it stands: inside braces every word is a label name, inside brackets
//! only durations are allowed. The lexer keeps this state itself, as Prometheus's does, since its error texts
//! depend on it.

mod literal;

use super::error::ParseError;
use super::operators::BinaryOp;
use super::span::Span;
use super::token::{Keyword, Token, TokenKind, classify_word, duration_word};
use crate::gostd::quote_rune;

/// The result of a step of lexing or parsing; boxed, since errors are rare and large.
pub(in crate::syntax) type ParseResult<T> = Result<T, Box<ParseError>>;

/// Cuts the text into tokens, one at a time.
pub(in crate::syntax) struct Lexer<'a> {
    input: &'a str,
    /// Start of the token being read.
    start: usize,
    /// Next byte to read.
    pos: usize,
    paren_depth: u32,
    in_braces: bool,
    in_brackets: bool,
    /// Directly after `[` or an operator of the duration expression there, until its first number.
    in_duration: bool,
    seen_colon: bool,
    /// Whether any bracket so far had a number in it. Prometheus never resets it, which decides the error for `x[:`.
    seen_duration: bool,
    /// What [`TokenKind::Error`] stands for.
    error: Option<Box<ParseError>>,
}

const SPACE: u8 = 1;
const ALPHA: u8 = 2;
/// What a name goes on with: letters and digits.
const WORD: u8 = 4;
/// What has no meaning of its own in a string: neither ends it nor might be wrong there.
const PLAIN: u8 = 8;

/// The classes of each byte, as bits.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    loop {
        classes[byte as usize] = match byte {
            b'\n' => SPACE,
            b' ' | b'\t' | b'\r' => SPACE | PLAIN,
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => ALPHA | WORD | PLAIN,
            b'0'..=b'9' => WORD | PLAIN,
            b'"' | b'\'' | b'`' | b'\\' | 0xEF => 0,
            _ => PLAIN,
        };
        if byte == u8::MAX {
            break classes;
        }
        byte += 1;
    }
};

fn is_in(class: u8, byte: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

fn is_space(byte: u8) -> bool {
    is_in(SPACE, byte)
}

fn is_alpha(byte: u8) -> bool {
    is_in(ALPHA, byte)
}

fn is_alphanumeric(byte: u8) -> bool {
    is_in(WORD, byte)
}

impl<'a> Lexer<'a> {
    pub fn new(input: &'a str) -> Self {
        Self {
            input,
            start: 0,
            pos: 0,
            paren_depth: 0,
            in_braces: false,
            in_brackets: false,
            in_duration: false,
            seen_colon: false,
            seen_duration: false,
            error: None,
        }
    }

    /// The next token. After the end of input `Eof` again and again; `Error`, of no length, where there is none, once.
    #[inline]
    pub fn next_token(&mut self) -> Token {
        let start = self.skip_blanks();
        let kind = self.next_kind();
        // The length of a query is capped far below 4 GiB before it gets here.
        Token { kind, span: Span::new(start as u32, self.pos as u32) }
    }

    /// Why the last token is [`TokenKind::Error`].
    pub fn error(&self) -> Option<&ParseError> {
        self.error.as_deref()
    }

    /// Reads a token from `start` to `pos`.
    #[inline]
    fn next_kind(&mut self) -> TokenKind {
        if self.in_braces {
            return self.inside_braces();
        }
        if self.in_duration {
            return self.inside_duration();
        }
        self.statement()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.input.as_bytes().get(self.pos).copied()
    }

    fn peek_at(&self, offset: usize) -> Option<u8> {
        self.input.as_bytes().get(self.pos + offset).copied()
    }

    fn peek_char(&self) -> Option<char> {
        self.input.get(self.pos..).and_then(|rest| rest.chars().next())
    }

    /// Consumes the next byte if it is `byte`.
    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.pos += usize::from(found);
        found
    }

    fn skip_while(&mut self, belongs: impl Fn(u8) -> bool) {
        let rest = self.input.as_bytes().get(self.pos..).unwrap_or_default();
        self.pos += rest.iter().position(|&byte| !belongs(byte)).unwrap_or(rest.len());
    }

    /// Consumes all bytes of a class that come next. Names and strings are most of a query, hence four at a time.
    #[inline]
    fn skip_all_in(&mut self, class: u8) {
        let bytes = self.input.as_bytes();
        let mut pos = self.pos;
        while let Some(four) = bytes.get(pos..pos + 4)
            && four.iter().fold(class, |common, &byte| common & CLASSES[usize::from(byte)]) != 0
        {
            pos += 4;
        }
        while bytes.get(pos).is_some_and(|&byte| is_in(class, byte)) {
            pos += 1;
        }
        self.pos = pos;
    }

    #[inline]
    fn text(&self) -> &'a str {
        &self.input[self.start..self.pos]
    }

    #[inline]
    fn take(&mut self, bytes: usize, kind: TokenKind) -> TokenKind {
        self.pos += bytes;
        kind
    }

    /// An error that blames everything from the start of the current token.
    #[cold]
    fn fail(&mut self, message: String) -> TokenKind {
        let span = Span::new(self.start as u32, self.input.len() as u32);
        self.error = Some(Box::new(ParseError::new(self.input, span, message)));
        self.pos = self.start;
        TokenKind::Error
    }

    /// An error that blames everything behind the next byte.
    #[cold]
    fn fail_behind(&mut self, message: &str) -> TokenKind {
        self.pos += 1;
        self.start = self.pos;
        self.fail(message.to_owned())
    }

    /// Goes to where the next token starts, over spaces and comments. In a duration expression `#` is no comment.
    #[inline]
    fn skip_blanks(&mut self) -> usize {
        // Nearly all tokens start with a byte above these.
        while let Some(byte @ ..=b'#') = self.peek() {
            if is_space(byte) {
                self.pos += 1;
            } else if byte == b'#' && !self.in_duration {
                self.skip_while(|byte| byte != b'\n' && byte != b'\r');
            } else {
                break;
            }
        }
        self.start = self.pos;
        self.start
    }

    #[inline]
    fn statement(&mut self) -> TokenKind {
        use TokenKind::Operator;

        let Some(byte) = self.peek() else {
            if self.paren_depth != 0 {
                return self.fail("unclosed left parenthesis".to_owned());
            }
            if self.in_brackets {
                return self.fail("unclosed left bracket".to_owned());
            }
            return TokenKind::Eof;
        };
        match byte {
            b',' => self.take(1, TokenKind::Comma),
            b'*' => self.take(1, Operator(BinaryOp::Mul)),
            b'/' => self.take(1, Operator(BinaryOp::Div)),
            b'%' => self.take(1, Operator(BinaryOp::Mod)),
            b'+' => self.take(1, Operator(BinaryOp::Add)),
            b'-' => self.take(1, Operator(BinaryOp::Sub)),
            b'^' => self.take(1, Operator(BinaryOp::Pow)),
            b'@' => self.take(1, TokenKind::At),
            b'=' => match self.peek_at(1) {
                Some(b'=') => self.take(2, Operator(BinaryOp::Eql)),
                Some(b'~') => self.fail("unexpected character after '=': '~'".to_owned()),
                _ => self.take(1, TokenKind::Equal),
            },
            b'!' => {
                self.pos += 1;
                match self.peek_char() {
                    Some('=') => self.take(1, Operator(BinaryOp::Neq)),
                    other => {
                        self.fail(format!("unexpected character after '!': {}", quote_rune_or_end(other)))
                    }
                }
            }
            b'<' => match self.peek_at(1) {
                Some(b'=') => self.take(2, Operator(BinaryOp::Lte)),
                Some(b'/') => self.take(2, Operator(BinaryOp::TrimUpper)),
                _ => self.take(1, Operator(BinaryOp::Lss)),
            },
            b'>' => match self.peek_at(1) {
                Some(b'=') => self.take(2, Operator(BinaryOp::Gte)),
                Some(b'/') => self.take(2, Operator(BinaryOp::TrimLower)),
                _ => self.take(1, Operator(BinaryOp::Gtr)),
            },
            b'"' | b'\'' | b'`' => self.string(byte),
            b'(' => self.left_paren(),
            b')' => self.right_paren(),
            b'{' => {
                self.in_braces = true;
                self.take(1, TokenKind::LeftBrace)
            }
            b'[' => self.left_bracket(),
            b']' => self.right_bracket(),
            b'0'..=b'9' => self.number_or_duration(),
            b'.' if self.at_fraction(byte) => self.number_or_duration(),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' if self.in_brackets => self.word_in_brackets(byte),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':' => self.word(),
            _ => self.unexpected_character("unexpected character"),
        }
    }

    fn at_fraction(&self, byte: u8) -> bool {
        byte == b'.' && self.peek_at(1).is_some_and(|next| next.is_ascii_digit())
    }

    #[cold]
    fn unexpected_character(&mut self, prefix: &str) -> TokenKind {
        let rune = self.peek_char().unwrap_or_default();
        self.fail(format!("{prefix}: {}", quote_rune(rune)))
    }

    fn left_paren(&mut self) -> TokenKind {
        self.paren_depth += 1;
        self.take(1, TokenKind::LeftParen)
    }

    fn right_paren(&mut self) -> TokenKind {
        match self.paren_depth.checked_sub(1) {
            Some(depth) => {
                self.paren_depth = depth;
                self.take(1, TokenKind::RightParen)
            }
            None => self.fail_behind("unexpected right parenthesis ')'"),
        }
    }

    fn left_bracket(&mut self) -> TokenKind {
        if self.in_brackets {
            return self.fail("unexpected left bracket '['".to_owned());
        }
        self.seen_colon = false;
        self.in_brackets = true;
        self.in_duration = true;
        self.take(1, TokenKind::LeftBracket)
    }

    fn right_bracket(&mut self) -> TokenKind {
        if !self.in_brackets {
            return self.fail("unexpected right bracket ']'".to_owned());
        }
        self.in_brackets = false;
        self.take(1, TokenKind::RightBracket)
    }

    /// A colon or one of the words of duration expressions, after the first number in brackets.
    fn word_in_brackets(&mut self, first: u8) -> TokenKind {
        if first == b':' {
            if self.seen_colon {
                return self.fail("unexpected colon ':'".to_owned());
            }
            self.seen_colon = true;
            return self.take(1, TokenKind::Colon);
        }
        match self.duration_keyword() {
            Some(kind) => kind,
            None => {
                self.fail(format!("unexpected character: {}, expected ':'", quote_rune(char::from(first))))
            }
        }
    }

    /// `step`, `range`, `max_of` or `min_of`; consumes nothing otherwise.
    fn duration_keyword(&mut self) -> Option<TokenKind> {
        let length = self.input.as_bytes()[self.pos..].iter().take_while(|&&byte| is_alpha(byte)).count();
        let kind = duration_word(&self.input[self.pos..self.pos + length])?;
        self.pos += length;
        Some(kind)
    }

    fn inside_duration(&mut self) -> TokenKind {
        use TokenKind::Operator;

        let Some(byte) = self.peek() else {
            return self.fail("unexpected end of input in duration expression".to_owned());
        };
        match byte {
            b']' => {
                self.in_brackets = false;
                self.in_duration = false;
                self.seen_colon = false;
                self.take(1, TokenKind::RightBracket)
            }
            b':' => {
                if !self.seen_duration {
                    return self.fail_behind("unexpected colon before duration in duration expression");
                }
                if self.seen_colon {
                    return self.fail_behind("unexpected repeated colon in duration expression");
                }
                self.seen_colon = true;
                self.take(1, TokenKind::Colon)
            }
            b'(' => self.left_paren(),
            b')' => self.right_paren(),
            b'+' => self.take(1, Operator(BinaryOp::Add)),
            b'-' => self.take(1, Operator(BinaryOp::Sub)),
            b'*' => self.take(1, Operator(BinaryOp::Mul)),
            b'/' => self.take(1, Operator(BinaryOp::Div)),
            b'%' => self.take(1, Operator(BinaryOp::Mod)),
            b'^' => self.take(1, Operator(BinaryOp::Pow)),
            b',' => self.take(1, TokenKind::Comma),
            _ if byte.is_ascii_digit() || self.at_fraction(byte) => {
                self.in_duration = false;
                self.seen_duration = true;
                self.number_or_duration()
            }
            _ => match self.duration_keyword() {
                Some(kind) => kind,
                None => self.unexpected_character("unexpected character in duration expression"),
            },
        }
    }

    fn inside_braces(&mut self) -> TokenKind {
        let Some(byte) = self.peek() else {
            return self.fail("unexpected end of input inside braces".to_owned());
        };
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                self.skip_all_in(WORD);
                TokenKind::Identifier
            }
            b',' => self.take(1, TokenKind::Comma),
            b'"' | b'\'' | b'`' => self.string(byte),
            b'=' => match self.peek_at(1) {
                Some(b'~') => self.take(2, TokenKind::EqualRegex),
                _ => self.take(1, TokenKind::Equal),
            },
            b'!' => {
                self.pos += 1;
                match self.peek_char() {
                    Some('~') => self.take(1, TokenKind::NotRegex),
                    Some('=') => self.take(1, TokenKind::Operator(BinaryOp::Neq)),
                    other => {
                        let rune = quote_rune_or_end(other);
                        self.fail(format!("unexpected character after '!' inside braces: {rune}"))
                    }
                }
            }
            b'{' => self.fail("unexpected left brace '{'".to_owned()),
            b'}' => {
                self.in_braces = false;
                self.take(1, TokenKind::RightBrace)
            }
            _ => self.unexpected_character("unexpected character inside braces"),
        }
    }

    /// A name or keyword.
    fn word(&mut self) -> TokenKind {
        self.skip_all_in(WORD);
        if self.peek() == Some(b':') {
            self.skip_while(|byte| is_alphanumeric(byte) || byte == b':');
            return TokenKind::MetricIdentifier;
        }
        match classify_word(&self.input.as_bytes()[self.start..self.pos]) {
            // These are names unless a parenthesis follows, so that metrics called `fill` keep working.
            Some(TokenKind::Keyword(Keyword::Fill | Keyword::FillLeft | Keyword::FillRight))
                if !self.left_paren_follows() =>
            {
                TokenKind::Identifier
            }
            Some(kind) => kind,
            None => TokenKind::Identifier,
        }
    }

    fn left_paren_follows(&self) -> bool {
        self.input.as_bytes()[self.pos..].iter().find(|&&byte| !is_space(byte)) == Some(&b'(')
    }
}

/// `%q` of what the lexer reads; the end of input reads as -1, which Go prints as U+FFFD.
fn quote_rune_or_end(rune: Option<char>) -> String {
    quote_rune(rune.unwrap_or(char::REPLACEMENT_CHARACTER))
}
