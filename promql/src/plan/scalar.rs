//! Scalar arithmetic that needs no data.

use super::ScalarPlan;
use crate::exec::{go_max, go_min, scalar_binary};

impl ScalarPlan {
    /// Whether the values follow from the plan and the times alone.
    pub fn needs_no_data(&self) -> bool {
        match self {
            Self::Constant(_) | Self::Time => true,
            Self::Binary { lhs, rhs, .. } | Self::MinMax { lhs, rhs, .. } => {
                lhs.needs_no_data() && rhs.needs_no_data()
            }
            Self::Negate(input) | Self::StepInvariant(input) => input.needs_no_data(),
            Self::FromVector(_) => false,
        }
    }

    /// Whether the values are the same, which is known only if they need no data.
    pub fn same_values(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Constant(a), Self::Constant(b)) => a.to_bits() == b.to_bits(),
            (Self::Time, Self::Time) => true,
            (Self::Binary { op: a, lhs, rhs }, Self::Binary { op: b, lhs: left, rhs: right }) => {
                a == b && lhs.same_values(left) && rhs.same_values(right)
            }
            (Self::MinMax { max: a, lhs, rhs }, Self::MinMax { max: b, lhs: left, rhs: right }) => {
                a == b && lhs.same_values(left) && rhs.same_values(right)
            }
            (Self::Negate(a), Self::Negate(b)) | (Self::StepInvariant(a), Self::StepInvariant(b)) => {
                a.same_values(b)
            }
            _ => false,
        }
    }

    /// The value, if it follows from constants alone.
    pub fn constant_value(&self) -> Option<f64> {
        Some(match self {
            Self::Constant(value) => *value,
            Self::Binary { op, lhs, rhs } => scalar_binary(*op, lhs.constant_value()?, rhs.constant_value()?),
            Self::Negate(input) => -input.constant_value()?,
            Self::MinMax { max: true, lhs, rhs } => go_max(lhs.constant_value()?, rhs.constant_value()?),
            Self::MinMax { max: false, lhs, rhs } => go_min(lhs.constant_value()?, rhs.constant_value()?),
            Self::StepInvariant(input) => input.constant_value()?,
            Self::Time | Self::FromVector(_) => return None,
        })
    }
}
