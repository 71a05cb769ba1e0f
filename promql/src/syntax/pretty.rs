//! The canonical text broken into indented lines, as the `format_query` endpoint returns it.

use std::fmt::{self, Write as _};

use super::ast::Expr;
use super::printer::{mended_end, write_aggregate_head, write_expr, write_operator, write_subquery_suffix};

/// An expression whose text has more bytes than this is split.
const LINE_BYTES_MAX: usize = 100;

impl Expr {
    /// The expression over several lines where it is too long for one.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        write_pretty(&mut out, self, 0).expect("writing to a String cannot fail");
        out
    }
}

/// Text that fits on a line. Fails as soon as it does not, so that a deep tree is not printed once for each level.
struct Line {
    text: String,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() + text.len() > LINE_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}

/// The text of `expr`, if it fits on a line.
fn one_line(expr: &Expr) -> Option<String> {
    let mut line = Line { text: String::new() };
    write_expr(&mut line, expr).ok().map(|()| line.text)
}

/// Writes `expr`, indented by `level` if it starts a line; `level` is 0 where it does not.
fn write_pretty(out: &mut String, expr: &Expr, level: usize) -> fmt::Result {
    if let Some(text) = one_line(expr) {
        // A short subquery is not indented, even at the start of a line.
        if !matches!(expr, Expr::Subquery(_)) {
            indent(out, level);
        }
        return out.write_str(&text);
    }
    match expr {
        Expr::Aggregate(aggregate) => {
            indent(out, level);
            write_aggregate_head(out, aggregate)?;
            out.push_str("(\n");
            if let Some(param) = &aggregate.param {
                write_pretty(out, param, level + 1)?;
                out.push_str(",\n");
            }
            write_pretty(out, &aggregate.expr, level + 1)?;
            close(out, level);
        }
        Expr::Binary(binary) => {
            let start = out.len();
            write_pretty(out, &binary.lhs, level + 1)?;
            if let Some(mended) = mended_end(binary) {
                let lhs = out.split_off(start);
                out.push_str(&mended.apply(lhs));
            }
            out.push('\n');
            indent(out, level);
            write_operator(out, binary)?;
            out.push('\n');
            write_pretty(out, &binary.rhs, level + 1)?;
        }
        Expr::Call(call) => {
            indent(out, level);
            out.push_str(call.func.name());
            out.push_str("(\n");
            for (at, arg) in call.args.iter().enumerate() {
                if at > 0 {
                    out.push_str(",\n");
                }
                write_pretty(out, arg, level + 1)?;
            }
            close(out, level);
        }
        Expr::Paren(paren) => {
            indent(out, level);
            out.push_str("(\n");
            write_pretty(out, &paren.expr, level + 1)?;
            close(out, level);
        }
        Expr::Subquery(subquery) => {
            write_pretty(out, &subquery.expr, level)?;
            write_subquery_suffix(out, subquery)?;
        }
        Expr::Unary(unary) => {
            indent(out, level);
            out.push_str(unary.op.as_str());
            // The operand continues the line of the sign.
            let mut operand = String::new();
            write_pretty(&mut operand, &unary.expr, level)?;
            out.push_str(operand.trim());
        }
        Expr::Matrix(_) | Expr::Number(_) | Expr::String(_) | Expr::Vector(_) => {
            indent(out, level);
            write_expr(out, expr)?;
        }
    }
    Ok(())
}

fn indent(out: &mut String, level: usize) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn close(out: &mut String, level: usize) {
    out.push('\n');
    indent(out, level);
    out.push(')');
}
