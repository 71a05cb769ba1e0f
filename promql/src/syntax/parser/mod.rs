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

use super::ast::{Expr, VectorSelector};
use super::error::ParseError;
use super::lexer::{Lexer, ParseResult};
use super::operators::{BinaryOp, UnaryOp};
use super::options::ParserOptions;
use super::span::Span;
use super::token::{Token, TokenKind, describe};
use crate::gostd::{GoString, quote, unquote};

/// One run over a query text.
pub(in crate::syntax) struct Parser<'a> {
    input: &'a str,
    options: &'a ParserOptions,
    lexer: Lexer<'a>,
    /// The token read ahead, if any.
    peeked: Option<Token>,
    /// How many aggregations enclose the current token. Each of them catches errors.
    aggregations_open: u32,
    /// The end of the last closing bracket or number that was read, be it only ahead: Prometheus takes it for the
    /// end of what it has just parsed.
    last_closing: u32,
    /// Operators in the duration expression being read.
    duration_operators: u32,
}

impl<'a> Parser<'a> {
    pub fn new(input: &'a str, options: &'a ParserOptions) -> Self {
        Self {
            input,
            options,
            lexer: Lexer::new(input),
            peeked: None,
            aggregations_open: 0,
            last_closing: 0,
            duration_operators: 0,
        }
    }

    /// The whole text as one expression; not yet type-checked.
    pub fn parse_whole_expression(&mut self) -> ParseResult<Expr> {
        if self.peek()?.kind == TokenKind::Eof {
            return self.fail(Span::default(), "no expression found in input");
        }
        let (expr, _) = self.parse_expr(0, 0)?;
        let after = self.peek()?;
        if after.kind == TokenKind::Eof { Ok(expr) } else { self.unexpected(after) }
    }

    /// The whole text as one selector.
    pub fn parse_whole_selector(&mut self) -> ParseResult<VectorSelector> {
        let first = self.peek()?;
        let selector = match first.kind {
            TokenKind::LeftBrace => self.parse_selector(None)?,
            kind if kind.is_metric_name() => {
                self.advance()?;
                self.parse_selector(Some(first))?
            }
            _ => return self.unexpected(first),
        };
        let after = self.peek()?;
        if after.kind == TokenKind::Eof { Ok(selector) } else { self.unexpected(after) }
    }

    /// The next token, without consuming it.
    #[inline]
    fn peek(&mut self) -> ParseResult<Token> {
        match self.peeked {
            Some(token) => Ok(token),
            None => {
                let token = self.lexer.next_token()?;
                if token.kind.is_closing() {
                    self.last_closing = token.span.end;
                }
                self.peeked = Some(token);
                Ok(token)
            }
        }
    }

    #[inline]
    fn advance(&mut self) -> ParseResult<Token> {
        let token = self.peek()?;
        self.peeked = None;
        Ok(token)
    }

    /// Consumes the next token if it is of this kind.
    #[inline]
    fn accept(&mut self, kind: TokenKind) -> ParseResult<Option<Token>> {
        if self.peek()?.kind == kind { self.advance().map(Some) } else { Ok(None) }
    }

    #[inline]
    fn expect(&mut self, kind: TokenKind) -> ParseResult<Token> {
        match self.accept(kind)? {
            Some(token) => Ok(token),
            None => {
                let found = self.peek()?;
                self.unexpected(found)
            }
        }
    }

    /// Consumes a sign, if one comes next.
    fn accept_sign(&mut self) -> ParseResult<Option<(Token, UnaryOp)>> {
        let token = self.peek()?;
        let op = match token.kind {
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some((token, op)))
    }

    #[inline]
    fn text(&self, token: Token) -> &'a str {
        &self.input[token.span.start as usize..token.span.end as usize]
    }

    #[cold]
    fn fail<T>(&self, span: Span, message: impl Into<String>) -> ParseResult<T> {
        Err(Box::new(ParseError::new(self.input, span, message)))
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

    fn unquote(&self, token: Token) -> ParseResult<GoString> {
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
