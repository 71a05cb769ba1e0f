//! Selectors and what may follow an expression: `[...]`, `offset`, `@`, `anchored`, `smoothed`.
//!
//! These bind tighter than any operator. The grammar allows them after every expression; where they make no sense
//! the error is raised here, in the order in which Prometheus notices.

use super::Parser;
use crate::gostd::{GoString, float_to_int64, format_fixed};
use crate::syntax::ast::{
    AtModifier, Expr, ExtendedRange, Matchers, MatrixSelector, NumberLiteral, SubqueryExpr, VectorSelector,
};
use crate::syntax::duration::DurationValue;
use crate::syntax::lexer::ParseResult;
use crate::syntax::matcher::{METRIC_NAME_LABEL, MatchOp, Matcher};
use crate::syntax::operators::{BinaryOp, UnaryOp};
use crate::syntax::span::Span;
use crate::syntax::token::{Keyword, Preprocessor, Token, TokenKind};

const RANGES_ONLY_FOR_SELECTORS: &str = "ranges only allowed for vector selectors";

/// What a modifier changes: the fields shared by selectors and subqueries.
struct Modifiable<'e> {
    offset: &'e mut DurationValue,
    at: &'e mut Option<AtModifier>,
    end: &'e mut u32,
}

fn modifiable(expr: &mut Expr) -> Option<Modifiable<'_>> {
    match expr {
        Expr::Vector(vector) => {
            Some(Modifiable { offset: &mut vector.offset, at: &mut vector.at, end: &mut vector.span.end })
        }
        Expr::Matrix(matrix) => {
            let MatrixSelector { selector, end, .. } = matrix;
            Some(Modifiable { offset: &mut selector.offset, at: &mut selector.at, end })
        }
        Expr::Subquery(subquery) => {
            let SubqueryExpr { offset, at, end, .. } = &mut **subquery;
            Some(Modifiable { offset, at, end })
        }
        _ => None,
    }
}

/// The expression, to become a part of the one that takes its place.
fn taken(expr: &mut Expr) -> Expr {
    let nothing = NumberLiteral { value: 0.0, duration: false, span: Span::default() };
    std::mem::replace(expr, Expr::Number(nothing))
}

impl Parser<'_> {
    /// A selector whose name, if any, was read already: `x`, `x{...}` or `{...}`.
    pub(super) fn parse_selector(&mut self, name: Option<Token>) -> ParseResult<Box<VectorSelector>> {
        // Made in place, since it is large.
        let mut selector: Box<VectorSelector> = Box::default();
        if let Some(name) = name {
            (selector.named, selector.span) = (true, name.span);
        }
        if self.peek_kind() == TokenKind::LeftBrace {
            let braces = self.parse_label_matchers(&mut selector.matchers)?;
            selector.span = name.map_or(braces, |token| token.span.to(braces));
        }
        if let Some(name) = name {
            selector.matchers.push(Matcher {
                op: MatchOp::Equal,
                name: GoString::from_static(METRIC_NAME_LABEL),
                value: self.raw(name),
            });
        }
        Ok(selector)
    }

    /// `{...}`, appended to `matchers`; where the braces stand.
    fn parse_label_matchers(&mut self, matchers: &mut Matchers) -> ParseResult<Span> {
        const CONTEXT: &str = "label matching";
        let open = self.advance();
        loop {
            let token = self.advance();
            match token.kind {
                TokenKind::RightBrace => return Ok(open.span.to(token.span)),
                TokenKind::Identifier => {
                    let Some(op) = self.accept_match_op() else {
                        let found = self.peek();
                        return self.unexpected_in(found, CONTEXT, "label matching operator");
                    };
                    let value = self.expect_match_value()?;
                    matchers.push(Matcher { op, name: self.raw(token), value: self.unquote(value)? });
                    self.check_pattern(matchers, token, value)?;
                }
                TokenKind::String | TokenKind::EscapedString => {
                    let text = self.unquote(token)?;
                    match self.accept_match_op() {
                        Some(op) => {
                            let value = self.expect_match_value()?;
                            matchers.push(Matcher { op, name: text, value: self.unquote(value)? });
                            self.check_pattern(matchers, token, value)?;
                        }
                        None => matchers.push(Matcher {
                            op: MatchOp::Equal,
                            name: GoString::from_static(METRIC_NAME_LABEL),
                            value: text,
                        }),
                    }
                }
                _ => return self.unexpected_in(token, CONTEXT, "identifier or \"}\""),
            }
            let separator = self.advance();
            match separator.kind {
                TokenKind::RightBrace => return Ok(open.span.to(separator.span)),
                TokenKind::Comma => {}
                _ => return self.unexpected_in(separator, CONTEXT, "\",\" or \"}\""),
            }
        }
    }

    #[inline]
    fn accept_match_op(&mut self) -> Option<MatchOp> {
        let op = match self.peek_kind() {
            TokenKind::Equal => MatchOp::Equal,
            TokenKind::Operator(BinaryOp::Neq) => MatchOp::NotEqual,
            TokenKind::EqualRegex => MatchOp::Regexp,
            TokenKind::NotRegex => MatchOp::NotRegexp,
            _ => return None,
        };
        self.tokens.take();
        Some(op)
    }

    #[inline]
    fn expect_match_value(&mut self) -> ParseResult<Token> {
        let token = self.advance();
        match token.kind {
            TokenKind::String | TokenKind::EscapedString => Ok(token),
            _ => self.unexpected_in(token, "label matching", "string"),
        }
    }

    /// Whether the newest matcher, which goes from `label` to `value`, has a valid pattern, if any.
    #[inline]
    fn check_pattern(&self, matchers: &[Matcher], label: Token, value: Token) -> ParseResult<()> {
        match matchers.last() {
            Some(matcher) if matches!(matcher.op, MatchOp::Regexp | MatchOp::NotRegexp) => {
                let blamed = label.span.to(value.span);
                matcher.check_pattern().or_else(|error| self.fail(blamed, error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Everything that may follow `expr` and binds tighter than operators.
    pub(super) fn parse_postfix(&mut self, expr: &mut Expr) -> ParseResult<()> {
        loop {
            let token = self.peek();
            if !token.kind.is_postfix() {
                return Ok(());
            }
            self.advance();
            match token.kind {
                TokenKind::LeftBracket => {
                    self.parse_brackets(expr, token)?;
                    if matches!(expr, Expr::Subquery(_)) {
                        self.depth = self.deeper(self.depth, token.span)?;
                    }
                }
                TokenKind::Keyword(Keyword::Offset) => self.parse_offset(expr)?,
                TokenKind::Keyword(Keyword::Anchored) => {
                    self.set_extended_range(expr, ExtendedRange::Anchored)?;
                }
                TokenKind::Keyword(Keyword::Smoothed) => {
                    self.set_extended_range(expr, ExtendedRange::Smoothed)?;
                }
                _ => self.parse_at(expr)?,
            }
        }
    }

    /// The inside of `[...]`: a range, or range and step of a subquery. Turns `expr` into what is selected by it.
    fn parse_brackets(&mut self, expr: &mut Expr, open: Token) -> ParseResult<()> {
        let range = self
            .parse_bracket_duration("subquery or range selector", "number, duration, step(), or range()")?;
        let after = self.advance();
        match after.kind {
            TokenKind::RightBracket => {
                *expr = self.matrix_selector(taken(expr), range, open.span.to(after.span))?;
                Ok(())
            }
            TokenKind::Colon => {
                let (step, close) = match self.accept(TokenKind::RightBracket) {
                    Some(close) => (DurationValue::ZERO, close),
                    None => {
                        let step = self.parse_bracket_duration(
                            "subquery selector",
                            "number, duration, step(), range(), or \"]\"",
                        )?;
                        let close = self.advance();
                        if close.kind != TokenKind::RightBracket {
                            return self.unexpected_in(close, "subquery selector", "\"]\"");
                        }
                        (step, close)
                    }
                };
                let offset = DurationValue::ZERO;
                let end = close.span.end;
                let subquery = SubqueryExpr { expr: taken(expr), range, step, offset, at: None, end };
                *expr = Expr::Subquery(Box::new(subquery));
                Ok(())
            }
            _ => self.unexpected_in(after, "subquery or range", "\":\" or \"]\""),
        }
    }

    fn matrix_selector(&self, expr: Expr, range: DurationValue, brackets: Span) -> ParseResult<Expr> {
        let Expr::Vector(selector) = expr else {
            return self.fail(brackets, RANGES_ONLY_FOR_SELECTORS);
        };
        if !selector.offset.is_zero() {
            return self.fail(brackets, "no offset modifiers allowed before range");
        }
        if selector.at.is_some() {
            return self.fail(brackets, "no @ modifiers allowed before range");
        }
        Ok(Expr::Matrix(MatrixSelector { selector, range, end: brackets.end }))
    }

    fn parse_offset(&mut self, expr: &mut Expr) -> ParseResult<()> {
        let value = self.parse_offset_duration()?;
        let end = self.last_closing();
        let span = expr.span();
        let Some(target) = modifiable(expr) else {
            return self.fail(
                span,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            );
        };
        if !target.offset.is_zero() {
            return self.fail(span, "offset may not be set multiple times");
        }
        *target.offset = value;
        *target.end = end;
        Ok(())
    }

    fn parse_at(&mut self, expr: &mut Expr) -> ParseResult<()> {
        const CONTEXT: &str = "@";
        const EXPECTED: &str = "timestamp";
        let token = self.peek();
        let at = match token.kind {
            TokenKind::Preprocessor(kind @ (Preprocessor::Start | Preprocessor::End)) => {
                self.advance();
                for wanted in [TokenKind::LeftParen, TokenKind::RightParen] {
                    let found = self.advance();
                    if found.kind != wanted {
                        return self.unexpected_in(found, CONTEXT, EXPECTED);
                    }
                }
                if kind == Preprocessor::Start { AtModifier::Start } else { AtModifier::End }
            }
            _ => {
                let negative = self.accept_sign().is_some_and(|(_, op)| op == UnaryOp::Minus);
                let number = self.peek();
                if !matches!(number.kind, TokenKind::Number | TokenKind::Duration) {
                    return self.unexpected_in(number, CONTEXT, EXPECTED);
                }
                let value = self.parse_number_literal()?.value;
                let seconds = if negative { -value } else { value };
                // The bounds are those of int64, applied to seconds.
                let bound = 2.0_f64.powi(63);
                if seconds.is_nan() || seconds >= bound || seconds <= -bound {
                    let seconds = format_fixed(seconds, 6);
                    return self
                        .fail(expr.span(), format!("timestamp out of bounds for @ modifier: {seconds}"));
                }
                AtModifier::TimestampMs(float_to_int64((seconds * 1000.0).round()))
            }
        };
        let span = expr.span();
        let Some(target) = modifiable(expr) else {
            return self.fail(
                span,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            );
        };
        if target.at.is_some() {
            return self.fail(span, "@ <timestamp> may not be set multiple times");
        }
        *target.at = Some(at);
        *target.end = self.last_closing();
        Ok(())
    }

    fn set_extended_range(&self, expr: &mut Expr, wanted: ExtendedRange) -> ParseResult<()> {
        let span = expr.span();
        let name = wanted.as_str();
        if !self.options.extended_range_selectors {
            return self.fail(span, format!("{name} modifier is experimental and not enabled"));
        }
        let extended = match expr {
            Expr::Vector(vector) => &mut vector.extended,
            Expr::Matrix(matrix) => &mut matrix.selector.extended,
            Expr::Subquery(_) => {
                return self.fail(span, format!("{name} modifier is not supported for subqueries"));
            }
            _ => return self.fail(span, format!("{name} modifier not implemented")),
        };
        if extended.is_some_and(|other| other != wanted) {
            return self.fail(span, "anchored and smoothed modifiers cannot be used together");
        }
        *extended = Some(wanted);
        Ok(())
    }
}
