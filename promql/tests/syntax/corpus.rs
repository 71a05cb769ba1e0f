//! Both corpora: Prometheus's own parser tests, and the queries of its promqltest scripts.

use gyre_promql::syntax::{ParserOptions, parse_expr};

use crate::document;
use crate::support::{eval_expression, parser_corpus, promqltest_scripts};

/// Expressions of the corpus whose printed form or error is not that of Prometheus 3.9, which the corpus holds, and
/// what it is instead. The document has the list, with reasons.
fn differences() -> Vec<(String, String)> {
    let table = document::table("parser differences");
    let rows = table.lines().skip(2).map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [expr, here, why] = cells[..] else { panic!("not three cells: {row}") };
        assert!(!why.is_empty(), "no reason is given for {expr}");
        (expr.trim_matches('`').to_owned(), here.trim_matches('`').to_owned())
    });
    rows.collect()
}

#[test]
fn the_parser_corpus_is_accepted_rejected_printed_and_blamed_as_by_prometheus() {
    let Some(corpus) = parser_corpus() else { return };
    let mut differences = differences();
    let listed = differences.len();
    let (mut accepted, mut printed, mut errors) = (0, 0, 0);
    for line in &corpus {
        let parsed = parse_expr(&line.expr, &ParserOptions::all());
        assert_eq!(parsed.is_ok(), line.accepted, "{:?} gave {parsed:?}", line.expr);
        let different = differences.iter().position(|(expr, _)| *expr == line.expr);
        let different = different.map(|at| differences.swap_remove(at).1);
        let (found, known) = match parsed {
            Ok(expr) => (expr.to_string(), &line.printed),
            Err(error) => (error.to_string(), &line.error),
        };
        accepted += usize::from(line.accepted);
        // What 3.9 rejected but HEAD accepts has no known printed form.
        let Some(known) = known else { continue };
        match different {
            Some(different) => {
                assert_ne!(&different, known, "{:?} is listed as different and is not", line.expr);
                assert_eq!(found, different, "for {:?}", line.expr);
            }
            None => assert_eq!(&found, known, "for {:?}", line.expr),
        }
        *(if line.accepted { &mut printed } else { &mut errors }) += 1;
    }
    assert!(differences.is_empty(), "listed as different, but not in the corpus: {differences:?}");
    let rejected = corpus.len() - accepted;
    let table = format!(
        "| | expressions | verdict agrees | text known | text agrees or is listed below |\n\
         | --- | --- | --- | --- | --- |\n\
         | accepted, printed form | {accepted} | {accepted} | {printed} | {printed} |\n\
         | rejected, error text | {rejected} | {rejected} | {errors} | {errors} |\n\
         | total | {} | {} | {} | {}, of which {listed} are listed |\n",
        corpus.len(),
        corpus.len(),
        printed + errors,
        printed + errors,
    );
    document::compare("parser", &table);
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
