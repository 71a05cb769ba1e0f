//! Calls of functions and aggregations.

use super::Parser;
use crate::gostd::quote;
use crate::syntax::ast::{AggregateExpr, Call, Expr};
use crate::syntax::functions::Function;
use crate::syntax::lexer::ParseResult;
use crate::syntax::operators::AggregateOp;
use crate::syntax::span::Span;
use crate::syntax::token::{Keyword, Token, TokenKind};

impl Parser<'_> {
    /// A call whose name was read already.
    pub(super) fn parse_call(&mut self, name: Token, outer: u32) -> ParseResult<(Expr, u32)> {
        let (args, depth) = self.parse_arguments(outer)?;
        let Some(func) = Function::by_name(self.text(name)) else {
            let name_quoted = quote(self.text(name).as_bytes());
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

    /// An aggregation whose name was read already.
    pub(super) fn parse_aggregate(
        &mut self,
        op: AggregateOp,
        name: Token,
        outer: u32,
    ) -> ParseResult<(Expr, u32)> {
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

    /// Labels in parentheses, a comma after the last one allowed. Reads no token ahead.
    pub(super) fn parse_grouping_labels(&mut self) -> ParseResult<Vec<String>> {
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
                let label = quote(value.as_bytes());
                self.fail(token.span, format!("invalid label name for grouping: {label}"))
            }
        }
    }
}
