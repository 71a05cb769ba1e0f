//! Error texts and positions beyond those of the corpus, and the gates of experimental syntax.
//!
//! Each text was obtained from Prometheus's parser.

use gyre_promql::syntax::{ParserOptions, parse_expr, parse_selector};

fn error_of(text: &str, options: &ParserOptions) -> String {
    match parse_expr(text, options) {
        Ok(expr) => panic!("{text:?} was accepted as {expr}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn errors_name_the_construct_and_what_it_expected() {
    for (text, expected) in ERRORS {
        assert_eq!(error_of(text, &ParserOptions::all()), *expected, "for {text:?}");
    }
}

#[test]
fn experimental_syntax_needs_its_flag() {
    for (text, expected) in GATED {
        assert_eq!(error_of(text, &ParserOptions::default()), *expected, "for {text:?}");
        let accepted = parse_expr(text, &ParserOptions::all());
        assert!(accepted.is_ok(), "{text:?} with all flags gave {accepted:?}");
    }
}

#[test]
fn positions_count_lines_and_bytes_from_one() {
    let error = error_of("sum(\n  é{a=\"b\"})", &ParserOptions::default());
    assert_eq!(error, "2:3: parse error: unexpected character: 'é'");
    let error = error_of("\"é\" + \n\n  foo bar", &ParserOptions::default());
    assert_eq!(error, "3:7: parse error: unexpected identifier \"bar\"");
}

#[test]
fn a_selector_is_parsed_on_its_own() {
    let options = ParserOptions::default();
    let selector = parse_selector("up{job=~\"a.*\"}", &options).expect("it is valid");
    assert_eq!((selector.name(), selector.matchers.len()), ("up", 2));
    // An API may ask for everything; the caller decides.
    assert!(parse_selector("{}", &options).is_ok());
    let error = parse_selector("up[5m]", &options).expect_err("it is no instant selector").to_string();
    assert_eq!(error, "1:3: parse error: unexpected \"[\"");
}

const ERRORS: &[(&str, &str)] = &[
    ("sum(1 +)", "1:8: parse error: unexpected \")\" in aggregation"),
    ("sum(foo bar)", "1:9: parse error: unexpected identifier \"bar\" in aggregation"),
    ("rate(foo[5m)", "1:12: parse error: unexpected \")\" in subquery or range, expected \":\" or \"]\""),
    ("foo[5m:1m", "1:10: parse error: unclosed left bracket"),
    ("foo[:1m]", "1:6: parse error: unexpected colon before duration in duration expression"),
    ("foo[step():1m]", "1:12: parse error: unexpected colon before duration in duration expression"),
    (
        "foo[5m 1m]",
        "1:8: parse error: unexpected duration \"1m\" in subquery or range, expected \":\" or \"]\"",
    ),
    ("foo[5m:1m 2m]", "1:11: parse error: unexpected duration \"2m\" in subquery selector, expected \"]\""),
    ("foo[5m::1m]", "1:8: parse error: unexpected colon ':'"),
    (
        "foo[5m + ]",
        "1:10: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
    ),
    (
        "foo offset",
        "1:11: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
    ),
    (
        "foo offset bar",
        "1:12: parse error: unexpected identifier \"bar\" in offset, expected number, duration, step(), or range()",
    ),
    (
        "foo offset -",
        "1:13: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
    ),
    ("foo offset (5m", "1:15: parse error: unclosed left parenthesis"),
    (
        "foo offset (5m + )",
        "1:18: parse error: unexpected \")\" in offset, expected number, duration, step(), or range()",
    ),
    ("foo @", "1:6: parse error: unexpected end of input in @, expected timestamp"),
    ("foo @ bar", "1:7: parse error: unexpected identifier \"bar\" in @, expected timestamp"),
    ("foo @ start", "1:12: parse error: unexpected end of input in @, expected timestamp"),
    ("foo @ start(1)", "1:13: parse error: unexpected number \"1\" in @, expected timestamp"),
    ("foo @ 1e20", "1:1: parse error: timestamp out of bounds for @ modifier: 100000000000000000000.000000"),
    ("foo @ NaN", "1:1: parse error: timestamp out of bounds for @ modifier: NaN"),
    ("foo @ 1 @ 2", "1:1: parse error: @ <timestamp> may not be set multiple times"),
    ("foo{", "1:5: parse error: unexpected end of input inside braces"),
    ("foo{a}", "1:6: parse error: unexpected \"}\" in label matching, expected label matching operator"),
    ("foo{a=}", "1:7: parse error: unexpected \"}\" in label matching, expected string"),
    (
        "foo{a=\"b\" c=\"d\"}",
        "1:11: parse error: unexpected identifier \"c\" in label matching, expected \",\" or \"}\"",
    ),
    ("foo{a=\"b\",,}", "1:11: parse error: unexpected \",\" in label matching, expected identifier or \"}\""),
    ("foo{a=~\"(\"}", "1:5: parse error: error parsing regexp: missing closing ): `(`"),
    ("foo{a=~\"a**\"}", "1:5: parse error: error parsing regexp: invalid nested repetition operator: `**`"),
    ("foo{a=~\"[z-a]\"}", "1:5: parse error: error parsing regexp: invalid character class range: `z-a`"),
    (
        "foo{a=~\"\\\\\"}",
        "1:5: parse error: error parsing regexp: trailing backslash at end of expression: ``",
    ),
    (
        "foo{a=~\"(?=x)\"}",
        "1:5: parse error: error parsing regexp: invalid or unsupported Perl syntax: `(?=`",
    ),
    ("foo{a=~\"\\\\C\"}", "1:5: parse error: error parsing regexp: invalid escape sequence: `\\C`"),
    ("foo{a=~\"x{1001}\"}", "1:5: parse error: error parsing regexp: invalid repeat count: `{1001}`"),
    ("foo{a=~\"[a\"}", "1:5: parse error: error parsing regexp: missing closing ]: `[a`"),
    ("foo{a=~\"*\"}", "1:5: parse error: error parsing regexp: missing argument to repetition operator: `*`"),
    ("foo{a!~\"a)\"}", "1:5: parse error: error parsing regexp: unexpected ): `a)`"),
    ("foo{\"a\"}{b=\"c\"}", "1:9: parse error: unexpected \"{\""),
    ("foo{__name__=\"bar\"}", "1:1: parse error: metric name must not be set twice: \"foo\" or \"bar\""),
    ("{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    ("{a=~\".*\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    ("{a=~\"^$\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    ("{a!~\".+\"}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
    ("foo + on a bar", "1:10: parse error: unexpected identifier \"a\" in grouping opts, expected \"(\""),
    (
        "foo + on(a) group_left >= bar",
        "1:24: parse error: unexpected <op:>=> in grouping opts, expected \"(\"",
    ),
    ("foo + fill(a) bar", "1:12: parse error: unexpected identifier \"a\""),
    ("foo and fill(1) bar", "1:1: parse error: filling in missing series not allowed for set operators"),
    ("1 + fill(1) 1", "1:1: parse error: filling in missing series only allowed between instant vectors"),
    ("foo atan2 bool bar", "1:5: parse error: bool modifier can only be used on comparison operators"),
    ("sum by (a,,b) (foo)", "1:11: parse error: unexpected \",\" in grouping opts, expected label"),
    ("sum by (\"\") (foo)", "1:9: parse error: invalid label name for grouping: \"\""),
    (
        "sum(foo, bar)",
        "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2",
    ),
    ("sum(\"foo\")", "1:5: parse error: expected type instant vector in aggregation expression, got string"),
    ("topk(\"a\", foo)", "1:6: parse error: expected type scalar in aggregation parameter, got string"),
    ("abs()", "1:1: parse error: expected 1 argument(s) in call to \"abs\", got 0"),
    (
        "label_replace(foo, \"a\")",
        "1:1: parse error: expected 5 argument(s) in call to \"label_replace\", got 2",
    ),
    (
        "sort_by_label()",
        "1:1: parse error: expected at least 1 argument(s) in call to \"sort_by_label\", got 0",
    ),
    (
        "info(foo, {a=\"b\"}, {c=\"d\"})",
        "1:1: parse error: expected at most 2 argument(s) in call to \"info\", got 3",
    ),
    (
        "histogram_quantiles(foo, \"a\")",
        "1:1: parse error: expected at least 3 argument(s) in call to \"histogram_quantiles\", got 2",
    ),
    ("foo(", "1:5: parse error: unclosed left parenthesis"),
    ("STEP()", "1:1: parse error: unknown function with name \"STEP\""),
    ("by (a)", "1:4: parse error: unexpected \"(\""),
    ("1 + 2 )", "1:8: parse error: unexpected right parenthesis ')'"),
    ("1 = 2", "1:3: parse error: unexpected \"=\""),
    ("foo ! bar", "1:5: parse error: unexpected character after '!': ' '"),
    ("\"abc", "1:1: parse error: unterminated quoted string"),
    ("\"\\xZZ\"", "1:1: parse error: illegal character U+005A 'Z' in escape sequence"),
    ("\"\\400\"", "1:1: parse error: escape sequence is an invalid Unicode code point"),
    ("`abc", "1:1: parse error: unterminated raw string"),
    (
        "foo{a=\"é\" b}",
        "1:12: parse error: unexpected identifier \"b\" in label matching, expected \",\" or \"}\"",
    ),
    ("5mm", "1:1: parse error: bad number or duration syntax: \"5mm\""),
    ("1.5m", "1:1: parse error: unknown unit \".\" in duration \"1.5m\""),
    ("1m5h", "1:1: parse error: not a valid duration string: \"1m5h\""),
    ("999999999999y", "1:1: parse error: duration out of range"),
    ("0b11", "1:1: parse error: bad number or duration syntax: \"0\""),
    ("1__0", "1:1: parse error: bad number or duration syntax: \"1__\""),
    ("foo[0]", "1:5: parse error: duration must be greater than 0"),
    ("foo[-5m]", "1:5: parse error: duration must be greater than 0"),
    ("foo[5m] + 1", "1:1: parse error: binary expression must contain only scalar and instant vector types"),
    ("foo[5m][5m]", "1:8: parse error: ranges only allowed for vector selectors"),
    ("(foo)[5m]", "1:6: parse error: ranges only allowed for vector selectors"),
    ("foo offset 5m[5m]", "1:14: parse error: no offset modifiers allowed before range"),
    ("foo @ 1[5m]", "1:8: parse error: no @ modifiers allowed before range"),
    (
        "sum(foo) offset 5m",
        "1:1: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
    ),
    ("foo[5m:] anchored", "1:1: parse error: anchored modifier is not supported for subqueries"),
    ("sum(foo) smoothed", "1:1: parse error: smoothed modifier not implemented"),
    ("foo anchored smoothed", "1:1: parse error: anchored and smoothed modifiers cannot be used together"),
    ("1 or 1", "1:1: parse error: set operator \"or\" not allowed in binary scalar expression"),
    ("foo == on(a) 1", "1:1: parse error: vector matching only allowed between instant vectors"),
    (
        "-\"a\"",
        "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
    ),
    (
        "-foo[5m]",
        "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"range vector\"",
    ),
    ("foo[5m] offset 5m offset 5m", "1:1: parse error: offset may not be set multiple times"),
    ("foo unless on(a) group_left bar", "1:1: parse error: no grouping allowed for \"unless\" operation"),
];

const GATED: &[(&str, &str)] = &[
    (
        "limitk(1, foo)",
        "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
    ),
    (
        "limit_ratio(0.5, foo)",
        "1:1: parse error: limit_ratio() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
    ),
    ("info(foo)", "1:1: parse error: function \"info\" is not enabled"),
    ("mad_over_time(foo[5m])", "1:1: parse error: function \"mad_over_time\" is not enabled"),
    (
        "double_exponential_smoothing(foo[5m], 0.5, 0.5)",
        "1:1: parse error: function \"double_exponential_smoothing\" is not enabled",
    ),
    ("sort_by_label(foo, \"a\")", "1:1: parse error: function \"sort_by_label\" is not enabled"),
    ("start()", "1:1: parse error: function \"start\" is not enabled"),
    ("step()", "1:1: parse error: function \"step\" is not enabled"),
    ("max_of(1, 2)", "1:1: parse error: function \"max_of\" is not enabled"),
    ("foo[5m + 1m]", "1:5: parse error: experimental duration expression is not enabled"),
    ("foo[step()]", "1:5: parse error: experimental duration expression is not enabled"),
    ("foo[(5m)]", "1:6: parse error: experimental duration expression is not enabled"),
    ("foo offset (5m)", "1:13: parse error: experimental duration expression is not enabled"),
    ("foo offset range()", "1:12: parse error: experimental duration expression is not enabled"),
    ("foo[5m] anchored", "1:1: parse error: anchored modifier is experimental and not enabled"),
    ("foo smoothed", "1:1: parse error: smoothed modifier is experimental and not enabled"),
    ("foo + fill(1) bar", "1:1: parse error: binop fill modifiers are experimental and not enabled"),
    (
        "foo + fill_left(1) fill_right(2) bar",
        "1:1: parse error: binop fill modifiers are experimental and not enabled",
    ),
];
