//! Calendar arithmetic for the date functions, in UTC.

/// A point in time by the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CivilTime {
    /// Year; 0 is 1 BC.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59.
    pub second: i64,
    /// 0 is Sunday.
    pub day_of_week: i64,
    /// 1 to 366.
    pub day_of_year: i64,
}

/// How long before 1970 Go's calendar begins.
const GO_ABSOLUTE_EPOCH_SECONDS: i64 = 9_223_372_028_741_760_000;

/// The calendar time of a Unix time in seconds.
///
/// Days are counted in years that begin in March, so that the leap day comes last and month lengths follow one rule.
pub fn civil_time(unix_seconds: i64) -> CivilTime {
    // Go counts seconds from a far past in 64 bits without sign; what is before that wraps to a far future. The
    // smallest integer, which NaN and infinities become, is such a time.
    let wraps = unix_seconds < -GO_ABSOLUTE_EPOCH_SECONDS;
    let unix_seconds = i128::from(unix_seconds) + if wraps { 1 << 64 } else { 0 };
    let days = unix_seconds.div_euclid(86_400) as i64;
    let second_of_day = unix_seconds.rem_euclid(86_400) as i64;
    // Day 0 of an era of 400 years (146,097 days) is 0000-03-01.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_from_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_from_march + 2) / 153;
    let day = day_from_march - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let before_march = 31 + 28 + i64::from(is_leap_year(year));
    let day_of_year = if month <= 2 { day_from_march - 306 + 1 } else { day_from_march + before_march + 1 };
    CivilTime {
        year,
        month,
        day,
        hour: second_of_day / 3_600,
        minute: second_of_day / 60 % 60,
        second: second_of_day % 60,
        day_of_week: (days + 4).rem_euclid(7),
        day_of_year,
    }
}

/// Number of days of a month.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap_year(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_have_their_dates() {
        let at = |seconds| {
            let c = civil_time(seconds);
            (c.year, c.month, c.day, c.hour, c.minute, c.second, c.day_of_week, c.day_of_year)
        };
        assert_eq!(at(0), (1970, 1, 1, 0, 0, 0, 4, 1));
        assert_eq!(at(951_782_399), (2000, 2, 28, 23, 59, 59, 1, 59));
        assert_eq!(at(951_868_799), (2000, 2, 29, 23, 59, 59, 2, 60));
        assert_eq!(at(978_307_199), (2000, 12, 31, 23, 59, 59, 0, 366));
        assert_eq!(at(-1), (1969, 12, 31, 23, 59, 59, 3, 365));
        assert_eq!(at(4_107_542_400), (2100, 3, 1, 0, 0, 0, 1, 60));
    }

    #[test]
    fn consecutive_days_are_consecutive() {
        let mut previous = civil_time(-200_000 * 86_400);
        for day in -199_999..200_000 {
            let today = civil_time(day * 86_400);
            if today.day == 1 {
                assert_eq!(previous.day, days_in_month(previous.year, previous.month));
                assert_eq!(today.month, previous.month % 12 + 1);
            } else {
                assert_eq!((today.month, today.day), (previous.month, previous.day + 1));
            }
            let expected = if today.month == 1 && today.day == 1 { 1 } else { previous.day_of_year + 1 };
            assert_eq!(today.day_of_year, expected);
            previous = today;
        }
    }
}
