//! Where the corpora are, and comparing trees without their positions.

use std::path::PathBuf;

use gyre_promql::syntax::ast::{Expr, VectorSelector};
use gyre_promql::syntax::{DurationExpr, DurationKind, DurationValue, Span};

/// The folder of promqltest scripts.
fn promqltest_dir() -> PathBuf {
    match std::env::var_os("GYRE_PROMQLTEST_DIR") {
        Some(dir) => dir.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/promqltest"),
    }
}

fn missing<T>(what: &str, path: &std::path::Path) -> Option<T> {
    let why = format!("skipped: {what} is not at {}", path.display());
    assert!(std::env::var_os("GYRE_REQUIRE_ALL").is_none_or(|value| value != "1"), "{why}");
    println!("{why}");
    None
}

/// One line of the parser corpus.
pub struct CorpusLine {
    pub expr: String,
    pub accepted: bool,
    /// What an older Prometheus (3.9) printed or said.
    pub printed: Option<String>,
    pub error: Option<String>,
}

/// The parser corpus, or `None` (having said so) if it is absent.
pub fn parser_corpus() -> Option<Vec<CorpusLine>> {
    let path = promqltest_dir().join("../promql-corpus/parse.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else { return missing("the parser corpus", &path) };
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("a line of the corpus is JSON");
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        CorpusLine {
            expr: text("expr").expect("every line has an expression"),
            accepted: value["ok"].as_bool().expect("every line has a verdict"),
            printed: text("printed"),
            error: text("error_3_9"),
        }
    };
    Some(text.lines().map(line).collect())
}

/// Name and text of every promqltest script, or `None` (having said so) if they are absent.
pub fn promqltest_scripts() -> Option<Vec<(String, String)>> {
    let dir = promqltest_dir();
    let Ok(entries) = std::fs::read_dir(&dir) else { return missing("the promqltest corpus", &dir) };
    let mut scripts: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "test"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a script can be read");
            (path.file_name().expect("it was listed by name").to_string_lossy().into_owned(), text)
        })
        .collect();
    scripts.sort();
    Some(scripts)
}

/// The expression of an `eval` line of a script.
pub fn eval_expression(line: &str) -> Option<&str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let skip = match words.as_slice() {
        [eval, "instant", "at", _, ..] if eval.starts_with("eval") => 4,
        [eval, "instant", ..] if eval.starts_with("eval") => 2,
        [eval, "range", "from", _, "to", _, "step", _, ..] if eval.starts_with("eval") => 8,
        _ => return None,
    };
    let mut rest = line.trim();
    for _ in 0..skip {
        rest = rest.split_once(char::is_whitespace)?.1.trim_start();
    }
    Some(rest)
}

/// Every expression of both corpora.
pub fn all_expressions() -> Vec<String> {
    let corpus = parser_corpus().unwrap_or_default().into_iter().map(|line| line.expr);
    let scripts = promqltest_scripts().unwrap_or_default();
    let evals =
        scripts.iter().flat_map(|(_, text)| text.lines()).filter_map(eval_expression).map(str::to_owned);
    corpus.chain(evals).collect()
}

/// The same tree with all positions zeroed.
pub fn without_spans(mut expr: Expr) -> Expr {
    clear(&mut expr);
    expr
}

fn clear(expr: &mut Expr) {
    match expr {
        Expr::Aggregate(aggregate) => {
            aggregate.span = Span::default();
            clear(&mut aggregate.expr);
            aggregate.param.iter_mut().for_each(clear);
        }
        Expr::Binary(binary) => {
            clear(&mut binary.lhs);
            clear(&mut binary.rhs);
        }
        Expr::Call(call) => {
            call.span = Span::default();
            call.args.iter_mut().for_each(clear);
        }
        Expr::Matrix(matrix) => {
            matrix.end = 0;
            clear_selector(&mut matrix.selector);
            clear_duration(&mut matrix.range);
        }
        Expr::Number(number) => number.span = Span::default(),
        Expr::Paren(paren) => {
            paren.span = Span::default();
            clear(&mut paren.expr);
        }
        Expr::String(string) => string.span = Span::default(),
        Expr::Subquery(subquery) => {
            subquery.end = 0;
            clear(&mut subquery.expr);
            for duration in [&mut subquery.range, &mut subquery.step, &mut subquery.offset] {
                clear_duration(duration);
            }
        }
        Expr::Unary(unary) => {
            unary.start = 0;
            clear(&mut unary.expr);
        }
        Expr::Vector(vector) => clear_selector(vector),
    }
}

fn clear_selector(selector: &mut VectorSelector) {
    selector.span = Span::default();
    // Matchers print sorted, and a name in braces may print among them.
    selector.matchers.sort_by_key(ToString::to_string);
    clear_duration(&mut selector.offset);
}

fn clear_duration(duration: &mut DurationValue) {
    if let DurationValue::Expr(expr) = duration {
        clear_duration_expr(expr);
    }
}

fn clear_duration_expr(expr: &mut DurationExpr) {
    expr.span = Span::default();
    match &mut expr.kind {
        DurationKind::Literal(number) => number.span = Span::default(),
        DurationKind::Step | DurationKind::Range => {}
        DurationKind::Negate(operand) => clear_duration_expr(operand),
        DurationKind::MinOf(lhs, rhs) | DurationKind::MaxOf(lhs, rhs) | DurationKind::Binary(_, lhs, rhs) => {
            clear_duration_expr(lhs);
            clear_duration_expr(rhs);
        }
    }
}
