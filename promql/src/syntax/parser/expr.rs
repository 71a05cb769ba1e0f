//! Expressions: operators by precedence, and what they connect.
//!
//! Each function leaves the depth of its tree in [`Parser::depth`]; `outer` counts the levels around it, so that recursion
//! stops before it is as deep as the tree may be.

use super::Parser;
use crate::gostd::{parse_duration_ns, parse_number};
use crate::syntax::ast::{BinaryExpr, Expr, NumberLiteral, ParenExpr, StringLiteral, UnaryExpr};
use crate::syntax::lexer::ParseResult;
use crate::syntax::operators::{BinaryOp, UnaryOp};
use crate::syntax::span::Span;
use crate::syntax::token::{Keyword, Token, TokenKind};

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

impl Parser<'_> {
    /// An expression whose operators all bind at least as tightly as `min_precedence`.
    pub(super) fn parse_expr(&mut self, min_precedence: u8, outer: u32) -> ParseResult<Expr> {
        let next = self.peek();
        let outer = self.deeper(outer, next.span)?;
        let mut lhs = self.parse_operand(next, outer)?;
        while let TokenKind::Operator(op) = self.peek_kind() {
            let level = precedence(op);
            if level < min_precedence {
                break;
            }
            let op_token = self.tokens.take();
            let lhs_depth = self.depth;
            let (matching, return_bool) = self.parse_binary_modifiers()?;
            let rhs_precedence = if op == BinaryOp::Pow { level } else { level + 1 };
            let rhs = self.parse_expr(rhs_precedence, outer)?;
            // Prometheus builds the node only after looking at the token behind it.
            self.peek_kind();
            self.depth = self.deeper(lhs_depth.max(self.depth), op_token.span)?;
            let has_fill = matching.fill_left.is_some() || matching.fill_right.is_some();
            let binary = BinaryExpr { op, lhs, rhs, matching: Some(matching), return_bool };
            if has_fill && !self.options.binop_fill_modifiers {
                return self.fail(binary.span(), "binop fill modifiers are experimental and not enabled");
            }
            lhs = Expr::Binary(Box::new(binary));
        }
        Ok(lhs)
    }

    /// What operators connect: an expression without an operator of its own, with its sign and modifiers.
    #[inline(always)]
    fn parse_operand(&mut self, first: Token, outer: u32) -> ParseResult<Expr> {
        let op = match first.kind {
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            _ => {
                let mut primary = self.parse_primary(first, outer)?;
                if self.peek_kind().is_postfix() {
                    self.parse_postfix(&mut primary)?;
                }
                return Ok(primary);
            }
        };
        self.tokens.take();
        match self.parse_expr(UNARY_OPERAND_PRECEDENCE, outer)? {
            // A signed number is a number.
            Expr::Number(number) => {
                let value = if op == UnaryOp::Minus { -number.value } else { number.value };
                let span = Span::new(first.span.start, number.span.end);
                Ok(Expr::Number(NumberLiteral { value, span, ..number }))
            }
            expr => {
                let unary = UnaryExpr { op, expr, start: first.span.start };
                self.depth = self.deeper(self.depth, first.span)?;
                Ok(Expr::Unary(Box::new(unary)))
            }
        }
    }

    #[inline(always)]
    fn parse_primary(&mut self, token: Token, outer: u32) -> ParseResult<Expr> {
        self.depth = 1;
        match token.kind {
            TokenKind::Number | TokenKind::Duration => Ok(Expr::Number(self.parse_number_literal()?)),
            TokenKind::String | TokenKind::EscapedString => {
                self.tokens.take();
                Ok(Expr::String(StringLiteral { value: self.unquote(token)?, span: token.span }))
            }
            TokenKind::LeftParen => {
                self.tokens.take();
                let expr = self.parse_expr(0, outer)?;
                let close = self.expect(TokenKind::RightParen)?;
                self.depth = self.deeper(self.depth, token.span)?;
                Ok(Expr::Paren(Box::new(ParenExpr { expr, span: token.span.to(close.span) })))
            }
            TokenKind::LeftBrace => Ok(Expr::Vector(self.parse_selector(None)?)),
            kind if kind.is_metric_name() => {
                self.tokens.take();
                let next = self.peek_kind();
                match (kind, next) {
                    (
                        TokenKind::Aggregate(op),
                        TokenKind::LeftParen | TokenKind::Keyword(Keyword::By | Keyword::Without),
                    ) => self.parse_aggregate(op, token, outer),
                    (TokenKind::Identifier | TokenKind::Preprocessor(_), TokenKind::LeftParen) => {
                        self.parse_call(token, outer)
                    }
                    _ => Ok(Expr::Vector(self.parse_selector(Some(token))?)),
                }
            }
            _ => self.unexpected(token),
        }
    }

    /// A number or a duration, which is a number of seconds.
    pub(super) fn parse_number_literal(&mut self) -> ParseResult<NumberLiteral> {
        let token = self.advance();
        if token.kind == TokenKind::Duration {
            return self.duration_literal(token);
        }
        match parse_number(self.text(token)) {
            Ok(value) => Ok(NumberLiteral { value, duration: false, span: token.span }),
            Err(error) => self.fail(token.span, format!("error parsing number: {error}")),
        }
    }

    /// A duration that was read already, as a number of seconds.
    pub(super) fn duration_literal(&self, token: Token) -> ParseResult<NumberLiteral> {
        match parse_duration_ns(self.text(token)) {
            Ok(ns) => Ok(NumberLiteral { value: seconds(ns), duration: true, span: token.span }),
            Err(error) => self.fail(token.span, error.to_string()),
        }
    }
}

/// Go's `Duration.Seconds`: whole seconds plus the fraction, so that the rounding is the same.
fn seconds(ns: i64) -> f64 {
    (ns / 1_000_000_000) as f64 + (ns % 1_000_000_000) as f64 / 1e9
}
