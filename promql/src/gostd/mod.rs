//! What PromQL inherits from Go's standard library, reproduced bit for bit.
//!
//! Numbers print as `strconv` prints them, string literals are Go's, durations are Prometheus's
//! `model.Duration`, regular expressions are RE2 as Go's `regexp/syntax` reads it. Anything here that differs
//! from Go shows up as a wrong label value, a wrong error text or a query that parses in one system only.

mod text;

pub use text::GoString;
