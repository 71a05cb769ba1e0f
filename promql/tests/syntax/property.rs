//! What holds for every text. The fuzz target shares this file.

use gyre_promql::syntax::{ParserOptions, parse_expr};

/// Parses `text`; what was accepted prints, plain and pretty, to a text that parses back to the same. Tells whether it
/// was accepted.
pub fn parses_or_fails_cleanly(text: &str, options: &ParserOptions) -> bool {
    let expr = match parse_expr(text, options) {
        Ok(expr) => expr,
        Err(error) => {
            assert!(error.to_string().contains(": parse error: "), "{error}");
            return false;
        }
    };
    assert!(expr.span().end as usize <= text.len(), "{text:?} has a span beyond its end");
    let printed = expr.to_string();
    for form in [&printed, &expr.pretty()] {
        match parse_expr(form, options) {
            Ok(reparsed) => assert_eq!(reparsed.to_string(), printed, "of {text:?}"),
            Err(error) => panic!("{text:?} prints as {form:?}: {error}"),
        }
    }
    true
}
