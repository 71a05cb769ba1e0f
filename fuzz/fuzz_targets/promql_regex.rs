//! A pattern and a text: what skips the automaton agrees with it.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../promql/tests/syntax_gostd/property.rs"]
mod property;

fuzz_target!(|data: &[u8]| {
    let input = String::from_utf8_lossy(data);
    let (pattern, text) = input.split_once('\n').unwrap_or((&input, ""));
    property::shortcuts_agree_with_the_automaton(pattern, &[text]);
});
