//! The canonical text of a tree, as Prometheus prints it: it parses back to the same tree.
//!
//! Prometheus's own text does not always parse back, or not to the same value. Where it does not, this one differs:
//! - a duration literal keeps its milliseconds (Prometheus cuts off a rounding error and prints `1s9ms` as `1s8ms`);
//! - a range, step or offset of broken milliseconds prints as a number of seconds (Prometheus: `[0s]`), and so does
//!   `offset NaN`, which means the smallest duration (Prometheus: `offset --106751d...`);
//! - an offset that goes on behind its first operand gets parentheses if it starts with neither a parenthesis nor two
//!   signs: `x offset +-9*2` prints as `x offset (-9 * 2)` (Prometheus: `x offset -9 * 2`, the double of `x`);
//! - a label `without`, `inf` or `nan` in a clause is quoted (Prometheus: `by (nan)`, which it rejects);
//! - infinity to the left of `^` has no sign (Prometheus: `+Inf ^ 2`, the plus of a power);
//! - a selector of all series, which only `info` accepts, prints as `{}` (Prometheus: nothing).

use std::fmt;

use super::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Cardinality, Expr, ExtendedRange, NumberLiteral, SubqueryExpr,
    VectorMatching, VectorSelector,
};
use super::duration::{DurationExpr, DurationKind, DurationValue};
use super::matcher::{METRIC_NAME_LABEL, MatchOp, Matcher};
use super::operators::BinaryOp;
use super::token::{TokenKind, classify_word};
use crate::gostd::{float_to_int64, format_fixed, format_g, write_duration_ns, write_f, write_quoted};

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_text(|out| write_expr(out, self)))
    }
}

impl fmt::Display for VectorSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_text(|out| write_vector_selector(out, self)))
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_text(|out| write_duration_expr(out, self)))
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_text(|out| write_matcher(out, self)))
    }
}

fn to_text(write: impl FnOnce(&mut String)) -> String {
    let mut out = String::new();
    write(&mut out);
    out
}

fn write_separated<T>(
    out: &mut String,
    items: &[T],
    separator: &str,
    mut write: impl FnMut(&mut String, &T),
) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(separator);
        }
        write(out, item);
    }
}

pub(super) fn write_expr(out: &mut String, expr: &Expr) {
    match expr {
        Expr::Aggregate(aggregate) => {
            write_aggregate_head(out, aggregate);
            out.push('(');
            if let Some(param) = &aggregate.param {
                write_expr(out, param);
                out.push_str(", ");
            }
            write_expr(out, &aggregate.expr);
            out.push(')');
        }
        Expr::Binary(binary) => {
            match &binary.lhs {
                Expr::Number(number) if number.value == f64::INFINITY && binary.op == BinaryOp::Pow => {
                    out.push_str("Inf")
                }
                lhs => write_expr(out, lhs),
            }
            out.push(' ');
            write_operator(out, binary);
            out.push(' ');
            write_expr(out, &binary.rhs);
        }
        Expr::Call(call) => {
            out.push_str(call.func.name());
            out.push('(');
            write_separated(out, &call.args, ", ", write_expr);
            out.push(')');
        }
        Expr::Matrix(matrix) => {
            let selector = &matrix.selector;
            write_name_and_matchers(out, selector);
            out.push('[');
            write_duration(out, &matrix.range);
            out.push(']');
            write_extended(out, selector.extended);
            write_at(out, selector.at);
            write_offset(out, &selector.offset);
        }
        Expr::Number(number) => write_number(out, number),
        Expr::Paren(paren) => {
            out.push('(');
            write_expr(out, &paren.expr);
            out.push(')');
        }
        Expr::String(string) => write_quoted(out, string.value.as_bytes()),
        Expr::Subquery(subquery) => {
            write_expr(out, &subquery.expr);
            write_subquery_suffix(out, subquery);
        }
        Expr::Unary(unary) => {
            out.push_str(unary.op.as_str());
            write_expr(out, &unary.expr);
        }
        Expr::Vector(vector) => write_vector_selector(out, vector),
    }
}

/// The aggregation and its clause: `sum by (job) `.
pub(super) fn write_aggregate_head(out: &mut String, aggregate: &AggregateExpr) {
    out.push_str(aggregate.op.as_str());
    if aggregate.without || !aggregate.grouping.is_empty() {
        out.push_str(if aggregate.without { " without (" } else { " by (" });
        write_separated(out, &aggregate.grouping, ", ", write_label);
        out.push_str(") ");
    }
}

/// The operator and its modifiers: `== bool on (job)`.
pub(super) fn write_operator(out: &mut String, binary: &BinaryExpr) {
    out.push_str(binary.op.as_str());
    if binary.return_bool {
        out.push_str(" bool");
    }
    if let Some(matching) = &binary.matching {
        write_matching(out, matching);
    }
}

fn write_matching(out: &mut String, matching: &VectorMatching) {
    let group = match matching.cardinality {
        Cardinality::ManyToOne => Some(" group_left ("),
        Cardinality::OneToMany => Some(" group_right ("),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if !matching.labels.is_empty() || matching.on || group.is_some() {
        out.push_str(if matching.on { " on (" } else { " ignoring (" });
        write_separated(out, &matching.labels, ", ", write_label);
        out.push(')');
    }
    if let Some(group) = group {
        out.push_str(group);
        write_separated(out, &matching.include, ", ", write_label);
        out.push(')');
    }
    let mut write_fill = |name: &str, value: f64| {
        out.push_str(&format!(" {name} ({})", format_g(value)));
    };
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right => write_fill("fill", left),
        (left, right) => {
            left.into_iter().for_each(|value| write_fill("fill_left", value));
            right.into_iter().for_each(|value| write_fill("fill_right", value));
        }
    }
}

fn is_plain_label(label: &[u8]) -> bool {
    let is_letter = |byte: u8| byte == b'_' || byte.is_ascii_alphabetic();
    match label.split_first() {
        Some((&first, rest)) => {
            is_letter(first) && rest.iter().all(|&byte| is_letter(byte) || byte.is_ascii_digit())
        }
        None => false,
    }
}

fn write_label(out: &mut String, label: &String) {
    let reads_as_label = classify_word(label).is_none_or(TokenKind::is_grouping_label);
    if is_plain_label(label.as_bytes()) && reads_as_label {
        out.push_str(label);
    } else {
        write_quoted(out, label.as_bytes());
    }
}

fn write_number(out: &mut String, number: &NumberLiteral) {
    if !number.duration {
        return write_f(out, number.value);
    }
    if number.value < 0.0 {
        out.push('-');
    }
    // It was written in whole milliseconds; seconds hold them only nearly.
    let ms = float_to_int64((number.value.abs() * 1e3).round());
    write_duration_ns(out, ms.saturating_mul(1_000_000));
}

fn write_vector_selector(out: &mut String, selector: &VectorSelector) {
    write_name_and_matchers(out, selector);
    write_at(out, selector.at);
    write_extended(out, selector.extended);
    write_offset(out, &selector.offset);
}

fn write_name_and_matchers(out: &mut String, selector: &VectorSelector) {
    out.push_str(&selector.name);
    let is_the_name = |matcher: &&Matcher| {
        matcher.op == MatchOp::Equal
            && matcher.name == METRIC_NAME_LABEL
            && matcher.value == selector.name.as_str()
            && !matcher.value.is_empty()
    };
    let mut matchers: Vec<String> =
        selector.matchers.iter().filter(|matcher| !is_the_name(matcher)).map(Matcher::to_string).collect();
    if !matchers.is_empty() || selector.name.is_empty() {
        matchers.sort_unstable();
        out.push('{');
        write_separated(out, &matchers, ",", |out, matcher| out.push_str(matcher));
        out.push('}');
    }
}

fn write_matcher(out: &mut String, matcher: &Matcher) {
    match matcher.name.as_str() {
        Some(name) if is_plain_label(name.as_bytes()) => out.push_str(name),
        _ => write_quoted(out, matcher.name.as_bytes()),
    }
    out.push_str(matcher.op.as_str());
    write_quoted(out, matcher.value.as_bytes());
}

fn write_extended(out: &mut String, extended: Option<ExtendedRange>) {
    if let Some(extended) = extended {
        out.push(' ');
        out.push_str(extended.as_str());
    }
}

fn write_at(out: &mut String, at: Option<AtModifier>) {
    match at {
        None => {}
        Some(AtModifier::TimestampMs(ms)) => {
            out.push_str(" @ ");
            out.push_str(&format_fixed(ms as f64 / 1000.0, 3));
        }
        Some(AtModifier::Start) => out.push_str(" @ start()"),
        Some(AtModifier::End) => out.push_str(" @ end()"),
    }
}

fn write_offset(out: &mut String, offset: &DurationValue) {
    if offset.is_zero() {
        return;
    }
    out.push_str(" offset ");
    match offset {
        DurationValue::Expr(expr) if !ends_with_first_operand(expr) => {
            let text = expr.to_string();
            let goes_on = text.starts_with('(') || text.starts_with("--");
            let (open, close) = if goes_on { ("", "") } else { ("(", ")") };
            out.extend([open, &text, close]);
        }
        _ => write_duration(out, offset),
    }
}

/// Whether an offset is one operand, signed or not.
fn ends_with_first_operand(expr: &DurationExpr) -> bool {
    let is_operand = |expr: &DurationExpr| {
        expr.wrapped || !matches!(expr.kind, DurationKind::Negate(_) | DurationKind::Binary(..))
    };
    match &expr.kind {
        DurationKind::Negate(operand) => {
            expr.wrapped || (is_operand(operand) && operand.as_literal().is_none())
        }
        _ => is_operand(expr),
    }
}

fn write_duration(out: &mut String, duration: &DurationValue) {
    match duration {
        DurationValue::FixedNs(ns) if ns % 1_000_000 == 0 => write_duration_ns(out, *ns),
        DurationValue::FixedNs(ns) => write_seconds(out, *ns),
        DurationValue::Expr(expr) => write_duration_expr(out, expr),
    }
}

fn write_seconds(out: &mut String, ns: i64) {
    let magnitude = ns.unsigned_abs();
    let text = format!("{}.{:09}", magnitude / 1_000_000_000, magnitude % 1_000_000_000);
    if ns < 0 {
        out.push('-');
    }
    out.push_str(text.trim_end_matches('0'));
}

/// `[5m:1m] @ 1.000 offset 1m`
pub(super) fn write_subquery_suffix(out: &mut String, subquery: &SubqueryExpr) {
    out.push('[');
    write_duration(out, &subquery.range);
    out.push(':');
    if !subquery.step.is_zero() {
        write_duration(out, &subquery.step);
    }
    out.push(']');
    write_at(out, subquery.at);
    write_offset(out, &subquery.offset);
}

fn write_duration_expr(out: &mut String, expr: &DurationExpr) {
    if expr.wrapped {
        out.push('(');
    }
    let mut write_call = |name: &str, lhs: &DurationExpr, rhs: &DurationExpr| {
        out.push_str(name);
        write_duration_expr(out, lhs);
        out.push_str(", ");
        write_duration_expr(out, rhs);
        out.push(')');
    };
    match &expr.kind {
        DurationKind::Literal(number) => write_number(out, number),
        DurationKind::Step => out.push_str("step()"),
        DurationKind::Range => out.push_str("range()"),
        DurationKind::MinOf(lhs, rhs) => write_call("min_of(", lhs, rhs),
        DurationKind::MaxOf(lhs, rhs) => write_call("max_of(", lhs, rhs),
        DurationKind::Negate(operand) => {
            out.push('-');
            write_duration_expr(out, operand);
        }
        DurationKind::Binary(op, lhs, rhs) => {
            write_duration_expr(out, lhs);
            out.push(' ');
            out.push_str(op.as_str());
            out.push(' ');
            write_duration_expr(out, rhs);
        }
    }
    if expr.wrapped {
        out.push(')');
    }
}
