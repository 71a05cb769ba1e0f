//! The naive evaluator's calendar.

/// A day, in the numbers the functions give.
pub struct Date {
    pub year: f64,
    pub month: f64,
    pub day: f64,
    pub weekday: f64,
    pub day_of_year: f64,
    pub days_in_month: f64,
}

/// The day of a number of seconds since 1970: years and months are counted off one by one.
pub fn date(seconds: f64) -> Date {
    let mut left = (seconds as i64).div_euclid(86_400);
    let weekday = (left + 4).rem_euclid(7);
    let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = |year: i64| if is_leap(year) { 366 } else { 365 };
    let mut year = 1970;
    while left < 0 {
        year -= 1;
        left += length(year);
    }
    while left >= length(year) {
        left -= length(year);
        year += 1;
    }
    let day_of_year = left + 1;
    let february = if is_leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= months[month] {
        left -= months[month];
        month += 1;
    }
    Date {
        year: year as f64,
        month: (month + 1) as f64,
        day: (left + 1) as f64,
        weekday: weekday as f64,
        day_of_year: day_of_year as f64,
        days_in_month: months[month] as f64,
    }
}
