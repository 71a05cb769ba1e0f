//! The tokens of a query, as the parser sees them.
//!
//! They are cut off the text some at a time, which is much faster than one by one; but an error of the lexer arises
//! only when the parser comes to the place, as if each token were read when it is needed.

use crate::syntax::lexer::{Lexer, ParseResult};
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

    /// The kind of the next token. After the end of input, `Eof` again and again.
    #[inline]
    pub fn peek_kind(&mut self) -> ParseResult<TokenKind> {
        if self.at == self.filled {
            self.refill();
        }
        self.peeked = true;
        let kind = self.kinds[self.at % CHUNK];
        if matches!(kind, TokenKind::Error) {
            self.failure()?;
        }
        Ok(kind)
    }

    /// The next token.
    #[inline]
    pub fn peek(&mut self) -> ParseResult<Token> {
        let kind = self.peek_kind()?;
        Ok(Token { kind, span: self.spans[self.at % CHUNK] })
    }

    /// The token that was peeked, consumed.
    #[inline]
    pub fn take(&mut self) -> Token {
        let token = Token { kind: self.kinds[self.at % CHUNK], span: self.spans[self.at % CHUNK] };
        self.at += 1;
        self.peeked = false;
        token
    }

    /// The end of the last closing token that was peeked, 0 if there was none.
    pub fn last_closing(&self) -> u32 {
        let read = self.at + usize::from(self.peeked);
        let closing = self.kinds[..read].iter().rposition(|kind| kind.is_closing());
        closing.map_or(self.closing_before, |at| self.spans[at].end)
    }

    #[inline(never)]
    fn refill(&mut self) {
        self.closing_before = self.last_closing();
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

    #[cold]
    fn failure(&self) -> ParseResult<()> {
        self.lexer.error().map_or(Ok(()), |error| Err(Box::new(error.clone())))
    }
}
