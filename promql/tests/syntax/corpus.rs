//! Both corpora: Prometheus's own parser tests, and the queries of its promqltest scripts.

use gyre_promql::syntax::{ParserOptions, parse_expr};

use crate::support::{eval_expression, parser_corpus, promqltest_scripts};

/// Expressions whose printed form or error differs from that of Prometheus 3.9, which the corpus holds, because
/// HEAD differs from 3.9 in the same way.
const CHANGED_SINCE_3_9: &[(&str, &str)] = &[
    // A number in parentheses keeps them, so that it prints as it was written.
    ("foo offset (5)", "foo offset (5)"),
    ("foo[(5s)]", "foo[(5s)]"),
    // range() was added to what may stand where a duration is expected.
    (
        "foo[]",
        "1:5: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
    ),
    (
        "foo[step]",
        "1:9: parse error: unexpected \"]\" in subquery or range selector, expected number, duration, step(), or range()",
    ),
    (
        "some_metric[5m] OFFSET",
        "1:23: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
    ),
    // 3.9 reported that its parser had panicked.
    ("1[5m] smoothed", "1:2: parse error: ranges only allowed for vector selectors"),
    ("1[5m] anchored", "1:2: parse error: ranges only allowed for vector selectors"),
];

#[test]
fn every_expression_of_the_parser_corpus_is_accepted_or_rejected_as_by_prometheus() {
    let Some(corpus) = parser_corpus() else { return };
    assert_eq!(corpus.len(), 353);
    for line in corpus {
        let parsed = parse_expr(&line.expr, &ParserOptions::all());
        assert_eq!(parsed.is_ok(), line.accepted, "{:?} gave {parsed:?}", line.expr);
    }
}

#[test]
fn printed_forms_and_error_texts_are_those_of_prometheus() {
    let Some(corpus) = parser_corpus() else { return };
    let mut compared = 0;
    for line in corpus {
        let changed =
            CHANGED_SINCE_3_9.iter().find(|(expr, _)| *expr == line.expr).map(|(_, now)| (*now).to_owned());
        let (found, expected) = match parse_expr(&line.expr, &ParserOptions::all()) {
            Ok(expr) => (expr.to_string(), changed.or(line.printed)),
            Err(error) => (error.to_string(), changed.or(line.error)),
        };
        // What 3.9 rejected but HEAD accepts has no known printed form.
        let Some(expected) = expected else { continue };
        assert_eq!(found, expected, "for {:?}", line.expr);
        compared += 1;
    }
    assert_eq!(compared, 337);
}

#[test]
fn every_query_of_the_promqltest_scripts_parses() {
    let Some(scripts) = promqltest_scripts() else { return };
    let (mut queries, mut failures) = (0, Vec::new());
    for (name, text) in &scripts {
        for line in text.lines() {
            let Some(expr) = eval_expression(line.trim()) else { continue };
            queries += 1;
            if let Err(error) = parse_expr(expr, &ParserOptions::all()) {
                failures.push(format!("{name}: {expr}: {error}"));
            }
        }
    }
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(queries, 2214);
}
