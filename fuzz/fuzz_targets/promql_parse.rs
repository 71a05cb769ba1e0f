//! Any text: the parser neither panics nor accepts what it cannot print back.

#![no_main]

use gyre_promql::syntax::ParserOptions;
use libfuzzer_sys::fuzz_target;

#[path = "../../promql/tests/syntax/property.rs"]
mod property;
#[path = "../../promql/tests/syntax/spans.rs"]
mod spans;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    property::parses_or_fails_cleanly(&text, &ParserOptions::all());
    property::parses_or_fails_cleanly(&text, &ParserOptions::default());
});
