//! Syntax trees, as `parse_query` shows them. Keys are sorted, as Go writes maps.
//!
//! The writer recurses as deep as the tree, which the parser bounds.

use gyre_promql::syntax::ast::{AtModifier, Cardinality, ExtendedRange, VectorMatching};
use gyre_promql::syntax::{
    DurationExpr, DurationKind, DurationValue, Expr, Function, LabelName, Matcher, ValueType, Variadic,
    VectorSelector,
};

use super::number::write_scalar_value;
use super::text::write_html_safe_string;
use super::value::write_list;

/// Writes a tree.
pub fn write(out: &mut Vec<u8>, expr: &Expr) {
    let mut object = Object::open(out);
    match expr {
        Expr::Aggregate(aggregate) => {
            object.expr("expr", &aggregate.expr);
            object.names("grouping", &aggregate.grouping);
            object.text("op", aggregate.op.as_str());
            match &aggregate.param {
                Some(param) => object.expr("param", param),
                None => object.null("param"),
            }
            object.text("type", "aggregation");
            object.bool("without", aggregate.without);
        }
        Expr::Binary(binary) => {
            object.bool("bool", binary.return_bool);
            object.expr("lhs", &binary.lhs);
            match &binary.matching {
                Some(matching) => write_matching(object.key("matching"), matching),
                None => object.null("matching"),
            }
            object.text("op", binary.op.as_str());
            object.expr("rhs", &binary.rhs);
            object.text("type", "binaryExpr");
        }
        Expr::Call(call) => {
            write_list(object.key("args"), &call.args, write);
            write_function(object.key("func"), call.func);
            object.text("type", "call");
        }
        Expr::Matrix(matrix) => {
            let range = (&matrix.range, "range", "rangeExpr");
            write_selector(&mut object, &matrix.selector, "matrixSelector", Some(range));
        }
        Expr::Number(number) => {
            object.text("type", "numberLiteral");
            write_scalar_value(object.key("val"), number.value);
        }
        Expr::Paren(paren) => {
            object.expr("expr", &paren.expr);
            object.text("type", "parenExpr");
        }
        Expr::String(string) => {
            object.text("type", "stringLiteral");
            object.text("val", &string.value.to_str_lossy());
        }
        Expr::Subquery(subquery) => {
            object.expr("expr", &subquery.expr);
            object.duration("offset", "offsetExpr", &subquery.offset);
            object.duration("range", "rangeExpr", &subquery.range);
            object.start_or_end(subquery.at);
            object.duration("step", "stepExpr", &subquery.step);
            object.timestamp(subquery.at);
            object.text("type", "subquery");
        }
        Expr::Unary(unary) => {
            object.expr("expr", &unary.expr);
            object.text("op", unary.op.as_str());
            object.text("type", "unaryExpr");
        }
        Expr::Vector(selector) => write_selector(&mut object, selector, "vectorSelector", None),
    }
    object.close();
}

fn write_selector(
    object: &mut Object<'_>,
    selector: &VectorSelector,
    kind: &str,
    range: Option<(&DurationValue, &'static str, &'static str)>,
) {
    object.bool("anchored", selector.extended == Some(ExtendedRange::Anchored));
    write_list(object.key("matchers"), &selector.matchers, write_matcher);
    object.text("name", selector.name());
    object.duration("offset", "offsetExpr", &selector.offset);
    if let Some((range, name, expr_name)) = range {
        object.duration(name, expr_name, range);
    }
    object.bool("smoothed", selector.extended == Some(ExtendedRange::Smoothed));
    object.start_or_end(selector.at);
    object.timestamp(selector.at);
    object.text("type", kind);
}

fn write_matcher(out: &mut Vec<u8>, matcher: &Matcher) {
    let mut object = Object::open(out);
    object.text("name", &matcher.name.to_str_lossy());
    object.text("type", matcher.op.as_str());
    object.text("value", &matcher.value.to_str_lossy());
    object.close();
}

fn write_matching(out: &mut Vec<u8>, matching: &VectorMatching) {
    let mut object = Object::open(out);
    object.text(
        "card",
        match matching.cardinality {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        },
    );
    let mut fill = Object::open(object.key("fillValues"));
    for (name, value) in [("lhs", matching.fill_left), ("rhs", matching.fill_right)] {
        match value.filter(|value| value.is_finite()) {
            Some(value) => write_number(fill.key(name), value),
            // JSON has no numbers that are not finite; Prometheus fails to answer then.
            None => fill.null(name),
        }
    }
    fill.close();
    object.names("include", &matching.include);
    object.names("labels", &matching.labels);
    object.bool("on", matching.on);
    object.close();
}

fn write_function(out: &mut Vec<u8>, function: Function) {
    let signature = function.signature();
    let mut object = Object::open(out);
    write_list(object.key("argTypes"), signature.args, |out, kind: &ValueType| {
        write_html_safe_string(out, kind.as_str());
    });
    object.text("name", signature.name);
    object.text("returnType", signature.returns.as_str());
    let variadic = match signature.variadic {
        Variadic::Exactly => 0.0,
        Variadic::UpTo(more) => more as f64,
        Variadic::Unbounded => -1.0,
    };
    write_number(object.key("variadic"), variadic);
    object.close();
}

fn write_duration_expr(out: &mut Vec<u8>, expr: &DurationExpr) {
    let (op, lhs, rhs) = match &expr.kind {
        DurationKind::Literal(_) if expr.wrapped => {
            // A number has no parentheses of its own: Prometheus puts them around a sign that does nothing.
            let bare = DurationExpr { wrapped: false, ..expr.clone() };
            return write_duration_operation(out, "+", None, Some(&bare), true);
        }
        DurationKind::Literal(number) => {
            let mut object = Object::open(out);
            object.bool("duration", number.duration);
            object.text("type", "numberLiteral");
            write_scalar_value(object.key("val"), number.value);
            return object.close();
        }
        DurationKind::Step => ("step", None, None),
        DurationKind::Range => ("range", None, None),
        DurationKind::MinOf(lhs, rhs) => ("min_of", Some(lhs), Some(rhs)),
        DurationKind::MaxOf(lhs, rhs) => ("max_of", Some(lhs), Some(rhs)),
        DurationKind::Negate(operand) => ("-", None, Some(operand)),
        DurationKind::Binary(op, lhs, rhs) => (op.as_str(), Some(lhs), Some(rhs)),
    };
    write_duration_operation(out, op, lhs.map(Box::as_ref), rhs.map(Box::as_ref), expr.wrapped);
}

fn write_duration_operation(
    out: &mut Vec<u8>,
    op: &str,
    lhs: Option<&DurationExpr>,
    rhs: Option<&DurationExpr>,
    wrapped: bool,
) {
    let mut object = Object::open(out);
    for (name, operand) in [("lhs", lhs), ("rhs", rhs)] {
        match operand {
            Some(operand) => write_duration_expr(object.key(name), operand),
            None => object.null(name),
        }
        if name == "lhs" {
            object.text("op", op);
        }
    }
    object.text("type", "durationExpr");
    object.bool("wrapped", wrapped);
    object.close();
}

/// Writes a number as Go's JSON does.
fn write_number(out: &mut Vec<u8>, value: f64) {
    let mut quoted = Vec::new();
    super::number::write_value(&mut quoted, value);
    let text = &quoted[1..quoted.len() - 1];
    // Go writes `1e-7` here, and `1e-07` everywhere else.
    match text.split_last_chunk::<4>() {
        Some((digits, [b'e', b'-', b'0', last])) => out.extend(digits.iter().chain(&[b'e', b'-', *last])),
        _ => out.extend_from_slice(text),
    }
}

/// An object being written; its keys come in alphabetical order.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

impl<'o> Object<'o> {
    fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    fn close(self) {
        self.out.push(b'}');
    }

    /// Writes a key; its value is to follow.
    fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        write_html_safe_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    fn text(&mut self, name: &str, value: &str) {
        write_html_safe_string(self.key(name), value);
    }

    fn names(&mut self, name: &str, values: &[LabelName]) {
        write_list(self.key(name), values, |out, value| write_html_safe_string(out, value));
    }

    fn bool(&mut self, name: &str, value: bool) {
        self.key(name).extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn null(&mut self, name: &str) {
        self.key(name).extend_from_slice(b"null");
    }

    fn expr(&mut self, name: &str, expr: &Expr) {
        write(self.key(name), expr);
    }

    /// Milliseconds under one key; under the other what they are to be computed from, if they are not known yet.
    fn duration(&mut self, name: &str, expr_name: &str, duration: &DurationValue) {
        write_number(self.key(name), (duration.fixed_ns().unwrap_or(0) / 1_000_000) as f64);
        match duration {
            DurationValue::FixedNs(_) => self.null(expr_name),
            DurationValue::Expr(expr) => write_duration_expr(self.key(expr_name), expr),
        }
    }

    fn start_or_end(&mut self, at: Option<AtModifier>) {
        match at {
            Some(AtModifier::Start) => self.text("startOrEnd", "start"),
            Some(AtModifier::End) => self.text("startOrEnd", "end"),
            Some(AtModifier::TimestampMs(_)) | None => self.null("startOrEnd"),
        }
    }

    fn timestamp(&mut self, at: Option<AtModifier>) {
        match at {
            Some(AtModifier::TimestampMs(ms)) => {
                self.key("timestamp").extend_from_slice(ms.to_string().as_bytes());
            }
            Some(AtModifier::Start | AtModifier::End) | None => self.null("timestamp"),
        }
    }
}
