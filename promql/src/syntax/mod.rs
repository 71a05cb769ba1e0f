//! The PromQL language: text to a checked syntax tree, and the tree back to text.
//!
//! [`parse_expr`] lexes, parses (precedence climbing) and type-checks; an error carries Prometheus's own text and
//! position. `Expr` prints itself in Prometheus's canonical form, which parses back to the same tree.
//!
//! What may go wrong: everything here handles text from strangers. The nesting of a tree is capped when it is
//! parsed ([`ParserOptions::nesting_depth_max`]), so that code recursing over a tree (printing, dropping,
//! planning) cannot run out of stack.

pub mod ast;
mod check;
mod duration;
mod error;
mod functions;
mod label_name;
mod lexer;
mod matcher;
mod operators;
mod options;
mod parser;
mod pretty;
mod printer;
pub mod series_desc;
mod span;
mod token;

pub use ast::{Expr, VectorSelector};
pub use duration::{DurationExpr, DurationKind, DurationOp, DurationValue};
pub use error::ParseError;
pub use functions::{Function, Signature, ValueType, Variadic};
pub use label_name::LabelName;
pub use matcher::{METRIC_NAME_LABEL, MatchOp, Matcher};
pub use operators::{AggregateOp, BinaryOp, UnaryOp};
pub use options::ParserOptions;
pub use span::Span;

use parser::Parser;

/// Parses and type-checks one PromQL expression.
///
/// Only the first error is reported, as Prometheus's API does.
pub fn parse_expr(input: &str, options: &ParserOptions) -> Result<Expr, ParseError> {
    within_length(input, options)?;
    let mut expr = Parser::new(input, options).parse_whole_expression().map_err(|error| *error)?;
    check::check(input, &mut expr).map_err(|error| *error)?;
    Ok(expr)
}

/// Parses one instant vector selector without modifiers, as the `match[]` parameter of the API holds it.
pub fn parse_selector(input: &str, options: &ParserOptions) -> Result<VectorSelector, ParseError> {
    within_length(input, options)?;
    Parser::new(input, options).parse_whole_selector().map_err(|error| *error)
}

/// Positions are 32 bits wide, and no honest query is longer.
fn within_length(input: &str, options: &ParserOptions) -> Result<(), ParseError> {
    let limit = options.query_bytes_max.min(u32::MAX as usize - 1);
    if input.len() <= limit {
        return Ok(());
    }
    let message = format!("query of {} bytes is longer than the limit of {limit}", input.len());
    Err(ParseError::new(input, Span::default(), message))
}
