//! Prometheus's duration format (`model.Duration`): `1h30m`, `5d`, `100ms`.

use std::fmt::Write as _;

use super::quote::quote;

/// Units from the largest to the smallest, in nanoseconds; they must come in this order.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000_000_000),
    ("w", 7 * 86_400_000_000_000),
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
];

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No text.
    #[error("empty duration string")]
    Empty,
    /// Not the syntax of a duration.
    #[error("not a valid duration string: {}", quote(.0.as_bytes()))]
    Syntax(String),
    /// A number followed by something that is no unit.
    #[error("unknown unit {} in duration {}", quote(.unit.as_bytes()), quote(.text.as_bytes()))]
    UnknownUnit {
        /// What stands in the place of a unit.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// More than 292 years.
    #[error("duration out of range")]
    OutOfRange,
}

/// Parses `text` into nanoseconds. Units go from years to milliseconds, each at most once; `0` needs none.
pub fn parse_duration_ns(text: &str) -> Result<i64, DurationError> {
    if let Some(ns) = parse_single_unit_ns(text.as_bytes()) {
        return Ok(ns);
    }
    let syntax = || DurationError::Syntax(text.to_owned());
    match text {
        "0" => return Ok(0),
        "" => return Err(DurationError::Empty),
        _ => {}
    }
    let mut total: u64 = 0;
    let mut units_left = &UNITS[..];
    let mut rest = text;
    while !rest.is_empty() {
        let digits_end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(syntax)?;
        let (digits, after) = rest.split_at(digits_end);
        let value: u64 = digits.parse().map_err(|_| syntax())?;
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let Some(&(_, unit_ns)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
        };
        let at = units_left.iter().position(|(name, _)| *name == unit).ok_or_else(syntax)?;
        units_left = &units_left[at + 1..];
        total = value
            .checked_mul(unit_ns)
            .and_then(|ns| total.checked_add(ns))
            .ok_or(DurationError::OutOfRange)?;
        if i64::try_from(total).is_err() {
            return Err(DurationError::OutOfRange);
        }
        rest = next;
    }
    i64::try_from(total).map_err(|_| DurationError::OutOfRange)
}

/// The most common durations: at most four digits and a unit of one letter.
pub(crate) fn parse_single_unit_ns(text: &[u8]) -> Option<i64> {
    let (unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    let seconds = match unit {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        _ => return None,
    };
    Some(value * seconds * 1_000_000_000)
}

/// The duration as Prometheus prints it; anything below a millisecond is cut off.
pub fn format_duration_ns(ns: i64) -> String {
    let mut out = String::new();
    write_duration_ns(&mut out, ns);
    out
}

/// Appends [`format_duration_ns`] to `out`.
pub fn write_duration_ns(out: &mut String, ns: i64) {
    let ms = ns / 1_000_000;
    if ms == 0 {
        return out.push_str("0s");
    }
    if ms < 0 {
        out.push('-');
    }
    let mut left = ms.unsigned_abs();
    for (unit, unit_ns) in UNITS {
        let unit_ms = unit_ns / 1_000_000;
        // Years and weeks only if nothing is left over: 90d reads better than 12w6d.
        if matches!(unit, "y" | "w") && !left.is_multiple_of(unit_ms) {
            continue;
        }
        let count = left / unit_ms;
        if count > 0 {
            write!(out, "{count}{unit}").expect("writing to a String cannot fail");
            left -= count * unit_ms;
        }
    }
}
