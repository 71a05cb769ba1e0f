//! Modifiers of binary operators: `bool`, matching, grouping, filling.

use super::Parser;
use crate::syntax::ast::{Cardinality, VectorMatching};
use crate::syntax::lexer::ParseResult;
use crate::syntax::operators::UnaryOp;
use crate::syntax::token::{Keyword, TokenKind};

impl Parser<'_> {
    /// Everything between an operator and its right operand: the matching, and whether there was a `bool`.
    pub(super) fn parse_binary_modifiers(&mut self) -> ParseResult<(VectorMatching, bool)> {
        let mut matching = VectorMatching::default();
        let return_bool = self.accept(TokenKind::Keyword(Keyword::Bool)).is_some();
        let on = match self.peek_kind() {
            TokenKind::Keyword(Keyword::On) => Some(true),
            TokenKind::Keyword(Keyword::Ignoring) => Some(false),
            _ => None,
        };
        if let Some(on) = on {
            self.advance();
            matching.on = on;
            matching.labels = self.parse_grouping_labels()?;
            let group = match self.peek_kind() {
                TokenKind::Keyword(Keyword::GroupLeft) => Some(Cardinality::ManyToOne),
                TokenKind::Keyword(Keyword::GroupRight) => Some(Cardinality::OneToMany),
                _ => None,
            };
            if let Some(cardinality) = group {
                self.advance();
                matching.cardinality = cardinality;
                // The labels may be left out, but only what can follow then is no error about them.
                if !self.peek_kind().starts_expression() || self.peek_kind() == TokenKind::LeftParen {
                    matching.include = self.parse_grouping_labels()?;
                }
            }
        }
        match self.peek_kind() {
            TokenKind::Keyword(Keyword::Fill) => {
                let value = self.parse_fill_value()?;
                (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
            }
            TokenKind::Keyword(Keyword::FillLeft) => {
                matching.fill_left = Some(self.parse_fill_value()?);
                if self.peek_kind() == TokenKind::Keyword(Keyword::FillRight) {
                    matching.fill_right = Some(self.parse_fill_value()?);
                }
            }
            TokenKind::Keyword(Keyword::FillRight) => {
                matching.fill_right = Some(self.parse_fill_value()?);
                if self.peek_kind() == TokenKind::Keyword(Keyword::FillLeft) {
                    matching.fill_left = Some(self.parse_fill_value()?);
                }
            }
            _ => {}
        }
        Ok((matching, return_bool))
    }

    /// The keyword and its number in parentheses.
    fn parse_fill_value(&mut self) -> ParseResult<f64> {
        self.advance();
        self.expect(TokenKind::LeftParen)?;
        let negative = self.accept_sign().is_some_and(|(_, op)| op == UnaryOp::Minus);
        let next = self.peek();
        if !matches!(next.kind, TokenKind::Number | TokenKind::Duration) {
            return self.unexpected(next);
        }
        let value = self.parse_number_literal()?.value;
        self.expect(TokenKind::RightParen)?;
        Ok(if negative { -value } else { value })
    }
}
