//! Tokens to a syntax tree: precedence climbing over operators, one function per construct.
//!
//! Prometheus's grammar is an LALR one with error productions, and two of its traits show in error texts, so they
//! are kept. An unexpected token is blamed on the innermost construct that has an error production: the functions
//! pass their own context, and [`Parser::aggregations_open`] stands for all others. And a token is read only when
//! it is needed ([`Parser::peek`]), since an error found by the lexer comes before one found by looking at what was
//! read so far.

use super::ast::{
    AggregateExpr, BinaryExpr, Call, Cardinality, Expr, NumberLiteral, ParenExpr, StringLiteral, UnaryExpr,
    VectorMatching,
};
use super::error::ParseError;
use super::functions::Function;
use super::lexer::{Lexer, ParseResult};
use super::operators::{AggregateOp, BinaryOp, UnaryOp};
use super::options::ParserOptions;
use super::span::Span;
use super::token::{Keyword, Token, TokenKind, describe};
use crate::gostd::{GoString, parse_duration_ns, parse_number, unquote};

/// The operand of a sign: only `^` binds tighter.
const UNARY_OPERAND_PRECEDENCE: u8 = 6;

/// How tightly an operator binds; `^` alone is right-associative.
fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => 6,
        _ => 3,
    }
}

/// One run over a query text.
pub(super) struct Parser<'a> {
    pub(super) input: &'a str,
    pub(super) options: &'a ParserOptions,
    lexer: Lexer<'a>,
    /// The token read ahead, if any.
    peeked: Option<Token>,
    /// How many aggregations enclose the current token. Each of them catches errors.
    aggregations_open: u32,
    /// The end of the last closing bracket or number that was read, be it only ahead: Prometheus takes it for the
    /// end of what it has just parsed.
    pub(super) last_closing: u32,
    /// Operators in the duration expression being read.
    pub(super) duration_operators: u32,
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
    pub fn parse_whole_selector(&mut self) -> ParseResult<super::ast::VectorSelector> {
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

    // Tokens and errors.

    /// The next token, without consuming it.
    pub(super) fn peek(&mut self) -> ParseResult<Token> {
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

    pub(super) fn advance(&mut self) -> ParseResult<Token> {
        let token = self.peek()?;
        self.peeked = None;
        Ok(token)
    }

    /// Consumes the next token if it is of this kind.
    pub(super) fn accept(&mut self, kind: TokenKind) -> ParseResult<Option<Token>> {
        if self.peek()?.kind == kind { self.advance().map(Some) } else { Ok(None) }
    }

    pub(super) fn expect(&mut self, kind: TokenKind) -> ParseResult<Token> {
        match self.accept(kind)? {
            Some(token) => Ok(token),
            None => {
                let found = self.peek()?;
                self.unexpected(found)
            }
        }
    }

    pub(super) fn text(&self, token: Token) -> &'a str {
        &self.input[token.span.start as usize..token.span.end as usize]
    }

    pub(super) fn fail<T>(&self, span: Span, message: impl Into<String>) -> ParseResult<T> {
        Err(Box::new(ParseError::new(self.input, span, message)))
    }

    /// Blames `found` on the innermost aggregation, if there is one.
    pub(super) fn unexpected<T>(&self, found: Token) -> ParseResult<T> {
        let context = if self.aggregations_open > 0 { " in aggregation" } else { "" };
        self.fail(found.span, format!("unexpected {}{context}", describe(found.kind, self.text(found))))
    }

    /// Blames `found` on the construct `context`, which wants `expected` there.
    pub(super) fn unexpected_in<T>(&self, found: Token, context: &str, expected: &str) -> ParseResult<T> {
        let found_text = describe(found.kind, self.text(found));
        self.fail(found.span, format!("unexpected {found_text} in {context}, expected {expected}"))
    }

    pub(super) fn unquote(&self, token: Token) -> ParseResult<GoString> {
        match unquote(self.text(token)) {
            Some(value) => Ok(value),
            None => {
                let literal = crate::gostd::quote(self.text(token).as_bytes());
                self.fail(token.span, format!("error unquoting string {literal}: invalid syntax"))
            }
        }
    }

    /// The depth of a node above children of depth `below`, if the options allow it.
    pub(super) fn deeper(&self, below: u32, span: Span) -> ParseResult<u32> {
        let limit = self.options.nesting_depth_max;
        if below >= limit {
            return self.fail(span, format!("expression nests deeper than {limit} levels"));
        }
        Ok(below + 1)
    }

    // Expressions. Each function returns the expression and the depth of its tree; `outer` counts the levels around
    // it, so that recursion stops before it is as deep as the tree may be.

    /// An expression whose operators all bind at least as tightly as `min_precedence`.
    pub(super) fn parse_expr(&mut self, min_precedence: u8, outer: u32) -> ParseResult<(Expr, u32)> {
        let next = self.peek()?;
        let outer = self.deeper(outer, next.span)?;
        let (mut lhs, mut depth) = self.parse_unary(outer)?;
        while let TokenKind::Operator(op) = self.peek()?.kind {
            let level = precedence(op);
            if level < min_precedence {
                break;
            }
            let op_token = self.advance()?;
            let modifiers = self.parse_binary_modifiers()?;
            let rhs_precedence = if op == BinaryOp::Pow { level } else { level + 1 };
            let (rhs, rhs_depth) = self.parse_expr(rhs_precedence, outer)?;
            // Prometheus builds the node only after looking at the token behind it.
            self.peek()?;
            depth = self.deeper(depth.max(rhs_depth), op_token.span)?;
            let (matching, return_bool) = modifiers;
            let has_fill = matching.fill_left.is_some() || matching.fill_right.is_some();
            let binary = BinaryExpr { op, lhs, rhs, matching: Some(matching), return_bool };
            if has_fill && !self.options.binop_fill_modifiers {
                return self.fail(binary.span(), "binop fill modifiers are experimental and not enabled");
            }
            lhs = Expr::Binary(Box::new(binary));
        }
        Ok((lhs, depth))
    }

    fn parse_unary(&mut self, outer: u32) -> ParseResult<(Expr, u32)> {
        let token = self.peek()?;
        let op = match token.kind {
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            _ => {
                let (primary, depth) = self.parse_primary(outer)?;
                return self.parse_postfix(primary, depth);
            }
        };
        self.advance()?;
        let (operand, depth) = self.parse_expr(UNARY_OPERAND_PRECEDENCE, outer)?;
        match operand {
            // A signed number is a number.
            Expr::Number(number) => {
                let value = if op == UnaryOp::Minus { -number.value } else { number.value };
                let span = Span::new(token.span.start, number.span.end);
                Ok((Expr::Number(NumberLiteral { value, span, ..number }), depth))
            }
            expr => {
                let unary = UnaryExpr { op, expr, start: token.span.start };
                Ok((Expr::Unary(Box::new(unary)), self.deeper(depth, token.span)?))
            }
        }
    }

    fn parse_primary(&mut self, outer: u32) -> ParseResult<(Expr, u32)> {
        let token = self.peek()?;
        match token.kind {
            TokenKind::Number | TokenKind::Duration => Ok((Expr::Number(self.parse_number_literal()?), 1)),
            TokenKind::String => {
                self.advance()?;
                Ok((Expr::String(StringLiteral { value: self.unquote(token)?, span: token.span }), 1))
            }
            TokenKind::LeftParen => {
                self.advance()?;
                let (expr, depth) = self.parse_expr(0, outer)?;
                let close = self.expect(TokenKind::RightParen)?;
                let paren = ParenExpr { expr, span: token.span.to(close.span) };
                Ok((Expr::Paren(Box::new(paren)), self.deeper(depth, token.span)?))
            }
            TokenKind::LeftBrace => Ok((Expr::Vector(Box::new(self.parse_selector(None)?)), 1)),
            kind if kind.is_metric_name() => {
                self.advance()?;
                let next = self.peek()?.kind;
                match (kind, next) {
                    (
                        TokenKind::Aggregate(op),
                        TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without),
                    ) => self.parse_aggregate(op, token, outer),
                    (TokenKind::Identifier | TokenKind::Preprocessor(_), TokenKind::LeftParen) => {
                        self.parse_call(token, outer)
                    }
                    _ => Ok((Expr::Vector(Box::new(self.parse_selector(Some(token))?)), 1)),
                }
            }
            _ => self.unexpected(token),
        }
    }

    /// A number or a duration, which is a number of seconds.
    pub(super) fn parse_number_literal(&mut self) -> ParseResult<NumberLiteral> {
        let token = self.advance()?;
        if token.kind == TokenKind::Duration {
            return match parse_duration_ns(self.text(token)) {
                Ok(ns) => Ok(NumberLiteral { value: seconds(ns), duration: true, span: token.span }),
                Err(error) => self.fail(token.span, error.to_string()),
            };
        }
        match parse_number(self.text(token)) {
            Ok(value) => Ok(NumberLiteral { value, duration: false, span: token.span }),
            Err(error) => self.fail(token.span, format!("error parsing number: {error}")),
        }
    }

    // Calls.

    fn parse_call(&mut self, name: Token, outer: u32) -> ParseResult<(Expr, u32)> {
        let (args, depth) = self.parse_arguments(outer)?;
        let Some(func) = Function::by_name(self.text(name)) else {
            let name_quoted = crate::gostd::quote(self.text(name).as_bytes());
            return self.fail(name.span, format!("unknown function with name {name_quoted}"));
        };
        if func.signature().experimental && !self.options.experimental_functions {
            return self.fail(name.span, format!("function \"{}\" is not enabled", func.name()));
        }
        let span = Span::new(name.span.start, self.last_closing);
        Ok((Expr::Call(Call { func, args, span }), self.deeper(depth, name.span)?))
    }

    /// Arguments in parentheses, and the depth of the deepest. Reads no token ahead.
    fn parse_arguments(&mut self, outer: u32) -> ParseResult<(Vec<Expr>, u32)> {
        self.expect(TokenKind::LeftParen)?;
        if self.accept(TokenKind::RightParen)?.is_some() {
            return Ok((Vec::new(), 0));
        }
        let (first, mut depth) = self.parse_expr(0, outer)?;
        let mut args = vec![first];
        while let Some(comma) = self.accept(TokenKind::Comma)? {
            if !self.peek()?.kind.starts_expression() {
                return self.fail(comma.span, "trailing commas not allowed in function call args");
            }
            let (arg, arg_depth) = self.parse_expr(0, outer)?;
            depth = depth.max(arg_depth);
            args.push(arg);
        }
        self.expect(TokenKind::RightParen)?;
        Ok((args, depth))
    }

    fn parse_aggregate(&mut self, op: AggregateOp, name: Token, outer: u32) -> ParseResult<(Expr, u32)> {
        self.aggregations_open += 1;
        let leading = self.parse_aggregate_modifier()?;
        let (args, depth) = self.parse_arguments(outer)?;
        let own_end = self.last_closing;
        let modifier = match leading {
            Some(modifier) => Some(modifier),
            None => self.parse_aggregate_modifier()?,
        };
        self.aggregations_open -= 1;
        let end = if modifier.is_some() { self.last_closing } else { self.end_of_bare_aggregate(own_end)? };
        let (without, grouping) = modifier.unwrap_or_default();

        let span = Span::new(name.span.start, end);
        let expected = if op.has_param() { 2 } else { 1 };
        if args.is_empty() {
            return self.fail(span, "no arguments for aggregate expression provided");
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let message = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.as_str()
            );
            return self.fail(span, message);
        }
        let found = args.len();
        let mut args = args.into_iter();
        let (param, expr) = match (if op.has_param() { args.next() } else { None }, args.next()) {
            (param, Some(expr)) if found == expected => (param, expr),
            _ => {
                let message = format!(
                    "wrong number of arguments for aggregate expression provided, expected {expected}, got {found}"
                );
                return self.fail(span, message);
            }
        };
        let aggregate = AggregateExpr { op, expr, param, grouping, without, span };
        Ok((Expr::Aggregate(Box::new(aggregate)), self.deeper(depth, name.span)?))
    }

    /// The end of an aggregation without modifier. Looking for a modifier reads one token too far, and Prometheus
    /// finds its way back only over spaces: with a comment before a further `)`, that one counts as the end.
    fn end_of_bare_aggregate(&mut self, own_end: u32) -> ParseResult<u32> {
        let next = self.peek()?;
        let between = &self.input[own_end as usize..next.span.start as usize];
        let only_spaces = between.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        Ok(if next.kind == TokenKind::RightParen && only_spaces { own_end } else { self.last_closing })
    }

    /// `by (...)` or `without (...)`: whether it is the latter, and the labels.
    fn parse_aggregate_modifier(&mut self) -> ParseResult<Option<(bool, Vec<String>)>> {
        let without = match self.peek()?.kind {
            TokenKind::Keyword(Keyword::By) => false,
            TokenKind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some((without, self.parse_grouping_labels()?)))
    }

    // Modifiers of binary operators.

    fn parse_binary_modifiers(&mut self) -> ParseResult<(VectorMatching, bool)> {
        let mut matching = VectorMatching::default();
        let return_bool = self.accept(TokenKind::Keyword(Keyword::Bool))?.is_some();
        let on = match self.peek()?.kind {
            TokenKind::Keyword(Keyword::On) => Some(true),
            TokenKind::Keyword(Keyword::Ignoring) => Some(false),
            _ => None,
        };
        if let Some(on) = on {
            self.advance()?;
            matching.on = on;
            matching.labels = self.parse_grouping_labels()?;
            let group = match self.peek()?.kind {
                TokenKind::Keyword(Keyword::GroupLeft) => Some(Cardinality::ManyToOne),
                TokenKind::Keyword(Keyword::GroupRight) => Some(Cardinality::OneToMany),
                _ => None,
            };
            if let Some(cardinality) = group {
                self.advance()?;
                matching.cardinality = cardinality;
                // The labels may be left out, but only what can follow then is no error about them.
                if !self.peek()?.kind.starts_expression() || self.peek()?.kind == TokenKind::LeftParen {
                    matching.include = self.parse_grouping_labels()?;
                }
            }
        }
        match self.peek()?.kind {
            TokenKind::Keyword(Keyword::Fill) => {
                let value = self.parse_fill_value()?;
                (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
            }
            TokenKind::Keyword(Keyword::FillLeft) => {
                matching.fill_left = Some(self.parse_fill_value()?);
                if self.peek()?.kind == TokenKind::Keyword(Keyword::FillRight) {
                    matching.fill_right = Some(self.parse_fill_value()?);
                }
            }
            TokenKind::Keyword(Keyword::FillRight) => {
                matching.fill_right = Some(self.parse_fill_value()?);
                if self.peek()?.kind == TokenKind::Keyword(Keyword::FillLeft) {
                    matching.fill_left = Some(self.parse_fill_value()?);
                }
            }
            _ => {}
        }
        Ok((matching, return_bool))
    }

    /// The keyword and its number in parentheses.
    fn parse_fill_value(&mut self) -> ParseResult<f64> {
        self.advance()?;
        self.expect(TokenKind::LeftParen)?;
        let negative = self.accept_sign()?.is_some_and(|(_, op)| op == UnaryOp::Minus);
        let next = self.peek()?;
        if !matches!(next.kind, TokenKind::Number | TokenKind::Duration) {
            return self.unexpected(next);
        }
        let value = self.parse_number_literal()?.value;
        self.expect(TokenKind::RightParen)?;
        Ok(if negative { -value } else { value })
    }

    /// Consumes a sign, if one comes next.
    pub(super) fn accept_sign(&mut self) -> ParseResult<Option<(Token, UnaryOp)>> {
        let token = self.peek()?;
        let op = match token.kind {
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some((token, op)))
    }

    /// Labels in parentheses, a comma after the last one allowed. Reads no token ahead.
    fn parse_grouping_labels(&mut self) -> ParseResult<Vec<String>> {
        const CONTEXT: &str = "grouping opts";
        if self.accept(TokenKind::LeftParen)?.is_none() {
            let found = self.peek()?;
            return self.unexpected_in(found, CONTEXT, "\"(\"");
        }
        let mut labels = Vec::new();
        loop {
            let token = self.advance()?;
            match token.kind {
                TokenKind::RightParen => return Ok(labels),
                TokenKind::String => labels.push(self.grouping_label(token)?),
                kind if kind.is_grouping_label() => labels.push(self.text(token).to_owned()),
                _ => return self.unexpected_in(token, CONTEXT, "label"),
            }
            let separator = self.advance()?;
            match separator.kind {
                TokenKind::RightParen => return Ok(labels),
                TokenKind::Comma => {}
                _ => return self.unexpected_in(separator, CONTEXT, "\",\" or \")\""),
            }
        }
    }

    fn grouping_label(&self, token: Token) -> ParseResult<String> {
        let value = self.unquote(token)?;
        match value.as_str() {
            Some(label) if !label.is_empty() => Ok(label.to_owned()),
            _ => {
                let label = crate::gostd::quote(value.as_bytes());
                self.fail(token.span, format!("invalid label name for grouping: {label}"))
            }
        }
    }
}

/// Go's `Duration.Seconds`: whole seconds plus the fraction, so that the rounding is the same.
fn seconds(ns: i64) -> f64 {
    (ns / 1_000_000_000) as f64 + (ns % 1_000_000_000) as f64 / 1e9
}
