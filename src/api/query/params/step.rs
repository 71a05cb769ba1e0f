//! Durations of the query API: seconds as a float, or `1h30m`.

use gyre_promql::gostd::{parse_duration_ns, parse_float, quote};

/// Points of one series that a range query may yield.
const POINTS_MAX: i128 = 11_000;

/// Reads a duration, in nanoseconds. The error is the text to show.
pub fn parse_duration_param_ns(text: &str) -> Result<i64, String> {
    let quoted = || quote(text.as_bytes());
    if let Ok(seconds) = parse_float(text) {
        let ns = seconds * 1e9;
        if ns.is_nan() {
            // What Go makes of it.
            return Ok(i64::MIN);
        }
        // Both bounds are exact as floats.
        if !(-9_223_372_036_854_775_808.0..=9_223_372_036_854_775_808.0).contains(&ns) {
            return Err(format!("cannot parse {} to a valid duration. It overflows int64", quoted()));
        }
        return Ok(ns as i64);
    }
    parse_duration_ns(text).map_err(|_| format!("cannot parse {} to a valid duration", quoted()))
}

/// Reads the step of a range query, in milliseconds. A step of less than one is refused with the words for none.
pub fn parse_step_ms(text: &str) -> Result<i64, String> {
    match parse_duration_param_ns(text)? / 1_000_000 {
        step_ms if step_ms > 0 => Ok(step_ms),
        _ => Err("zero or negative query resolution step widths are not accepted. Try a positive integer"
            .to_owned()),
    }
}

/// Refuses a range of more points than anybody can look at.
pub fn check_resolution(start_ms: i64, end_ms: i64, step_ms: i64) -> Result<(), String> {
    if (i128::from(end_ms) - i128::from(start_ms)) / i128::from(step_ms) > POINTS_MAX {
        return Err("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
                    resolution (?step=XX)"
            .to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    // Inputs of Prometheus's own tests of its `parseDuration`.
    #[test]
    fn durations_are_seconds_or_prometheus_durations() {
        for (text, ns) in
            [("123", 123 * SECOND), ("123.333", 123_333_000_000), ("15s", 15 * SECOND), ("5m", 300 * SECOND)]
        {
            assert_eq!(parse_duration_param_ns(text), Ok(ns), "{text}");
        }
        for text in ["", "abc", "2015-06-03T13:21:58.555Z", "5m x"] {
            let error = parse_duration_param_ns(text).unwrap_err();
            assert_eq!(error, format!("cannot parse \"{text}\" to a valid duration"));
        }
        for text in ["-148966367200.372", "148966367200.372", "1e30", "Inf"] {
            let error = parse_duration_param_ns(text).unwrap_err();
            assert_eq!(error, format!("cannot parse \"{text}\" to a valid duration. It overflows int64"));
        }
    }

    #[test]
    fn a_step_must_be_a_millisecond_at_least() {
        assert_eq!(parse_step_ms("0.001"), Ok(1));
        assert_eq!(parse_step_ms("1h"), Ok(3_600_000));
        for text in ["0", "-1", "0.0009", "NaN"] {
            assert!(
                parse_step_ms(text).unwrap_err().starts_with("zero or negative query resolution step"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_range_has_at_most_11000_steps() {
        assert!(check_resolution(0, 11_000 * 15_000 + 14_999, 15_000).is_ok());
        assert!(check_resolution(0, 11_001 * 15_000, 15_000).is_err());
        assert!(check_resolution(i64::MIN, i64::MAX, 1).is_err());
    }
}
