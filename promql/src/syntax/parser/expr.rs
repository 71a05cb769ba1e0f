//! Expressions: operators by precedence, and what they connect.
//!
//! Each function returns the expression and the depth of its tree; `outer` counts the levels around it, so that
//! recursion stops before it is as deep as the tree may be.

use super::Parser;
use crate::gostd::{parse_duration_ns, parse_number};
use crate::syntax::ast::{BinaryExpr, Expr, NumberLiteral, ParenExpr, StringLiteral, UnaryExpr};
use crate::syntax::lexer::ParseResult;
use crate::syntax::operators::{BinaryOp, UnaryOp};
use crate::syntax::span::Span;
use crate::syntax::token::{Keyword, TokenKind};

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
}

/// Go's `Duration.Seconds`: whole seconds plus the fraction, so that the rounding is the same.
fn seconds(ns: i64) -> f64 {
    (ns / 1_000_000_000) as f64 + (ns % 1_000_000_000) as f64 / 1e9
}
