//! Compensated summation, in the variant Prometheus uses.
//!
//! Neumaier's improvement of Kahan's algorithm: the rounding error of each addition is collected in a compensation
//! that the caller adds at the end. Once the sum overflows the compensation is meaningless and set to zero, so that
//! the result is the infinity. The order of the operations is part of the contract: results are compared with
//! Prometheus's bit for bit.

/// Adds `increment` to a running `sum` with its `compensation`; returns both anew.
#[inline]
pub fn kahan_add(increment: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + increment;
    let compensation = if total.is_infinite() {
        0.0
    } else if sum.abs() >= increment.abs() {
        compensation + ((sum - total) + increment)
    } else {
        compensation + ((increment - total) + sum)
    };
    (total, compensation)
}

/// A running compensated sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KahanSum {
    /// The sum without the compensation.
    pub sum: f64,
    /// What rounding lost.
    pub compensation: f64,
}

impl KahanSum {
    /// Adds one value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        (self.sum, self.compensation) = kahan_add(value, self.sum, self.compensation);
    }

    /// Sum and compensation together.
    #[inline]
    pub fn total(self) -> f64 {
        self.sum + self.compensation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_next_to_large_ones_are_not_lost() {
        let mut sum = KahanSum::default();
        for value in [1.0, 1e100, 1.0, -1e100] {
            sum.add(value);
        }
        assert_eq!(sum.total(), 2.0);
    }

    #[test]
    fn an_overflow_stays_infinite() {
        let mut sum = KahanSum::default();
        for value in [f64::MAX, f64::MAX, 1.0] {
            sum.add(value);
        }
        assert_eq!(sum.total(), f64::INFINITY);
    }
}
