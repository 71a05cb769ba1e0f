//! What holds for every text. The fuzz target shares this file.

use gyre_promql::syntax::{ParserOptions, parse_expr};

use crate::spans::without_spans;

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
    let (printed, pretty) = (expr.to_string(), expr.pretty());
    // Compared as text, since NaN is not equal to itself.
    let tree = format!("{:?}", without_spans(expr));
    // As Prometheus, we take `offset +(5)` without the option that `offset (5)` needs, and print the latter.
    let options = ParserOptions { duration_expr: true, ..*options };
    for form in [&printed, &pretty] {
        match parse_expr(form, &options) {
            Ok(reparsed) => {
                assert_eq!(reparsed.to_string(), printed, "of {text:?}");
                assert_eq!(format!("{:?}", without_spans(reparsed)), tree, "of {text:?}");
            }
            Err(error) => panic!("{text:?} prints as {form:?}: {error}"),
        }
    }
    true
}
