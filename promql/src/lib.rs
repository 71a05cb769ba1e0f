//! PromQL: language, planner and engine. No I/O: data comes in through the storage trait.
//!
//! [`syntax`] is the language (text to a checked syntax tree and back), [`gostd`] the parts of Go's standard
//! library whose behaviour is visible in PromQL: number formats, string literals, regular expressions.

pub mod gostd;
pub mod syntax;
