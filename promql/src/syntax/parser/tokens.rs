//! The tokens of a query, as the parser sees them.
//!
//! They are cut off the text some at a time, which is much faster than one by one; but an error of the lexer arises
//! only when the parser comes to the place, as if each token were read when it is needed. Where the lexer fails stands
//! a token of kind `Error`, which fits nowhere; the parser asks for [`Tokens::failure`] when it is about to blame something.

use crate::syntax::error::ParseError;
use crate::syntax::lexer::Lexer;
use crate::syntax::span::Span;
use crate::syntax::token::{Token, TokenKind};

/// Tokens read at once. A power of two, so that an index needs no check.
const CHUNK: usize = 32;

/// A stream of tokens with one token of lookahead.
pub(super) struct Tokens<'a> {
    lexer: Lexer<'a>,
    kinds: [TokenKind; CHUNK],
    spans: [Span; CHUNK],
    filled: usize,
    /// The next token, in the chunk.
    at: usize,
    /// Whether the parser has looked at the next token.
    peeked: bool,
    /// The end of the last closing token before this chunk.
    closing_before: u32,
}

impl<'a> Tokens<'a> {
    #[inline]
    pub fn new(input: &'a str) -> Self {
        Self {
            lexer: Lexer::new(input),
            kinds: [TokenKind::Eof; CHUNK],
            spans: [Span { start: 0, end: 0 }; CHUNK],
            filled: 0,
            at: 0,
            peeked: false,
            closing_before: 0,
        }
    }

    /// The kind of the next token. After the end of input, `Eof` again and again; likewise `Error`.
    #[inline]
    pub fn peek_kind(&mut self) -> TokenKind {
        if self.at == self.filled {
            self.refill();
        }
        self.peeked = true;
        self.kinds[self.at % CHUNK]
    }

    /// The next token.
    #[inline]
    pub fn peek(&mut self) -> Token {
        Token { kind: self.peek_kind(), span: self.spans[self.at % CHUNK] }
    }

    /// The token that was peeked, consumed.
    #[inline]
    pub fn take(&mut self) -> Token {
        let token = Token { kind: self.kinds[self.at % CHUNK], span: self.spans[self.at % CHUNK] };
        self.at += 1;
        self.peeked = false;
        token
    }

    /// How many tokens of the chunk were read, be it only ahead.
    fn read(&self) -> usize {
        self.at + usize::from(self.peeked)
    }

    /// The end of the last closing token that was read, 0 if there was none.
    pub fn last_closing(&self) -> u32 {
        let closing = self.kinds[..self.read()].iter().rposition(|kind| kind.is_closing());
        closing.map_or(self.closing_before, |at| self.spans[at].end)
    }

    /// Why the lexer failed, if the place was read.
    pub fn failure(&self) -> Option<&ParseError> {
        let last = self.kinds[..self.read()].last()?;
        if *last == TokenKind::Error { self.lexer.error() } else { None }
    }

    /// Reads the next chunk, once all of this one is consumed.
    #[inline(never)]
    fn refill(&mut self) {
        self.closing_before = self.last_closing();
        if self.lexer.error().is_some() {
            // It stays, consumed or not.
            self.at = self.filled - 1;
            return;
        }
        self.at = 0;
        let mut filled = 0;
        for (kind, span) in self.kinds.iter_mut().zip(&mut self.spans) {
            let token = self.lexer.next_token();
            (*kind, *span) = (token.kind, token.span);
            filled += 1;
            if matches!(token.kind, TokenKind::Eof | TokenKind::Error) {
                break;
            }
        }
        self.filled = filled;
    }
}
