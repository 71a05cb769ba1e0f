//! Tokens to a syntax tree: precedence climbing over operators, one function per construct.
//!
//! Prometheus's grammar is an LALR one with error productions, and two of its traits show in error texts, so they
//! are kept. An unexpected token is blamed on the innermost construct that has an error production: the functions
//! pass their own context, and [`Parser::aggregations_open`] stands for all others. And a token is read only when
//! it is needed ([`Parser::peek`]), since an error found by the lexer comes before one found by looking at what was
//! read so far.

mod binary;
mod call;
mod duration;
mod expr;
mod selector;
mod tokens;

use super::ast::{Expr, VectorSelector};
use super::error::ParseError;
use super::lexer::ParseResult;
use super::operators::{BinaryOp, UnaryOp};
use super::options::ParserOptions;
use super::span::Span;
use super::token::{Token, TokenKind, describe};
use crate::gostd::{GoString, quote, unquote};
use tokens::Tokens;

/// One run over a query text.
pub(in crate::syntax) struct Parser<'a> {
    input: &'a str,
    options: &'a ParserOptions,
    tokens: Tokens<'a>,
    /// The depth of the expression that was read last.
    depth: u32,
    /// How many aggregations enclose the current token. Each of them catches errors.
    aggregations_open: u32,
    /// Operators in the duration expression being read.
    duration_operators: u32,
}

impl<'a> Parser<'a> {
    pub fn new(input: &'a str, options: &'a ParserOptions) -> Self {
        Self {
            input,
            options,
            tokens: Tokens::new(input),
            depth: 0,
            aggregations_open: 0,
            duration_operators: 0,
        }
    }

    /// The whole text as one expression; not yet type-checked.
    pub fn parse_whole_expression(&mut self) -> ParseResult<Expr> {
        if self.peek_kind() == TokenKind::Eof {
            return self.fail(Span::default(), "no expression found in input");
        }
        let expr = self.parse_expr(0, 0)?;
        let after = self.peek();
        if after.kind == TokenKind::Eof { Ok(expr) } else { self.unexpected(after) }
    }

    /// The whole text as one selector.
    pub fn parse_whole_selector(&mut self) -> ParseResult<VectorSelector> {
        let first = self.peek();
        let selector = match first.kind {
            TokenKind::LeftBrace => *self.parse_selector(None)?,
            kind if kind.is_metric_name() => {
                self.advance();
                *self.parse_selector(Some(first))?
            }
            _ => return self.unexpected(first),
        };
        let after = self.peek();
        if after.kind == TokenKind::Eof { Ok(selector) } else { self.unexpected(after) }
    }

    /// The next token, without consuming it.
    #[inline]
    fn peek(&mut self) -> Token {
        self.tokens.peek()
    }

    /// The kind of the next token.
    #[inline]
    fn peek_kind(&mut self) -> TokenKind {
        self.tokens.peek_kind()
    }

    #[inline]
    fn advance(&mut self) -> Token {
        self.tokens.peek_kind();
        self.tokens.take()
    }

    /// The end of the last closing bracket or number that was read, be it only ahead: Prometheus takes it for the
    /// end of what it has just parsed.
    fn last_closing(&self) -> u32 {
        self.tokens.last_closing()
    }

    /// Consumes the next token if it is of this kind.
    #[inline]
    fn accept(&mut self, kind: TokenKind) -> Option<Token> {
        (self.peek_kind() == kind).then(|| self.tokens.take())
    }

    #[inline]
    fn expect(&mut self, kind: TokenKind) -> ParseResult<Token> {
        if self.peek_kind() == kind { Ok(self.tokens.take()) } else { self.expected_another() }
    }

    #[cold]
    fn expected_another<T>(&mut self) -> ParseResult<T> {
        let found = self.peek();
        self.unexpected(found)
    }

    /// Consumes a sign, if one comes next.
    #[inline]
    fn accept_sign(&mut self) -> Option<(Token, UnaryOp)> {
        let op = match self.peek_kind() {
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            _ => return None,
        };
        Some((self.tokens.take(), op))
    }

    #[inline]
    fn text(&self, token: Token) -> &'a str {
        &self.input[token.span.start as usize..token.span.end as usize]
    }

    /// Blames `span`; but if the lexer has failed by now, that was first.
    #[cold]
    fn fail<T>(&self, span: Span, message: impl Into<String>) -> ParseResult<T> {
        let error = match self.tokens.failure() {
            Some(earlier) => earlier.clone(),
            None => ParseError::new(self.input, span, message),
        };
        Err(Box::new(error))
    }

    /// Blames `found` on the innermost aggregation, if there is one.
    #[cold]
    fn unexpected<T>(&self, found: Token) -> ParseResult<T> {
        let context = if self.aggregations_open > 0 { " in aggregation" } else { "" };
        self.fail(found.span, format!("unexpected {}{context}", describe(found.kind, self.text(found))))
    }

    /// Blames `found` on the construct `context`, which wants `expected` there.
    #[cold]
    fn unexpected_in<T>(&self, found: Token, context: &str, expected: &str) -> ParseResult<T> {
        let found_text = describe(found.kind, self.text(found));
        self.fail(found.span, format!("unexpected {found_text} in {context}, expected {expected}"))
    }

    /// The text of a token without decoding.
    #[inline]
    fn raw(&self, token: Token) -> GoString {
        GoString::part_of(self.input.as_bytes(), token.span.start as usize, token.span.end as usize)
    }

    /// The value of a string, which the lexer has found to be well-formed.
    #[inline]
    fn unquote(&self, token: Token) -> ParseResult<GoString> {
        if token.kind == TokenKind::EscapedString {
            return self.unquote_escaped(token);
        }
        let (start, end) = (token.span.start as usize + 1, token.span.end as usize - 1);
        Ok(GoString::part_of(self.input.as_bytes(), start, end))
    }

    #[inline(never)]
    fn unquote_escaped(&self, token: Token) -> ParseResult<GoString> {
        match unquote(self.text(token)) {
            Some(value) => Ok(value),
            None => {
                let literal = quote(self.text(token).as_bytes());
                self.fail(token.span, format!("error unquoting string {literal}: invalid syntax"))
            }
        }
    }

    /// The depth of a node above children of depth `below`, if the options allow it.
    #[inline]
    fn deeper(&self, below: u32, span: Span) -> ParseResult<u32> {
        let limit = self.options.nesting_depth_max;
        if below >= limit {
            return self.fail(span, format!("expression nests deeper than {limit} levels"));
        }
        Ok(below + 1)
    }
}
