//! Durations and string literals. Every expected value was obtained from Go's `strconv` and Prometheus's
//! `model.Duration`.

use gyre_promql::gostd::{
    GoString, format_duration_ns, parse_duration_ns, quote, quote_rune, unicode_notation, unquote,
};

/// Text of a duration, its nanoseconds, and how it prints.
const DURATIONS: &[(&str, i64, &str)] = &[
    ("0", 0, "0s"),
    ("0s", 0, "0s"),
    ("1ms", 1_000_000, "1ms"),
    ("1s", 1_000_000_000, "1s"),
    ("1m", 60_000_000_000, "1m"),
    ("1h", 3_600_000_000_000, "1h"),
    ("1d", 86_400_000_000_000, "1d"),
    ("1w", 604_800_000_000_000, "1w"),
    ("1y", 31_536_000_000_000_000, "1y"),
    ("90d", 7_776_000_000_000_000, "90d"),
    ("12w6d", 7_776_000_000_000_000, "90d"),
    ("1y2w", 32_745_600_000_000_000, "379d"),
    ("2h30m", 9_000_000_000_000, "2h30m"),
    ("1h30m15s", 5_415_000_000_000, "1h30m15s"),
    ("1d12h", 129_600_000_000_000, "1d12h"),
    ("1500ms", 1_500_000_000, "1s500ms"),
    ("61s", 61_000_000_000, "1m1s"),
    ("1m0s", 60_000_000_000, "1m"),
    ("365d", 31_536_000_000_000_000, "1y"),
    ("8760h", 31_536_000_000_000_000, "1y"),
    ("292y", 9_208_512_000_000_000_000, "292y"),
    ("106751d", 9_223_286_400_000_000_000, "106751d"),
    ("0w", 0, "0s"),
    ("1y1w1d1h1m1s1ms", 32_230_861_001_000_000, "373d1h1m1s1ms"),
];

/// Texts that are not durations, and why.
const NOT_DURATIONS: &[(&str, &str)] = &[
    ("293y", "duration out of range"),
    ("", "empty duration string"),
    ("1", "not a valid duration string: \"1\""),
    ("1x", "unknown unit \"x\" in duration \"1x\""),
    ("s", "not a valid duration string: \"s\""),
    ("5m5h", "not a valid duration string: \"5m5h\""),
    ("1m1m", "not a valid duration string: \"1m1m\""),
    ("-1s", "not a valid duration string: \"-1s\""),
    ("1.5s", "unknown unit \".\" in duration \"1.5s\""),
    ("9999999999999999999s", "duration out of range"),
    ("106752d", "duration out of range"),
];

/// Texts and how `%q` prints them.
const QUOTED: &[(&str, &str)] = &[
    ("", "\"\""),
    ("abc", "\"abc\""),
    ("a\"b", "\"a\\\"b\""),
    ("a'b", "\"a'b\""),
    ("a\\b", "\"a\\\\b\""),
    ("\u{9}\n\u{d}\u{7}\u{8}\u{c}\u{b}", "\"\\t\\n\\r\\a\\b\\f\\v\""),
    ("\0\u{1f}\u{7f}", "\"\\x00\\x1f\\x7f\""),
    ("é☺日本", "\"é☺日本\""),
    ("\u{a0}\u{ad}\u{200b}\u{2028}", "\"\\u00a0\\u00ad\\u200b\\u2028\""),
    ("😀\u{e0001}\u{e000}", "\"😀\\U000e0001\\ue000\""),
    ("`", "\"`\""),
];

#[test]
fn durations_are_read_and_printed_as_prometheus_does() {
    for (text, ns, printed) in DURATIONS {
        assert_eq!(parse_duration_ns(text), Ok(*ns), "{text:?}");
        assert_eq!(format_duration_ns(*ns), *printed, "{text:?}");
    }
    assert_eq!(format_duration_ns(-5_400_000_000_000), "-1h30m");
}

#[test]
fn what_is_no_duration_gets_an_error_in_the_words_of_prometheus() {
    for (text, expected) in NOT_DURATIONS {
        let error = parse_duration_ns(text)
            .map_or_else(|error| error.to_string(), |ns| format!("{text:?} is {ns} ns"));
        assert_eq!(error, *expected);
    }
}

#[test]
fn strings_are_quoted_as_go_does() {
    for (text, expected) in QUOTED {
        assert_eq!(quote(text.as_bytes()), *expected);
    }
    assert_eq!(quote(b"a\xff\xc3(b"), r#""a\xff\xc3(b""#);
    assert_eq!(quote_rune('\''), r"'\''");
    assert_eq!(quote_rune('"'), "'\"'");
    assert_eq!(unicode_notation('c'), "U+0063 'c'");
    assert_eq!(unicode_notation('\u{7}'), "U+0007");
}

#[test]
fn a_quoted_string_reads_back_as_itself() {
    for (text, quoted) in QUOTED {
        assert_eq!(unquote(quoted), Some(GoString::from(*text)));
    }
    assert_eq!(unquote(r#""\xff""#), Some(GoString::from(vec![0xFF])));
}

#[test]
fn each_kind_of_quote_has_its_own_escapes() {
    assert_eq!(unquote(r#"'a\'b"c'"#), Some("a'b\"c".into()));
    assert_eq!(unquote(r#"`a\n"'`"#), Some(r#"a\n"'"#.into()));
    assert_eq!(unquote(r#""\101\u00e9\U0001F600""#), Some("Aé😀".into()));
    for invalid in [
        r#""a"#,
        r#"a""#,
        "\"",
        r#""\'""#,
        r#"'\"'"#,
        r#""\400""#,
        r#""\ud800""#,
        r#""\x1""#,
        "\"a\nb\"",
        r#""\q""#,
    ] {
        assert_eq!(unquote(invalid), None, "{invalid}");
    }
}
