//! Scalar arithmetic that needs no data.

use super::ScalarPlan;
use crate::exec::{go_max, go_min, scalar_binary};

impl ScalarPlan {
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
