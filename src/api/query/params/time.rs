//! Points in time: seconds since the Unix epoch as a float, or RFC 3339.

use gyre_promql::gostd::{parse_float, quote};

/// The default of an optional start, as Prometheus has it: a little later than the earliest `i64` millisecond.
pub const MIN_TIME_MS: i64 = (i64::MIN / 1000 + 62_135_596_801) * 1000;
/// The default of an optional end.
pub const MAX_TIME_MS: i64 = (i64::MAX / 1000 - 62_135_596_801) * 1000 + 999;

// The two as Prometheus's own clients send them. RFC 3339 cannot express such years.
const MIN_TIME_TEXT: &str = "-292273086-05-16T16:47:06Z";
const MAX_TIME_TEXT: &str = "292277025-08-18T07:12:54.999999999Z";

/// Reads a time, in milliseconds. The error is the text to show.
pub fn parse_time_ms(text: &str) -> Result<i64, String> {
    let fail = || format!("cannot parse {} to a valid timestamp", quote(text.as_bytes()));
    if let Ok(seconds) = parse_float(text) {
        return if seconds.is_finite() { Ok(seconds_to_ms(seconds)) } else { Err(fail()) };
    }
    match text {
        MIN_TIME_TEXT => Ok(MIN_TIME_MS),
        MAX_TIME_TEXT => Ok(MAX_TIME_MS),
        _ => parse_rfc3339_ms(text).ok_or_else(fail),
    }
}

/// Reads an optional time parameter. The error is the text to show behind `invalid parameter`.
pub fn parse_optional_time_ms(name: &str, text: &str, default_ms: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(default_ms);
    }
    parse_time_ms(text).map_err(|problem| format!("invalid time value for '{name}': {problem}"))
}

/// The fraction is rounded to milliseconds, half away from zero, and kept apart from the seconds, so that large times
/// lose nothing. Times beyond the range become its ends.
fn seconds_to_ms(seconds: f64) -> i64 {
    let fraction_ms = (seconds.fract() * 1000.0).round();
    // `as` saturates, and the bounds keep the sum in range.
    let whole = (seconds.trunc() as i64).clamp(MIN_TIME_MS / 1000, MAX_TIME_MS / 1000);
    whole * 1000 + fraction_ms as i64
}

/// Reads `2006-01-02T15:04:05[.999999999](Z|+01:00)`, in milliseconds; finer digits are cut off.
fn parse_rfc3339_ms(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| -> Option<i64> {
        let part = bytes.get(from..to)?;
        part.iter()
            .all(u8::is_ascii_digit)
            .then(|| part.iter().fold(0, |sum, d| sum * 10 + i64::from(d - b'0')))
    };
    let expect = |at: usize, byte: u8| (bytes.get(at) == Some(&byte)).then_some(());
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    for (at, byte) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        expect(at, byte)?;
    }
    let is_date = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut fraction_ms = 0;
    if matches!(bytes.get(at), Some(b'.' | b',')) {
        let length = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return None;
        }
        for index in 0..3 {
            let digit = if index < length { i64::from(bytes[at + 1 + index] - b'0') } else { 0 };
            fraction_ms = fraction_ms * 10 + digit;
        }
        at += 1 + length;
    }
    let offset_minutes = match bytes.get(at)? {
        b'Z' => {
            at += 1;
            0
        }
        sign @ (b'+' | b'-') => {
            let (hours, minutes) = (digits(at + 1, at + 3)?, digits(at + 4, at + 6)?);
            expect(at + 3, b':')?;
            if hours > 24 || minutes > 60 {
                return None;
            }
            at += 6;
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    if at != bytes.len() {
        return None;
    }
    let days = days_from_civil(year, month, day);
    let seconds = ((days * 24 + hour) * 60 + minute - offset_minutes) * 60 + second;
    Some(seconds * 1000 + fraction_ms)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that the leap day comes
/// last; 400 years have 146,097 days.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    // Inputs and results of Prometheus's own tests of its `parseTime`, in milliseconds.
    #[test]
    fn times_are_read_as_prometheus_reads_them() {
        for (text, ms) in [
            ("123", 123_000),
            ("123.123", 123_123),
            ("2015-06-03T13:21:58.555Z", 1_433_337_718_555),
            ("2015-06-03T14:21:58.555+01:00", 1_433_337_718_555),
            ("1543578564.705", 1_543_578_564_705),
            (MIN_TIME_TEXT, MIN_TIME_MS),
            (MAX_TIME_TEXT, MAX_TIME_MS),
        ] {
            assert_eq!(parse_time_ms(text), Ok(ms), "{text}");
        }
        for text in
            ["", "abc", "30s", "2015-06-03", "2015-06-03T13:21:58", "2015-02-30T00:00:00Z", "NaN", "Inf"]
        {
            let error = parse_time_ms(text).unwrap_err();
            assert_eq!(error, format!("cannot parse \"{text}\" to a valid timestamp"));
        }
    }

    #[test]
    fn fractions_of_milliseconds_are_rounded_in_floats_and_cut_in_rfc3339() {
        assert_eq!(parse_time_ms("0.0005"), Ok(1));
        assert_eq!(parse_time_ms("0.00049"), Ok(0));
        assert_eq!(parse_time_ms("-1.5"), Ok(-1500));
        assert_eq!(parse_time_ms("1e3"), Ok(1_000_000));
        assert_eq!(parse_time_ms("1970-01-01T00:00:00.999999999Z"), Ok(999));
    }

    #[test]
    fn milliseconds_sent_as_seconds_are_a_time_and_absurd_times_are_the_last() {
        // Grafana's exemplar probe sends this.
        assert_eq!(parse_time_ms("1763800000000"), Ok(1_763_800_000_000_000));
        assert_eq!(parse_time_ms("1e30"), Ok(MAX_TIME_MS - 999));
        assert_eq!(parse_time_ms("-1e30"), Ok(MIN_TIME_MS));
    }

    #[test]
    fn calendar_dates_are_counted_from_the_epoch() {
        // Known from the calendar: the day after the leap day of 2000, the day before the epoch, a century that is no
        // leap year.
        assert_eq!(days_from_civil(2000, 3, 1), 11_017);
        assert_eq!(days_from_civil(1969, 12, 31), -1);
        assert_eq!(days_from_civil(1900, 3, 1) - days_from_civil(1900, 2, 28), 1);
        assert_eq!(parse_time_ms("2000-02-29T23:59:59Z"), Ok((11_017 * 86_400 - 1) * 1000));
    }
}
