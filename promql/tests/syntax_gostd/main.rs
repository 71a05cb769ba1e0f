//! What PromQL inherits from Go: numbers, durations, string literals, regular expressions.

mod numbers;
mod property;
mod regexps;
mod text;
