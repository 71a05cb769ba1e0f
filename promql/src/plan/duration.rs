//! Durations of a query, settled once its step and range are known.

use crate::engine::QueryError;
use crate::syntax::{DurationExpr, DurationKind, DurationOp, DurationValue};

/// What duration expressions may refer to.
#[derive(Clone, Copy, Debug)]
pub(super) struct DurationContext {
    /// `step()`, seconds.
    pub step_s: f64,
    /// `range()`, seconds.
    pub range_s: f64,
}

/// Whether a duration must be above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Any,
    Positive,
}

impl DurationContext {
    /// The milliseconds of a duration; parts of a millisecond are cut off.
    pub fn milliseconds(&self, duration: &DurationValue, sign: Sign) -> Result<i64, QueryError> {
        let expr = match duration {
            DurationValue::FixedNs(ns) => return Ok(ns / 1_000_000),
            DurationValue::Expr(expr) => expr,
        };
        let seconds = self.seconds(expr)?;
        let fail = |reason: &str| Err(at(expr, reason));
        if !seconds.is_finite() {
            return fail("duration is NaN or infinite");
        }
        if seconds <= 0.0 && sign == Sign::Positive {
            return fail("duration must be greater than 0");
        }
        // Prometheus counts nanoseconds in 64 bits.
        if seconds.abs() > i64::MAX as f64 / 1e9 {
            return fail("duration is out of range");
        }
        Ok((seconds * 1000.0) as i64)
    }

    fn seconds(&self, expr: &DurationExpr) -> Result<f64, QueryError> {
        Ok(match &expr.kind {
            DurationKind::Literal(number) => number.value,
            DurationKind::Step => self.step_s,
            DurationKind::Range => self.range_s,
            DurationKind::MinOf(a, b) => crate::exec::go_min(self.seconds(a)?, self.seconds(b)?),
            DurationKind::MaxOf(a, b) => crate::exec::go_max(self.seconds(a)?, self.seconds(b)?),
            DurationKind::Negate(a) => -self.seconds(a)?,
            DurationKind::Binary(op, a, b) => {
                let (a, b) = (self.seconds(a)?, self.seconds(b)?);
                match op {
                    DurationOp::Add => a + b,
                    DurationOp::Sub => a - b,
                    DurationOp::Mul => a * b,
                    DurationOp::Div if b == 0.0 => return Err(at(expr, "division by zero")),
                    DurationOp::Div => a / b,
                    DurationOp::Mod if b == 0.0 => return Err(at(expr, "modulo by zero")),
                    DurationOp::Mod => a % b,
                    DurationOp::Pow => a.powf(b),
                }
            }
        })
    }
}

fn at(expr: &DurationExpr, reason: &str) -> QueryError {
    QueryError::bad_data(format!("{}:{}: {reason}", expr.span.start, expr.span.end))
}
