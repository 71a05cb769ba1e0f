//! Comparing trees without their positions.

use gyre_promql::syntax::ast::{Expr, VectorSelector};
use gyre_promql::syntax::{DurationExpr, DurationKind, DurationValue, Span};

/// The same tree with all positions zeroed.
pub fn without_spans(mut expr: Expr) -> Expr {
    clear(&mut expr);
    expr
}

fn clear(expr: &mut Expr) {
    match expr {
        Expr::Aggregate(aggregate) => {
            aggregate.span = Span::default();
            clear(&mut aggregate.expr);
            aggregate.param.iter_mut().for_each(clear);
        }
        Expr::Binary(binary) => {
            clear(&mut binary.lhs);
            clear(&mut binary.rhs);
        }
        Expr::Call(call) => {
            call.span = Span::default();
            call.args.iter_mut().for_each(clear);
        }
        Expr::Matrix(matrix) => {
            matrix.end = 0;
            clear_selector(&mut matrix.selector);
            clear_duration(&mut matrix.range);
        }
        Expr::Number(number) => number.span = Span::default(),
        Expr::Paren(paren) => {
            paren.span = Span::default();
            clear(&mut paren.expr);
        }
        Expr::String(string) => string.span = Span::default(),
        Expr::Subquery(subquery) => {
            subquery.end = 0;
            clear(&mut subquery.expr);
            for duration in [&mut subquery.range, &mut subquery.step, &mut subquery.offset] {
                clear_duration(duration);
            }
        }
        Expr::Unary(unary) => {
            unary.start = 0;
            clear(&mut unary.expr);
        }
        Expr::Vector(vector) => clear_selector(vector),
    }
}

fn clear_selector(selector: &mut VectorSelector) {
    selector.span = Span::default();
    // Matchers print sorted, and a name in braces may print among them.
    selector.matchers.sort_by_key(ToString::to_string);
    clear_duration(&mut selector.offset);
}

fn clear_duration(duration: &mut DurationValue) {
    if let DurationValue::Expr(expr) = duration {
        clear_duration_expr(expr);
    }
}

fn clear_duration_expr(expr: &mut DurationExpr) {
    expr.span = Span::default();
    match &mut expr.kind {
        DurationKind::Literal(number) => number.span = Span::default(),
        DurationKind::Step | DurationKind::Range => {}
        DurationKind::Negate(operand) => clear_duration_expr(operand),
        DurationKind::MinOf(lhs, rhs) | DurationKind::MaxOf(lhs, rhs) | DurationKind::Binary(_, lhs, rhs) => {
            clear_duration_expr(lhs);
            clear_duration_expr(rhs);
        }
    }
}
