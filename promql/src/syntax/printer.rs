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
use super::label_name::LabelName;
use super::matcher::{METRIC_NAME_LABEL, MatchOp, Matcher};
use super::operators::BinaryOp;
use super::token::{TokenKind, classify_word};
use crate::gostd::{float_to_int64, format_duration_ns, format_f, format_fixed, format_g, quote};

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_expr(f, self)
    }
}

impl fmt::Display for VectorSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_vector_selector(f, self)
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_duration_expr(f, self)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_matcher(f, self)
    }
}

/// Where text goes: a string, a formatter, or something that has had enough and fails.
type Out<'a> = &'a mut dyn fmt::Write;

fn write_separated<T>(
    out: Out<'_>,
    items: &[T],
    separator: &str,
    write: impl Fn(Out<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.write_str(separator)?;
        }
        write(out, item)?;
    }
    Ok(())
}

pub(super) fn write_expr(out: Out<'_>, expr: &Expr) -> fmt::Result {
    match expr {
        Expr::Aggregate(aggregate) => {
            write_aggregate_head(out, aggregate)?;
            out.write_char('(')?;
            if let Some(param) = &aggregate.param {
                write_expr(out, param)?;
                out.write_str(", ")?;
            }
            write_expr(out, &aggregate.expr)?;
            out.write_char(')')
        }
        Expr::Binary(binary) => {
            match mended_end(binary) {
                Some(mended) => out.write_str(&mended.apply(binary.lhs.to_string()))?,
                None => write_expr(out, &binary.lhs)?,
            }
            out.write_char(' ')?;
            write_operator(out, binary)?;
            out.write_char(' ')?;
            write_expr(out, &binary.rhs)
        }
        Expr::Call(call) => {
            out.write_str(call.func.name())?;
            out.write_char('(')?;
            write_separated(out, &call.args, ", ", |out, arg| write_expr(out, arg))?;
            out.write_char(')')
        }
        Expr::Matrix(matrix) => {
            let selector = &matrix.selector;
            write_name_and_matchers(out, selector)?;
            out.write_char('[')?;
            write_duration(out, &matrix.range)?;
            out.write_char(']')?;
            write_extended(out, selector.extended)?;
            write_at(out, selector.at)?;
            write_offset(out, &selector.offset)
        }
        Expr::Number(number) => write_number(out, number),
        Expr::Paren(paren) => {
            out.write_char('(')?;
            write_expr(out, &paren.expr)?;
            out.write_char(')')
        }
        Expr::String(string) => out.write_str(&quote(string.value.as_bytes())),
        Expr::Subquery(subquery) => {
            write_expr(out, &subquery.expr)?;
            write_subquery_suffix(out, subquery)
        }
        Expr::Unary(unary) => {
            out.write_str(unary.op.as_str())?;
            write_expr(out, &unary.expr)
        }
        Expr::Vector(vector) => write_vector_selector(out, vector),
    }
}

/// The aggregation and its clause: `sum by (job) `.
pub(super) fn write_aggregate_head(out: Out<'_>, aggregate: &AggregateExpr) -> fmt::Result {
    out.write_str(aggregate.op.as_str())?;
    if aggregate.without || !aggregate.grouping.is_empty() {
        out.write_str(if aggregate.without { " without" } else { " by" })?;
        write_labels(out, &aggregate.grouping)?;
        out.write_char(' ')?;
    }
    Ok(())
}

/// An end of a printed text, and what must stand there instead.
pub(super) struct MendedEnd {
    end: String,
    mended: String,
}

impl MendedEnd {
    pub fn apply(&self, printed: String) -> String {
        match printed.strip_suffix(&self.end) {
            Some(start) => format!("{start}{}", self.mended),
            None => printed,
        }
    }
}

/// What the end of a left operand must be so that the operator behind it does not change its meaning.
pub(super) fn mended_end(binary: &BinaryExpr) -> Option<MendedEnd> {
    if let Expr::Number(number) = &binary.lhs
        && number.value == f64::INFINITY
        && binary.op == BinaryOp::Pow
    {
        // The sign would be that of the power.
        return Some(MendedEnd { end: "+Inf".to_owned(), mended: "Inf".to_owned() });
    }
    let is_arithmetic = matches!(
        binary.op,
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Pow
    );
    if !is_arithmetic {
        return None;
    }
    // An offset that is an expression would go on behind the operator.
    let last = last_modifiers(&binary.lhs)?;
    let DurationValue::Expr(offset) = last.offset else { return None };
    if !offset.wrapped && ends_with_first_operand(offset) {
        return None;
    }
    let text = |write: &dyn Fn(Out<'_>) -> fmt::Result| {
        let mut text = String::new();
        write(&mut text).map(|()| text)
    };
    let end = text(&|out| write_offset(out, last.offset)).ok()?;
    let others =
        text(&|out| write_extended(out, last.extended).and_then(|()| write_at(out, last.at))).ok()?;
    let mended = if others.is_empty() {
        // Only a sign before its parentheses has ended it.
        end.replacen('(', "+(", 1)
    } else {
        format!("{end}{others}")
    };
    let before = text(&|out| match &last.is_vector {
        true => write_at(out, last.at).and_then(|()| write_extended(out, last.extended)),
        false => write_extended(out, last.extended).and_then(|()| write_at(out, last.at)),
    });
    Some(MendedEnd { end: format!("{}{end}", before.ok()?), mended })
}

/// The modifiers at the end of a printed expression.
struct Modifiers<'e> {
    is_vector: bool,
    at: Option<AtModifier>,
    extended: Option<ExtendedRange>,
    offset: &'e DurationValue,
}

/// The modifiers that a printed expression ends with.
fn last_modifiers(expr: &Expr) -> Option<Modifiers<'_>> {
    let of = |selector: &'_ VectorSelector| (selector.at, selector.extended);
    let (is_vector, (at, extended), offset) = match expr {
        Expr::Binary(binary) => return last_modifiers(&binary.rhs),
        Expr::Unary(unary) => return last_modifiers(&unary.expr),
        Expr::Vector(selector) => (true, of(selector), &selector.offset),
        Expr::Matrix(matrix) => (false, of(&matrix.selector), &matrix.selector.offset),
        Expr::Subquery(subquery) => (false, (subquery.at, None), &subquery.offset),
        _ => return None,
    };
    Some(Modifiers { is_vector, at, extended, offset })
}

/// The operator and its modifiers: `== bool on (job)`.
pub(super) fn write_operator(out: Out<'_>, binary: &BinaryExpr) -> fmt::Result {
    out.write_str(binary.op.as_str())?;
    if binary.return_bool {
        out.write_str(" bool")?;
    }
    match &binary.matching {
        Some(matching) => write_matching(out, matching),
        None => Ok(()),
    }
}

fn write_matching(out: Out<'_>, matching: &VectorMatching) -> fmt::Result {
    let group = match matching.cardinality {
        Cardinality::ManyToOne => Some(" group_left"),
        Cardinality::OneToMany => Some(" group_right"),
        Cardinality::OneToOne | Cardinality::ManyToMany => None,
    };
    if !matching.labels.is_empty() || matching.on || group.is_some() {
        out.write_str(if matching.on { " on" } else { " ignoring" })?;
        write_labels(out, &matching.labels)?;
    }
    if let Some(group) = group {
        out.write_str(group)?;
        write_labels(out, &matching.include)?;
    }
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left == right => write!(out, " fill ({})", format_g(left)),
        (left, right) => {
            if let Some(value) = left {
                write!(out, " fill_left ({})", format_g(value))?;
            }
            if let Some(value) = right {
                write!(out, " fill_right ({})", format_g(value))?;
            }
            Ok(())
        }
    }
}

fn is_plain_label(label: &str) -> bool {
    let is_letter = |byte: u8| byte == b'_' || byte.is_ascii_alphabetic();
    match label.as_bytes().split_first() {
        Some((&first, rest)) => {
            is_letter(first) && rest.iter().all(|&byte| is_letter(byte) || byte.is_ascii_digit())
        }
        None => false,
    }
}

/// ` (a, b)`
fn write_labels(out: Out<'_>, labels: &[LabelName]) -> fmt::Result {
    out.write_str(" (")?;
    write_separated(out, labels, ", ", |out, label| {
        let reads_as_label = classify_word(label.as_bytes()).is_none_or(TokenKind::is_grouping_label);
        if is_plain_label(label) && reads_as_label {
            out.write_str(label)
        } else {
            out.write_str(&quote(label.as_bytes()))
        }
    })?;
    out.write_char(')')
}

fn write_number(out: Out<'_>, number: &NumberLiteral) -> fmt::Result {
    if !number.duration {
        return out.write_str(&format_f(number.value));
    }
    if number.value.is_sign_negative() {
        out.write_char('-')?;
    }
    // It was written in whole milliseconds; seconds hold them only nearly.
    let ms = float_to_int64((number.value.abs() * 1e3).round());
    out.write_str(&format_duration_ns(ms.saturating_mul(1_000_000)))
}

fn write_vector_selector(out: Out<'_>, selector: &VectorSelector) -> fmt::Result {
    write_name_and_matchers(out, selector)?;
    write_at(out, selector.at)?;
    write_extended(out, selector.extended)?;
    write_offset(out, &selector.offset)
}

fn write_name_and_matchers(out: Out<'_>, selector: &VectorSelector) -> fmt::Result {
    let name = selector.name();
    out.write_str(name)?;
    let is_the_name = |matcher: &&Matcher| {
        matcher.op == MatchOp::Equal
            && matcher.name == METRIC_NAME_LABEL
            && matcher.value == name
            && !name.is_empty()
    };
    let mut matchers: Vec<String> =
        selector.matchers.iter().filter(|matcher| !is_the_name(matcher)).map(Matcher::to_string).collect();
    if matchers.is_empty() && selector.named {
        return Ok(());
    }
    matchers.sort_unstable();
    out.write_char('{')?;
    write_separated(out, &matchers, ",", |out, matcher| out.write_str(matcher))?;
    out.write_char('}')
}

fn write_matcher(out: Out<'_>, matcher: &Matcher) -> fmt::Result {
    match matcher.name.as_str() {
        Some(name) if is_plain_label(name) => out.write_str(name)?,
        _ => out.write_str(&quote(matcher.name.as_bytes()))?,
    }
    out.write_str(matcher.op.as_str())?;
    out.write_str(&quote(matcher.value.as_bytes()))
}

fn write_extended(out: Out<'_>, extended: Option<ExtendedRange>) -> fmt::Result {
    match extended {
        Some(extended) => write!(out, " {}", extended.as_str()),
        None => Ok(()),
    }
}

fn write_at(out: Out<'_>, at: Option<AtModifier>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(AtModifier::TimestampMs(ms)) => write!(out, " @ {}", format_fixed(ms as f64 / 1000.0, 3)),
        Some(AtModifier::Start) => out.write_str(" @ start()"),
        Some(AtModifier::End) => out.write_str(" @ end()"),
    }
}

fn write_offset(out: Out<'_>, offset: &DurationValue) -> fmt::Result {
    if offset.is_zero() {
        return Ok(());
    }
    out.write_str(" offset ")?;
    match offset {
        DurationValue::Expr(expr) if !ends_with_first_operand(expr) => {
            let text = expr.to_string();
            // Only behind a parenthesis or two signs does an offset go on after its first operand.
            let signs = match text.as_bytes() {
                [b'(', ..] | [b'-', b'-', ..] => "",
                [b'-', ..] => "+",
                _ => "++",
            };
            write!(out, "{signs}{text}")
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

fn write_duration(out: Out<'_>, duration: &DurationValue) -> fmt::Result {
    match duration {
        DurationValue::FixedNs(ns) if ns % 1_000_000 == 0 => out.write_str(&format_duration_ns(*ns)),
        DurationValue::FixedNs(ns) => write_seconds(out, *ns),
        DurationValue::Expr(expr) => write_duration_expr(out, expr),
    }
}

fn write_seconds(out: Out<'_>, ns: i64) -> fmt::Result {
    let magnitude = ns.unsigned_abs();
    let text = format!("{}.{:09}", magnitude / 1_000_000_000, magnitude % 1_000_000_000);
    if ns < 0 {
        out.write_char('-')?;
    }
    out.write_str(text.trim_end_matches('0'))
}

/// `[5m:1m] @ 1.000 offset 1m`
pub(super) fn write_subquery_suffix(out: Out<'_>, subquery: &SubqueryExpr) -> fmt::Result {
    out.write_char('[')?;
    write_duration(out, &subquery.range)?;
    out.write_char(':')?;
    if !subquery.step.is_zero() {
        write_duration(out, &subquery.step)?;
    }
    out.write_char(']')?;
    write_at(out, subquery.at)?;
    write_offset(out, &subquery.offset)
}

fn write_duration_expr(out: Out<'_>, expr: &DurationExpr) -> fmt::Result {
    if expr.wrapped {
        out.write_char('(')?;
    }
    match &expr.kind {
        DurationKind::Literal(number) => write_number(out, number)?,
        DurationKind::Step => out.write_str("step()")?,
        DurationKind::Range => out.write_str("range()")?,
        DurationKind::MinOf(lhs, rhs) => write_duration_call(out, "min_of", lhs, rhs)?,
        DurationKind::MaxOf(lhs, rhs) => write_duration_call(out, "max_of", lhs, rhs)?,
        DurationKind::Negate(operand) => {
            out.write_char('-')?;
            write_duration_expr(out, operand)?;
        }
        DurationKind::Binary(op, lhs, rhs) => {
            write_duration_expr(out, lhs)?;
            write!(out, " {} ", op.as_str())?;
            write_duration_expr(out, rhs)?;
        }
    }
    if expr.wrapped { out.write_char(')') } else { Ok(()) }
}

fn write_duration_call(out: Out<'_>, name: &str, lhs: &DurationExpr, rhs: &DurationExpr) -> fmt::Result {
    out.write_str(name)?;
    out.write_char('(')?;
    write_duration_expr(out, lhs)?;
    out.write_str(", ")?;
    write_duration_expr(out, rhs)?;
    out.write_char(')')
}
