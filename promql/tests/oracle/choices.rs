//! Functions and operators that random queries are made of.

pub const RANGE_FUNCTIONS: &[&str] = &[
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "sum_over_time",
    "avg_over_time",
    "count_over_time",
    "min_over_time",
    "max_over_time",
    "last_over_time",
    "first_over_time",
    "present_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "changes",
    "resets",
    "deriv",
    "mad_over_time",
    "ts_of_min_over_time",
    "ts_of_max_over_time",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "absent_over_time",
];
pub const FLOAT_FUNCTIONS: &[&str] = &[
    "abs",
    "ceil",
    "floor",
    "exp",
    "sqrt",
    "ln",
    "log2",
    "log10",
    "sgn",
    "deg",
    "rad",
    "sort",
    "sort_desc",
    "timestamp",
    "timestamp",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
];
pub const DATE_FUNCTIONS: &[&str] =
    &["minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year"];
pub const HISTOGRAM_FUNCTIONS: &[&str] =
    &["histogram_count", "histogram_sum", "histogram_avg", "histogram_stddev", "histogram_stdvar"];
pub const EXTENDED: &[&str] = &[
    "rate({} anchored)",
    "increase({} anchored)",
    "delta({} anchored)",
    "changes({} anchored)",
    "resets({} anchored)",
    "rate({} smoothed)",
    "increase({} smoothed)",
    "delta({} smoothed)",
];
pub const AGGREGATIONS: &[&str] = &["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"];
pub const ARITHMETIC: &[&str] = &["+", "-", "*", "/", "%", "^", "atan2"];
pub const COMPARISONS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];
