//! The `limit` parameter.

use std::num::IntErrorKind;

use gyre_promql::gostd::quote;

/// Reads a limit; none, or 0, is no limit. The error is the text to show, in the words of Go's `strconv.Atoi`.
pub fn parse_limit(text: &str) -> Result<Option<usize>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match parse_int(text)? {
        0 => Ok(None),
        limit => match usize::try_from(limit) {
            Ok(limit) => Ok(Some(limit)),
            Err(_) => Err("limit must be non-negative".to_owned()),
        },
    }
}

/// Reads a decimal integer.
pub fn parse_int(text: &str) -> Result<i64, String> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let problem = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.Atoi: parsing {}: {problem}", quote(text.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_that_is_not_negative() {
        assert_eq!(parse_limit(""), Ok(None));
        assert_eq!(parse_limit("0"), Ok(None));
        assert_eq!(parse_limit("+7"), Ok(Some(7)));
        assert_eq!(parse_limit("-1"), Err("limit must be non-negative".to_owned()));
        assert_eq!(parse_limit("x"), Err("strconv.Atoi: parsing \"x\": invalid syntax".to_owned()));
        assert_eq!(
            parse_limit("99999999999999999999"),
            Err("strconv.Atoi: parsing \"99999999999999999999\": value out of range".to_owned())
        );
    }
}
