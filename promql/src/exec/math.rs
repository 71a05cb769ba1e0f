//! Go's arithmetic where it differs from Rust's.

use crate::syntax::BinaryOp;

/// Go's `math.Min`: NaN wins, except against -Inf; -0 is below 0.
pub(crate) fn go_min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    if a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    if a == 0.0 && b == 0.0 {
        return if a.is_sign_negative() { a } else { b };
    }
    if a < b { a } else { b }
}

/// Go's `math.Max`: NaN wins, except against +Inf; 0 is above -0.
pub(crate) fn go_max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        return f64::INFINITY;
    }
    if a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    if a == 0.0 && b == 0.0 {
        return if a.is_sign_negative() { b } else { a };
    }
    if a > b { a } else { b }
}

/// An operator between two scalars. Comparisons give 0 or 1.
pub(crate) fn scalar_binary(op: BinaryOp, lhs: f64, rhs: f64) -> f64 {
    match compare(op, lhs, rhs) {
        Some(holds) => f64::from(u8::from(holds)),
        None => arithmetic(op, lhs, rhs),
    }
}

/// Whether a comparison holds; `None` for other operators.
#[inline]
pub(crate) fn compare(op: BinaryOp, lhs: f64, rhs: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Eql => lhs == rhs,
        BinaryOp::Neq => lhs != rhs,
        BinaryOp::Gtr => lhs > rhs,
        BinaryOp::Lss => lhs < rhs,
        BinaryOp::Gte => lhs >= rhs,
        BinaryOp::Lte => lhs <= rhs,
        _ => return None,
    })
}

/// An arithmetic operator; other operators give NaN.
#[inline]
pub(crate) fn arithmetic(op: BinaryOp, lhs: f64, rhs: f64) -> f64 {
    match op {
        BinaryOp::Add => lhs + rhs,
        BinaryOp::Sub => lhs - rhs,
        BinaryOp::Mul => lhs * rhs,
        BinaryOp::Div => lhs / rhs,
        BinaryOp::Pow => lhs.powf(rhs),
        BinaryOp::Mod => lhs % rhs,
        BinaryOp::Atan2 => lhs.atan2(rhs),
        _ => f64::NAN,
    }
}
