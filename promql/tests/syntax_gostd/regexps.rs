//! Regular expressions. Every expected value was obtained from Prometheus's matcher and Go's `regexp`.

use std::time::{SystemTime, UNIX_EPOCH};

use gyre_promql::gostd::regexp::check_pattern;
use gyre_promql::gostd::{CapturingRegex, Regex};

use crate::property::shortcuts_agree_with_the_automaton;

/// A pattern, texts it matches and texts it does not.
const MATCHES: &[(&str, &[&str], &[&str])] = &[
    ("", &[""], &["a"]),
    ("a", &["a"], &["b", "aa", ""]),
    ("a|b|", &["a", "b", ""], &["ab"]),
    ("foo|bar|baz", &["foo", "bar", "baz"], &["fo"]),
    ("fo(o|x)?", &["fo", "foo", "fox"], &["fooo"]),
    ("[a-c]x", &["ax", "cx"], &["dx"]),
    ("foo.*", &["foo", "foobar"], &["xfoo"]),
    (".*foo", &["foo", "xfoo"], &["foox"]),
    (".*foo.*", &["foo", "xfoox"], &["fo"]),
    ("foo.+bar", &["foo-bar", "fooéebar", "foobarbar"], &["foobar"]),
    (".+", &["a", "\n", "é"], &[""]),
    ("a.+b.*c", &["axbc", "axbyc"], &["abc", "axby"]),
    ("a.*|b.*", &["a1", "b2"], &["c3"]),
    (".*", &["", "a\nb"], &[]),
    ("x.y", &["x\ny", "xay"], &[]),
    ("(?-s:x.y)", &["xay"], &["x\ny"]),
    ("(?i)foo", &["FOO", "foo", "Foo"], &["fooo"]),
    ("(?i:K)", &["k", "K", "K"], &[]),
    ("\\d+", &["123"], &["١٢٣", ""]),
    ("\\w+", &["abc_1"], &["é"]),
    ("\\s", &[" ", "\u{9}"], &["\u{b}", "\u{a0}"]),
    ("[[:space:]]", &["\u{b}", " "], &[]),
    ("\\bfoo\\b", &["foo"], &["é"]),
    ("a\\Bb", &["ab"], &["a b"]),
    ("\\Qa.b\\E.", &["a.bc"], &["axbc"]),
    ("\\Qa.b", &["a.b"], &[]),
    ("[[a]", &["[", "a"], &["b"]),
    ("[a&&b]+", &["a&b"], &["c"]),
    ("[a-]", &["a", "-"], &[]),
    ("[]a]", &["]", "a"], &[]),
    ("[^a]", &["b", "\n"], &["a"]),
    ("\\x41\\x{1F600}\\101", &["A😀A"], &[]),
    ("^a$", &["a"], &[]),
    ("(?m)^a$\n^b$", &["a\nb"], &[]),
    ("a{2}", &["aa"], &["a", "aaa"]),
    ("a{2,}", &["aa", "aaaa"], &["a"]),
    ("a{,2}", &["a{,2}"], &["a"]),
    ("(a|b){1,2}c", &["abc", "bc"], &["c"]),
    ("\\p{Greek}+", &["αβγ"], &["abc"]),
    ("\\pL\\P{L}", &["a1"], &["1a"]),
    ("\\p{^Lu}", &["a"], &["A"]),
    ("[[:^digit:]]", &["a"], &["1"]),
    ("(?U)a+?", &["a", "aa"], &[]),
    ("(?P<n>a)(?<m>b)", &["ab"], &[]),
    ("prefix[0-9]+suffix", &["prefix12suffix"], &["prefixsuffix", "xprefix1suffix"]),
    ("ünï.*", &["ünïx"], &[]),
];

/// Invalid patterns, and why.
const INVALID: &[(&str, &str)] = &[
    ("(", "error parsing regexp: missing closing ): `(`"),
    ("a)", "error parsing regexp: unexpected ): `a)`"),
    ("[a", "error parsing regexp: missing closing ]: `[a`"),
    ("*a", "error parsing regexp: missing argument to repetition operator: `*`"),
    ("a**", "error parsing regexp: invalid nested repetition operator: `**`"),
    ("a{1001}", "error parsing regexp: invalid repeat count: `{1001}`"),
    ("a{2,1}", "error parsing regexp: invalid repeat count: `{2,1}`"),
    ("(a{1000}){2}", "error parsing regexp: invalid repeat count: `{2}`"),
    ("\\", "error parsing regexp: trailing backslash at end of expression: ``"),
    ("\\8", "error parsing regexp: invalid escape sequence: `\\8`"),
    ("\\1", "error parsing regexp: invalid escape sequence: `\\1`"),
    ("(?=a)", "error parsing regexp: invalid or unsupported Perl syntax: `(?=`"),
    ("(?P=n)", "error parsing regexp: invalid or unsupported Perl syntax: `(?P`"),
    ("(?P<n", "error parsing regexp: invalid named capture: `(?P<n`"),
    ("(?P<é>a)", "error parsing regexp: invalid named capture: `(?P<é>`"),
    ("(?i", "error parsing regexp: invalid or unsupported Perl syntax: `(?i`"),
    ("[z-a]", "error parsing regexp: invalid character class range: `z-a`"),
    ("[[:foo:]]", "error parsing regexp: invalid character class range: `[:foo:]`"),
    ("\\p{Foo}", "error parsing regexp: invalid character class range: `\\p{Foo}`"),
    ("\\pX", "error parsing regexp: invalid character class range: `\\pX`"),
    ("\\C", "error parsing regexp: invalid escape sequence: `\\C`"),
    ("\\Z", "error parsing regexp: invalid escape sequence: `\\Z`"),
    ("a+?*", "error parsing regexp: invalid nested repetition operator: `+?*`"),
    ("x{2}{3}", "error parsing regexp: invalid nested repetition operator: `{2}{3}`"),
    ("(?-)", "error parsing regexp: invalid or unsupported Perl syntax: `(?-)`"),
    ("(?i-)", "error parsing regexp: invalid or unsupported Perl syntax: `(?i-)`"),
    ("\\x{110000}", "error parsing regexp: invalid escape sequence: `\\x{110000`"),
    ("\\xg", "error parsing regexp: invalid escape sequence: `\\xg`"),
    ("[\\d-z", "error parsing regexp: missing closing ]: `[\\d-z`"),
    ("|*", "error parsing regexp: missing argument to repetition operator: `*`"),
    ("(|+)", "error parsing regexp: missing argument to repetition operator: `+`"),
];

/// A pattern, a text, a template and what it expands to.
const EXPANSIONS: &[(&str, &str, &str, &str)] = &[
    ("(.*)-(.*)", "a-b", "$2$1", "ba"),
    ("(.*)-(.*)", "a-b", "$1x", ""),
    ("(.*)-(.*)", "a-b", "${1}x", "ax"),
    ("(.*)-(.*)", "a-b", "$$1 $ $", "$1 $ $"),
    ("(?P<n>a)(?P<m>b)?", "a", "$n-$m-${n}-$x", "a--a-"),
    ("(a)|(b)", "b", "[$1][$2][$0]", "[][b][b]"),
    ("a(.*)", "abc", "${1", "${1"),
    ("a(.*)", "abc", "$01 $1é ${1}é", "  bcé"),
    ("(é+)", "éé", "<$1>", "<éé>"),
    ("(a*)(a*)", "aa", "$1|$2", "aa|"),
    ("(a*?)(a*)", "aa", "$1|$2", "|aa"),
    ("foo", "foo", "plain", "plain"),
];

#[test]
fn patterns_match_whole_texts_as_in_prometheus() {
    for (pattern, matching, other) in MATCHES {
        let regex = Regex::anchored(pattern).unwrap_or_else(|error| panic!("{error}"));
        for text in *matching {
            assert!(regex.is_match(text), "{pattern:?} should match {text:?}");
            assert!(text.starts_with(regex.prefix()), "{pattern:?} should not require {:?}", regex.prefix());
        }
        for text in *other {
            assert!(!regex.is_match(text), "{pattern:?} should not match {text:?}");
        }
        assert_eq!(check_pattern(pattern), Ok(regex.is_match("")), "{pattern:?}");
    }
}

#[test]
fn invalid_patterns_get_an_error_in_the_words_of_go() {
    for (pattern, expected) in INVALID {
        assert_eq!(Regex::anchored(pattern).expect_err(pattern).to_string(), *expected);
        assert_eq!(check_pattern(pattern).expect_err(pattern).to_string(), *expected);
    }
}

#[test]
fn references_expand_as_in_go() {
    for (pattern, text, template, expected) in EXPANSIONS {
        let regex = CapturingRegex::anchored(pattern).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            regex.expand(text, template).as_deref(),
            Some(*expected),
            "{pattern:?} in {text:?}, {template:?}"
        );
    }
    let regex = CapturingRegex::anchored("a").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(regex.expand("ba", "x"), None);
}

#[test]
fn a_set_of_literals_is_known_as_such() {
    let set = |pattern: &str| {
        let regex = Regex::anchored(pattern).unwrap_or_else(|error| panic!("{error}"));
        regex.set_matches().map(<[String]>::to_vec)
    };
    let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
    assert_eq!(set("api"), texts(&["api"]));
    assert_eq!(set("api|web|api"), texts(&["api", "web"]));
    assert_eq!(set("a(b|c)d[12]"), texts(&["abd1", "abd2", "acd1", "acd2"]));
    assert_eq!(set("a\\.b"), texts(&["a.b"]));
    assert_eq!(set(""), texts(&[""]));
    assert_eq!(set("api.*"), None);
    assert_eq!(set("[a-z][a-z][a-z]"), None);
    let many: Vec<String> = (0..5_000).map(|number| format!("pod-{number}")).collect();
    assert_eq!(set(&many.join("|")), Some(many));
}

#[test]
fn a_large_set_and_an_automaton_match_the_same() {
    let literals: Vec<String> = (0..100).map(|number| format!("pod-{number}")).collect();
    let set = Regex::anchored(&literals.join("|")).unwrap_or_else(|error| panic!("{error}"));
    let automaton = Regex::anchored("pod-[0-9]{1,2}").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(automaton.prefix(), "pod-");
    for text in ["pod-0", "pod-99", "pod-100", "pod-", "xpod-1", "pod-1x"] {
        assert_eq!(set.is_match(text), automaton.is_match(text), "{text}");
    }
}

#[test]
fn a_pattern_that_compiles_too_large_is_an_error() {
    let error = Regex::anchored("(?i)(\\pL{1,30}\\PL{1,30}){1,30}").expect_err("it is huge").to_string();
    assert!(error.contains("expression too large"), "{error}");
}

#[test]
fn random_patterns_match_the_same_with_and_without_shortcuts() {
    const PIECES: [&str; 32] = [
        "a",
        "b",
        "foo",
        "é",
        "x",
        "-",
        ".",
        "\n",
        ".*",
        ".+",
        "[ab]",
        "[^a]",
        "[[:alpha:]]",
        "\\d",
        "\\w",
        "\\b",
        "^",
        "$",
        "(?i)",
        "(?-s)",
        "|",
        "|",
        "(",
        "(?:",
        ")",
        ")",
        "*",
        "+?",
        "?",
        "{2}",
        "{1,}",
        "\\Qa.b\\E",
    ];
    const TEXTS: [&str; 12] = ["", "a", "b", "ab", "foo", "fooa", "xfoox", "é", "É", "a\nb", "a.b", "-12"];
    let seed = std::env::var("GYRE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos() as u64)
    });
    println!("seed {seed} (repeat with GYRE_TEST_SEED={seed})");
    let mut state = seed;
    let mut below = |count: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % count
    };
    let mut valid = 0;
    for _ in 0..2_000 {
        let pattern: String = (0..=below(7)).map(|_| PIECES[below(PIECES.len())]).collect();
        valid += usize::from(shortcuts_agree_with_the_automaton(&pattern, &TEXTS));
    }
    assert!(valid > 500, "only {valid} of 2000 patterns were valid, with seed {seed}");
}
