//! Durations as Prometheus writes them: `1h30m`, `15s`, `250ms`.
//!
//! Rules of `model.ParseDuration`: units from years down to milliseconds, each at most once and in this order; `0`
//! needs no unit; a year has 365 days.

use std::fmt;

const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing at all.
    #[error("empty duration string")]
    Empty,
    /// Not of the form above.
    #[error("not a valid duration, such as 1h30m, 15s or 250ms")]
    Invalid,
    /// More nanoseconds than 63 bits hold, some 292 years.
    #[error("duration out of range")]
    OutOfRange,
}

/// Reads a duration, in milliseconds.
pub fn parse_ms(text: &str) -> Result<i64, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total_ms = 0_i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, behind) = rest.split_at(digits);
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at(letters);
        // The iterator is not rewound, so a unit that comes twice or too late is not found.
        let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or(DurationError::Invalid)?;
        if number.is_empty() {
            return Err(DurationError::Invalid);
        }
        let part_ms = number.parse::<i64>().ok().and_then(|number| number.checked_mul(*unit_ms));
        total_ms =
            part_ms.and_then(|part_ms| total_ms.checked_add(part_ms)).ok_or(DurationError::OutOfRange)?;
        rest = behind;
    }
    if total_ms > i64::MAX / 1_000_000 {
        return Err(DurationError::OutOfRange);
    }
    Ok(total_ms)
}

/// Displays milliseconds as `model.Duration` does: years and weeks only where nothing remains, so `90d` stays `90d`.
#[derive(Clone, Copy, Debug)]
pub struct DisplayMs(pub i64);

impl fmt::Display for DisplayMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.unsigned_abs();
        if left == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        for (index, (unit, unit_ms)) in UNITS.iter().enumerate() {
            let unit_ms = unit_ms.unsigned_abs();
            let only_if_exact = index < 2;
            let count = left / unit_ms;
            if count > 0 && (!only_if_exact || left.is_multiple_of(unit_ms)) {
                write!(f, "{count}{unit}")?;
                left -= count * unit_ms;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Cases of Prometheus's documentation of durations, and its rules restated.
    #[test]
    fn durations_are_read_and_written_in_prometheus_form() {
        for (text, ms) in [
            ("0s", 0),
            ("324ms", 324),
            ("3s", 3000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("4d", 4 * 86_400_000),
            ("4d1h", 4 * 86_400_000 + 3_600_000),
            ("3w", 21 * 86_400_000),
            ("10y", 3650 * 86_400_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(parse_ms(text), Ok(ms), "{text}");
            assert_eq!(DisplayMs(ms).to_string(), text);
        }
        assert_eq!(parse_ms("0"), Ok(0));
        assert_eq!(parse_ms("14d"), Ok(14 * 86_400_000));
        assert_eq!(DisplayMs(14 * 86_400_000).to_string(), "2w");
        assert_eq!(DisplayMs(90 * 86_400_000).to_string(), "90d");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["1", "1y1m1d", "-1w", "1.5d", "d", "1s1s", "1m ", " 1m", "1x", "5 m", "1ms1s"] {
            assert_eq!(parse_ms(text), Err(DurationError::Invalid), "{text:?}");
        }
        assert_eq!(parse_ms(""), Err(DurationError::Empty));
        for text in ["294y", "200y10400w", "107675d", "2584200h", "99999999999999999999s"] {
            assert_eq!(parse_ms(text), Err(DurationError::OutOfRange), "{text}");
        }
    }
}
