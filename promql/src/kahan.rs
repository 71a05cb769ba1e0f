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

/// [`kahan_add`] without branches, the same to the last bit: for loops over several sums at a time.
#[inline]
pub fn kahan_add_select(increment: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + increment;
    let sum_is_larger = sum.abs() >= increment.abs();
    let larger = if sum_is_larger { sum } else { increment };
    let smaller = if sum_is_larger { increment } else { sum };
    let compensation = compensation + ((larger - total) + smaller);
    (total, if total.is_infinite() { 0.0 } else { compensation })
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
    fn both_ways_to_add_agree_to_the_last_bit() {
        let values = [0.0, -0.0, 1.0, -1.0, 0.1, 1e100, -1e100, f64::MAX, -f64::MAX, 5e-324];
        let special = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        let all: Vec<f64> = values.into_iter().chain(special).collect();
        for &increment in &all {
            for &sum in &all {
                for &compensation in &all {
                    let (a, b) = kahan_add(increment, sum, compensation);
                    let (c, d) = kahan_add_select(increment, sum, compensation);
                    let same = |x: f64, y: f64| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
                    assert!(same(a, c) && same(b, d), "{increment} {sum} {compensation}");
                }
            }
        }
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
