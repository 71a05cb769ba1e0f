//! The canonical text broken into indented lines, as the `format_query` endpoint returns it.

use super::ast::Expr;
use super::printer::{write_aggregate_head, write_expr, write_operator, write_subquery_suffix};

/// An expression whose text has more bytes than this is split.
const LINE_BYTES_MAX: usize = 100;

impl Expr {
    /// The expression over several lines where it is too long for one.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        write_pretty(&mut out, self, 0);
        out
    }
}

/// Writes `expr`, indented by `level` if it starts a line; `level` is 0 where it does not.
fn write_pretty(out: &mut String, expr: &Expr, level: usize) {
    let mut one_line = String::new();
    write_expr(&mut one_line, expr);
    let fits = one_line.len() <= LINE_BYTES_MAX;
    match expr {
        Expr::Aggregate(aggregate) if !fits => {
            indent(out, level);
            write_aggregate_head(out, aggregate);
            out.push_str("(\n");
            if let Some(param) = &aggregate.param {
                write_pretty(out, param, level + 1);
                out.push_str(",\n");
            }
            write_pretty(out, &aggregate.expr, level + 1);
            close(out, level);
        }
        Expr::Binary(binary) if !fits => {
            write_pretty(out, &binary.lhs, level + 1);
            out.push('\n');
            indent(out, level);
            write_operator(out, binary);
            out.push('\n');
            write_pretty(out, &binary.rhs, level + 1);
        }
        Expr::Call(call) if !fits => {
            indent(out, level);
            out.push_str(call.func.name());
            out.push_str("(\n");
            for (at, arg) in call.args.iter().enumerate() {
                if at > 0 {
                    out.push_str(",\n");
                }
                write_pretty(out, arg, level + 1);
            }
            close(out, level);
        }
        Expr::Paren(paren) if !fits => {
            indent(out, level);
            out.push_str("(\n");
            write_pretty(out, &paren.expr, level + 1);
            close(out, level);
        }
        Expr::Subquery(subquery) if !fits => {
            write_pretty(out, &subquery.expr, level);
            write_subquery_suffix(out, subquery);
        }
        // A short subquery is not indented, even at the start of a line.
        Expr::Subquery(_) => out.push_str(&one_line),
        Expr::Unary(unary) => {
            indent(out, level);
            out.push_str(unary.op.as_str());
            let mut operand = String::new();
            write_pretty(&mut operand, &unary.expr, level);
            out.push_str(operand.trim());
        }
        _ => {
            indent(out, level);
            out.push_str(&one_line);
        }
    }
}

fn indent(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn close(out: &mut String, level: usize) {
    out.push('\n');
    indent(out, level);
    out.push(')');
}
