//! Calls of functions and aggregations.

use super::Parser;
use crate::gostd::quote;
use crate::syntax::ast::{AggregateExpr, Call, Expr};
use crate::syntax::functions::Function;
use crate::syntax::label_name::LabelName;
use crate::syntax::lexer::ParseResult;
use crate::syntax::operators::AggregateOp;
use crate::syntax::span::Span;
use crate::syntax::token::{Keyword, Token, TokenKind};

impl Parser<'_> {
    /// A call whose name was read already.
    pub(super) fn parse_call(&mut self, name: Token, outer: u32) -> ParseResult<Expr> {
        let func = Function::by_name(self.text(name));
        let mut args = Vec::with_capacity(func.map_or(0, |func| func.signature().args.len()));
        self.parse_arguments(outer, &mut |arg| args.push(arg))?;
        let Some(func) = func else {
            let name_quoted = quote(self.text(name).as_bytes());
            return self.fail(name.span, format!("unknown function with name {name_quoted}"));
        };
        if func.signature().experimental && !self.options.experimental_functions {
            return self.fail(name.span, format!("function \"{}\" is not enabled", func.name()));
        }
        let span = Span::new(name.span.start, self.last_closing());
        self.depth = self.deeper(self.depth, name.span)?;
        Ok(Expr::Call(Call { func, args, span }))
    }

    /// Arguments in parentheses, each handed to `take`. Reads no token ahead; leaves the depth of the deepest.
    #[inline]
    fn parse_arguments(&mut self, outer: u32, take: &mut impl FnMut(Expr)) -> ParseResult<()> {
        self.expect(TokenKind::LeftParen)?;
        self.depth = 0;
        if self.accept(TokenKind::RightParen).is_some() {
            return Ok(());
        }
        take(self.parse_expr(0, outer)?);
        while let Some(comma) = self.accept(TokenKind::Comma) {
            if !self.peek_kind().starts_expression() {
                return self.fail(comma.span, "trailing commas not allowed in function call args");
            }
            let deepest = self.depth;
            take(self.parse_expr(0, outer)?);
            self.depth = self.depth.max(deepest);
        }
        self.expect(TokenKind::RightParen)?;
        Ok(())
    }

    /// An aggregation whose name was read already.
    pub(super) fn parse_aggregate(&mut self, op: AggregateOp, name: Token, outer: u32) -> ParseResult<Expr> {
        self.aggregations_open += 1;
        let leading = self.parse_aggregate_modifier()?;
        // No aggregation has more than two.
        let (mut first, mut second, mut found) = (None, None, 0);
        self.parse_arguments(outer, &mut |arg| {
            found += 1;
            match found {
                1 => first = Some(arg),
                2 => second = Some(arg),
                _ => {}
            }
        })?;
        let own_end = self.last_closing();
        let modifier = match leading {
            Some(modifier) => Some(modifier),
            None => self.parse_aggregate_modifier()?,
        };
        self.aggregations_open -= 1;
        let end = if modifier.is_some() { self.last_closing() } else { self.end_of_bare_aggregate(own_end)? };
        let (without, grouping) = modifier.unwrap_or_default();

        let span = Span::new(name.span.start, end);
        let expected = if op.has_param() { 2 } else { 1 };
        if found == 0 {
            return self.fail(span, "no arguments for aggregate expression provided");
        }
        if op.is_experimental() && !self.options.experimental_functions {
            let message = format!(
                "{}() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
                op.as_str()
            );
            return self.fail(span, message);
        }
        let (param, expr) = if op.has_param() { (first, second) } else { (None, first) };
        let expr = match expr {
            Some(expr) if found == expected => expr,
            _ => {
                let message = format!(
                    "wrong number of arguments for aggregate expression provided, expected {expected}, got {found}"
                );
                return self.fail(span, message);
            }
        };
        let aggregate = AggregateExpr { op, expr, param, grouping, without, span };
        self.depth = self.deeper(self.depth, name.span)?;
        Ok(Expr::Aggregate(Box::new(aggregate)))
    }

    /// The end of an aggregation without modifier. Looking for a modifier reads one token too far, and Prometheus
    /// finds its way back only over spaces: with a comment before a further `)`, that one counts as the end.
    fn end_of_bare_aggregate(&mut self, own_end: u32) -> ParseResult<u32> {
        let next = self.peek();
        let between = &self.input[own_end as usize..next.span.start as usize];
        let only_spaces = between.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        Ok(if next.kind == TokenKind::RightParen && only_spaces { own_end } else { self.last_closing() })
    }

    /// `by (...)` or `without (...)`: whether it is the latter, and the labels.
    fn parse_aggregate_modifier(&mut self) -> ParseResult<Option<(bool, Vec<LabelName>)>> {
        let without = match self.peek_kind() {
            TokenKind::Keyword(Keyword::By) => false,
            TokenKind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.advance();
        Ok(Some((without, self.parse_grouping_labels()?)))
    }

    /// Labels in parentheses, a comma after the last one allowed. Reads no token ahead.
    pub(super) fn parse_grouping_labels(&mut self) -> ParseResult<Vec<LabelName>> {
        const CONTEXT: &str = "grouping opts";
        if self.accept(TokenKind::LeftParen).is_none() {
            let found = self.peek();
            return self.unexpected_in(found, CONTEXT, "\"(\"");
        }
        let mut labels = Vec::with_capacity(4);
        loop {
            let token = self.advance();
            match token.kind {
                TokenKind::RightParen => return Ok(labels),
                TokenKind::String | TokenKind::EscapedString => labels.push(self.grouping_label(token)?),
                kind if kind.is_grouping_label() => labels.push(LabelName::of(self.raw(token))),
                _ => return self.unexpected_in(token, CONTEXT, "label"),
            }
            let separator = self.advance();
            match separator.kind {
                TokenKind::RightParen => return Ok(labels),
                TokenKind::Comma => {}
                _ => return self.unexpected_in(separator, CONTEXT, "\",\" or \")\""),
            }
        }
    }

    fn grouping_label(&self, token: Token) -> ParseResult<LabelName> {
        let value = self.unquote(token)?;
        match value.as_str() {
            Some(label) if !label.is_empty() => Ok(label.into()),
            _ => {
                let label = quote(value.as_bytes());
                self.fail(token.span, format!("invalid label name for grouping: {label}"))
            }
        }
    }
}
