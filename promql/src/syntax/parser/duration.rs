//! Durations in brackets and after `offset`, with the arithmetic allowed there.
//!
//! An offset ends where a plain number, duration or call ends: `x offset 5m + 1` adds one to the samples. Only an
//! offset that starts with a parenthesis or two signs goes on as an expression.

use super::Parser;
use crate::gostd::{float_to_int64, parse_single_unit_ns};
use crate::syntax::ast::NumberLiteral;
use crate::syntax::duration::{DurationExpr, DurationKind, DurationOp, DurationValue};
use crate::syntax::lexer::ParseResult;
use crate::syntax::operators::{BinaryOp, UnaryOp};
use crate::syntax::span::Span;
use crate::syntax::token::{Preprocessor, Token, TokenKind};

/// Where an error in a duration is blamed.
#[derive(Clone, Copy)]
struct Blame {
    context: &'static str,
    expected: &'static str,
}

const OFFSET: Blame = Blame { context: "offset", expected: "number, duration, step(), or range()" };

/// `^` binds tightest and a sign as tightly as `*`.
const SIGN_OPERAND_PRECEDENCE: u8 = 3;

fn duration_op(op: BinaryOp) -> Option<(DurationOp, u8)> {
    Some(match op {
        BinaryOp::Add => (DurationOp::Add, 1),
        BinaryOp::Sub => (DurationOp::Sub, 1),
        BinaryOp::Mul => (DurationOp::Mul, 2),
        BinaryOp::Div => (DurationOp::Div, 2),
        BinaryOp::Mod => (DurationOp::Mod, 2),
        BinaryOp::Pow => (DurationOp::Pow, 3),
        _ => return None,
    })
}

fn literal(number: NumberLiteral) -> DurationExpr {
    DurationExpr { span: number.span, kind: DurationKind::Literal(number), wrapped: false }
}

/// In nanoseconds; the caller has checked the range.
fn fixed(number: &NumberLiteral) -> DurationValue {
    DurationValue::FixedNs(float_to_int64((number.value * 1e9).round()))
}

fn into_value(expr: DurationExpr) -> DurationValue {
    match expr.as_literal() {
        Some(number) => fixed(number),
        None => DurationValue::Expr(Box::new(expr)),
    }
}

impl Parser<'_> {
    /// A duration in brackets; a plain number must be positive. Reads one token ahead.
    pub(super) fn parse_bracket_duration(
        &mut self,
        context: &'static str,
        expected: &'static str,
    ) -> ParseResult<DurationValue> {
        self.duration_operators = 0;
        let expr = match self.peek_kind() {
            // Nearly always there is nothing but a short duration.
            TokenKind::Duration => {
                let token = self.tokens.take();
                if let Some(ns @ 1..) = parse_single_unit_ns(self.text(token).as_bytes())
                    && matches!(self.peek_kind(), TokenKind::RightBracket | TokenKind::Colon)
                {
                    return Ok(DurationValue::FixedNs(ns));
                }
                let number = self.duration_literal(token)?;
                self.check_duration_in_range(&number, number.span)?;
                self.parse_duration_rest(literal(number), 0, 0, Blame { context, expected })?
            }
            _ => self.parse_duration_expr(0, 0, Blame { context, expected })?,
        };
        match expr.as_literal() {
            Some(number) if number.value <= 0.0 => self.fail(number.span, "duration must be greater than 0"),
            _ => Ok(into_value(expr)),
        }
    }

    /// The duration after `offset`. The modifier ends at [`Parser::last_closing`].
    pub(super) fn parse_offset_duration(&mut self) -> ParseResult<DurationValue> {
        self.duration_operators = 0;
        let sign = self.accept_sign();
        let first = self.peek();
        match (first.kind, sign) {
            (TokenKind::Number | TokenKind::Duration, _) => {
                let mut number = self.parse_number_literal()?;
                let blamed = sign.map_or(number.span, |(token, _)| token.span);
                if let Some((token, op)) = sign {
                    apply_sign(&mut number, token, op);
                }
                self.check_duration_in_range(&number, blamed)?;
                Ok(fixed(&number))
            }
            (TokenKind::Preprocessor(_), _) => {
                let mut expr = self.parse_duration_call(0, OFFSET)?;
                if let Some((token, op)) = sign {
                    expr = signed(expr, token, op);
                    expr.span.start = token.span.start;
                }
                self.check_duration_expr_enabled(&expr)?;
                Ok(DurationValue::Expr(Box::new(expr)))
            }
            (TokenKind::LeftParen, Some((token, op))) => {
                self.advance();
                let mut inner = self.parse_duration_expr(0, 0, OFFSET)?;
                self.expect_for(OFFSET, TokenKind::RightParen)?;
                inner.wrapped = true;
                Ok(DurationValue::Expr(Box::new(signed(inner, token, op))))
            }
            _ => {
                let operand = match sign {
                    Some((token, op)) => self.parse_signed_duration(token, op, 0, OFFSET)?,
                    None => self.parse_duration_operand(0, OFFSET)?,
                };
                self.parse_duration_rest(operand, 0, 0, OFFSET).map(into_value)
            }
        }
    }

    /// An expression whose operators all bind at least as tightly as `min_precedence`. Reads one token ahead.
    fn parse_duration_expr(
        &mut self,
        min_precedence: u8,
        outer: u32,
        blame: Blame,
    ) -> ParseResult<DurationExpr> {
        let operand = match self.accept_sign() {
            Some((token, op)) => self.parse_signed_duration(token, op, outer, blame)?,
            None => self.parse_duration_operand(outer, blame)?,
        };
        self.parse_duration_rest(operand, min_precedence, outer, blame)
    }

    /// The operators after a first operand.
    fn parse_duration_rest(
        &mut self,
        mut lhs: DurationExpr,
        min_precedence: u8,
        outer: u32,
        blame: Blame,
    ) -> ParseResult<DurationExpr> {
        loop {
            let TokenKind::Operator(token_op) = self.peek_kind() else { return Ok(lhs) };
            let Some((op, level)) = duration_op(token_op).filter(|&(_, level)| level >= min_precedence)
            else {
                return Ok(lhs);
            };
            let op_token = self.advance();
            self.count_duration_operator(op_token)?;
            let rhs_precedence = if op == DurationOp::Pow { level } else { level + 1 };
            let rhs = self.parse_duration_expr(rhs_precedence, outer + 1, blame)?;
            self.check_duration_expr_enabled(&lhs)?;
            if rhs.as_literal().is_some_and(|number| number.value == 0.0) {
                match op {
                    DurationOp::Div => return self.fail(op_token.span, "division by zero"),
                    DurationOp::Mod => return self.fail(op_token.span, "modulo by zero"),
                    _ => {}
                }
            }
            let span = lhs.span.to(rhs.span);
            let kind = DurationKind::Binary(op, Box::new(lhs), Box::new(rhs));
            lhs = DurationExpr { kind, wrapped: false, span };
        }
    }

    /// What follows a sign that was read already.
    fn parse_signed_duration(
        &mut self,
        sign: Token,
        op: UnaryOp,
        outer: u32,
        blame: Blame,
    ) -> ParseResult<DurationExpr> {
        self.count_duration_operator(sign)?;
        let operand = self.parse_duration_expr(SIGN_OPERAND_PRECEDENCE, outer + 1, blame)?;
        match operand.as_literal() {
            Some(&number) => {
                let mut number = number;
                apply_sign(&mut number, sign, op);
                self.check_duration_in_range(&number, sign.span)?;
                Ok(literal(number))
            }
            None => Ok(signed(operand, sign, op)),
        }
    }

    fn parse_duration_operand(&mut self, outer: u32, blame: Blame) -> ParseResult<DurationExpr> {
        let first = self.peek();
        match first.kind {
            TokenKind::Number | TokenKind::Duration => {
                let number = self.parse_number_literal()?;
                self.check_duration_in_range(&number, number.span)?;
                Ok(literal(number))
            }
            TokenKind::LeftParen => {
                self.advance();
                self.count_duration_operator(first)?;
                let mut inner = self.parse_duration_expr(0, outer + 1, blame)?;
                self.expect_for(blame, TokenKind::RightParen)?;
                self.check_duration_expr_enabled(&inner)?;
                if inner.as_literal().is_some() {
                    inner.span.start = first.span.start;
                }
                inner.wrapped = true;
                Ok(inner)
            }
            TokenKind::Preprocessor(_) => {
                let call = self.parse_duration_call(outer, blame)?;
                self.check_duration_expr_enabled(&call)?;
                Ok(call)
            }
            _ => self.unexpected_in(first, blame.context, blame.expected),
        }
    }

    /// `step()`, `range()`, `min_of(a, b)` or `max_of(a, b)`.
    fn parse_duration_call(&mut self, outer: u32, blame: Blame) -> ParseResult<DurationExpr> {
        let name = self.advance();
        let TokenKind::Preprocessor(function) = name.kind else {
            return self.unexpected_in(name, blame.context, blame.expected);
        };
        if matches!(function, Preprocessor::Start | Preprocessor::End) {
            return self.unexpected_in(name, blame.context, blame.expected);
        }
        self.expect_for(blame, TokenKind::LeftParen)?;
        if let Preprocessor::Step | Preprocessor::Range = function {
            let close = self.expect_for(blame, TokenKind::RightParen)?;
            let kind = if function == Preprocessor::Step { DurationKind::Step } else { DurationKind::Range };
            return Ok(DurationExpr { kind, wrapped: false, span: name.span.to(close.span) });
        }
        self.count_duration_operator(name)?;
        let lhs = self.parse_duration_expr(0, outer + 1, blame)?;
        self.expect_for(blame, TokenKind::Comma)?;
        let rhs = self.parse_duration_expr(0, outer + 1, blame)?;
        self.expect_for(blame, TokenKind::RightParen)?;
        // Prometheus counts the arguments only.
        let span = lhs.span.to(rhs.span);
        let (lhs, rhs) = (Box::new(lhs), Box::new(rhs));
        let kind = if function == Preprocessor::MinOf {
            DurationKind::MinOf(lhs, rhs)
        } else {
            DurationKind::MaxOf(lhs, rhs)
        };
        Ok(DurationExpr { kind, wrapped: false, span })
    }

    fn expect_for(&mut self, blame: Blame, kind: TokenKind) -> ParseResult<Token> {
        let token = self.advance();
        if token.kind == kind { Ok(token) } else { self.unexpected_in(token, blame.context, blame.expected) }
    }

    /// Every level of a duration expression has an operator, so their number bounds its depth.
    fn count_duration_operator(&mut self, token: Token) -> ParseResult<()> {
        self.duration_operators += 1;
        let limit = self.options.nesting_depth_max;
        if self.duration_operators > limit {
            return self.fail(token.span, format!("duration expression has more than {limit} operators"));
        }
        Ok(())
    }

    /// A number of seconds must fit 64 bits of nanoseconds.
    fn check_duration_in_range(&self, number: &NumberLiteral, blamed: Span) -> ParseResult<()> {
        let bound = 2.0_f64.powi(63) / 1e9;
        if number.value > bound || number.value < -bound {
            return self.fail(blamed, "duration out of range");
        }
        Ok(())
    }

    fn check_duration_expr_enabled(&self, expr: &DurationExpr) -> ParseResult<()> {
        if self.options.duration_expr {
            return Ok(());
        }
        self.fail(expr.span, "experimental duration expression is not enabled")
    }
}

fn apply_sign(number: &mut NumberLiteral, sign: Token, op: UnaryOp) {
    if op == UnaryOp::Minus {
        number.value = -number.value;
    }
    number.span.start = sign.span.start;
}

/// A plus changes nothing and is not printed either.
fn signed(expr: DurationExpr, sign: Token, op: UnaryOp) -> DurationExpr {
    match op {
        UnaryOp::Plus => expr,
        UnaryOp::Minus => {
            let span = sign.span.to(expr.span);
            DurationExpr { kind: DurationKind::Negate(Box::new(expr)), wrapped: false, span }
        }
    }
}
