//! The canonical text of a tree, as Prometheus prints it: it parses back to the same tree.

use std::fmt;

use super::ast::{
    AggregateExpr, AtModifier, BinaryExpr, Cardinality, Expr, ExtendedRange, NumberLiteral, SubqueryExpr,
    VectorMatching, VectorSelector,
};
use super::duration::{DurationExpr, DurationKind, DurationValue};
use super::matcher::{METRIC_NAME_LABEL, MatchOp, Matcher};
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
            write_expr(out, &binary.lhs);
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
    if is_plain_label(label.as_bytes()) { out.push_str(label) } else { write_quoted(out, label.as_bytes()) }
}

fn write_number(out: &mut String, number: &NumberLiteral) {
    if !number.duration {
        return write_f(out, number.value);
    }
    if number.value < 0.0 {
        out.push('-');
    }
    write_duration_ns(out, float_to_int64(number.value.abs() * 1e9));
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
    if !matchers.is_empty() {
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
        DurationValue::FixedNs(ns) if *ns < 0 => {
            out.push('-');
            // The smallest integer, which is what a NaN becomes, has no negative: it prints with two signs.
            write_duration_ns(out, ns.wrapping_neg());
        }
        _ => write_duration(out, offset),
    }
}

fn write_duration(out: &mut String, duration: &DurationValue) {
    match duration {
        DurationValue::FixedNs(ns) => write_duration_ns(out, *ns),
        DurationValue::Expr(expr) => write_duration_expr(out, expr),
    }
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
