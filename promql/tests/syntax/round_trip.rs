//! What is printed parses back to the same tree.

use gyre_promql::syntax::{ParserOptions, ValueType, parse_expr};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::generate::{Choices, expression};
use crate::spans::without_spans;
use crate::support::{all_expressions, seed_and_cases};

#[test]
fn every_accepted_expression_of_the_corpora_prints_to_itself() {
    for text in all_expressions() {
        let Ok(expr) = parse_expr(&text, &ParserOptions::all()) else { continue };
        let printed = expr.to_string();
        let reparsed =
            parse_expr(&printed, &ParserOptions::all()).unwrap_or_else(|error| panic!("{printed}: {error}"));
        assert_eq!(reparsed.to_string(), printed);
        // NaN is not equal to itself.
        if !printed.contains("NaN") {
            assert_eq!(without_spans(reparsed), without_spans(expr), "{text}");
        }
    }
}

#[test]
fn every_accepted_expression_of_the_corpora_means_the_same_when_pretty() {
    for text in all_expressions() {
        let Ok(expr) = parse_expr(&text, &ParserOptions::all()) else { continue };
        let pretty = expr.pretty();
        let reparsed =
            parse_expr(&pretty, &ParserOptions::all()).unwrap_or_else(|error| panic!("{pretty}: {error}"));
        assert_eq!(reparsed.to_string(), expr.to_string());
    }
}

/// Where Prometheus prints a text that is rejected or means something else.
#[test]
fn printed_forms_keep_the_meaning_where_those_of_prometheus_do_not() {
    for (text, expected) in [
        ("1s9ms", "1s9ms"),
        ("-1s352ms", "-1s352ms"),
        ("292y1ms", "106580d1ms"),
        ("x[0.0005]", "x[0.0005]"),
        ("x offset -1.0000005", "x offset -1.0000005"),
        ("x offset NaN", "x offset -9223372036.854775808"),
        ("info(x, {})", "info(x, {})"),
        ("-inf ^ inf", "-Inf ^ +Inf"),
        ("sum by (\"nan\", \"without\", \"by\") (x)", "sum by (\"nan\", \"without\", by) (x)"),
        ("x offset (-9 * 2)", "x offset (-9 * 2)"),
        ("x offset +(5) + (5)", "x offset +(5) + (5)"),
        ("-x offset +(5 * 2) ^ 2", "-x offset +(5 * 2) ^ 2"),
        ("1 / -0s", "1 / -0s"),
        ("x offset ++7-7 @ 5 + 0", "x offset ++7 - 7 @ 5.000 + 0"),
        ("x offset ++7-7 smoothed * 2", "x offset ++7 - 7 smoothed * 2"),
        ("-sum(x) - x offset (7) @ 1 anchored / 2", "-sum(x) - x offset (7) anchored @ 1.000 / 2"),
    ] {
        let expr = parse_expr(text, &ParserOptions::all()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(expr.to_string(), expected);
        let reparsed =
            parse_expr(expected, &ParserOptions::all()).unwrap_or_else(|error| panic!("{expected}: {error}"));
        assert_eq!(without_spans(reparsed), without_spans(expr), "{text}");
    }
}

#[test]
fn an_offset_expression_without_parentheses_gets_signs_if_it_would_end_early() {
    for (text, expected) in [
        ("x offset +-9*2", "x offset +-9 * 2"),
        ("x offset - -7m-7m", "x offset ++7m - 7m"),
        ("x offset ++step()*2", "x offset ++step() * 2"),
        ("x offset (9)*2", "x offset (9) * 2"),
        ("x offset --(9)*2", "x offset --(9) * 2"),
    ] {
        let expr = parse_expr(text, &ParserOptions::all()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(expr.to_string(), expected);
        let reparsed =
            parse_expr(expected, &ParserOptions::all()).unwrap_or_else(|error| panic!("{expected}: {error}"));
        assert_eq!(without_spans(reparsed), without_spans(expr), "{text}");
    }
}

#[test]
fn random_trees_print_and_parse_back() {
    let (seed, cases) = seed_and_cases(2_000);
    let config = Config {
        cases: u32::try_from(cases).unwrap_or(u32::MAX),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    let types = [ValueType::Vector, ValueType::Scalar, ValueType::Matrix, ValueType::String];
    TestRunner::new(config)
        .run(&(bytes, 0..types.len()), |(bytes, wanted)| {
            let tree = expression(&mut Choices::new(&bytes), types[wanted], 7);
            let printed = tree.to_string();
            match parse_expr(&printed, &ParserOptions::all()) {
                Ok(reparsed) => prop_assert_eq!(without_spans(reparsed), without_spans(tree), "{}", printed),
                Err(error) => prop_assert!(false, "{}: {}", printed, error),
            }
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("with seed {seed}: {failure}"));
}
