//! The variants of a query that must give the same: every selector pinned to the evaluation time.

use crate::plan_depends_on_evaluation_time as depends_on_evaluation_time;
use crate::syntax::Expr;
use crate::syntax::ast::AtModifier;

/// The query with `@ <time>` on every selector and subquery that has none (inside of pinned subqueries nothing is
/// changed). `None` if the query's value depends on the evaluation time even so.
pub(super) fn pinned(expr: &Expr, time_ms: i64) -> Option<String> {
    let mut expr = expr.clone();
    pin(&mut expr, AtModifier::TimestampMs(time_ms)).then(|| expr.to_string())
}

fn pin(expr: &mut Expr, at: AtModifier) -> bool {
    match expr {
        Expr::Number(_) | Expr::String(_) => true,
        Expr::Vector(selector) => {
            selector.at.get_or_insert(at);
            true
        }
        Expr::Matrix(matrix) => {
            matrix.selector.at.get_or_insert(at);
            true
        }
        Expr::Subquery(subquery) => {
            // Once it is pinned, the inside is evaluated at fixed times anyway.
            subquery.at.get_or_insert(at);
            true
        }
        Expr::Paren(paren) => pin(&mut paren.expr, at),
        Expr::Unary(unary) => pin(&mut unary.expr, at),
        Expr::Binary(binary) => pin(&mut binary.lhs, at) & pin(&mut binary.rhs, at),
        Expr::Aggregate(aggregate) => {
            let param = aggregate.param.as_mut().is_none_or(|param| pin(param, at));
            pin(&mut aggregate.expr, at) & param
        }
        Expr::Call(call) => {
            let args = call.args.iter_mut().fold(true, |all, arg| pin(arg, at) & all);
            args && !depends_on_evaluation_time(call.func)
        }
    }
}
