//! What PromQL inherits from Go's standard library, reproduced bit for bit.
//!
//! Numbers print as `strconv` prints them, string literals are Go's, durations are Prometheus's
//! `model.Duration`, regular expressions are RE2 as Go's `regexp/syntax` reads it. Anything here that differs
//! from Go shows up as a wrong label value, a wrong error text or a query that parses in one system only.

mod duration;
mod float;
mod quote;
pub mod regexp;
mod text;

pub(crate) use duration::parse_single_unit_ns;
pub use duration::{DurationError, format_duration_ns, parse_duration_ns, write_duration_ns};
pub use float::{
    NumError, NumErrorKind, float_to_int64, format_e, format_f, format_fixed, format_g, parse_float,
    parse_int_base0, parse_number, write_f,
};
pub use quote::{quote, quote_rune, unicode_notation, unquote, write_quoted};
pub use regexp::{CapturingRegex, Regex, RegexError};
pub use text::GoString;
